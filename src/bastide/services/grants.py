"""Bring the directory to what the requests want, and say so only after reading it back.

One piece of durable work per PAM user ("account"), claimed by one worker at a time; links.py has the other, one per PAM group. Both compute
a desired state from the rows, so a crash at any step is mended by running again. An account, in order:

  (0) Take away what only time ended (ends.py): of all accounts that were claimed together, before any of them goes on.
  (1) Advance by time: what is over becomes Closing, what is due becomes Processing.
  (2) Look first, where an earlier attempt may have written: access that began keeps its end; where something begins (starts.py); and at what
      approvers signed (signed_votes.py).
  (3) Commit the plan before the directory is touched. Poke the links it needs or frees.
      Nothing is opened while a database that came back from the past is compared with the directory (recovery.py).
  (4) Close: lower account ends, then take members away; also what a controller may hold that was silent when access ended (owed.py).
  (5) Open: add members, then raise account ends. The account is the gate, so it opens last.
  (6) Read back from every reachable domain controller.
  (7) Commit what was seen: Active, ended, or tried again. Never what was merely sent. Whoever cannot, because the claim is lost, mends (late.py).
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain import grants, requests
from bastide.domain.audit import Event
from bastide.domain.errors import (
    BastideError,
    Conflict,
    DirectoryDenied,
    DirectoryError,
    DirectoryUnavailable,
    LostLease,
    NoSuchObject,
    StoreError,
)
from bastide.domain.ids import GroupId, Sid
from bastide.domain.requests import GRANTING, Request, State
from bastide.domain.roles import PamGroup
from bastide.services import ends, owed, starts
from bastide.services.cases import (
    Case,
    Facts,
    blaming,
    by_group,
    closes,
    disowned,
    end_moved_event,
    gate,
    idle_links,
    latest,
    load,
    lowers,
    on_the_move,
    raises,
    renumber,
    step,
    tried,
    unsettled,
    verdict,
    when_to_look,
)
from bastide.services.ends import Taken
from bastide.services.events import announce
from bastide.services.late import Late
from bastide.services.pace import DENIED_LIMIT, LINK, delay
from bastide.services.ports import AccountState, Directory, Store, UnitOfWork, Work
from bastide.services.readback import SKEW, Seen, confirmed, gone, limited
from bastide.services.recovery import Recovery
from bastide.services.signed_votes import SignedVotes

_log = logging.getLogger(__name__)
NO_TIME = timedelta(0)
#: Accounts that go through the steps together: each waits for all of them, and what began with them is said after the last.
TOGETHER = 200


class Grants:
    """The worker's side of a grant."""

    def __init__(
        self,
        *,
        store: Store,
        corp: Directory,
        priv: Directory,
        votes: SignedVotes,
        recovery: Recovery,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._votes = votes
        self._recovery = recovery
        self._late = Late(store=store, now=now)
        self._corp = corp
        self._priv = priv
        self._now = now
        self._jitter = jitter

    def warm_up(self) -> None:
        """Learn what the directory can do before the first end is due. Raises DirectoryError."""
        self._priv.capabilities()

    def run_accounts(self, works: Sequence[Work]) -> None:
        """Bring the accounts of these work rows to their desired state. Raises LostLease, StoreError; directory errors are kept per case."""
        self._late.mend()
        parts = [works[start : start + TOGETHER] for start in range(0, len(works), TOGETHER)]
        over = ends.Over(self._now())
        for part in parts:
            over.gather(*self._read(part))
        taken = over.take_away(self._priv)  # (0)
        lost = None
        for part in parts:
            try:
                self._run_part(part, taken)
            except LostLease as error:
                lost = error
        self._late.mend()
        if lost is not None:
            raise lost

    def _run_part(self, works: Sequence[Work], taken: Taken) -> None:
        """A person who acts on a request at the same moment wins: what was read is stale then, and the account runs again by itself."""
        try:
            self._run_batch(works, taken)
        except (Conflict, DirectoryError) as error:
            if len(works) == 1:
                self._again(works[0], error)
                return
            _log.warning("one by one: %s", error.message)
            for work in works:
                with suppress(LostLease):
                    self._run_part([work], taken)

    def _again(self, work: Work, error: BastideError) -> None:
        with self._store.write() as uow:
            uow.work.retry(work, self._now() + delay(self._jitter, work.attempts), error.message)
            uow.commit()
        self._late.settled(work.key)

    def _run_batch(self, works: Sequence[Work], taken: Taken) -> None:
        """Raises DirectoryError for a batch in which one account cannot be read: alone, it does not hold up the others."""
        cases, groups = self._load(works)
        for case in cases:
            case.taken = taken.get(case.work.key, frozenset())
        with self._late.watched(cases):
            self._take_steps(cases, groups)

    def _take_steps(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup]) -> None:
        alone = len(cases) == 1
        seen = None
        try:
            facts = self._facts(cases, alone=alone)  # (2)
            self._votes.look(cases, groups, self._now())
            self._plan(cases, groups, facts)  # (1), (3)
            self._hold(cases)
            self._write(cases, groups)  # (4), (5)
            seen = self._look(cases, groups)  # (6)
        except DirectoryUnavailable as error:
            _log.warning("%s", error.message)
            if any(case.wanted is None for case in cases):
                self._plan(cases, groups, None)
            for case in cases:
                case.problem = error
        except DirectoryError as error:
            if not alone:
                raise
            cases[0].problem = error
        self._settle(cases, groups, seen)  # (7)

    def _read(self, works: Sequence[Work]) -> tuple[list[Case], dict[GroupId, PamGroup]]:
        with self._store.read() as uow:
            cases = load(uow, works)
            wanted = {g for case in cases for r in case.requests for g in r.privileges}
            wanted |= {g for case in cases for g in case.user.owed}
            groups = {group.id: group for group in uow.groups.many(wanted)}
            roles = {role.id: role for role in uow.roles.all()}
        for case in cases:
            case.roles = roles
        return cases, groups

    def _load(self, works: Sequence[Work]) -> tuple[list[Case], dict[GroupId, PamGroup]]:
        """Gives back the rows of users who are gone."""
        cases, groups = self._read(works)
        known = {case.work.key for case in cases}
        if orphans := [work for work in works if work.key not in known]:
            with self._store.write() as uow:
                uow.work.finish_many([(work, None) for work in orphans])
                uow.commit()
        return cases, groups

    def _facts(self, cases: Sequence[Case], *, alone: bool) -> Facts | None:
        """What must be known before anything is planned. Only accounts that an earlier attempt may have written, or for which something
        begins, are looked at. An account that cannot be read is not opened, but it is closed all the same: None.
        """
        now = self._now()
        retried = {c.user.priv.sid for c in cases if any(tried(r) for r in c.requests)}
        beginning = starts.beginning(cases, now)
        kept = {c.user.priv.sid for c in cases if c.user.kept_alive and any(map(on_the_move, c.requests))}
        wanted = retried | kept | {c.user.priv.sid for c in beginning}
        try:
            states = self._priv.observe(wanted) if wanted else {}
        except DirectoryUnavailable:
            raise
        except DirectoryError as error:
            if not alone:
                raise
            cases[0].problem = error
            return None
        for case in cases:
            shown = starts.of(case.user.priv.sid, states)
            case.before = shown if case.user.priv.sid in retried else []
            case.kept = shown if case.user.kept_alive else []
        starts.look_at_priv(beginning, states)
        starts.look_at_corp(self._corp, beginning, now, alone=alone)
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
                    requests.advance(before, now) if facts is None else step(case, before, groups, facts, now)
                )
                if after != before:
                    case.requests[index] = after
                    changed.append(after)
                    events.extend(announce(before, after, now))
                    events.extend(disowned(case, before, now))
                if before.state is not after.state or before.ends_at is None:
                    moved.append(after)
            case.wanted = grants.desired(case.user, case.requests, now, [one.expires for one in case.kept])
        if changed:
            with self._store.write() as uow:
                uow.requests.save_many(changed)
                uow.work.poke_many(LINK, when_to_look(moved, groups, now))
                uow.audit.append(*events)
                uow.commit()
            renumber(cases, changed)

    def _hold(self, cases: Sequence[Case]) -> None:
        """The mark outside of the database knows of the plan before the directory does; and nothing opens while the two are compared, or where
        nobody can say. What ends goes on.
        """
        opening = [case for case in cases if any(on_the_move(r) for r in case.requests)]
        held: BastideError | None = None
        if opening:
            try:
                held = self._recovery.held()
            except StoreError as error:
                held = error
        if held is not None:
            for case in opening:
                case.problem = held

    def _write(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup]) -> None:
        """For all accounts together: one modify per group, pipelined account ends."""
        now = self._now()
        for case in cases:
            case.opens = {r.id for r in case.requests if r.state in GRANTING and r.ends_at is not None}
        self._set_ends({c.user.priv.sid: now for c in cases if closes(c, now)}, cases)
        self._set_ends({c.user.priv.sid: gate(c) for c in cases if lowers(c)}, cases)
        for group, members in by_group(cases, groups, leaving=True).items():
            with blaming(cases, members):
                self._priv.remove_members(groups[group].priv, members.keys())
        link_ttl = self._priv.capabilities().link_ttl
        sound = [case for case in cases if case.problem is None]
        for group, members in by_group(sound, groups, leaving=False, lowering=link_ttl).items():
            ttl = {sid: end - now for sid, end in members.items() if end is not None} if link_ttl else None
            with blaming(cases, members):
                self._priv.add_members(groups[group].priv, members.keys(), ttl)
        opening = [c for c in cases if c.problem is None and raises(c)]
        self._set_ends({c.user.priv.sid: gate(c) for c in opening}, cases)

    def _set_ends(self, ends: Mapping[Sid, datetime], cases: Sequence[Case]) -> None:
        if not ends:
            return
        failed: Mapping[Sid, str] = {}
        with blaming(cases, ends):
            failed = self._priv.set_ends(ends)
        for case in cases:
            if case.user.priv.sid in failed:
                case.problem = DirectoryDenied(
                    f"accountExpires of {case.user.name}: {failed[case.user.priv.sid]}"
                )
                case.hopeless = case.work.attempts >= DENIED_LIMIT

    def _look(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup]) -> Seen:
        busy = [case for case in cases if case.user.owed or any(unsettled(r) for r in case.requests)]
        if not busy:
            return Seen({}, ())
        states = self._priv.observe({case.user.priv.sid for case in busy})
        silent = tuple(c.name for c in self._priv.controllers() if not c.reachable and c.name not in states)
        for case in busy:
            case.unseen = self._unseen(case, groups, states)
        if self._priv.capabilities().link_ttl:
            for case in busy:
                case.unproven = {
                    r.id for r in case.requests if on_the_move(r) and not self._ttl_proven(r, case, groups)
                }
        return Seen(states, silent, self._without(busy, groups, states))

    def _settle(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup], seen: Seen | None) -> None:
        with self._store.write() as uow:
            now = self._now()
            fresh = {group.id: group for group in uow.groups.many(groups.keys())}
            idle = idle_links(uow, cases, fresh)
            changed: list[Request] = []
            events: list[Event] = []
            for case in cases:
                for index, before in enumerate(case.requests):
                    after = self._judge(case, before, fresh, idle, seen, now)
                    if after != before:
                        case.requests[index] = after
                        changed.append(after)
                        events.extend(announce(before, after, now, unreachable=seen.silent if seen else ()))
            for case in cases:
                moved = [
                    (r, m) for r in case.requests if (m := self._end_moved(case, r, changed)) is not None
                ]
                for before, after in moved:
                    changed.append(after)
                    events.append(end_moved_event(before, after, now))
            uow.requests.save_many(changed)
            uow.work.poke_many(LINK, when_to_look(changed, fresh, now))
            events.extend(self._owe(uow, cases, changed, fresh, seen, now))
            uow.audit.append(*events)
            self._hand_back(uow, cases, now)
            uow.commit()

    @staticmethod
    def _owe(
        uow: UnitOfWork,
        cases: Sequence[Case],
        changed: Iterable[Request],
        groups: Mapping[GroupId, PamGroup],
        seen: Seen | None,
        now: datetime,
    ) -> Iterator[Event]:
        """What silent controllers may still hold is kept with the account, or is not any more (owed.py)."""
        moved = {request.id for request in changed}
        for case in cases:
            before = case.user
            after = owed.after(case, [r for r in case.requests if r.id in moved], groups, seen)
            if after != before:
                case.user = uow.users.save(after)
                yield from owed.cleared(before, after, groups, now)

    def _end_moved(self, case: Case, request: Request, changed: Iterable[Request]) -> Request | None:
        """An active request whose directory would end it at another moment now, because another grant moved the account's end."""
        settled = any(request.id == other.id for other in changed)
        if settled or request.state is not State.ACTIVE or request.enforcer is None or case.wanted is None:
            return None
        end = grants.directory_end(
            request.enforcer, latest(case, request), case.wanted.opens_until, case.user.ticket_cap
        )
        return None if end == request.directory_end else replace(request, directory_end=end)

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
        if request.state is State.PROCESSING and (reason := verdict(case, request, now)):
            return requests.fail(request, reason, now)
        if seen is None:
            return request
        if request.state is State.CLOSING:
            over = not case.unseen and gone(request, case.user, case.requests, groups, idle, seen, now)
            return (
                requests.finish(request, now, cap + (SKEW if seen.silent else NO_TIME)) if over else request
            )
        mine = [groups[g] for g in request.privileges if g in groups]
        gate = case.wanted.opens_until if case.wanted is not None else None
        held_up = (
            case.problem is not None or request.id in case.unproven or len(mine) < len(request.privileges)
        )
        waited = now - (request.processing_since or now)
        if held_up or not on_the_move(request) or not confirmed(case.user, mine, seen, gate, now, waited):
            return request
        enforcer = grants.enforcer_for(case.user, link_ttl=self._priv.capabilities().link_ttl)
        end = grants.directory_end(enforcer, latest(case, request), gate, cap)
        if request.state is State.ACTIVE:
            return requests.confirm_extension(request, cap, end)
        return requests.confirm(request, enforcer=enforcer, cap=cap, directory_end=end)

    def _unseen(
        self, case: Case, groups: Mapping[GroupId, PamGroup], states: Mapping[str, Mapping[Sid, AccountState]]
    ) -> bool:
        """An account that a controller does not show may be deleted, or hidden from us. Deleted, it is in no group: ask the groups."""
        sid = case.user.priv.sid
        if all(sid in accounts for accounts in states.values()):
            return False
        leaving = {g for r in case.requests if r.state is State.CLOSING for g in r.privileges if g in groups}
        for group in leaving:
            with suppress(NoSuchObject):
                if any(self._priv.observe_link(groups[group].priv, sid).values()):
                    return True
        return False

    def _without(
        self,
        cases: Iterable[Case],
        groups: Mapping[GroupId, PamGroup],
        states: Mapping[str, Mapping[Sid, AccountState]],
    ) -> Mapping[str, frozenset[str]]:
        """Where a group that was to be joined is not there at all: asked only where a controller does not show it."""
        found: dict[str, frozenset[str]] = {}
        for case in cases:
            sid = case.user.priv.sid
            for group in (
                groups[g] for r in case.requests if on_the_move(r) for g in r.privileges if g in groups
            ):
                lacking = {
                    name for name, accounts in states.items()
                    if sid in accounts and group.priv.guid not in accounts[sid].groups
                }  # fmt: skip
                if lacking and group.priv.guid not in found:
                    links = self._priv.observe_link(group.priv, sid)
                    found[group.priv.guid] = frozenset(
                        name for name in lacking if links.get(name, False) is None
                    )
        return found

    def _ttl_proven(self, request: Request, case: Case, groups: Mapping[GroupId, PamGroup]) -> bool:
        """Every controller must show a TTL no longer than what the grants of the group want: an ordinary add would be permanent (F16)."""
        if case.wanted is None:
            return False
        for group in (groups[g] for g in request.privileges if g in groups):
            left = case.wanted.present.get(group.id, request.last_end()) - self._now()
            if not limited(self._priv.time_left(group.priv, case.user.priv.sid), left):
                return False
        return True

    def _hand_back(self, uow: UnitOfWork, cases: Sequence[Case], now: datetime) -> None:
        """Each work row goes back: due at the next moment of its account, or soon if something is not settled."""
        done = []
        for case in cases:
            moments = [due for r in case.requests if (due := r.next_due()) is not None and due > now]
            moments += owed.due(case, now)
            if any(unsettled(r) for r in case.requests):
                why = (
                    case.problem.message
                    if case.problem is not None
                    else "waiting for the directory to show it"
                )
                soon = now + delay(self._jitter, case.work.attempts)
                uow.work.retry(case.work, min([soon, *moments]), why)
            else:
                done.append((case.work, min(moments, default=None)))
        uow.work.finish_many(done)
