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
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain import grants, requests
from bastide.domain.audit import Event
from bastide.domain.errors import BastideError, Conflict, DirectoryDenied, DirectoryUnavailable, NoSuchObject
from bastide.domain.grants import Desired
from bastide.domain.ids import GroupId, RequestId, Sid, UserId
from bastide.domain.people import PamUser
from bastide.domain.requests import GIVE_UP, GRANTING, LIVE, OPEN, Request, State
from bastide.domain.roles import Enforcer, PamGroup
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
    problem: BastideError | None = None
    #: The directory said no in a way that trying again will not change.
    hopeless: bool = False


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
        cases, groups = self._plan(works)
        try:
            self._write(cases, groups)
            seen = self._look(cases)
        except DirectoryUnavailable as error:
            self._give_back(cases, error)
            return
        self._settle(cases, groups, seen)

    def _plan(self, works: Sequence[Work]) -> tuple[list[Case], dict[GroupId, PamGroup]]:
        """Steps (1) to (3)."""
        with self._store.read() as uow:
            cases = _load(uow, works)
            groups = {
                group.id: group
                for group in uow.groups.many({g for c in cases for r in c.requests for g in r.privileges})
            }
        began = self._access_began(cases, groups)  # (2)
        link_ttl = self._priv.capabilities().link_ttl
        now = self._now()
        changed: list[Request] = []
        events: list[Event] = []
        for case in cases:
            for index, before in enumerate(case.requests):
                after = _step(
                    before, case.user, groups, now, access_began=before.id in began, link_ttl=link_ttl
                )
                if after != before:
                    case.requests[index] = after
                    changed.append(after)
                    events.extend(announce(before, after, now))
            case.wanted = grants.desired(case.user, case.requests, now)
        if changed:
            with self._store.write() as uow:  # (3)
                uow.requests.save_many(changed)
                uow.work.poke_many(LINK, dict.fromkeys(_links_touched(changed, groups), now))
                uow.audit.append(*events)
                uow.commit()
            _renumber(cases, changed)
        return cases, groups

    def _access_began(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup]) -> set[RequestId]:
        """Requests that an earlier attempt may have opened: somewhere the account is open and in one of the groups."""
        retried = [
            (c, r) for c in cases for r in c.requests if r.state is State.PROCESSING and r.ends_at is not None
        ]
        if not retried:
            return set()
        now = self._now()
        seen = self._priv.observe({case.user.priv.sid for case, _ in retried})
        began: set[RequestId] = set()
        for case, request in retried:
            guids = {groups[g].priv.guid for g in request.privileges if g in groups}
            states = [
                accounts[case.user.priv.sid] for accounts in seen.values() if case.user.priv.sid in accounts
            ]
            if any(state.open_at(now) and state.groups & guids for state in states):
                began.add(request.id)
        return began

    def _write(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup]) -> None:
        """Steps (4) and (5), for all accounts together: one modify per group, pipelined account ends."""
        now = self._now()
        self._set_ends(
            {
                c.user.priv.sid: now
                for c in cases
                if c.wanted is not None and c.wanted.closes_now and _early(c)
            },
            cases,
        )
        self._set_ends({c.user.priv.sid: _gate(c) for c in cases if _lowers(c)}, cases)
        for group, members in _by_group(cases, groups, leaving=True).items():
            self._priv.remove_members(groups[group].priv, members.keys())
        link_ttl = self._priv.capabilities().link_ttl
        for group, members in _by_group(cases, groups, leaving=False).items():
            ttl = {sid: end - now for sid, end in members.items() if end is not None} if link_ttl else None
            self._add(groups[group], members, ttl, cases)
        opening = [c for c in cases if c.problem is None and _raises(c)]
        self._set_ends({c.user.priv.sid: _gate(c) for c in opening}, cases)

    def _add(
        self,
        group: PamGroup,
        members: Mapping[Sid, datetime | None],
        ttl: Mapping[Sid, timedelta] | None,
        cases: Sequence[Case],
    ) -> None:
        try:
            self._priv.add_members(group.priv, members.keys(), ttl)
        except (NoSuchObject, DirectoryDenied) as error:
            for case in cases:
                if case.user.priv.sid in members:
                    case.problem = error
                    case.hopeless = isinstance(error, NoSuchObject) or case.work.attempts >= DENIED_LIMIT

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

    def _look(self, cases: Sequence[Case]) -> Seen:
        """Step (6)."""
        busy = [case for case in cases if any(_unsettled(r) for r in case.requests)]
        if not busy:
            return Seen({}, ())
        states: Mapping[str, Mapping[Sid, AccountState]] = self._priv.observe(
            {case.user.priv.sid for case in busy}
        )
        silent = tuple(c.name for c in self._priv.controllers() if not c.reachable and c.name not in states)
        return Seen(states, silent)

    def _settle(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup], seen: Seen) -> None:
        """Step (7)."""
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
                        events.extend(announce(before, after, now, unreachable=seen.silent))
            uow.requests.save_many(changed)
            uow.work.poke_many(LINK, dict.fromkeys(_links_touched(changed, fresh), now))
            uow.audit.append(*events)
            self._hand_back(uow, cases, now)
            uow.commit()

    def _judge(
        self,
        case: Case,
        request: Request,
        groups: Mapping[GroupId, PamGroup],
        idle: AbstractSet[GroupId],
        seen: Seen,
        now: datetime,
    ) -> Request:
        """What the read-back says of one request."""
        cap = case.user.ticket_cap
        if request.state is State.CLOSING:
            over = gone(request, case.user, case.requests, groups, idle, seen, now)
            return requests.finish(request, now, cap) if over else request
        if request.state is State.PROCESSING and (verdict := _verdict(case, request, now)):
            return requests.fail(request, verdict)
        if case.problem is not None or not _on_the_move(request):
            return request
        mine = [groups[g] for g in request.privileges if g in groups]
        gate = case.wanted.opens_until if case.wanted is not None else None
        enforcer = grants.enforcer_for(case.user, link_ttl=self._priv.capabilities().link_ttl)
        if not confirmed(case.user, mine, seen, gate, now) or not self._ttl_proven(
            request, case.user, mine, enforcer
        ):
            return request
        end = grants.directory_end(enforcer, request.last_end(), gate, cap)
        if request.state is State.ACTIVE:
            return requests.confirm_extension(request, cap, end)
        return requests.confirm(request, enforcer=enforcer, cap=cap, directory_end=end)

    def _ttl_proven(
        self, request: Request, user: PamUser, groups: Iterable[PamGroup], enforcer: Enforcer
    ) -> bool:
        """With `link-ttl`, every controller must show a TTL no longer than what is left: an ordinary add would be permanent (F16)."""
        if enforcer is not Enforcer.LINK_TTL or request.ends_at is None:
            return True
        left = request.last_end() - self._now() + TOLERANCE
        for group in groups:
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

    def _give_back(self, cases: Sequence[Case], error: BastideError) -> None:
        """No domain controller answered: nothing is known, so nothing is said but that."""
        _log.warning("directory unavailable: %s", error.message)
        with self._store.write() as uow:
            now = self._now()
            changed, events = [], []
            for case in cases:
                for before in case.requests:
                    over = before.processing_since is not None and now - before.processing_since > GIVE_UP
                    if before.state is State.PROCESSING and over:
                        after = requests.fail(before, f"not done within {GIVE_UP}: {error.message}")
                        changed.append(after)
                        events.extend(announce(before, after, now))
                uow.work.retry(case.work, now + delay(self._jitter, case.work.attempts), error.message)
            uow.requests.save_many(changed)
            uow.audit.append(*events)
            uow.commit()


def _load(uow: UnitOfWork, works: Sequence[Work]) -> list[Case]:
    users = {user.id: user for user in uow.users.many([UserId(work.key) for work in works])}
    by_user: dict[UserId, list[Request]] = defaultdict(list)
    for request in uow.requests.of_users(users.keys(), OPEN):
        by_user[request.user].append(request)
    return [
        Case(work, users[UserId(work.key)], by_user[UserId(work.key)]) for work in works if work.key in users
    ]


def _step(
    request: Request,
    user: PamUser,
    groups: Mapping[GroupId, PamGroup],
    now: datetime,
    *,
    access_began: bool,
    link_ttl: bool,
) -> Request:
    """Steps (1) and (3) for one request. Below the floor of its role nothing is written at all."""
    moved = requests.advance(request, now)
    if moved.state is not State.PROCESSING:
        return moved
    moved = requests.plan(moved, now, access_began=access_began)
    enforcer = grants.enforcer_for(user, link_ttl=link_ttl)
    if any(g not in groups for g in moved.privileges):
        return requests.fail(moved, "a PAM group of the role is gone")
    if enforcer.strength < moved.floor.strength:
        return requests.fail(
            moved, f"the directory can enforce {enforcer.value} only; the role demands {moved.floor.value}"
        )
    if moved.last_end() <= now:
        return requests.fail(moved, "its time was over before it could be confirmed")
    return moved


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
    held = {g for g in leaving if g in groups and groups[g].needs_link and groups[g].linked}
    return {g for g in held if not uow.requests.using_group(g, GRANTING)}


def _links_touched(changed: Iterable[Request], groups: Mapping[GroupId, PamGroup]) -> set[GroupId]:
    moved = [r for r in changed if r.state in LIVE or r.outcome is not None]
    return {g for r in moved for g in r.privileges if g in groups and groups[g].needs_link}


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
