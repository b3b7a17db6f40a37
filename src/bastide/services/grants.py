"""Bring the directory to what the requests want, and say so only after reading it back.

One piece of durable work per PAM user ("account"), claimed by one worker at a time; links.py has the other, one per PAM group. Both compute
a desired state from the rows, so a crash at any step is mended by running again. An account, in order:

  (1) Advance by time: what is over becomes Closing, what is due becomes Processing.
  (2) Look first, where an earlier attempt may have written: access that began keeps its end.
  (3) Commit the plan before the directory is touched. Poke the links it needs or frees.
  (4) Close: lower account ends, then take members away.
  (5) Open: add members, then raise account ends. The account is the gate, so it opens last.
  (6) Read back from every reachable domain controller.
  (7) Commit what was seen: Active, ended, or tried again. Never what was merely sent.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from bastide.domain import grants, requests
from bastide.domain.audit import Event
from bastide.domain.errors import (
    BastideError,
    Conflict,
    DirectoryDenied,
    DirectoryError,
    DirectoryUnavailable,
)
from bastide.domain.grants import Desired
from bastide.domain.ids import GroupId, RequestId, Sid, UserId
from bastide.domain.people import PamUser
from bastide.domain.requests import GIVE_UP, GRANTING, LIVE, OPEN, Request, State
from bastide.domain.roles import Link, PamGroup
from bastide.services.events import announce
from bastide.services.pace import DENIED_LIMIT, LINK, delay
from bastide.services.ports import AccountState, Directory, Store, UnitOfWork, Work
from bastide.services.readback import TOLERANCE, Seen, confirmed, gone

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Case:
    """One account on its way through the steps."""

    work: Work
    user: PamUser
    requests: list[Request]
    wanted: Desired | None = None
    #: The account as the controllers showed it before this run; empty if it was not looked at.
    before: list[AccountState] = field(default_factory=list)
    #: Requests whose links do not show their TTL everywhere.
    unproven: AbstractSet[RequestId] = frozenset()
    problem: BastideError | None = None
    #: The directory said no in a way that trying again will not change.
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the directory showed before planning."""

    link_ttl: bool


class Grants:
    """The worker's side of a grant."""

    def __init__(
        self,
        *,
        store: Store,
        priv: Directory,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._priv = priv
        self._now = now
        self._jitter = jitter

    def run_accounts(self, works: Sequence[Work]) -> None:
        """Bring the accounts of these work rows to their desired state. Raises LostLease, StoreError; directory errors are kept per case.

        A person who acts on a request at the same moment wins: what was read is stale then, and the account runs again by itself.
        """
        try:
            self._run_batch(works)
        except Conflict as error:
            if len(works) == 1:
                self._again(works[0], error)
                return
            for work in works:
                self.run_accounts([work])

    def _again(self, work: Work, error: BastideError) -> None:
        with self._store.write() as uow:
            uow.work.retry(work, self._now() + delay(self._jitter, work.attempts), error.message)
            uow.commit()

    def _run_batch(self, works: Sequence[Work]) -> None:
        cases, groups = self._load(works)
        seen = None
        try:
            facts: Facts | None = self._facts(cases)  # (2)
            self._plan(cases, groups, facts)  # (1), (3)
            self._write(cases, groups)  # (4), (5)
            seen = self._look(cases, groups)  # (6)
        except DirectoryError as error:
            _log.warning("%s", error.message)
            if any(case.wanted is None for case in cases):
                self._plan(cases, groups, None)
            for case in cases:
                case.problem = error
        self._settle(cases, groups, seen)  # (7)

    def _load(self, works: Sequence[Work]) -> tuple[list[Case], dict[GroupId, PamGroup]]:
        with self._store.read() as uow:
            cases = _cases(uow, works)
            wanted = {g for case in cases for r in case.requests for g in r.privileges}
            groups = {group.id: group for group in uow.groups.many(wanted)}
        known = {case.work.key for case in cases}
        if orphans := [work for work in works if work.key not in known]:
            with self._store.write() as uow:
                uow.work.finish_many([(work, None) for work in orphans])
                uow.commit()
        return cases, groups

    def _facts(self, cases: Sequence[Case]) -> Facts:
        """What must be known before anything is planned. Only accounts that an earlier attempt may have written are looked at."""
        retried = {c.user.priv.sid for c in cases if any(_tried(r) for r in c.requests)}
        states = self._priv.observe(retried) if retried else {}
        for case in cases:
            case.before = [
                accounts[case.user.priv.sid] for accounts in states.values() if case.user.priv.sid in accounts
            ]
        return Facts(link_ttl=self._priv.capabilities().link_ttl)

    def _plan(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup], facts: Facts | None) -> None:
        """Without facts (no controller answers) only time moves requests on."""
        now = self._now()
        changed: list[Request] = []
        moved: list[Request] = []
        events: list[Event] = []
        for case in cases:
            for index, before in enumerate(case.requests):
                after = (
                    requests.advance(before, now)
                    if facts is None
                    else _step(case, before, groups, facts, now)
                )
                if after != before:
                    case.requests[index] = after
                    changed.append(after)
                    events.extend(announce(before, after, now))
                if before.state is not after.state or before.ends_at is None:
                    moved.append(after)
            case.wanted = grants.desired(case.user, case.requests, now)
        if changed:
            with self._store.write() as uow:
                uow.requests.save_many(changed)
                uow.work.poke_many(LINK, dict.fromkeys(_links_of(moved, groups), now))
                uow.audit.append(*events)
                uow.commit()
            _renumber(cases, changed)

    def _write(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup]) -> None:
        """For all accounts together: one modify per group, pipelined account ends."""
        now = self._now()
        self._set_ends({c.user.priv.sid: now for c in cases if _closes(c, now)}, cases)
        self._set_ends({c.user.priv.sid: _gate(c) for c in cases if _lowers(c)}, cases)
        for group, members in _by_group(cases, groups, leaving=True).items():
            try:
                self._priv.remove_members(groups[group].priv, members.keys())
            except DirectoryUnavailable:
                raise
            except DirectoryError as error:
                _blame(cases, members, error)
        link_ttl = self._priv.capabilities().link_ttl
        for group, members in _by_group(cases, groups, leaving=False).items():
            ttl = {sid: end - now for sid, end in members.items() if end is not None} if link_ttl else None
            try:
                self._priv.add_members(groups[group].priv, members.keys(), ttl)
            except DirectoryUnavailable:
                raise
            except DirectoryError as error:
                _blame(cases, members, error)
        opening = [c for c in cases if c.problem is None and _raises(c)]
        self._set_ends({c.user.priv.sid: _gate(c) for c in opening}, cases)

    def _set_ends(self, ends: Mapping[Sid, datetime], cases: Sequence[Case]) -> None:
        if not ends:
            return
        failed = self._priv.set_ends(ends)
        for case in cases:
            if case.user.priv.sid in failed:
                case.problem = DirectoryDenied(
                    f"accountExpires of {case.user.name}: {failed[case.user.priv.sid]}"
                )
                case.hopeless = case.work.attempts >= DENIED_LIMIT

    def _look(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup]) -> Seen:
        busy = [case for case in cases if any(_unsettled(r) for r in case.requests)]
        if not busy:
            return Seen({}, ())
        states = self._priv.observe({case.user.priv.sid for case in busy})
        silent = tuple(c.name for c in self._priv.controllers() if not c.reachable and c.name not in states)
        if self._priv.capabilities().link_ttl:
            for case in busy:
                case.unproven = {
                    r.id
                    for r in case.requests
                    if _on_the_move(r) and not self._ttl_proven(r, case.user, groups)
                }
        return Seen(states, silent)

    def _settle(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup], seen: Seen | None) -> None:
        with self._store.write() as uow:
            now = self._now()
            fresh = {group.id: group for group in uow.groups.many(groups.keys())}
            idle = _idle_links(uow, cases, fresh)
            changed: list[Request] = []
            events: list[Event] = []
            for case in cases:
                for index, before in enumerate(case.requests):
                    after = self._judge(case, before, fresh, idle, seen, now)
                    if after != before:
                        case.requests[index] = after
                        changed.append(after)
                        events.extend(announce(before, after, now, unreachable=seen.silent if seen else ()))
            uow.requests.save_many(changed)
            uow.work.poke_many(LINK, dict.fromkeys(_links_of(changed, fresh), now))
            uow.audit.append(*events)
            self._hand_back(uow, cases, now)
            uow.commit()

    def _judge(
        self,
        case: Case,
        request: Request,
        groups: Mapping[GroupId, PamGroup],
        idle: AbstractSet[GroupId],
        seen: Seen | None,
        now: datetime,
    ) -> Request:
        """What the read-back says of one request."""
        cap = case.user.ticket_cap
        if request.state is State.PROCESSING and (verdict := _verdict(case, request, now)):
            return requests.fail(request, verdict)
        if seen is None:
            return request
        if request.state is State.CLOSING:
            over = gone(request, case.user, case.requests, groups, idle, seen, now)
            return requests.finish(request, now, cap) if over else request
        mine = [groups[g] for g in request.privileges if g in groups]
        gate = case.wanted.opens_until if case.wanted is not None else None
        held_up = (
            case.problem is not None or request.id in case.unproven or len(mine) < len(request.privileges)
        )
        if held_up or not _on_the_move(request) or not confirmed(case.user, mine, seen, gate, now):
            return request
        enforcer = grants.enforcer_for(case.user, link_ttl=self._priv.capabilities().link_ttl)
        end = grants.directory_end(enforcer, request.last_end(), gate, cap)
        if request.state is State.ACTIVE:
            return requests.confirm_extension(request, cap, end)
        return requests.confirm(request, enforcer=enforcer, cap=cap, directory_end=end)

    def _ttl_proven(self, request: Request, user: PamUser, groups: Mapping[GroupId, PamGroup]) -> bool:
        """Every controller must show a TTL no longer than what is left: an ordinary add would be permanent (F16)."""
        left = request.last_end() - self._now() + TOLERANCE
        for group in (groups[g] for g in request.privileges if g in groups):
            shown = self._priv.time_left(group.priv, user.priv.sid)
            if not shown or any(ttl is None or ttl > left for ttl in shown.values()):
                return False
        return True

    def _hand_back(self, uow: UnitOfWork, cases: Sequence[Case], now: datetime) -> None:
        """Each work row goes back: due at the next moment of its account, or soon if something is not settled."""
        done = []
        for case in cases:
            if any(_unsettled(r) for r in case.requests):
                why = (
                    case.problem.message
                    if case.problem is not None
                    else "waiting for the directory to show it"
                )
                uow.work.retry(case.work, now + delay(self._jitter, case.work.attempts), why)
            else:
                moments = [due for r in case.requests if (due := r.next_due()) is not None]
                done.append((case.work, min(moments, default=None)))
        uow.work.finish_many(done)


def _cases(uow: UnitOfWork, works: Sequence[Work]) -> list[Case]:
    users = {user.id: user for user in uow.users.many([UserId(work.key) for work in works])}
    by_user: dict[UserId, list[Request]] = defaultdict(list)
    for request in uow.requests.of_users(users.keys(), OPEN):
        by_user[request.user].append(request)
    return [
        Case(work, users[UserId(work.key)], by_user[UserId(work.key)]) for work in works if work.key in users
    ]


def _step(
    case: Case, request: Request, groups: Mapping[GroupId, PamGroup], facts: Facts, now: datetime
) -> Request:
    """Advance and plan one request. Below the floor of its role nothing is written at all."""
    moved = requests.advance(request, now)
    if moved.state is not State.PROCESSING:
        return moved
    moved = requests.plan(moved, now, access_began=_access_began(case, moved, groups, now))
    enforcer = grants.enforcer_for(case.user, link_ttl=facts.link_ttl)
    if not case.user.enabled:
        return requests.fail(moved, f"PAM user {case.user.name} is switched off")
    if any(g not in groups for g in moved.privileges):
        return requests.fail(moved, "a PAM group of the role is gone")
    if enforcer.strength < moved.floor.strength:
        return requests.fail(
            moved, f"the directory can enforce {enforcer.value} only; the role demands {moved.floor.value}"
        )
    if moved.last_end() <= now:
        return requests.fail(moved, "its time was over before it could be confirmed")
    return moved


def _access_began(case: Case, request: Request, groups: Mapping[GroupId, PamGroup], now: datetime) -> bool:
    """Whether an earlier attempt may have opened it: somewhere the account is open and in one of the groups."""
    guids = {groups[g].priv.guid for g in request.privileges if g in groups}
    return any(state.open_at(now) and state.groups & guids for state in case.before)


def _tried(request: Request) -> bool:
    """An earlier attempt may have written something of it, or taken it away."""
    return (
        request.state is State.PROCESSING and request.ends_at is not None
    ) or request.state is State.CLOSING


def _blame(cases: Sequence[Case], members: Mapping[Sid, object], error: BastideError) -> None:
    for case in cases:
        if case.user.priv.sid in members:
            case.problem = error
            case.hopeless = case.work.attempts >= DENIED_LIMIT


def _verdict(case: Case, request: Request, now: datetime) -> str:
    """Why an activation is given up; empty: it is not."""
    if case.hopeless and case.problem is not None:
        return f"the directory refused: {case.problem.message}"
    if request.processing_since is not None and now - request.processing_since > GIVE_UP:
        why = f": {case.problem.message}" if case.problem is not None else ""
        return f"not done within {GIVE_UP}{why}"
    return ""


def _on_the_move(request: Request) -> bool:
    """Something of it is being written to the directory."""
    return request.state is State.PROCESSING or (
        request.state is State.ACTIVE and request.extend_to is not None
    )


def _unsettled(request: Request) -> bool:
    return request.state is State.CLOSING or _on_the_move(request)


def _idle_links(uow: UnitOfWork, cases: Iterable[Case], groups: Mapping[GroupId, PamGroup]) -> set[GroupId]:
    """Links that CORP still holds though no grant of anybody uses them."""
    leaving = {g for c in cases for r in c.requests if r.state is State.CLOSING for g in r.privileges}
    held = {g for g in leaving if g in groups and groups[g].needs_link and groups[g].link is not Link.ABSENT}
    return {g for g in held if not uow.requests.using_group(g, GRANTING)}


def _links_of(moved: Iterable[Request], groups: Mapping[GroupId, PamGroup]) -> set[GroupId]:
    """Links to look at. Only a request that moved on pokes them: a link that fails has a pace of its own."""
    return {
        g
        for r in moved
        if r.state in LIVE or r.outcome is not None
        for g in r.privileges
        if g in groups and groups[g].needs_link
    }


def _renumber(cases: Sequence[Case], saved: Iterable[Request]) -> None:
    """`save_many` moved the versions on by one."""
    ids = {request.id for request in saved}
    for case in cases:
        case.requests = [replace(r, version=r.version + 1) if r.id in ids else r for r in case.requests]


def _gate(case: Case) -> datetime:
    if case.wanted is None or case.wanted.opens_until is None:
        raise Conflict(f"no end is planned for {case.user.name}")
    return case.wanted.opens_until


def _early(case: Case) -> bool:
    """The account closes before an end that was written: by hand, by kill switch, or because something failed."""
    return any(
        r.state is State.CLOSING and (r.outcome is not State.EXPIRED or r.extend_to is not None)
        for r in case.requests
    )


def _closes(case: Case, now: datetime) -> bool:
    """Nothing is wanted any more, and the account is not known to be closed."""
    known_closed = bool(case.before) and not any(state.open_at(now) for state in case.before)
    return case.wanted is not None and case.wanted.closes_now and _early(case) and not known_closed


def _lowers(case: Case) -> bool:
    return case.wanted is not None and case.wanted.opens_until is not None and _early(case)


def _raises(case: Case) -> bool:
    return (
        case.wanted is not None
        and case.wanted.opens_until is not None
        and any(_on_the_move(r) for r in case.requests)
    )


def _by_group(
    cases: Iterable[Case], groups: Mapping[GroupId, PamGroup], *, leaving: bool
) -> dict[GroupId, dict[Sid, datetime | None]]:
    """Group to the accounts to take away, or to add with the end of each. Only groups of requests that are on the move."""
    result: dict[GroupId, dict[Sid, datetime | None]] = defaultdict(dict)
    for case in cases:
        if case.wanted is None:
            continue
        opening = {
            g for r in case.requests if _on_the_move(r) for g in r.privileges
        } & case.wanted.present.keys()
        chosen = (
            dict.fromkeys(case.wanted.absent) if leaving else {g: case.wanted.present[g] for g in opening}
        )
        for group, end in chosen.items():
            if group in groups:
                result[group][case.user.priv.sid] = end
    return result
