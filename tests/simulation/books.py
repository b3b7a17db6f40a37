"""The rules that hold whatever happens, and the books that prove it. They are kept beside the product, of what counts in the database and of what the controllers hold.

(1) Nothing that was acknowledged is lost.
(2) No access outlives the end that Bastide says: the true end of what is over, the directory's end of what is not.
(3) Nothing takes effect twice: a row of work has one holder, only the newest claim gives it back, a request begins and ends once.
(4) What is said to be active was read back, on every controller that answered, since it was written.
(5) The work of a partition is done by that partition.
(6) The chain of the audit is whole.
(7) When the faults are over, everything that is due is finished, and nothing is left in a directory.
(8) What was granted lasts as long as it was granted for, unless somebody ends it.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from bastide.domain.ids import RequestId, Sid, UserId
from bastide.domain.people import PamUser
from bastide.domain.requests import LIVE, Request, State
from bastide.domain.roles import PamGroup
from bastide.services.pace import SHARED
from bastide.services.ports import AuditQuery, Work
from bastide.services.readback import SKEW
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import Services
from tests.simulation.forest import SimulatedForest
from tests.simulation.universe import START, Universe, UniverseClock

#: An account and a group.
Door = tuple[Sid, str]
_NEVER = datetime.max.replace(tzinfo=UTC)
TOLERANCE = timedelta(seconds=1)
OVER = frozenset({State.CLOSED, State.EXPIRED, State.FAILED})
_ONCE = ("submitted", "active", "expired", "closed", "failed", "cancelled", "rejected")
_PARTITIONS = "SELECT kind, key, partition FROM work"
_ENDS = ("request.expired", "request.closed", "request.failed")


class BrokenRule(AssertionError):
    """A rule does not hold."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"rule ({number}) is broken: {what}")
        self.number = number


@dataclass(slots=True)
class Held:
    """The newest claim of a row."""

    node: str
    fence: int
    until: datetime
    given_back: bool = False


class Books:
    """`committed` and `claimed` are told by the database, `look` by the simulation, after each thing that happened."""

    def __init__(
        self, universe: Universe, origin: SqlStore, priv: SimulatedForest, corp: SimulatedForest
    ) -> None:
        self._universe = universe
        self._origin = origin
        self._priv, self._corp = priv, corp
        #: The database's own connection: what the books ask must not cost what the product's questions do.
        self.rows = cast("sqlite3.Connection", origin.engine.raw_connection().driver_connection)
        self.cap = timedelta(0)
        self.dc_clocks: dict[str, UniverseClock] = {}
        self.users: dict[UserId, PamUser] = {}
        self.groups: dict[str, PamGroup] = {}
        self.requests: dict[RequestId, Request] = {}
        self.acknowledged: list[tuple[str, RequestId]] = []
        self.counted: Counter[str] = Counter()
        self._held: dict[tuple[str, str], Held] = {}
        self._latest: dict[UserId, datetime] = {}
        self._said: dict[RequestId, datetime] = {}
        self._began: dict[RequestId, datetime] = {}
        self._of_user: dict[UserId, dict[RequestId, Request]] = defaultdict(dict)
        self._promised: dict[Door, datetime] = {}
        self._open: dict[Door, datetime] = {}
        self._last_open: dict[Door, datetime] = {}
        #: How far the clock of the node whose turn it is is ahead: what it says is meant by that clock.
        self.ahead = timedelta(0)

    # ------------------------------------------------------------------------------------------------ told by the database

    def claimed(self, node: str, partition: str, works: Sequence[Work], until: datetime) -> None:
        """Rules (3) and (5)."""
        if not works:
            return
        owned = {(kind, key): owner for kind, key, owner in self.rows.execute(_PARTITIONS)}
        for work in works:
            row = (work.kind, work.key)
            before = self._held.get(row)
            if before is not None and not before.given_back:
                self.counted["work taken over"] += 1
                if before.until > self._universe.now:
                    raise BrokenRule(3, f"{row} is claimed by {node} while {before.node} holds it")
            if before is not None and work.fence <= before.fence:
                raise BrokenRule(3, f"the fence of {row} did not grow")
            if work.kind not in SHARED and owned[row] != partition:
                raise BrokenRule(5, f"{row} of partition {owned[row]} is claimed by {node} of {partition}")
            self._held[row] = Held(node, work.fence, until)

    def renewed(self, works: Collection[Work], until: datetime) -> None:
        for work in works:
            held = self._held[work.kind, work.key]
            if held.fence == work.fence and not held.given_back:
                held.until = until

    def committed(self, requests: Sequence[Request], given_back: Sequence[Work]) -> None:
        """Rules (3), (4), (8)."""
        for work in given_back:
            held = self._held[work.kind, work.key]
            if held.fence != work.fence or held.given_back:
                raise BrokenRule(3, f"{work.kind} {work.key} is given back with an old fence")
            held.given_back = True
        for request in requests:
            self._keep(request, self.requests.get(request.id))
            self.requests[request.id] = self._of_user[request.user][request.id] = request
        for user in {request.user for request in requests}:
            self._promise_again(self.users[user])
        self._universe.changed = True

    def _keep(self, after: Request, before: Request | None) -> None:
        now = self._universe.now
        if after.ends_at is not None and after.state in LIVE:
            self._latest[after.user] = max(after.last_end(), self._latest.get(after.user, after.last_end()))
            if before is None or before.ends_at is None:
                self._began[after.id] = now
        if after.state is State.ACTIVE and (before is None or before.state is not State.ACTIVE):
            self.counted["grants"] += 1
            self._was_read_back(after)
        if after.state in OVER and after.active_from is not None and after.true_end is not None:
            self._said[after.id] = after.true_end - self.ahead
            if after.state is State.EXPIRED and now < self._began[after.id] + after.ttl - 2 * SKEW:
                raise BrokenRule(8, f"{after.id} ended {self._began[after.id] + after.ttl - now} early")

    def _was_read_back(self, request: Request) -> None:
        turn = self._universe.turn
        shown = turn.seen.get(self._priv.forest.value, {}) if turn is not None else {}
        user = self.users[request.user]
        guids = {self.groups[group].priv.guid for group in request.privileges}
        states = [accounts.get(user.priv.sid) for accounts in shown.values()]
        if not states or not all(state is not None and guids <= state.groups for state in states):
            raise BrokenRule(4, f"{request.id} is said to be active, and was not read back")

    # ---------------------------------------------------------------------------------------- looked at after each event

    def pass_time(self, to: datetime) -> None:
        """Nothing happens until then; but doors stay open."""
        for door, until in self._open.items():
            self._last_open[door] = max(self._last_open[door], min(to, until))
        self._outlives(self._open)

    def look(self) -> None:
        """At the controllers themselves, also those that nobody reaches, if anything was written. Rule (2)."""
        if self._universe.changed:
            self._universe.changed = False
            self._find_open()
            self._outlives(self._last_open)

    def _find_open(self) -> None:
        now = self._universe.now
        self._open = {}
        for name, replica in self._priv.replicas().items():
            ahead = self.dc_clocks[name].ahead
            for user in self.users.values():
                sid = user.priv.sid
                expires = replica.expires(sid)
                until = _NEVER if expires is None else expires - ahead
                if until <= now:
                    continue
                for guid in replica.groups_with({sid}, now):
                    self._open[sid, guid] = max(until, self._open.get((sid, guid), until))
                    self._last_open[sid, guid] = now

    def _outlives(self, doors: Collection[Door]) -> None:
        for door in doors:
            late = self._last_open[door] + self.cap - self._promised.get(door, START)
            if late > TOLERANCE:
                raise BrokenRule(2, f"account {door[0]} has had group {door[1]} for {late} too long")

    def _promise_again(self, user: PamUser) -> None:
        """When access is over at the latest by the truth's clock, tickets too: as Bastide says of what is over, and as it wrote of what is not."""
        promised: dict[Door, datetime] = {}
        for request in self._of_user[user.id].values():
            until = self._said.get(request.id)
            if request.state in LIVE and request.ends_at is not None:
                until = self._latest[user.id] + SKEW + self.cap
            if until is not None:
                for group in request.privileges:
                    door = user.priv.sid, self.groups[group].priv.guid
                    promised[door] = max(until, promised.get(door, until))
        self._promised |= promised

    # ------------------------------------------------------------------------------------------------------ at the end

    def close(self, services: Services) -> None:
        """Rules (1), (3), (6), (7)."""
        with self._origin.read() as uow:
            kept = {request.id: request for request in uow.requests.in_states(frozenset(State))}
            rows = uow.work.listing()
            records = list(uow.audit.read(AuditQuery(limit=0)))
        told = Counter((record.request, record.kind) for record in records)
        for what, request_id in self.acknowledged:
            if request_id not in kept or not any(
                told[request_id, f"request.{kind}"] for kind in what.split("|")
            ):
                raise BrokenRule(1, f"{what} of {request_id} was acknowledged, and is lost")
        for request in self.requests.values():
            if kept.get(request.id) is None or kept[request.id].state is not request.state:
                raise BrokenRule(1, f"{request.id} was {request.state.value}, and is not any more")
        self._once(told, kept)
        services.audit.verify_chain()
        if unfinished := [
            r for r in kept.values() if r.state not in OVER | {State.CANCELLED, State.REJECTED}
        ]:
            raise BrokenRule(7, f"{len(unfinished)} requests are not over: {unfinished[0]}")
        if waiting := [row for row in rows if row["kind"] not in SHARED and (row["owner"] or row["due"])]:
            raise BrokenRule(7, f"work is left: {waiting[0]}")
        self._nothing_is_left()

    def _once(self, told: Counter[tuple[str, str]], kept: Collection[RequestId]) -> None:
        for request_id in kept:
            # What a late write opened again is ended again, and the audit says so (services/late.py).
            again = told[request_id, "request.late-write"]
            twice = [
                kind
                for kind in _ONCE
                if told[request_id, f"request.{kind}"] > 1 + again * (f"request.{kind}" in _ENDS)
            ]
            ended = sum(told[request_id, kind] for kind in _ENDS)
            self.counted["late writes taken back"] += again
            if twice or ended > 1 + again:
                raise BrokenRule(3, f"{request_id} did it twice: {twice or 'it ended'}")
            if told[request_id, "request.extended"] > told[request_id, "request.extension-asked"]:
                raise BrokenRule(3, f"{request_id} was extended more often than asked")

    def _nothing_is_left(self) -> None:
        now = self._universe.now
        for name, replica in self._priv.replicas().items():
            for user in self.users.values():
                expires = replica.expires(user.priv.sid)
                if replica.groups_with({user.priv.sid}, now) or expires is None or expires > now:
                    raise BrokenRule(7, f"{user.name} has something left on {name}")
        for name, replica in self._corp.replicas().items():
            for group in self.groups.values():
                if replica.members_of(group.corp.guid, now):
                    raise BrokenRule(7, f"the link of {group.name} is left on {name}")
