"""Active Directory as the port Directory wants it: Windows or Samba, told apart only by what they prove to be able to do."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from ldap.filter import filter_format

from bastide.directory import everywhere, membership, nesting
from bastide.directory.capabilities import Domain, View
from bastide.directory.constants import MATCH_IN_CHAIN, NO_END, SHADOW_PRINCIPALS, AccountControl
from bastide.directory.entries import (
    GROUP_ATTRIBUTES,
    PERSON_ATTRIBUTES,
    Entry,
    any_sid,
    by_guid,
    by_sid,
    from_filetime,
    group,
    guid_of_dn,
    person,
    require_shown,
    scope_of,
    sid_of_dn,
    to_filetime,
)
from bastide.directory.ldap import Controllers
from bastide.directory.names import TypedName, not_found, read_name, require_domain
from bastide.directory.session import EXTENDED_DN, REPLACE, Change, Session
from bastide.domain.errors import (
    Ambiguous,
    CapabilityMissing,
    DirectoryDenied,
    DirectoryError,
    NoSuchObject,
    NotFound,
)
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.ports import Above, AccountState, Capabilities, Controller, Group, Person

_T = TypeVar("_T")
_IN_FILTER = 100
#: SAM_NORMAL_USER_ACCOUNT ([MS-SAMR] 2.2.1.9): people, not computers, and not the accounts of trusts, which are users too.
_PERSON = "(sAMAccountType=805306368)"
#: From so many accounts on, sharing out pays.
_MANY = 64
_STATE = ("objectSid", "userAccountControl", "accountExpires", "memberOf")


class ActiveDirectory:
    """Directory over LDAP."""

    forest: Forest

    def __init__(self, forest: Forest, controllers: Controllers) -> None:
        self.forest = forest
        self.connections = controllers
        self._view = View(controllers)

    def close(self) -> None:
        """Hang up everywhere."""
        self.connections.close()

    def domain(self) -> Domain:
        """Names and SID of the domain; read once."""
        return self._view.domain()

    def capabilities(self) -> Capabilities:
        return self._view.capabilities()

    def controllers(self) -> tuple[Controller, ...]:
        return self.connections.probe()

    # ------------------------------------------------------------------------------------------------ finding

    def find_person(self, name: str) -> Person:
        wanted = self._read_name(name)
        condition = f"(&{_PERSON}{_name_filter(wanted, self.domain().dns_name)})"
        return self._person(self._only("person", wanted, self._search(condition, PERSON_ATTRIBUTES)))

    def find_group(self, name: str) -> Group:
        wanted = self._read_name(name)
        if wanted.upn:
            raise not_found("group", wanted, self.domain().dns_name)
        condition = f"(&(objectClass=group){_name_filter(wanted, '')})"
        return group(self._only("group", wanted, self._search(condition, GROUP_ATTRIBUTES)))

    def find_caller(self, name: str) -> tuple[Person, frozenset[Sid]]:
        """As the port says. By SID it is one question: every call of a session asks it."""
        wanted = self._read_name(name)
        sid = wanted.sid or self.find_person(name).ref.sid
        return self._somebody(
            wanted, self.connections.on_any("read a caller", lambda s: self._with_groups(s, sid))
        )

    def groups_above(self, sids: Collection[Sid], *, most: int) -> Above:
        domain = self.domain()
        return self.connections.on_any(
            "read nested groups", lambda s: nesting.above(s, domain, sids, most=most)
        )

    def find_everywhere(self, account: Sid) -> tuple[Person, frozenset[Sid]]:
        wanted = self._read_name(account)
        answers = self.connections.on_reachable("read a person", lambda s: self._with_groups(s, account))
        return self._somebody(wanted, everywhere.strictest(answers.values()))

    def groups_everywhere(self, sids: Collection[Sid], *, most: int) -> Above:
        domain = self.domain()

        def ask(wanted: Collection[Sid]) -> Collection[Above]:
            return self.connections.on_reachable(
                "read nested groups", lambda s: nesting.above(s, domain, wanted, most=most)
            ).values()

        return everywhere.together(ask, sids)

    def people_in(self, group: Sid) -> tuple[Person, ...]:
        found = self._search(f"(&(objectClass=group){any_sid([group])})", ["objectSid"])
        if not found:
            raise NotFound(f"there is no group {group} in {self.domain().dns_name}")
        inside = filter_format(f"(memberOf:{MATCH_IN_CHAIN}:=%s)", [found[0].dn])
        if group.domain == self.domain().sid:
            inside = f"(|{inside}(primaryGroupID={group.rid}))"
        # Sorted out here and not in the filter: where userAccountControl is not shown, a filter would let everybody pass.
        people = [self._person(entry) for entry in self._search(f"(&{_PERSON}{inside})", PERSON_ATTRIBUTES)]
        return tuple(sorted((p for p in people if p.enabled), key=lambda p: p.ref.name))

    def names(self, sids: Collection[Sid]) -> Mapping[Sid, str]:
        domain = self.domain()

        def find(session: Session) -> dict[Sid, str]:
            return {
                entry.sid(): name
                for chunk in membership.chunks(sorted(sids), _IN_FILTER)
                for entry in session.search(domain.base, any_sid(chunk), ["objectSid", "sAMAccountName"])
                if (name := entry.text("sAMAccountName"))
            }

        return self.connections.on_any("look up names", find)

    def members_of(self, group: ObjectRef) -> frozenset[Sid]:
        return frozenset().union(*self.members_on(group).values())

    def members_on(self, group: ObjectRef) -> Mapping[str, frozenset[Sid]]:
        """As the port says; those whose primary group it is count too, although `member` does not list them."""
        domain = self.domain()

        def read(session: Session) -> frozenset[Sid]:
            found = membership.all_present(session, group)
            if group.sid.domain == domain.sid:
                primary = f"(primaryGroupID={group.sid.rid})"
                found |= {entry.sid() for entry in session.search(domain.base, primary, ["objectSid"])}
            return found

        answers = self._where_group_is("read members", read)
        return {name: answer or frozenset() for name, answer in answers.items()}

    # ---------------------------------------------------------------------------------------------- observing

    def observe(self, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, AccountState]]:
        domain, shadows = self.domain(), self.capabilities().shadow_principals

        def look(session: Session) -> dict[Sid, AccountState]:
            extra = _shadow_groups(session, domain) if shadows else {}
            found: dict[Sid, AccountState] = {}
            for chunk in membership.chunks(accounts, _IN_FILTER):
                for entry in session.search(domain.base, any_sid(chunk), _STATE, controls=[EXTENDED_DN]):
                    found[entry.sid()] = _state(entry, extra.get(entry.sid(), frozenset()))
            return found

        return self.connections.on_reachable("observe accounts", look)

    def observe_link(self, group: ObjectRef, member: Sid) -> Mapping[str, bool | None]:
        return self._where_group_is("observe a link", lambda s: bool(membership.present(s, group, [member])))

    def time_left(self, group: ObjectRef, member: Sid) -> Mapping[str, timedelta | None]:
        domain = self.domain()
        if not self.capabilities().link_ttl:
            return {name: None for name, there in self.observe_link(group, member).items() if there}
        answers = self._where_group_is(
            "read time limits", lambda s: membership.time_left(s, domain, group, member)
        )
        return {name: answer[member] for name, answer in answers.items() if answer and member in answer}

    # ------------------------------------------------------------------------------------------------ writing

    def add_members(
        self, group: ObjectRef, members: Collection[Sid], ttl: Mapping[Sid, timedelta] | None = None
    ) -> None:
        """As the port says. A foreign member is written on one controller only while no object stands for it: two would be made."""
        domain, limits = self.domain(), ttl or {}
        if limits and not self.capabilities().link_ttl:
            raise CapabilityMissing(
                f"{domain.dns_name} has no time-limited links: {self.capabilities().evidence['link_ttl']}",
                remedy="enable the Privileged Access Management feature, or let the role use dormant-account",
            )
        foreign = {sid for sid in members if sid.domain != domain.sid}
        own = [sid for sid in members if sid not in limits and sid not in foreign]
        limited = {sid: limits[sid] for sid in members if sid in limits}
        if foreign:
            self._add_foreign(group, foreign, limited)
            limited = {sid: left for sid, left in limited.items() if sid not in foreign}
        if not own and not limited:
            return

        def write(session: Session) -> list[Sid]:
            if limited:
                membership.add_limited(session, domain, group, limited)
            return membership.add(session, domain, group, own)

        nobody = set.intersection(
            *(set(answer or ()) for answer in self._where_group_is("add members", write).values())
        )
        if nobody:
            raise NoSuchObject(f"no such member for {group.name}: {', '.join(sorted(nobody))}")

    def remove_members(self, group: ObjectRef, members: Collection[Sid]) -> None:
        domain = self.domain()
        self.connections.on_reachable(
            "remove members", lambda s: membership.remove(s, domain, group, members)
        )

    def set_ends(self, ends: Mapping[Sid, datetime | None]) -> Mapping[Sid, str]:
        """As the port says. Many accounts are first shared out between the controllers, and then each writes what it has not heard of yet:
        a thousand ends written on both of two controllers took 5 to 40 s, since each also replays those of the other; shared out 4.4 s (measured).
        Never is written as never: Samba's KDC sells no ticket to an account that ends in the year 9000 or 9999 (measured; 2400 is well).
        """
        domain, names = self.domain(), self.connections.names()
        wanted = {sid: str(NO_END if end is None else to_filetime(end)).encode() for sid, end in ends.items()}
        if len(wanted) >= _MANY and len(names) > 1:
            self.connections.on_each(lambda s: _write_ends(s, domain, _share(wanted, names, s.controller)))
        answers = self.connections.on_reachable("set account ends", lambda s: _write_ends(s, domain, wanted))
        wrong: dict[Sid, str] = {}
        for sid in ends:
            errors = [refused[sid] for refused in answers.values() if sid in refused]
            real = [error for error in errors if not isinstance(error, NoSuchObject)]
            # A controller that has not heard of a new account yet will learn its end together with the account.
            if real or len(errors) == len(answers):
                wrong[sid] = (real or errors)[0].message
        return wrong

    # ------------------------------------------------------------------------------------------------ helpers

    def _add_foreign(
        self, group: ObjectRef, foreign: Collection[Sid], limits: Mapping[Sid, timedelta]
    ) -> None:
        domain = self.domain()
        permanent = [sid for sid in foreign if sid not in limits]
        limited = {sid: limits[sid] for sid in foreign if sid in limits}

        def write(session: Session, sids: Collection[Sid]) -> None:
            membership.add(session, domain, group, [sid for sid in permanent if sid in sids])
            if limited:
                membership.add_limited(
                    session, domain, group, {s: t for s, t in limited.items() if s in sids}
                )

        def first(session: Session) -> None:
            _require_local(session, group)
            write(session, foreign)

        def where_known(session: Session) -> None:
            known = session.search(domain.base, any_sid(foreign), ["objectSid"])
            write(session, {entry.sid() for entry in known})

        self.connections.on_any("add foreign members", first)
        self._where_group_is("add foreign members", where_known)

    def _where_group_is(self, doing: str, action: Callable[[Session], _T]) -> Mapping[str, _T | None]:
        """On every reachable controller; None where the group has not arrived yet. Raises NoSuchObject if no controller has it."""

        def one(session: Session) -> tuple[_T | None, NoSuchObject | None]:
            try:
                return action(session), None
            except NoSuchObject as error:
                return None, error

        answers = self.connections.on_reachable(doing, one)
        gone = [error for _, error in answers.values() if error is not None]
        if len(gone) == len(answers):
            raise gone[0]
        return {name: answer for name, (answer, _) in answers.items()}

    def _search(self, condition: str, attributes: Collection[str]) -> list[Entry]:
        domain = self.domain()
        return self.connections.on_any("search", lambda s: s.search(domain.base, condition, list(attributes)))

    def _read_name(self, name: str) -> TypedName:
        wanted = read_name(name)
        require_domain(wanted, self.domain().netbios, self.domain().dns_name)
        return wanted

    def _only(self, kind: str, name: TypedName, found: list[Entry]) -> Entry:
        if len(found) > 1:
            listed = ", ".join(sorted(entry.dn for entry in found))
            raise Ambiguous(f"{name.text!r} fits several: {listed}", remedy="give the SID")
        if not found:
            raise not_found(kind, name, self.domain().dns_name)
        return found[0]

    def _with_groups(self, session: Session, sid: Sid) -> everywhere.Said:
        """Raises DirectoryDenied."""
        try:
            entry = session.read(by_sid(sid), [*PERSON_ATTRIBUTES, "tokenGroups"], condition=_PERSON)
        except NoSuchObject:
            return None
        if entry is None:
            return None
        if not entry.all("tokenGroups"):
            raise DirectoryDenied(
                f"the groups of {sid} cannot be read on {session.controller}",
                remedy="put the service account into Windows Authorization Access Group, or run the delegation script",
            )
        return self._person(entry), frozenset(Sid.from_bytes(raw) for raw in entry.all("tokenGroups"))

    def _somebody(self, name: TypedName, said: everywhere.Said) -> tuple[Person, frozenset[Sid]]:
        if said is None:
            raise not_found("person", name, self.domain().dns_name)
        return said

    def _person(self, entry: Entry) -> Person:
        return person(entry, self.domain().dns_name)


def _share(wanted: Mapping[Sid, bytes], names: Sequence[str], controller: str) -> dict[Sid, bytes]:
    """Of a controller that DNS named only just now nothing: it writes what it has not heard of afterwards, as all do."""
    mine = names.index(controller) if controller in names else len(wanted)
    return {sid: wanted[sid] for sid in list(wanted)[mine :: len(names)]}


def _write_ends(session: Session, domain: Domain, wanted: Mapping[Sid, bytes]) -> dict[Sid, DirectoryError]:
    """Write accountExpires where it is another. Returns what was refused."""
    have: dict[Sid, bytes] = {}
    for chunk in membership.chunks(wanted, _IN_FILTER):
        for entry in session.search(domain.base, any_sid(chunk), ["objectSid", "accountExpires"]):
            have[entry.sid()] = next(iter(entry.all("accountExpires")), b"")
    changes: dict[Sid, tuple[str, list[Change]]] = {
        sid: (by_sid(sid), [(REPLACE, "accountExpires", [value])])
        for sid, value in wanted.items()
        if have.get(sid) != value
    }
    return session.modify_each(changes)


def _name_filter(name: TypedName, dns_name: str) -> str:
    """What a typed name means ([MS-ADTS] 5.1.1.1.1: without a userPrincipalName, account@domain is implied)."""
    if name.sid is not None:
        return any_sid([name.sid])
    if not name.upn:
        return str(filter_format("(sAMAccountName=%s)", [name.account]))
    account, _, suffix = name.upn.rpartition("@")
    if suffix.lower() != dns_name.lower():
        return str(filter_format("(userPrincipalName=%s)", [name.upn]))
    return str(filter_format("(|(userPrincipalName=%s)(sAMAccountName=%s))", [name.upn, account]))


def _state(entry: Entry, more: frozenset[str]) -> AccountState:
    require_shown(entry)
    return AccountState(
        enabled=not entry.number("userAccountControl") & AccountControl.DISABLED,
        expires=from_filetime(entry.number("accountExpires")),
        groups=frozenset(guid_of_dn(dn) for dn in entry.texts("memberOf")) | more,
    )


def _shadow_groups(session: Session, domain: Domain) -> dict[Sid, frozenset[str]]:
    """SID of a member to the GUIDs of its shadow principals: read from the principals' side, since they live in the configuration."""
    found: dict[Sid, frozenset[str]] = {}
    container = f"{SHADOW_PRINCIPALS},{domain.configuration}"
    for entry in session.search(
        container, "(objectClass=msDS-ShadowPrincipal)", ["objectGUID", "member"], controls=[EXTENDED_DN]
    ):
        for value in entry.texts("member"):
            sid = sid_of_dn(value)
            if sid is not None:
                found[sid] = found.get(sid, frozenset()) | {entry.guid()}
    return found


def _require_local(session: Session, group: ObjectRef) -> None:
    """Samba takes a foreign member into any group without a word, and then ignores it; Windows refuses. So the scope is asked."""
    scope = scope_of(session.must_read(by_guid(group.guid), ["groupType"]).number("groupType"))
    if scope not in {Scope.DOMAIN_LOCAL, Scope.BUILTIN}:
        raise CapabilityMissing(
            f"{group.name} is a {scope.value} group: it takes no member of another forest",
            remedy="use a domain-local group, or a shadow principal",
        )
