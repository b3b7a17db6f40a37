"""One account on its way through the steps of grants.py: what is wanted, what may begin, what moves. It decides and writes nothing."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from bastide.domain import grants, policy, requests
from bastide.domain.audit import Event
from bastide.domain.errors import (
    BastideError,
    Conflict,
    DirectoryError,
    DirectoryUnavailable,
)
from bastide.domain.grants import Desired
from bastide.domain.ids import GroupId, RequestId, RoleId, Sid, UserId
from bastide.domain.people import PamUser
from bastide.domain.requests import GIVE_UP, GRANTING, LIVE, OPEN, Request, State
from bastide.domain.roles import Link, PamGroup, Role
from bastide.services.events import by_worker
from bastide.services.pace import DENIED_LIMIT, LOOK_AGAIN
from bastide.services.ports import AccountState, UnitOfWork, Work
from bastide.services.readback import TOLERANCE


@dataclass(slots=True)
class Case:
    """One account on its way through the steps."""

    work: Work
    user: PamUser
    requests: list[Request]
    wanted: Desired | None = None
    #: Groups that were taken from it just now, by this claim (ends.py).
    taken: AbstractSet[GroupId] = frozenset()
    #: The account as the controllers showed it before this run; empty if it was not looked at.
    before: list[AccountState] = field(default_factory=list)
    #: Of an account that is kept alive, where something is on its way: as the controllers show it, because it may have been closed.
    kept: list[AccountState] = field(default_factory=list)
    #: Looked at again before something begins (starts.py): why nothing may, and the groups that the account is directly in.
    looked_at: bool = False
    barred: str = ""
    shown: AbstractSet[str] = frozenset()
    roles: Mapping[RoleId, Role] = field(default_factory=dict)
    #: A controller does not show the account, and a group still lists it.
    unseen: bool = False
    #: Requests whose links do not show their TTL everywhere.
    unproven: AbstractSet[RequestId] = frozenset()
    #: Requests whose votes do not carry them (signed_votes.py), and why.
    forged: dict[RequestId, str] = field(default_factory=dict)
    #: Requests that the writes of this run open (late.py), whatever was decided after them.
    opens: AbstractSet[RequestId] = frozenset()
    problem: BastideError | None = None
    #: The directory said no in a way that trying again will not change.
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the directory showed before planning."""

    link_ttl: bool


def load(uow: UnitOfWork, works: Sequence[Work]) -> list[Case]:
    users = {user.id: user for user in uow.users.many([UserId(work.key) for work in works])}
    by_user: dict[UserId, list[Request]] = defaultdict(list)
    for request in uow.requests.of_users(users.keys(), OPEN):
        by_user[request.user].append(request)
    return [
        Case(work, users[UserId(work.key)], by_user[UserId(work.key)]) for work in works if work.key in users
    ]


def step(
    case: Case, request: Request, groups: Mapping[GroupId, PamGroup], facts: Facts, now: datetime
) -> Request:
    """Advance and plan one request. What may not begin is not planned, and so nothing of it is written at all."""
    moved = requests.advance(request, now)
    if cause := case.forged.get(moved.id):
        return requests.disown(moved, cause, now)
    if moved.state is not State.PROCESSING:
        return moved
    if moved.ends_at is None and (case.problem is not None or not case.looked_at):
        return moved
    planned = requests.plan(moved, now, access_began=access_began(case, moved, groups, now))
    if refusal := no_longer(case, request, planned, groups, now) or cannot(case, planned, groups, facts, now):
        return requests.fail(moved, refusal, now)
    return planned


def cannot(
    case: Case, request: Request, groups: Mapping[GroupId, PamGroup], facts: Facts, now: datetime
) -> str:
    """Why a planned request cannot be brought about; empty: it can. Below the floor of its role nothing is written."""
    if any(g not in groups for g in request.privileges):
        return "a PAM group of the role is gone"
    if off := [groups[g].name for g in request.privileges if not groups[g].enabled]:
        return f"PAM group {off[0]} is switched off: the group behind it is gone, or carries nothing"
    enforcer = grants.enforcer_for(case.user, link_ttl=facts.link_ttl)
    if enforcer.strength < request.floor.strength:
        return f"the directory can enforce {enforcer.value} only; the role demands {request.floor.value}"
    if request.last_end() <= now:
        return "its time was over before it could be confirmed"
    return ""


def no_longer(
    case: Case, before: Request, request: Request, groups: Mapping[GroupId, PamGroup], now: datetime
) -> str:
    """Why what was agreed may not begin any more; empty: it may. What has begun is ended by its own rules, not by these."""
    if not case.user.enabled:
        return f"PAM user {case.user.name} is switched off"
    if before.ends_at is not None:
        return ""
    role = case.roles.get(request.role)
    if role is None or not role.enabled:
        return f"role {request.role_name} is gone or switched off"
    by_name_only = not any(subject.is_group for subject in role.candidates)
    if by_name_only and not policy.is_candidate(role, case.user, ()):
        return f"{case.user.name} is no longer a candidate of {role.name}"
    if role.window is not None and not role.window.contains(now):
        return f"the window of {role.name} closed while it waited"
    return case.barred or standing(case, request, groups)


def standing(case: Case, request: Request, groups: Mapping[GroupId, PamGroup]) -> str:
    """A group that the account is in though none of its grants put it there: it would lose a standing right at the end."""
    ours = {
        g
        for r in case.requests
        if r.id != request.id and r.state in LIVE and r.ends_at is not None
        for g in r.privileges
    }
    ours |= set(case.user.owed)
    for group in (groups[g] for g in request.privileges if g in groups and g not in ours):
        if group.priv.guid in case.shown:
            return f"{case.user.priv.name} has become a standing member of {group.priv.name}"
    return ""


def access_began(case: Case, request: Request, groups: Mapping[GroupId, PamGroup], now: datetime) -> bool:
    """Whether an earlier attempt may have opened it: somewhere the account is open and in one of the groups."""
    guids = {groups[g].priv.guid for g in request.privileges if g in groups}
    return any(state.open_at(now) and state.groups & guids for state in case.before)


def tried(request: Request) -> bool:
    """An earlier attempt may have written something of it, or taken it away."""
    return (
        request.state is State.PROCESSING and request.ends_at is not None
    ) or request.state is State.CLOSING


def latest(case: Case, request: Request) -> datetime:
    """The end of the last grant that holds one of the request's groups."""
    if case.wanted is None:
        return request.last_end()
    return max(
        [
            request.last_end(),
            *(case.wanted.present[g] for g in request.privileges if g in case.wanted.present),
        ]
    )


def end_moved_event(before: Request, after: Request, now: datetime) -> Event:
    data = {"from": str(before.directory_end), "to": str(after.directory_end), "role": after.role_name}
    return by_worker(
        "request.directory-end",
        now,
        subject=after.requester,
        subject_name=after.user_name,
        request=after.id,
        data=data,
    )


def disowned(case: Case, request: Request, now: datetime) -> list[Event]:
    """Said by a name of its own: somebody wrote into the database."""
    if request.id not in case.forged:
        return []
    data = {"cause": case.forged[request.id], "role": request.role_name}
    return [
        by_worker(
            "request.signature-refused",
            now,
            subject=request.requester,
            subject_name=request.user_name,
            request=request.id,
            data=data,
        )
    ]


@contextmanager
def blaming(cases: Sequence[Case], members: Mapping[Sid, object]) -> Iterator[None]:
    """A refusal is kept with the accounts it is about, and the others go on. Raises DirectoryUnavailable."""
    try:
        yield
    except DirectoryUnavailable:
        raise
    except DirectoryError as error:
        for case in cases:
            if case.user.priv.sid in members:
                case.problem = error
                case.hopeless = case.work.attempts >= DENIED_LIMIT


def verdict(case: Case, request: Request, now: datetime) -> str:
    """Why an activation is given up; empty: it is not."""
    if case.hopeless and case.problem is not None:
        return f"the directory refused: {case.problem.message}"
    if request.processing_since is not None and now - request.processing_since > GIVE_UP:
        why = f": {case.problem.message}" if case.problem is not None else ""
        return f"not done within {GIVE_UP}{why}"
    return ""


def on_the_move(request: Request) -> bool:
    """Something of it is being written to the directory: not before it was planned."""
    return (request.state is State.PROCESSING and request.ends_at is not None) or (
        request.state is State.ACTIVE and request.extend_to is not None
    )


def unsettled(request: Request) -> bool:
    return request.state in {State.PROCESSING, State.CLOSING} or on_the_move(request)


def idle_links(uow: UnitOfWork, cases: Iterable[Case], groups: Mapping[GroupId, PamGroup]) -> set[GroupId]:
    """Links that CORP still holds though no grant of anybody uses them."""
    leaving = {g for c in cases for r in c.requests if r.state is State.CLOSING for g in r.privileges}
    held = {g for g in leaving if g in groups and groups[g].needs_link and groups[g].link is not Link.ABSENT}
    return {g for g in held if not uow.requests.using_group(g, GRANTING)}


def when_to_look(
    moved: Iterable[Request], groups: Mapping[GroupId, PamGroup], now: datetime
) -> dict[str, datetime]:
    """Links to look at. Only a request that moved on pokes them: a link that fails has a pace of its own.

    At once, unless the request only wants a link that is there; whether somebody took that away behind our back is looked at once a second.
    """
    due: dict[str, datetime] = {}
    for request in moved:
        if request.state in LIVE or request.outcome is not None:
            for group in (groups[g] for g in request.privileges if g in groups and groups[g].needs_link):
                there = request.state in GRANTING and group.link is Link.PRESENT
                at = now + LOOK_AGAIN if there else now
                due[group.id] = min(at, due.get(group.id, at))
    return due


def renumber(cases: Sequence[Case], saved: Iterable[Request]) -> None:
    """`save_many` moved the versions on by one."""
    ids = {request.id for request in saved}
    for case in cases:
        case.requests = [replace(r, version=r.version + 1) if r.id in ids else r for r in case.requests]


def gate(case: Case) -> datetime:
    if case.wanted is None or case.wanted.opens_until is None:
        raise Conflict(f"no end is planned for {case.user.name}")
    return case.wanted.opens_until


def early(case: Case) -> bool:
    """The account closes before an end that was written: by hand, by kill switch, or because something failed."""
    return any(
        r.state is State.CLOSING and (r.outcome is not State.EXPIRED or r.extend_to is not None)
        for r in case.requests
    )


def closes(case: Case, now: datetime) -> bool:
    """Nothing is wanted any more, and the account is open, or may be: by an early end, or because somebody else opened it."""
    if case.wanted is None or not case.wanted.closes_now:
        return False
    return any(state.open_at(now) for state in case.before) if case.before else early(case)


def lowers(case: Case) -> bool:
    if case.wanted is None or case.wanted.opens_until is None or case.user.kept_alive:
        return False
    gate = case.wanted.opens_until + TOLERANCE
    return early(case) or any(state.expires is None or state.expires > gate for state in case.before)


def raises(case: Case) -> bool:
    return (
        case.wanted is not None
        and case.wanted.opens_until is not None
        and any(on_the_move(r) for r in case.requests)
    )


def by_group(
    cases: Iterable[Case], groups: Mapping[GroupId, PamGroup], *, leaving: bool, lowering: bool = False
) -> dict[GroupId, dict[Sid, datetime | None]]:
    """Group to the accounts to take away, or to add with the end of each. Only groups of requests that are on the move; with `lowering`
    also those of which an early end shortens the time that the link is allowed.
    """
    result: dict[GroupId, dict[Sid, datetime | None]] = defaultdict(dict)
    for case in cases:
        if case.wanted is None:
            continue
        moving = {g for r in case.requests if on_the_move(r) for g in r.privileges}
        if lowering:
            moving |= {g for r in case.requests if r.state is State.CLOSING for g in r.privileges}
        opening = moving & case.wanted.present.keys()
        chosen = (
            dict.fromkeys(case.wanted.absent - case.taken)
            if leaving
            else {g: case.wanted.present[g] for g in opening}
        )
        for group, end in chosen.items():
            if group in groups:
                result[group][case.user.priv.sid] = end
    return result
