"""The account of the cluster alias in Active Directory, as the person who calls: the service account has no right to it, and gets none.

All is read and written on one controller, so that what was written is what is read back; only the version of the key is asked of each.
"""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import ldap.dn
from ldap.controls import LDAPControl
from ldap.filter import filter_format

from bastide.directory import security_descriptor
from bastide.directory.caller import caller_of, name_of, named_caller
from bastide.directory.capabilities import Domain, read_domain
from bastide.directory.constants import AES_ONLY, AccountControl
from bastide.directory.entries import Entry, child, from_filetime, same_dn
from bastide.directory.ldap import Connect, Controllers
from bastide.directory.preparer import write_password
from bastide.directory.session import DELETE, EVERY, REPLACE, Change, Session
from bastide.domain.cluster import Alias
from bastide.domain.errors import (
    DirectoryError,
    DirectoryUnavailable,
    InvalidInput,
    NoSuchObject,
)
from bastide.domain.ids import Sid, typed
from bastide.services.cluster.ports import Caller, Holders, Holding, Place, Quota

_BORN = AccountControl.WORKSTATION_TRUST | AccountControl.DISABLED | AccountControl.NOT_DELEGATED
_DELEGATES = AccountControl.TRUSTED_FOR_DELEGATION | AccountControl.TRUSTED_TO_AUTH_FOR_DELEGATION
#: msDS-AllowedToDelegateTo: constrained; the other: who may come here in the name of others ([MS-SFU] 1.3.2).
_DELEGATIONS = ("msDS-AllowedToDelegateTo", "msDS-AllowedToActOnBehalfOfOtherIdentity")
_SD = LDAPControl(
    security_descriptor.CONTROL_SD_FLAGS, True, encodedControlValue=security_descriptor.OWNER_AND_DACL
)
_ATTRIBUTES = (
    "objectClass", "userAccountControl", "servicePrincipalName", "msDS-SupportedEncryptionTypes", "msDS-KeyVersionNumber", "pwdLastSet",
    "whenCreated", "mS-DS-CreatorSID", "nTSecurityDescriptor", "allowedAttributesEffective", "adminCount", "dNSHostName", *_DELEGATIONS,
)  # fmt: skip
#: SYSTEM, administrators, account operators, the domain's controllers, the account itself (validated writes of its own names), and whoever makes it.
_TRUSTED = frozenset({"S-1-5-18", "S-1-5-32-544", "S-1-5-32-548", "S-1-5-9", "S-1-5-10", "S-1-3-0"})
#: Domain Admins, Domain Controllers, Enterprise Admins: nobody gets these numbers otherwise.
_TRUSTED_RIDS = frozenset({512, 516, 519})
_GLOBAL_CATALOG = 3268


class AdAliasDirectory:
    """As the port AliasDirectory."""

    def __init__(self, controllers: Controllers, main: str, connect: Connect) -> None:
        """`main`: the controller to work on; `connect`: also reaches its global catalog. Raises DirectoryError."""
        self._controllers = controllers
        self._main = main
        self._connect = connect
        self._domain: Domain = controllers.on(main, read_domain)
        self.domain = self._domain.dns_name

    def close(self) -> None:
        """Hang up everywhere."""
        self._controllers.close()

    def caller(self) -> Caller:
        """By the token that the controller made of the ticket."""
        return self._controllers.on(self._main, named_caller)

    def place(self, dn: str) -> Place:
        """Raises InvalidInput for what is no DN."""
        try:
            parts = ldap.dn.str2dn(dn)
        except ldap.DECODING_ERROR:
            raise InvalidInput(
                "ou", f"{typed(dn)} is no distinguished name", remedy=f"as in OU=Servers,{self._domain.base}"
            ) from None

        def look(session: Session) -> Place:
            wanted = ["objectClass", "name", "allowedChildClassesEffective"]
            entry = _read(session, dn, wanted)
            if entry is not None:
                creates = "computer" in entry.texts("allowedChildClassesEffective")
                return Place(
                    dn, found=True, readable=bool(entry.text("objectClass")), creates=creates, deepest=dn
                )
            above = [ldap.dn.dn2str(parts[n:]) for n in range(1, len(parts))]
            deepest = next((one for one in above if _read(session, one, ["objectClass"])), "")
            listed = bool(above) and deepest == above[0] and _is_listed(session, dn, deepest)
            return Place(dn, found=listed, readable=False, creates=False, deepest=deepest)

        return self._controllers.on(self._main, look)

    def quota(self) -> Quota:
        def look(session: Session) -> Quota:
            top = session.must_read(self._domain.base, ["ms-DS-MachineAccountQuota"])
            mine = filter_format("(mS-DS-CreatorSID=%s)", [caller_of(session)])
            made = session.search(self._domain.base, mine, ["cn"])
            return Quota(top.number("ms-DS-MachineAccountQuota"), len(made))

        return self._controllers.on(self._main, look)

    def find(self, alias: Alias) -> Holding | None:
        def look(session: Session) -> Holding | None:
            condition = filter_format("(sAMAccountName=%s)", [alias.account])
            found = session.search(self._domain.base, condition, _ATTRIBUTES, controls=[_SD])
            return _holding(session, found[0]) if found else None

        return self._controllers.on(self._main, look)

    def holders(self, spn: str) -> Holders:
        """By the global catalog, which knows the whole forest ([MS-ADTS] 3.1.1.1.9: servicePrincipalName is in the partial attribute set)."""
        condition = filter_format("(servicePrincipalName=%s)", [spn])
        try:
            session, _ = self._connect(f"{self._main}:{_GLOBAL_CATALOG}")
        except DirectoryUnavailable:
            found = self._controllers.on(
                self._main, lambda session: session.search(self._domain.base, condition, ["cn"])
            )
            return Holders(tuple(entry.dn for entry in found), whole=False)
        try:
            return Holders(tuple(entry.dn for entry in session.search("", condition, ["cn"])), whole=True)
        finally:
            session.raw.unbind_ext_s()

    def create(self, alias: Alias, place: str) -> str:
        """In one write: its maker may not write msDS-SupportedEncryptionTypes afterwards (met on Samba)."""
        dn = child(alias.name, place)
        values: dict[str, Sequence[bytes]] = {
            "objectClass": [b"top", b"person", b"organizationalPerson", b"user", b"computer"],
            "sAMAccountName": [alias.account.encode()],
            **{name: held for name, held in _wanted(alias).items() if held},
        }
        self._controllers.on(self._main, lambda session: session.add(dn, values), repeat=False)
        return dn

    def adopt(self, dn: str, alias: Alias) -> None:
        """Only what differs is written: who may not write the rest need not."""

        def change(session: Session) -> None:
            found = session.must_read(dn, _ATTRIBUTES)
            changes: list[Change] = [
                (REPLACE, name, list(held))
                for name, held in _wanted(alias).items()
                if sorted(found.all(name)) != sorted(held)
            ]
            changes += [(DELETE, name, None) for name in _DELEGATIONS if found.all(name)]
            if changes:
                session.modify(dn, changes)

        self._controllers.on(self._main, change)

    def set_password(self, dn: str, password: str) -> None:
        """Never twice: a second time would be another version."""
        self._controllers.on(self._main, lambda session: write_password(session, dn, password), repeat=False)

    def set_enabled(self, dn: str, *, enabled: bool) -> None:
        def change(session: Session) -> None:
            now = session.must_read(dn, ["userAccountControl"]).number("userAccountControl")
            after = now & ~AccountControl.DISABLED if enabled else now | AccountControl.DISABLED
            session.modify(dn, [(REPLACE, "userAccountControl", [str(int(after)).encode()])])

        self._controllers.on(self._main, change)

    def delete(self, dn: str) -> None:
        """Gone already is fine."""

        def gone(session: Session) -> None:
            try:
                session.delete(dn)
            except NoSuchObject:
                return

        self._controllers.on(self._main, gone)

    def versions(self, dn: str) -> Mapping[str, int | str]:
        answers = self._controllers.on_each(lambda session: session.must_read(dn, ["msDS-KeyVersionNumber"]))
        return {
            name: answer.message
            if isinstance(answer, DirectoryError)
            else answer.number("msDS-KeyVersionNumber")
            for name, answer in answers.items()
        }


def _wanted(alias: Alias) -> Mapping[str, Sequence[bytes]]:
    return {
        "userAccountControl": [str(int(_BORN)).encode()],
        "dNSHostName": [alias.fqdn.encode()],
        "servicePrincipalName": [spn.encode() for spn in alias.spns],
        "msDS-SupportedEncryptionTypes": [str(AES_ONLY).encode()],
    }


def _read(session: Session, dn: str, wanted: Sequence[str]) -> Entry | None:
    try:
        return session.read(dn, wanted)
    except NoSuchObject:
        return None


def _is_listed(session: Session, dn: str, above: str) -> bool:
    """Whether the container above names it: List Contents there is enough, the object itself may be closed."""
    found = session.search(above, EVERY, ["1.1"], scope=ldap.SCOPE_ONELEVEL)
    return any(same_dn(entry.dn, dn) for entry in found)


def _holding(session: Session, entry: Entry) -> Holding:
    control = entry.number("userAccountControl")
    me = caller_of(session)
    raw = next(iter(entry.all("nTSecurityDescriptor")), b"")
    owner, masters = _owner_and_masters(raw)
    classes = entry.texts("objectClass")
    return Holding(
        dn=entry.dn,
        computer="computer" in classes
        and bool(control & AccountControl.WORKSTATION_TRUST)
        and not entry.number("adminCount"),
        enabled=not control & AccountControl.DISABLED,
        spns=entry.texts("servicePrincipalName"),
        encryption=entry.number("msDS-SupportedEncryptionTypes"),
        delegates=bool(control & _DELEGATES) or any(entry.all(name) for name in _DELEGATIONS),
        version=entry.number("msDS-KeyVersionNumber"),
        changed=from_filetime(entry.number("pwdLastSet")),
        made=_time(entry.text("whenCreated")),
        owner=name_of(session, owner) if owner else "somebody who is not shown",
        owner_trusted=owner is not None and (owner == me or _is_trusted(owner)),
        by_quota=bool(entry.all("mS-DS-CreatorSID")),
        masters=tuple(
            sorted({name_of(session, one) for one in masters if one != me and not _is_trusted(one)})
        ),
        writable=frozenset(name.lower() for name in entry.texts("allowedAttributesEffective")),
    )


def _owner_and_masters(raw: bytes) -> tuple[Sid | None, frozenset[Sid]]:
    """Nothing where the descriptor is not shown; whose account that is is then not known, and not trusted."""
    try:
        return security_descriptor.owner(raw), frozenset(security_descriptor.masters(raw))
    except (struct.error, InvalidInput, IndexError):
        return None, frozenset()


def _is_trusted(sid: Sid) -> bool:
    return sid in _TRUSTED or (sid.startswith("S-1-5-21-") and sid.rid in _TRUSTED_RIDS)


def _time(text: str) -> datetime:
    """GeneralizedTime, as whenCreated is always there ([MS-ADTS] 3.1.1.1.7)."""
    return datetime.strptime(text.split(".", 1)[0], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
