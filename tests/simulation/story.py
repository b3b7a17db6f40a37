"""One seed: what people do, what breaks, and the cluster's work meanwhile, until nothing breaks any more and everything is done."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bastide.domain.errors import DirectoryUnavailable, LostLease, Refused, StoreError
from bastide.domain.ids import RequestId
from bastide.domain.people import Forest, Right
from bastide.domain.policy import Draft
from bastide.domain.requests import Decision, Request
from bastide.services.pace import SHARED
from bastide.workers.jobs import LEASE
from tests.simulation.books import BrokenRule
from tests.simulation.cluster import APPROVED, APPROVER, ROLES, Cluster, SimulatedNode
from tests.simulation.faults import Faults
from tests.simulation.universe import START, Killed, Turn, Universe

REQUESTS = 100
#: People ask in the first half hour, and things break for an hour longer.
ASKING = timedelta(minutes=30)
#: Until a node has heard that something is due, and has asked for it.
HEARD = timedelta(milliseconds=120)
#: As after an alarm: so many people ask at the same moment.
AT_ONCE = 20
BREAKING = timedelta(minutes=90)
#: Long after the last end, and after the last retry.
PATIENCE = timedelta(hours=8)
#: So often a program tries a call again that was not answered.
ATTEMPTS = 60
#: Of all turns: killed in the middle, and halted.
KILLED, HALTED = 0.01, 0.1
STEPS = 40


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a seed. `hours` are those of the simulation."""

    seed: int
    counted: Counter[str]
    hours: float


class Story:
    """`until_quiet` tells it. Raises BrokenRule."""

    def __init__(self, seed: int, requests: int = REQUESTS) -> None:
        self.universe = Universe(seed)
        self.cluster = Cluster(self.universe)
        self.books = self.cluster.books
        self.counted = self.books.counted
        self._queue: list[tuple[Any, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.faults = Faults(self)
        self._halted: list[Turn] = []
        chance = self.universe.chance
        alarms = [ASKING * chance.random() for _ in range(max(1, requests // AT_ONCE))]
        for number in range(requests):
            together = timedelta(milliseconds=chance.randint(0, 100))
            self.later(chance.choice(alarms) + together, Asking(self, number).ask)
        self.faults.plan(BREAKING)
        self.later(BREAKING, self.faults.stop)

    def until_quiet(self) -> Told:
        """The whole of it."""
        try:
            self._tell()
            self.books.close(self.cluster.services)
        finally:
            for turn in self._halted:
                turn.kill()
            self.cluster.close()
        return Told(self.universe.seed, self.counted, self.universe.since_start / timedelta(hours=1))

    def later(self, span: timedelta, act: Callable[[], None]) -> None:
        """After that time."""
        heapq.heappush(self._queue, (self.universe.now + span, next(self._order), act))

    def serve(self, node: SimulatedNode, act: Callable[[], Request]) -> Request | None:
        """A call of a person at a node; None: there was no answer. Raises Refused."""
        chance = self.universe.chance
        kill_at = chance.randint(1, 8) if self.universe.sometimes(KILLED) else 0
        made: list[Request] = []
        turn = Turn(self.universe, node.site, lambda: made.append(act()), kill_at=kill_at)
        self.books.ahead = node.clock.ahead
        turn.run()
        match turn.error:
            case None:
                return made[0]
            case Killed():
                self.faults.kill(node)
            case StoreError() | DirectoryUnavailable():
                self.counted["calls without an answer"] += 1
            case error:
                raise error
        return None

    # ------------------------------------------------------------------------------------------------------ as time goes by

    def _tell(self) -> None:
        while self.universe.since_start < BREAKING + PATIENCE:
            event = self._queue[0][0] if self._queue else None
            ripe, due = self._ripe()
            if ripe:
                self._turn(*self.universe.chance.choice(ripe))
                continue
            moments = [moment for moment in (event, due) if moment is not None]
            if not moments:
                return
            to = max(min(moments), self.universe.now)
            self.books.pass_time(to)
            self.universe.now = to
            if event == to:
                _, _, act = heapq.heappop(self._queue)
                act()
            self.books.look()
        raise BrokenRule(7, "there is no end of work")

    def _ripe(self) -> tuple[list[tuple[SimulatedNode, str]], Any]:
        """Who could take up what now; else when something is due that somebody could."""
        now = (self.universe.now - HEARD - _EPOCH) // timedelta(microseconds=1)
        ripe = []
        next_due = None
        for kind, partition, ready in self.books.rows.execute(_DUE).fetchall():
            if ready > now:
                next_due = ready if next_due is None else min(ready, next_due)
                continue
            ripe += [(node, kind) for node in self._takers(kind, partition)]
        return ripe, None if next_due is None else _EPOCH + HEARD + timedelta(microseconds=next_due)

    def _takers(self, kind: str, partition: str) -> list[SimulatedNode]:
        reaches = self.cluster.moods.reaches
        if self.cluster.moods.down:
            return []
        return [
            node
            for node in self.cluster.nodes
            if node.free(kind) and reaches(node.site) and (kind in SHARED or node.partition == partition)
        ]

    # ---------------------------------------------------------------------------------------------------------- a turn

    def _turn(self, node: SimulatedNode, kind: str) -> None:
        """A job of a node looks for work, once."""
        chance, breaking = self.universe.chance, self.faults.going_on
        kill_at = chance.randint(1, STEPS) if breaking and self.universe.sometimes(KILLED) else 0
        halt_at = chance.randint(1, STEPS) if breaking and self.universe.sometimes(HALTED) else 0
        turn = Turn(
            self.universe, node.site, lambda: node.runner.once(kind), kill_at=kill_at, halt_at=halt_at
        )
        node.turns[kind] = turn
        self.counted["turns"] += 1
        self._go_on(node, kind, turn)

    def _go_on(self, node: SimulatedNode, kind: str, turn: Turn) -> None:
        self.books.ahead = node.clock.ahead
        turn.run()
        self.books.look()
        if turn.over:
            self._over(node, kind, turn)
            return
        self.counted["turns halted"] += 1
        self._halted.append(turn)
        if self.universe.sometimes(0.5):
            self.faults.pause(node)
        else:
            self._slow(node, kind, turn)

    def _slow(self, node: SimulatedNode, kind: str, turn: Turn) -> None:
        """It waits for an answer; the process lives, and renews its lease."""
        left = timedelta(seconds=self.universe.chance.expovariate(1 / 8))

        def wait(left: timedelta) -> None:
            if node.turns.get(kind) is not turn:
                return
            if node.store.held is not None:
                works, owner, lease = node.store.held
                with suppress(StoreError, LostLease):
                    node.store.renew(works, owner=owner, lease=lease, now=node.clock.now())
            if left <= timedelta(0):
                self.resume(node, kind, turn)
            else:
                self.later(min(left, LEASE / 3), lambda: wait(left - LEASE / 3))

        self.later(min(left, LEASE / 3), lambda: wait(left - LEASE / 3))

    def resume(self, node: SimulatedNode, kind: str, turn: Turn) -> None:
        """A turn that was halted."""
        if node.turns.get(kind) is not turn or node.paused:
            return
        self._halted.remove(turn)
        self._go_on(node, kind, turn)

    def forget(self, turn: Turn) -> None:
        """One that never goes on."""
        if turn in self._halted:
            self._halted.remove(turn)
        turn.kill()

    def _over(self, node: SimulatedNode, kind: str, turn: Turn) -> None:
        if node.turns.get(kind) is turn:
            del node.turns[kind]
        took = timedelta(milliseconds=self.universe.chance.randint(20, 300))
        node.busy_until[kind] = self.universe.now + took
        self.later(took, lambda: None)
        match turn.error:
            case None:
                pass
            case Killed():
                self.faults.kill(node)
            case LostLease():
                self.counted["claims that were lost"] += 1
            case StoreError():
                node.busy_until[kind] = self.universe.now + timedelta(seconds=1)
                self.later(timedelta(seconds=1), lambda: None)
            case error:
                raise error


class Asking:
    """One person asks for one role, insists until there is an answer, and maybe extends it or gives it back."""

    def __init__(self, story: Story, number: int) -> None:
        chance = story.universe.chance
        self._story = story
        self._key = f"call {number} of this seed"
        self._name = chance.choice([*story.cluster.people])
        self._role = chance.choice(ROLES)
        self._ttl = timedelta(minutes=chance.choice((10, 30, 75)))
        self._attempts = 0

    def ask(self) -> None:
        start = self._story.universe.chance.choice(
            (None, None, None, self._story.universe.now + timedelta(minutes=5))
        )
        draft = Draft(ttl=self._ttl, start_at=start, justification="simulated", key=self._key)
        self._insist(
            "submitted",
            lambda node: node.services.requests.submit(self._me(), self._role, draft),
            self._asked,
        )

    def _asked(self, request: Request) -> None:
        story, chance = self._story, self._story.universe.chance
        story.counted["requests"] += 1
        if story.universe.sometimes(0.1):  # the answer was lost: the same call again, at another node
            self._insist("submitted", lambda node: self._again(node, request), lambda _request: None)
        if self._role == APPROVED:
            self._later(5, lambda: self._vote(request.id))
        act = chance.choice((self._extend, self._end, self._kill, None, None))
        if act is not None:
            self._later(40, lambda: act(request.id))

    def _again(self, node: SimulatedNode, request: Request) -> Request:
        draft = Draft(ttl=self._ttl, start_at=request.start_at, justification="simulated", key=self._key)
        return node.services.requests.submit(self._me(), self._role, draft)

    def _vote(self, request: RequestId) -> None:
        approver = self._story.cluster.actor(APPROVER, Forest.PRIV, Right.USE, Right.APPROVE)
        self._insist(
            "vote.approve|cancelled|expired|closing|closed",
            lambda node: node.services.requests.decide(
                approver, request, Decision.APPROVE, key=f"{self._key} vote"
            ),
            lambda _request: None,
        )

    def _extend(self, request: RequestId) -> None:
        by = timedelta(minutes=15)
        self._insist(
            "extension-asked",
            lambda node: node.services.requests.extend(self._me(), request, by, key=f"{self._key} more"),
            lambda _request: None,
        )

    def _end(self, request: RequestId) -> None:
        self._insist(
            "closing|cancelled",
            lambda node: node.services.requests.close(self._me(), request, "done"),
            lambda _request: None,
        )

    def _kill(self, request: RequestId) -> None:
        admin = self._story.cluster.actor("dave", Forest.PRIV, *Right)
        self._insist(
            "closing|cancelled",
            lambda node: node.services.requests.kill(admin, "exercise", request=request)[0],
            lambda _request: None,
        )

    def _me(self) -> Any:
        return self._story.cluster.actor(self._name, Forest.CORP, Right.USE)

    def _insist(
        self,
        what: str,
        act: Callable[[SimulatedNode], Request],
        then: Callable[[Request], None],
        attempt: int = 1,
    ) -> None:
        story = self._story
        serving = [node for node in story.cluster.nodes if node.lives and not node.paused]
        node = story.universe.chance.choice(serving) if serving else None
        try:
            answer = None if node is None else story.serve(node, lambda: act(node))
        except Refused:
            story.counted["calls refused"] += 1
            return
        if answer is not None:
            self._story.books.acknowledged.append((what, answer.id))
            then(answer)
        elif attempt < ATTEMPTS:
            story.later(timedelta(seconds=2), lambda: self._insist(what, act, then, attempt + 1))

    def _later(self, minutes: float, act: Callable[[], None]) -> None:
        self._story.later(timedelta(minutes=minutes * self._story.universe.chance.random()), act)


_DUE = "SELECT kind, partition, min(ready) FROM work WHERE ready IS NOT NULL GROUP BY kind, partition"
_EPOCH = START.fromtimestamp(0, START.tzinfo)
