"""What is watched in a directory, as it was last seen, and what its change means. Read: `now` is an argument, and so is what PAM knows.

A `Seen` is one object at one moment. `Watched` keeps the newest of it beside what was accepted: the first that was seen, or what an administrator said is right.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain import carriers
from bastide.domain.errors import Conflict
from bastide.domain.ids import GroupId, ObjectRef, Sid, UserId
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import LIVE, Request, State
from bastide.domain.roles import Carrier, Link, PamGroup, Scope

#: What Kerberos lets clocks differ (RFC 4120 1.6).
SKEW = timedelta(minutes=5)
#: A link with a time limit ends by the controller's clock, in whole seconds.
_ALMOST = timedelta(seconds=10)


class Kind(StrEnum):
    """What an object is to us."""

    PERSON = "person"
    GROUP = "group"
    #: A container, the root of a domain, AdminSDHolder: only its permissions count.
    PLACE = "place"
    TRUST = "trust"


@dataclass(frozen=True, slots=True)
class Named:
    """A member of a group that was looked up."""

    sid: Sid
    name: str
    guid: str
    is_group: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """One object of a domain. `facts`: attributes by their names in the directory, as text. `members`: of a group, with those whose primary group it is.
    `rights`: owner and explicit entries of its permissions, sorted; None: they are not shown to us.
    """

    guid: str
    kind: Kind
    sid: Sid
    name: str
    dn: str
    facts: Mapping[str, str] = field(default_factory=dict)
    members: tuple[Sid, ...] = ()
    rights: tuple[str, ...] | None = None
    #: Of a person: whether it can sign in but for its end; None: it is not shown to us, and nothing is concluded from that.
    enabled: bool | None = None
    expires: datetime | None = None
    scope: Scope | None = None
    #: Of a group: whether it carries rights at all.
    security: bool = True
    #: Of a group: members that are groups, and who joined since it is watched (services/monitor/within.py); None: nobody was looked up yet.
    named: tuple[Named, ...] | None = None

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(guid=self.guid, sid=self.sid, dn=self.dn, name=self.name)

    def open_at(self, now: datetime) -> bool:
        """Of a person: neither disabled nor expired."""
        return bool(self.enabled) and (self.expires is None or self.expires > now)


@dataclass(frozen=True, slots=True)
class Watched:
    """An object now, and as it was accepted. `gone_at`: since when it is not found any more, or not shown; `let_go`: and that was accepted, while what was
    accepted of the object is kept: it may be shown again.
    """

    domain: Forest
    now: Seen
    accepted: Seen
    gone_at: datetime | None = None
    #: Of a PRIV account, by controller: what was counted at the last look.
    signs: Mapping[str, "SignIns"] = field(default_factory=dict)
    let_go: bool = False
    #: Of a group: what may be told again of who left it.
    echoes: tuple["Echo", ...] = ()
    #: Something of it is as another controller showed it, which the one that is read now may not have heard (domain/lagging.py).
    kept: bool = False

    @property
    def is_missed(self) -> bool:
        """Gone, and nobody said that it may be."""
        return self.gone_at is not None and not self.let_go

    @property
    def guid(self) -> str:
        return self.now.guid

    def lost(self, seen: Seen) -> frozenset[Sid]:
        """Members that another look does not show in it."""
        return frozenset(self.now.members) - frozenset(seen.members)


@dataclass(frozen=True, slots=True)
class Former:
    """Who was a member of a group. `name`: as the directory writes it; of a foreign one its SID."""

    sid: Sid
    name: str


@dataclass(frozen=True, slots=True)
class Echo:
    """That somebody was taken out is told again: so many times at most, until then (domain/passing.py)."""

    sid: Sid
    times: int
    until: datetime


@dataclass(frozen=True, slots=True)
class SignIns:
    """What one controller counted for an account (lastLogon and logonCount do not replicate)."""

    last: datetime | None
    count: int


@dataclass(frozen=True, slots=True)
class Pam:
    """What the database says at one moment. `live`: requests of which something may be in the directory."""

    users: tuple[PamUser, ...]
    groups: tuple[PamGroup, ...]
    live: tuple[Request, ...]

    def holders(self) -> Mapping[GroupId, frozenset[UserId]]:
        """By group: whose membership a request explains."""
        found: dict[GroupId, set[UserId]] = {}
        for request in self.live:
            if request.state in LIVE:
                for group in request.privileges:
                    found.setdefault(group, set()).add(request.user)
        return {group: frozenset(users) for group, users in found.items()}

    def due(self, now: datetime) -> Mapping[GroupId, frozenset[UserId]]:
        """By group: who must be in it. Only access that was read back, goes on for a while, and is not being written again."""
        found: dict[GroupId, set[UserId]] = {}
        for request in self.live:
            settled = request.state is State.ACTIVE and request.extend_to is None
            if settled and request.ends_at is not None and request.ends_at > now + _ALMOST:
                for group in request.privileges:
                    found.setdefault(group, set()).add(request.user)
        return {group: frozenset(users) for group, users in found.items()}


@dataclass(frozen=True, slots=True)
class Moment:
    """The database just before the directory was read, and just after: what either explains is explained, and what both demand is demanded."""

    before: Pam
    after: Pam
    now: datetime

    def explained(self, group: GroupId) -> frozenset[Sid]:
        """PRIV accounts that may be in a PAM group."""
        users = self.before.holders().get(group, frozenset()) | self.after.holders().get(group, frozenset())
        return frozenset(user.priv.sid for user in self.after.users if user.id in users)

    def demanded(self, group: GroupId) -> frozenset[UserId]:
        """Who must be in it."""
        return self.before.due(self.now).get(group, frozenset()) & self.after.due(self.now).get(
            group, frozenset()
        )

    def linked(self, group: PamGroup) -> bool:
        """Whether the PRIV group may be in the CORP group."""
        earlier = next((one for one in self.before.groups if one.id == group.id), group)
        return group.link is not Link.ABSENT or earlier.link is not Link.ABSENT

    def must_link(self, group: PamGroup) -> bool:
        """Whether it must be."""
        earlier = next((one for one in self.before.groups if one.id == group.id), None)
        return (
            group.link is Link.PRESENT
            and earlier is not None
            and earlier.link is Link.PRESENT
            and bool(self.demanded(group.id))
        )


# ------------------------------------------------------------------------------------------------------------- following


@dataclass(frozen=True, slots=True)
class Moved:
    """A person or a group behind a PAM object has another name or place."""

    user: UserId | None
    group: GroupId | None
    side: Forest
    ref: ObjectRef


@dataclass(frozen=True, slots=True)
class Left:
    """A person is disabled, expired or gone: what they have ends."""

    user: UserId
    why: str
    gone: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """A PAM group carries nothing any more: nothing that gives it begins."""

    group: GroupId
    why: str


@dataclass(frozen=True, slots=True)
class Back:
    """A PAM group that was switched off carries again."""

    group: GroupId


@dataclass(frozen=True, slots=True)
class Rescoped:
    """The CORP group has another scope, which its carrier can still carry."""

    group: GroupId
    scope: Scope


@dataclass(frozen=True, slots=True)
class Noted:
    """Something about a person changed that PAM takes from the directory each time: where they are reached, what they are called."""

    user: UserId
    attributes: tuple[str, ...]


Step = Moved | Left | Lost | Back | Rescoped | Noted
#: Of a CORP person: what is said when it changes. Values are theirs and in no record.
CONTACT = ("displayName", "mail", "mobile", "telephoneNumber", "userPrincipalName")

#: Of an account, as facts: what makes it easier to take or to misuse. `weakness`: in words, out of userAccountControl.
WEAKENING = ("weakness", "servicePrincipalName", "msDS-AllowedToDelegateTo")


def follow(
    watched: Mapping[str, Watched],
    before: Mapping[str, Watched],
    pam: Pam,
    side: Forest,
    now: datetime,
    *,
    single_forest: bool,
) -> Iterator[Step]:
    """What the database does about what one domain shows. `before`: as it was stored; what ends is decided by what is, not by what changed."""
    for user in pam.users:
        person = watched.get(user.corp.guid) if side is Forest.CORP or single_forest else None
        if person is not None:
            yield from _person(user, person, before.get(user.corp.guid), side, now)
        account = watched.get(user.priv.guid) if side is Forest.PRIV else None
        if account is not None and account.gone_at is None and _place(account.now) != _place(user.priv):
            yield Moved(user.id, None, Forest.PRIV, account.now.ref)
    for group in pam.groups:
        yield from _group(group, watched, side)


def _person(
    user: PamUser, one: Watched, before: Watched | None, side: Forest, now: datetime
) -> Iterator[Step]:
    if one.gone_at is not None:
        yield Left(user.id, "the person's account is gone from the directory", gone=True)
        return
    if one.now.enabled is False:
        yield Left(user.id, "the person's account is disabled", gone=False)
    elif one.now.enabled and not one.now.open_at(now):
        yield Left(user.id, "the person's account has expired", gone=False)
    if _place(one.now) != _place(user.corp):
        yield Moved(user.id, None, side, one.now.ref)
    if before is not None and before.gone_at is None:
        changed = tuple(
            name for name in CONTACT if one.now.facts.get(name, "") != before.now.facts.get(name, "")
        )
        if changed:
            yield Noted(user.id, changed)


def _group(group: PamGroup, watched: Mapping[str, Watched], side: Forest) -> Iterator[Step]:
    priv = watched.get(group.priv.guid) if side is Forest.PRIV else None
    if priv is not None and priv.gone_at is None and _place(priv.now) != _place(group.priv):
        yield Moved(None, group.id, Forest.PRIV, priv.now.ref)
    corp_side = Forest.PRIV if group.carrier is Carrier.DIRECT else Forest.CORP
    corp = watched.get(group.corp.guid) if side is corp_side else None
    if corp is None:
        return
    if corp.gone_at is not None:
        if corp.let_go:
            return
        yield Lost(group.id, "the group behind it is gone from the directory")
        return
    if group.carrier is not Carrier.DIRECT and _place(corp.now) != _place(group.corp):
        yield Moved(None, group.id, Forest.CORP, corp.now.ref)
    if corp.now.scope is not None:
        yield from _carried(group, corp.now, corp.now.scope)


def _carried(group: PamGroup, seen: Seen, scope: Scope) -> Iterator[Step]:
    try:
        carriers.check(
            seen.name,
            scope,
            group.carrier,
            security=seen.security,
            shadow_principals=True,
            single_forest=group.carrier is Carrier.DIRECT,
        )
    except Conflict as error:
        yield Lost(group.id, error.message)
        return
    if scope is not group.scope:
        yield Rescoped(group.id, scope)
    if not group.enabled:
        yield Back(group.id)


def _place(one: Seen | ObjectRef) -> tuple[str, str]:
    return one.name, one.dn


# ------------------------------------------------------------------------------------------------------------ the watched


def wanted(pam: Pam, side: Forest, *, single_forest: bool) -> frozenset[str]:
    """GUIDs of the objects of a domain that PAM stands on."""
    found: set[str] = set()
    for user in pam.users:
        if side is Forest.PRIV:
            found.add(user.priv.guid)
        if side is Forest.CORP or single_forest:
            found.add(user.corp.guid)
    for group in pam.groups:
        if side is Forest.PRIV:
            found.add(group.priv.guid)
        elif group.carrier is not Carrier.DIRECT:
            found.add(group.corp.guid)
    return frozenset(found)


def own_sids(pam: Pam, side: Forest) -> frozenset[str]:
    """SIDs of a domain, without RID. A shadow principal has the SID of the other one."""
    if side is Forest.CORP:
        refs = [user.corp for user in pam.users]
        refs += [group.corp for group in pam.groups if group.carrier is not Carrier.DIRECT]
    else:
        refs = [user.priv for user in pam.users]
        refs += [group.priv for group in pam.groups if group.carrier is not Carrier.SHADOW_PRINCIPAL]
    return frozenset(ref.sid.domain for ref in refs)


def carrying(watched: Mapping[str, Watched], pam: Pam, side: Forest) -> frozenset[str]:
    """DNs of the groups that are watched, and of the PRIV accounts: whoever may write one of them has what it gives."""
    return frozenset(one.now.dn for one in _giving(watched, pam, side) if one.gone_at is None)


def _giving(watched: Mapping[str, Watched], pam: Pam, side: Forest) -> list[Watched]:
    accounts = {user.priv.guid for user in pam.users} if side is Forest.PRIV else set()
    return [one for guid, one in watched.items() if one.now.kind is Kind.GROUP or guid in accounts]


def places_kept(
    idle: Collection[str],
    watched: Mapping[str, Watched],
    before: Mapping[str, Watched],
    pam: Pam,
    side: Forest,
) -> frozenset[str]:
    """Of what nobody asked for, the containers that are watched on: one that has another DN than `before` was asked for by that, and what gives privileges may
    lie in it, also while it is hidden.
    """
    giving = [one.now for one in _giving(watched, pam, side) if one.guid not in idle]
    return frozenset(
        guid
        for guid in idle
        if (one := watched[guid]).now.kind is Kind.PLACE
        and (
            (guid in before and before[guid].now.dn != one.now.dn)
            or any(lies_in(each, one.now) for each in giving)
        )
    )


def first(side: Forest, seen: Seen, ours: Collection[Sid], *, later: bool) -> Watched:
    """An object that was not watched before: as it is, it is right, but for members that only a grant explains; and for a trust that came `later` than the
    first read of its domain, which nobody accepted.
    """
    kept = tuple(sid for sid in seen.members if sid not in set(ours))
    facts = {} if later and seen.kind is Kind.TRUST else seen.facts
    return Watched(side, seen, replace(seen, members=kept, facts=facts, named=None))


def again(old: Watched, seen: Seen | None, now: datetime, places: Collection[Watched]) -> Watched:
    """The object after another look; None: it was not found. Who was accepted in a group and was seen to be out of it is accepted no more: who comes back is
    told. `places`: of its domain.
    """
    if seen is None:
        return replace(old, gone_at=old.gone_at or now)
    new = replace(old, now=seen, gone_at=None, let_go=False)
    kept = tuple(sid for sid in old.accepted.members if sid in seen.members)
    if kept == old.accepted.members or not shows_members(new, places):
        return new
    return replace(new, accepted=replace(old.accepted, members=kept))


def shows_members(one: Watched, places: Collection[Watched]) -> bool:
    """Whether all members of a group are shown, as far as that can be told: it is found, and its permissions and those of all that it lies in are the accepted
    ones. Who may not read `member` sees an empty group.
    """
    above = [place for place in places if lies_in(one.now, place.now)]
    return not any(
        each.is_missed or (each.gone_at is None and each.now.rights != each.accepted.rights)
        for each in (one, *above)
    )


def lies_in(one: Seen, place: Seen) -> bool:
    """However deep."""
    return one.dn.lower().endswith(f",{place.dn.lower()}")


def places_of(watched: Mapping[str, Watched]) -> tuple[Watched, ...]:
    """What objects lie in, as far as it is watched."""
    return tuple(one for one in watched.values() if one.now.kind is Kind.PLACE)


def held(request: Request, group: GroupId, since: datetime, until: datetime) -> bool:
    """Whether something of this request may have been in the group between these moments."""
    if group not in request.privileges or request.active_from is None:
        return False
    ended = request.closed_at
    return request.active_from <= until + SKEW and (ended is None or since - SKEW <= ended)


def covered(at: datetime, requests: Iterable[Request]) -> bool:
    """Whether a sign-in falls into one of these requests of its account. Tickets are bought while the account is open, so until the end that was written."""
    return any(
        request.active_from is not None and request.active_from - SKEW <= at <= request.last_end() + SKEW
        for request in requests
    )
