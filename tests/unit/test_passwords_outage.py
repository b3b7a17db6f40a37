"""An hour without the server, in simulated time: the agent's own queue and delivery on one side, the server's own use cases on the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bastide.domain.passwords import Receipt, State
from bastide.pcns import ServiceSettings, Target
from bastide.wire import Answer, FromAgent, FromServer, Heartbeat, Notification
from bastide_agent.deliver import Delivery
from bastide_agent.failures import Unreachable
from bastide_agent.spool import Change, Spool
from tests.support.agent import MemoryLog, target
from tests.support.sync_world import SyncWorld, filetime

PEOPLE = ("alice", "bob", "carol")
RETRY = 60
HOUR = 3600
#: Seconds between two rounds of changes.
ROUND = 300


class Link:
    """Connector and channel in one, to the use cases of a SyncWorld. `lost`: so many answers get lost on their way."""

    def __init__(self, world: SyncWorld) -> None:
        self.world = world
        self.up = True
        self.lost = 0
        self._answers: list[Answer] = []

    def connect(self, target: Target) -> "Link":
        if not self.up:
            raise Unreachable(f"{target.name} does not answer")
        return self

    def say(self, messages: Sequence[FromAgent]) -> None:
        if not self.up:
            raise Unreachable("the connection broke")
        self._answers += [self._answer(one) for one in messages]

    def hear(self) -> FromServer:
        if self.lost:
            self.lost -= 1
            self._answers.clear()
            raise Unreachable("no answer")
        return self._answers.pop(0)

    def close(self) -> None:
        self._answers.clear()

    def _answer(self, message: FromAgent) -> Answer:
        accept, caller = self.world.passwords.accept, self.world.caller()
        if isinstance(message, Notification):
            told = accept.notification(caller, message)
            reason = told.reason
            return Answer(reference=message.reference, verdict=told.verdict, reason=reason, delay=told.delay)
        assert isinstance(message, Heartbeat)
        told = accept.heartbeat(caller, message.waiting)
        return Answer(reference="", verdict=told.verdict, delay=told.delay)


class Outage:
    """A domain controller and a server, and an hour between them."""

    def __init__(self, folder: Path) -> None:
        self.world = SyncWorld()
        self.world.ready(*PEOPLE)
        self.link = Link(self.world)
        self.folder = folder
        self.target = target(keep_alive=60)
        self.log = MemoryLog()
        self.start_agent()

    def start_agent(self) -> None:
        """On the queue as it lies on the disk; what was before is as after kill -9."""
        clock = self.world.clock
        self.spool = Spool(self.folder, self.log, limit=1 << 22, aside=lambda: "now")
        self.delivery = Delivery(
            self.target,
            ServiceSettings(retry_interval=RETRY),
            spool=self.spool,
            connector=self.link,
            log=self.log,
            clock=clock,
            ticks=lambda: filetime(clock.now()),
            names=lambda: {str(self.target.guid): self.target.name},
        )

    def change(self, name: str, password: str) -> None:
        """On the controller; the agent has queued it."""
        told = self.world.notification(name, password)
        fields = {field: getattr(told, field) for field in Change.__struct_fields__}
        self.spool.add([(Change(**fields), [str(self.target.guid)])], filetime(self.world.clock.now()))

    def work(self) -> float:
        """All that the agent has to do now; seconds until there is more."""
        while not isinstance(job := self.delivery.next_job(), float):
            job()
        return job


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    made = Outage(tmp_path)
    yield made
    made.world.close()


def test_an_hour_without_the_server_loses_nothing_and_sets_each_newest_password_once(outage: Outage) -> None:
    world = outage.world
    outage.link.up = False
    passed, number = 0, 0
    while passed < HOUR:
        if passed % ROUND == 0:
            number += 1
            for name in PEOPLE:
                outage.change(name, f"{name}-{number}")
        outage.work()
        world.clock.move(seconds=RETRY)
        passed += RETRY
        if passed == HOUR // 2:
            outage.start_agent()
    assert outage.spool.waiting() == len(PEOPLE) * HOUR // ROUND
    assert outage.log.of(4003), "it said that nobody answers"
    outage.link.up = True
    outage.link.lost = 2
    while outage.spool.waiting():
        world.clock.move(seconds=outage.work())
    world.work()
    for name in PEOPLE:
        assert {world.password(name, space) for space in ("crm", "files")} == {f"{name}-{number}"}
    assert world.served("crm") == world.served("files") == len(PEOPLE), "older ones were never written"
    with world.store.read() as uow:
        history = uow.changes.history(user="", before=None, limit=1000)
    assert len(history) == len(PEOPLE) * HOUR // ROUND
    assert {change.receipt for change, _ in history} == {Receipt.STAGED}
    assert len(world.deliveries(State.DELIVERED)) == len(PEOPLE) * 2
    assert world.deliveries(State.PENDING) == []
    assert world.vault.references() == frozenset(), "no key is left"


def test_a_change_while_the_others_are_on_their_way_again_is_the_one_that_counts(outage: Outage) -> None:
    world = outage.world
    outage.link.up = False
    for number in range(3):
        outage.change("alice", f"alice-{number}")
        world.clock.move(minutes=20)
    outage.work()
    outage.link.up = True
    world.clock.move(seconds=RETRY)
    outage.delivery.next_job()()  # type: ignore[operator]  # one step only
    world.work()
    outage.change("alice", "alice-newest")
    while outage.spool.waiting():
        world.clock.move(seconds=outage.work())
        world.work()
    assert {world.password("alice", space) for space in ("crm", "files")} == {"alice-newest"}
