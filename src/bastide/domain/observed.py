"""Privileged changes as domain controllers tell of them, and what explains each. Nothing is asked here but what is given.

(1) What concerns no PAM group, no built-in privileged group, no PAM user's account and no emergency account is none of ours. A group that an event names by its
    DN alone may be any: whether it is a privileged one is looked up before it is judged.
(2) A change that Bastide's own account made is explained by a grant of that account and group at that time, and without one by Bastide itself. But it adds
    nobody without a grant, except a PAM group to the CORP group behind it: whoever else it adds, somebody has its key. A grant is of the PRIV account in the
    PRIV group; of no other account of its person, and of no other group.
(3) A change that somebody else made is explained by nothing: a grant is carried out by Bastide alone. But a person may change their own password, and who told
    the audit of setting one with a ticket of their own may set it. What Bastide announced explains nobody else.
(4) A sign-in with a PRIV account is explained by a grant of its person at that time, or by an account that is kept alive.
(5) Clocks differ, and what is told of may come before what explains it: SLACK on both sides, and nothing is judged before the window for late arrival is over.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from bastide.domain.ids import Sid
from bastide.domain.names import sid_of
from bastide.domain.people import PamUser
from bastide.domain.requests import Request
from bastide.domain.roles import PamGroup

T = TypeVar("T")
SLACK = timedelta(minutes=5)
#: What was judged goes after this long.
KEPT = timedelta(days=400)
#: Domain-relative: Domain Admins, Schema Admins, Enterprise Admins, Group Policy Creator Owners, Key Admins, Enterprise Key Admins ([MS-DTYP] 2.4.2.4).
_RIDS = frozenset({512, 518, 519, 520, 526, 527})
#: BUILTIN: Administrators, Account, Server, Print and Backup Operators.
_BUILTIN = frozenset(f"S-1-5-32-{rid}" for rid in (544, 548, 549, 550, 551))
_BUILTIN_NAMES = frozenset(
    {
        "domain admins", "schema admins", "enterprise admins", "group policy creator owners", "key admins", "enterprise key admins",
        "administrators", "account operators", "server operators", "print operators", "backup operators",
    }
)  # fmt: skip


class Kind(StrEnum):
    MEMBER_ADDED = "member-added"
    MEMBER_REMOVED = "member-removed"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105  # what happened
    PASSWORD_RESET = "password-reset"  # noqa: S105  # what happened
    SIGN_IN = "sign-in"


class Verdict(StrEnum):
    """`pending`: what may come late has not come yet."""

    PENDING = "pending"
    GRANT = "grant"
    OWN = "own"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody or something as an event has it: a SID, a DN, a name, or some of them."""

    sid: str = ""
    dn: str = ""
    name: str = ""

    @property
    def shown(self) -> str:
        return self.name or self.dn or self.sid

    def known_as(self) -> frozenset[str]:
        """All that it can be found by, folded. A foreign member's DN begins with its SID."""
        first = self.dn.partition(",")[0].partition("=")[2]
        return frozenset(
            one.casefold()
            for one in (self.sid, self.dn, first if first.upper().startswith("S-1-") else "")
            if one
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`source`: who told of it. `record`: the event's own number there, or a digest of it. `target`: the account; of a membership the member."""

    source: str
    record: str
    at: datetime
    kind: Kind
    event: int
    computer: str
    actor: Named
    target: Named
    group: Named = Named()
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """`request`: the grant that explains it. `because`: in words. `unsure`: whether it is one of ours is told when it is judged."""

    change: Change
    verdict: Verdict = Verdict.PENDING
    because: str = ""
    request: str = ""
    unsure: bool = False


class Ours:
    """What of a directory is ours: an index of users, groups, and Bastide's own accounts, as they are now. `emergency`: SIDs."""

    def __init__(
        self,
        *,
        users: Sequence[PamUser],
        groups: Sequence[PamGroup],
        own: Sequence[Named],
        emergency: Sequence[str],
    ) -> None:
        self._users = _index(
            [(Named(ref.sid, ref.dn), user) for user in users for ref in (user.corp, user.priv)]
        )
        self._priv = _index([(Named(user.priv.sid, user.priv.dn), user) for user in users])
        self._carriers = _index([(Named(one.priv.sid, one.priv.dn), one) for one in groups])
        self._groups = _index(
            [(Named(ref.sid, ref.dn), group) for group in groups for ref in (group.corp, group.priv)]
        )
        self._own = frozenset().union(*(one.known_as() for one in own))
        self._emergency = frozenset(one.casefold() for one in emergency)

    def user(self, named: Named) -> PamUser | None:
        """Whose account it is."""
        return _found(self._users, named)

    def priv_user(self, named: Named) -> PamUser | None:
        """Whose PRIV account it is."""
        return _found(self._priv, named)

    def group(self, named: Named) -> PamGroup | None:
        """Of which it is the PRIV or the CORP group."""
        return _found(self._groups, named)

    def carrier(self, named: Named) -> PamGroup | None:
        """Of which it is the PRIV group."""
        return _found(self._carriers, named)

    def is_own(self, named: Named) -> bool:
        """Whether it is an account that Bastide signs in with."""
        return bool(self._own & named.known_as())

    def links(self, change: Change) -> bool:
        """Whether the member is the PAM group that carries the rights of that very group."""
        group = self.group(change.group)
        return group is not None and self.group(change.target) is group

    def concerns(self, change: Change) -> bool:
        """(1)."""
        if change.kind in {Kind.MEMBER_ADDED, Kind.MEMBER_REMOVED}:
            return self.group(change.group) is not None or is_privileged(change.group)
        if change.kind is Kind.SIGN_IN:
            return self.priv_user(change.target) is not None
        return self.user(change.target) is not None or bool(self._emergency & change.target.known_as())


def is_nameless(change: Change) -> bool:
    """Whether its group has no SID, which alone says whether it is a privileged one."""
    return change.kind in {Kind.MEMBER_ADDED, Kind.MEMBER_REMOVED} and not change.group.sid


def privileged_in(domains: Iterable[str]) -> frozenset[Sid]:
    """The groups that every domain has for administrators. `domains`: SIDs of domains."""
    return frozenset(Sid(f"{one}-{rid}") for one in domains for rid in _RIDS) | {Sid(one) for one in _BUILTIN}


def is_privileged(group: Named) -> bool:
    """Whether it is one of the groups that every domain has for administrators."""
    if group.sid:
        return group.sid in _BUILTIN or (group.sid.startswith("S-1-5-21-") and Sid(group.sid).rid in _RIDS)
    name = group.dn.partition(",")[0].partition("=")[2] or group.name
    return name.casefold() in _BUILTIN_NAMES


def judge(change: Change, ours: Ours, requests: Sequence[Request], announced: Collection[str]) -> Judged:
    """What explains it. `requests`: all of the person whose account it is. `announced`: who was going to set its password, as the audit says: SIDs; an empty
    text is Bastide.
    """
    found = Judged(change=change)
    if change.kind is Kind.SIGN_IN:
        return _sign_in(found, ours, requests)
    if change.kind is Kind.PASSWORD_CHANGED and change.actor.known_as() & change.target.known_as():
        return replace(found, verdict=Verdict.OWN, because="the person changed the own password")  # (3)
    if any(ours.is_own(change.actor) if not sid else change.actor.sid == sid for sid in announced):  # (3)
        return replace(found, verdict=Verdict.OWN, because="the audit says that it was going to be set")
    if not ours.is_own(change.actor):
        who = change.actor.shown or "an account that the event does not name"
        return replace(found, verdict=Verdict.UNEXPLAINED, because=f"{who} is not Bastide")  # (3)
    return _by_us(found, ours, requests)  # (2)


def nameless_in(changes: Iterable[Change]) -> frozenset[Sid]:
    """Of whom events tell by SID alone: a reader knows nobody by it."""
    everybody = (one for change in changes for one in (change.actor, change.target, change.group))
    return frozenset(sid for one in everybody if (sid := _only_sid(one)) is not None)


def called(change: Change, names: Mapping[Sid, str]) -> Change:
    """With the names of those of whom only the SID was told, where they are known. What explains a change goes by SIDs, before and after."""

    def one(named: Named) -> Named:
        sid = _only_sid(named)
        return replace(named, name=names[sid]) if sid is not None and sid in names else named

    return replace(change, actor=one(change.actor), target=one(change.target), group=one(change.group))


def _only_sid(named: Named) -> Sid | None:
    """None: it has a name, or a DN that says one, or no SID that is one."""
    first = sid_of(named.dn.partition(",")[0].partition("=")[2])
    if named.name or (named.dn and first is None):
        return None
    return sid_of(named.sid) or first


def _by_us(found: Judged, ours: Ours, requests: Sequence[Request]) -> Judged:
    """(2)."""
    change = found.change
    group = ours.carrier(change.group) if ours.priv_user(change.target) is not None else None
    request = next(
        (
            one
            for one in requests
            if group is not None and group.id in one.privileges and _covers(one, change.at)
        ),
        None,
    )
    if request is None and change.kind is Kind.MEMBER_ADDED and not ours.links(change):
        because = "Bastide's own account did it, and no grant asked for it: somebody else may have its key"
        return replace(found, verdict=Verdict.UNEXPLAINED, because=because)
    if request is None:
        return replace(found, verdict=Verdict.OWN, because="Bastide's own account did it")
    return replace(
        found, verdict=Verdict.GRANT, because=f"a grant of {request.role_name}", request=request.id
    )


def _sign_in(found: Judged, ours: Ours, requests: Sequence[Request]) -> Judged:
    """(4)."""
    user = ours.priv_user(found.change.target)
    if user is not None and user.kept_alive:
        return replace(found, verdict=Verdict.OWN, because="the account is kept alive by policy")
    for request in requests:
        if _covers(request, found.change.at):
            because = f"a grant of {request.role_name}"
            return replace(found, verdict=Verdict.GRANT, because=because, request=request.id)
    return replace(found, verdict=Verdict.UNEXPLAINED, because="the person had no access then")


def _covers(request: Request, at: datetime) -> bool:
    """(5): from the moment at which it was carried out, to the one at which its end was read back; without either it was never carried out, or goes on."""
    began = request.processing_since or request.active_from
    if began is None:
        return False
    over = max(filter(None, (request.closed_at, request.true_end)), default=None)
    if request.closed_at is None:
        over = None
    return began - SLACK <= at and (over is None or at <= over + SLACK)


def _index(pairs: Sequence[tuple[Named, T]]) -> Mapping[str, T]:
    return {key: one for named, one in pairs for key in named.known_as()}


def _found(index: Mapping[str, T], named: Named) -> T | None:
    return next((index[key] for key in named.known_as() if key in index), None)
