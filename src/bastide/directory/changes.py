"""The port ChangeFeed over LDAP: DirSync says who changed, a search says what is. With the service account, which may read and has no privilege.

Nothing of a deleted object is shown to it, unless it may list Deleted Objects: who matters is looked for by `present`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import ldap
from ldap.controls import LDAPControl
from ldap.filter import filter_format

from bastide.directory import cursors, dirsync, security_descriptor
from bastide.directory.capabilities import Domain, View
from bastide.directory.constants import AccountControl, GroupType
from bastide.directory.entries import (
    Entry,
    any_guid,
    any_sid,
    by_guid,
    containers,
    first_name,
    from_filetime,
    plain_dn,
    scope_of,
    sid_of_dn,
)
from bastide.directory.ldap import Controllers
from bastide.directory.membership import chunks
from bastide.directory.session import EXTENDED_DN, Session
from bastide.domain.errors import DirectoryDenied, DirectoryError, DirectoryUnavailable, NoSuchObject
from bastide.domain.ids import Sid
from bastide.domain.monitored import Former, Kind, Named, Seen, SignIns
from bastide.services.monitor.ports import CookieRefused, Mark, Moved

_IN_FILTER = 100
#: What can be watched. Nothing else can be asked of an object that was deleted, which keeps few attributes.
WATCHABLE = (
    "(|(objectClass=user)(objectClass=group)(objectClass=trustedDomain)(objectClass=organizationalUnit)"
    "(objectClass=container)(objectClass=builtinDomain)(objectClass=domainDNS))"
)
_PERSON_FACTS = ("displayName", "mail", "mobile", "telephoneNumber", "userPrincipalName")
#: What makes an account easier to take or to misuse; several values each.
_MISUSED = ("servicePrincipalName", "msDS-AllowedToDelegateTo")
_WEAK = {
    AccountControl.TRUSTED_FOR_DELEGATION: "trusted for delegation",
    AccountControl.TRUSTED_TO_AUTH_FOR_DELEGATION: "trusted to authenticate for delegation",
    AccountControl.DONT_REQUIRE_PREAUTH: "no pre-authentication",
}
_TRUST_FACTS = ("trustAttributes", "trustDirection", "trustType")
_SHADOW = "msDS-ShadowPrincipalSid"
_STATE = ("userAccountControl", "accountExpires", "groupType")
#: A rename or a move shows as a change of `name`.
CHANGES = (
    "name", "sAMAccountName", "member", "nTSecurityDescriptor", "securityIdentifier", *_STATE, *_PERSON_FACTS, *_MISUSED,
    *_TRUST_FACTS,
)  # fmt: skip
_LOOK = (
    "objectGUID", "objectSid", "objectClass", "sAMAccountName", "name", "trustPartner", "securityIdentifier", "member", "nTSecurityDescriptor",
    _SHADOW, *_STATE, *_PERSON_FACTS, *_MISUSED, *_TRUST_FACTS,
)  # fmt: skip
_NAMES = ("objectGUID", "objectSid", "objectClass", "sAMAccountName", "name")
_RIGHTS = LDAPControl(
    security_descriptor.CONTROL_SD_FLAGS, True, encodedControlValue=security_descriptor.OWNER_AND_DACL
)


class AdChangeFeed:
    """As the port. `places`: DNs of the containers that PAM's objects are in."""

    def __init__(self, controllers: Controllers, places: Sequence[str] = ()) -> None:
        self.connections = controllers
        self._places = places
        self._view = View(controllers)
        self.domain = controllers.domain.rstrip(".").lower()

    def controllers(self) -> int:
        return len(self.connections.names())

    def usn(self, controller: str) -> int:
        return self.connections.on(controller, _usn)

    def mark(self, controller: str = "") -> Mark:
        if controller in self.connections.names():
            with suppress(DirectoryUnavailable):
                return self.connections.on(controller, _mark)
        return self.connections.on_any("read how far the domain is", _mark)

    def heard(self, controller: str) -> Mapping[str, int]:
        base = self._base()
        return self.connections.on(controller, lambda session: cursors.heard(session, base))

    def since(self, controller: str, cookie: bytes) -> Iterator[Moved]:
        base, more = self._base(), True
        while more:
            at = cookie
            page = self.connections.on(controller, lambda session, at=at: _page(session, base, at))  # type: ignore[misc]  # mypy cannot infer a default of a lambda
            cookie, more = page.cookie, page.more
            members = frozenset(guid for guid, names in page.named.items() if "member" in names)
            yield Moved((*page.present, *page.deleted), cookie, members)

    def taken_out(
        self, controller: str, cookie: bytes, groups: Collection[str]
    ) -> Mapping[str, frozenset[Former]]:
        base, found = self._base(), dict[str, set[Former]]()
        for chunk in chunks(sorted(groups), _IN_FILTER):
            at, more = cookie, True
            while more:
                values = self.connections.on(
                    controller,
                    lambda session, chunk=chunk, at=at: _taken_out(session, base, chunk, at),  # type: ignore[misc]  # mypy cannot infer a default of a lambda
                )
                at, more = values.cookie, values.more
                for guid, gone in values.taken_away.items():
                    found.setdefault(guid, set()).update(_former(gone))
        return {guid: frozenset(gone) for guid, gone in found.items()}

    def named(self, controller: str, sids: Collection[Sid]) -> Mapping[Sid, Named]:
        base = self._base()

        def find(session: Session) -> dict[Sid, Named]:
            return {
                entry.sid(): _named(entry)
                for chunk in chunks(sorted(sids), _IN_FILTER)
                for entry in session.search(base, any_sid(chunk), _NAMES)
            }

        return self.connections.on(controller, find)

    def look(self, controller: str, guids: Collection[str]) -> Mapping[str, Seen]:
        domain = self._view.domain()
        return self.connections.on(controller, lambda session: _look(session, domain, guids))

    def present(self, controller: str, guids: Collection[str]) -> frozenset[str]:
        base = self._base()

        def find(session: Session) -> frozenset[str]:
            found: set[str] = set()
            for chunk in chunks(guids, _IN_FILTER):
                found |= {entry.guid() for entry in session.search(base, any_guid(chunk), ["objectGUID"])}
            for guid in set(guids) - found:
                with suppress(NoSuchObject):
                    found.add(session.must_read(by_guid(guid), ["objectGUID"]).guid())
            return frozenset(found)

        return self.connections.on(controller, find)

    def fixtures(self, controller: str, within: Collection[str]) -> frozenset[str]:
        base = self._base()
        above = {one for dn in (*self._places, *within) for one in containers(dn, base)}
        places = {base, f"CN=AdminSDHolder,CN=System,{base}", *self._places, *above}
        return self.connections.on(controller, lambda session: _fixtures(session, base, places))

    def sign_ins(self, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, SignIns]]:
        base = self._base()

        def count(session: Session) -> dict[Sid, SignIns]:
            found: dict[Sid, SignIns] = {}
            for chunk in chunks(accounts, _IN_FILTER):
                for entry in session.search(base, any_sid(chunk), ["objectSid", "lastLogon", "logonCount"]):
                    last = from_filetime(entry.number("lastLogon"))
                    found[entry.sid()] = SignIns(last, entry.number("logonCount"))
            return found

        answers = self.connections.on_each(count)
        return {name: one for name, one in answers.items() if not isinstance(one, DirectoryError)}

    def _base(self) -> str:
        return self._view.domain().base


def _usn(session: Session) -> int:
    return session.must_read("", ["highestCommittedUSN"]).number("highestCommittedUSN")


def _mark(session: Session) -> Mark:
    root = session.must_read("", ["highestCommittedUSN", "dsServiceName"])
    database = cursors.own(session, root.text("dsServiceName"))
    if not database:
        raise DirectoryDenied(
            f"invocationId of {session.controller} cannot be read",
            remedy="let the service account read the NTDS Settings of the controllers",
        )
    return Mark(session.controller, database, root.number("highestCommittedUSN"))


def _page(session: Session, base: str, cookie: bytes) -> dirsync.Page:
    try:
        return dirsync.page(session, base, WATCHABLE, CHANGES, cookie)
    except (DirectoryUnavailable, DirectoryDenied):
        raise
    except DirectoryError as error:
        if not cookie:
            raise
        raise CookieRefused(error.message, remedy="it is read anew by itself") from error


def _taken_out(session: Session, base: str, groups: Sequence[str], cookie: bytes) -> dirsync.Values:
    return dirsync.values_taken_away(
        session, base, f"(&(objectClass=group){any_guid(groups)})", "member", cookie
    )


def _former(values: Iterable[str]) -> Iterator[Former]:
    for value in values:
        if (sid := sid_of_dn(value)) is not None:
            yield Former(sid, first_name(plain_dn(value)))


def _named(entry: Entry) -> Named:
    name = entry.text("sAMAccountName") or entry.text("name")
    return Named(entry.sid(), name, entry.guid(), _kind(entry) is Kind.GROUP)


def _look(session: Session, domain: Domain, guids: Collection[str]) -> dict[str, Seen]:
    entries: dict[str, Entry] = {}
    for chunk in chunks(guids, _IN_FILTER):
        for entry in session.search(domain.base, any_guid(chunk), _LOOK, controls=[EXTENDED_DN, _RIGHTS]):
            entries[entry.guid()] = entry
    for guid in guids:
        # Shadow principals lie in the configuration; and that an object is gone is asked of itself.
        if guid not in entries:
            with suppress(NoSuchObject):
                entries[guid] = session.must_read(by_guid(guid), _LOOK, controls=[EXTENDED_DN, _RIGHTS])
    primary = _primary(session, domain, entries.values())
    return {guid: _seen(session, entry, primary) for guid, entry in entries.items()}


def _primary(session: Session, domain: Domain, entries: Collection[Entry]) -> dict[int, set[Sid]]:
    """Those whose primary group it is, by its RID: `member` does not list them ([MS-ADTS] 3.1.1.4.5.2)."""
    rids = [
        entry.sid().rid for entry in entries if entry.all("groupType") and entry.sid().domain == domain.sid
    ]
    found: dict[int, set[Sid]] = {}
    for chunk in chunks(rids, _IN_FILTER):
        condition = "(|" + "".join(filter_format("(primaryGroupID=%s)", [str(rid)]) for rid in chunk) + ")"
        for entry in session.search(domain.base, condition, ["objectSid", "primaryGroupID"]):
            found.setdefault(entry.number("primaryGroupID"), set()).add(entry.sid())
    return found


def _seen(session: Session, entry: Entry, primary: Mapping[int, set[Sid]]) -> Seen:
    kind = _kind(entry)
    raw = entry.all("nTSecurityDescriptor")
    names = _TRUST_FACTS if kind is Kind.TRUST else _PERSON_FACTS if kind is Kind.PERSON else ()
    facts = {name: entry.text(name) for name in names if entry.all(name)}
    if kind is Kind.PERSON:
        facts |= {name: ", ".join(sorted(entry.texts(name))) for name in _MISUSED if entry.all(name)}
        facts |= _weakness(entry.number("userAccountControl"))
    if kind is Kind.TRUST and entry.all("securityIdentifier"):
        facts["securityIdentifier"] = str(entry.sid("securityIdentifier"))
    sid = next((entry.sid(name) for name in (_SHADOW, "objectSid") if entry.all(name)), Sid(""))
    is_group = kind is Kind.GROUP
    control = entry.number("userAccountControl")
    shown = kind is Kind.PERSON and all(entry.all(name) for name in ("userAccountControl", "accountExpires"))
    return Seen(
        guid=entry.guid(),
        kind=kind,
        sid=sid,
        name=entry.text("sAMAccountName") or entry.text("trustPartner") or entry.text("name"),
        dn=plain_dn(entry.dn),
        facts=facts,
        members=tuple(sorted(_members(session, entry) | primary.get(sid.rid, set()))) if is_group else (),
        rights=security_descriptor.entries(raw[0]) if raw else None,
        enabled=not control & AccountControl.DISABLED if shown else None,
        expires=from_filetime(entry.number("accountExpires")) if kind is Kind.PERSON else None,
        scope=scope_of(entry.number("groupType")) if is_group and entry.all("groupType") else None,
        security=not entry.all("groupType") or bool(entry.number("groupType") & GroupType.SECURITY),
    )


def _weakness(control: int) -> dict[str, str]:
    found = ", ".join(word for flag, word in _WEAK.items() if control & flag)
    return {"weakness": found} if found else {}


def _kind(entry: Entry) -> Kind:
    classes = {name.lower() for name in entry.texts("objectClass")}
    if "trusteddomain" in classes:
        return Kind.TRUST
    if classes & {"group", "msds-shadowprincipal"}:
        return Kind.GROUP
    return Kind.PERSON if "user" in classes else Kind.PLACE


def _members(session: Session, entry: Entry) -> set[Sid]:
    """Of a large group the first answer holds a part ([MS-ADTS] 3.1.1.3.1.3.3)."""
    whole = any(name.startswith("member;range=") for name in entry.attributes)
    values = (
        session.values(by_guid(entry.guid()), "member", controls=[EXTENDED_DN])
        if whole
        else entry.texts("member")
    )
    return {sid for value in values if (sid := sid_of_dn(value)) is not None}


def _fixtures(session: Session, base: str, places: Collection[str]) -> frozenset[str]:
    found = {
        entry.guid()
        for entry in session.search(
            f"CN=System,{base}", "(objectClass=trustedDomain)", ["objectGUID"], scope=ldap.SCOPE_ONELEVEL
        )
    }
    for dn in sorted(places):
        with suppress(NoSuchObject):
            found.add(session.must_read(dn, ["objectGUID"]).guid())
    return frozenset(found)
