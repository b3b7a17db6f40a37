"""Two nodes over one database: one reads a domain at a time, the other goes on from its cookie, and what one was about to do is done once.

The forests are in memory. Leases run on the database's own clock, so a node that dies here has one of a millisecond.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_changes import MemoryChangeFeed
from bastide.domain.drift import Rule
from bastide.domain.errors import LostLease
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Seen
from bastide.domain.people import Forest
from bastide.domain.roles import PamGroup
from bastide.services.monitor.ports import Domain, Moved
from bastide.services.monitor.reading import LOOK_EVERY
from bastide.services.monitor.repairs import AGAIN
from bastide.services.pace import MONITOR
from bastide.services.ports import Work
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import assemble
from tests.support.monitored import MonitoredWorld
from tests.support.world import ADDRESS

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
PRIV, CORP = Forest.PRIV, Forest.CORP
LONG, OVER = timedelta(hours=1), timedelta(milliseconds=1)
EARLY = datetime(2000, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process ends there: nothing after it is done."""


class Believing:
    """The lease of a node that stood still after it had asked: it does not know better."""

    def require(self) -> None:
        """It is ours."""


class Feed(MemoryChangeFeed):
    """Knows from which cookies it was read. `meanwhile`: what happens while a node looks at it."""

    def __init__(self, feed: MemoryChangeFeed) -> None:
        vars(self).update(vars(feed))
        self.cookies: list[bytes] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def since(self, controller: str, cookie: bytes) -> Iterator[Moved]:
        self.cookies.append(cookie)
        return super().since(controller, cookie)

    def look(self, controller: str, guids: Collection[str]) -> Mapping[str, Seen]:
        seen, meanwhile = super().look(controller, guids), self.meanwhile
        self.meanwhile = lambda: None
        meanwhile()
        return seen


class Hands(MemoryDirectory):
    """Counts what is taken out. `before`: what happens on the way there."""

    taken = 0

    def __init__(self, directory: MemoryDirectory) -> None:
        vars(self).update(vars(directory))
        self.before: Callable[[], None] = lambda: None

    def remove_members(self, group: ObjectRef, members: Collection[Sid]) -> None:
        before, self.before = self.before, lambda: None
        before()
        self.taken += 1
        super().remove_members(group, members)


class Node:
    """A store, use cases, a feed and hands of its own."""

    def __init__(self, world: MonitoredWorld, url: str, name: str) -> None:
        self.name = name
        self.store = SqlStore(url)
        realms = dict(world.adapters.realms)
        self.hands = Hands(world.directory(PRIV))
        realms[PRIV] = replace(realms[PRIV], directory=self.hands)
        self.feeds = {side: Feed(feed) for side, feed in world.feeds.items()}
        assert world.adapters.monitoring is not None
        monitoring = replace(world.adapters.monitoring, feeds=self.feeds)
        adapters = replace(world.adapters, store=self.store, realms=realms, monitoring=monitoring)
        made = assemble(adapters, world._preparation(), address=ADDRESS).monitoring
        assert made is not None
        self.watch = made.watch

    def claim(self, side: Forest, lease: timedelta = LONG) -> tuple[Work, ...]:
        """The row of the domain; empty: another node has it."""
        with self.store.write() as uow:
            uow.work.poke(MONITOR[side], side.value, EARLY)
            uow.commit()
        found = self.store.claim(
            [MONITOR[side]], owner=self.name, lease=lease, limit=1, now=datetime.now(UTC)
        )
        time.sleep(2 * OVER.total_seconds())
        return tuple(found)

    def read(self, side: Forest = PRIV) -> bool:
        """Whether it was this node's turn."""
        works = self.claim(side)
        self.watch.run(works, Believing())
        return bool(works)

    def dies(self, side: Forest = PRIV) -> None:
        """It reads, and is killed on the way; its lease is over then."""
        with pytest.raises(Killed):
            self.watch.run(self.claim(side, OVER), Believing())


class Pair:
    """Two nodes, and a PRIV group of one person."""

    def __init__(self, world: MonitoredWorld, url: str, stack: ExitStack) -> None:
        self.world = world
        self.a, self.b = (Node(world, url, name) for name in "ab")
        for node in (self.a, self.b):
            stack.callback(node.store.close)
        assert self.a.read()
        assert self.a.read(CORP)

    @property
    def group(self) -> PamGroup:
        with self.world.store.read() as uow:
            return uow.groups.all()[0]

    def stranger(self, name: str = "mallory2") -> Sid:
        """Puts somebody into the group whom no request explains."""
        sid = self.world.priv.add_person(name).ref.sid
        self.world.add_by_hand(PRIV, self.group.priv, sid)
        return sid

    def told(self) -> dict[str, int]:
        """How often each thing was said."""
        kinds = ("monitor.loaded", "monitor.resynced", "drift.found", "drift.repaired", "drift.gone")
        return {kind: len(self.world.told(kind)) for kind in kinds}

    @property
    def taken(self) -> int:
        return self.a.hands.taken + self.b.hands.taken


SAID_ONCE = {
    "monitor.loaded": 2,
    "monitor.resynced": 0,
    "drift.found": 1,
    "drift.repaired": 1,
    "drift.gone": 0,
}


@pytest.fixture
def pair(shared_url: str) -> Iterator[Pair]:
    with ExitStack() as stack:
        world = MonitoredWorld(url=shared_url)
        stack.callback(world.close)
        world.clock.moment = datetime.now(UTC)
        world.ready()
        yield Pair(world, shared_url, stack)


def pause(pair: Pair) -> None:
    pair.world.monitoring.control.turn(pair.world.dave, "maintenance", on=False)


def test_who_pauses_while_a_domain_is_read_has_nothing_put_right_any_more(pair: Pair) -> None:
    sid = pair.stranger()
    pair.a.feeds[PRIV].meanwhile = lambda: pause(pair)
    assert pair.a.read()
    assert pair.taken == 0
    assert sid in pair.world.directory(PRIV).members_of(pair.group.priv)
    pair.world.monitoring.control.turn(pair.world.dave, "done", on=True)
    pair.world.clock.move(minutes=2)
    assert pair.a.read()
    assert pair.taken == 1


def test_one_node_reads_a_domain_at_a_time(pair: Pair) -> None:
    held = pair.a.claim(PRIV)
    assert held
    assert not pair.b.read(), "nobody reads beside it"
    assert pair.b.read(CORP), "but another domain"
    pair.a.watch.run(held, Believing())
    assert pair.b.read(), "and this one when it was given back"


def test_the_other_goes_on_from_the_cookie_of_the_one_that_died(pair: Pair) -> None:
    cookie = pair.world.domain(PRIV).cookie
    pair.stranger()
    assert pair.a.claim(PRIV, OVER), "and that was the last of it"
    assert pair.b.read()
    assert pair.b.feeds[PRIV].cookies[0] == cookie
    assert pair.b.read()
    assert pair.told() == SAID_ONCE
    assert pair.taken == 1


def test_what_was_read_and_not_committed_is_read_again(pair: Pair) -> None:
    cookie = pair.world.domain(PRIV).cookie
    pair.stranger()
    pair.a.feeds[PRIV].meanwhile = _killed
    pair.a.dies()
    assert pair.world.domain(PRIV).cookie == cookie
    assert pair.told()["drift.found"] == 0
    for _ in range(2):
        assert pair.b.read()
    assert pair.told() == SAID_ONCE
    assert pair.taken == 1


def test_changes_of_before_and_of_after_the_death_are_all_found(pair: Pair) -> None:
    first = pair.stranger("first")
    pair.a.feeds[PRIV].meanwhile = _killed
    pair.a.dies()
    second = pair.stranger("second")
    assert pair.b.read()
    with pair.world.store.read() as uow:
        assert {one.drift.detail for one in uow.monitored.findings()} == {first, second}
    assert pair.b.read()
    assert pair.told() == {**SAID_ONCE, "drift.found": 2, "drift.repaired": 2}
    assert pair.taken == 2


def test_who_stood_still_too_long_commits_nothing(pair: Pair) -> None:
    """Its database was away for longer than its lease, say: the other has read on, and what this one knows is of before."""
    works = pair.a.claim(PRIV, OVER)
    left: list[Domain] = []

    def the_other_takes_over() -> None:
        pair.stranger()
        assert pair.b.read()
        left.append(pair.world.domain(PRIV))

    pair.world.change_person(PRIV, _alice(pair), mail="new@example.test")
    pair.a.feeds[PRIV].meanwhile = the_other_takes_over
    with pytest.raises(LostLease):
        pair.a.watch.run(works, Believing())
    assert [pair.world.domain(PRIV)] == left, "as the other left it"
    assert pair.world.standing().keys() == {Rule.STRANGER}
    assert pair.b.read()
    assert pair.told() == SAID_ONCE
    assert pair.taken == 1


def test_a_repair_that_death_interrupted_is_done_by_the_other(pair: Pair) -> None:
    pair.stranger()
    pair.a.hands.before = _killed
    pair.a.dies()
    assert pair.told()["drift.found"] == 1
    pair.world.change_person(PRIV, _alice(pair), mail="new@example.test")
    assert pair.b.read()
    assert pair.taken == 0, "it may have been done a moment ago"
    pair.world.clock.move(seconds=max(AGAIN, LOOK_EVERY).total_seconds())
    for _ in range(2):
        assert pair.b.read()
    assert pair.told() == SAID_ONCE
    assert pair.taken == 1


def test_what_one_node_repairs_the_other_does_not(pair: Pair) -> None:
    pair.stranger()
    works = pair.a.claim(PRIV, OVER)
    looks: list[int] = []

    def the_other_looks_as_well() -> None:
        pair.world.change_person(PRIV, _alice(pair), mail="new@example.test")
        assert pair.b.read()
        looks.append(pair.taken)

    pair.a.hands.before = the_other_looks_as_well
    with pytest.raises(LostLease):
        pair.a.watch.run(works, Believing())
    assert looks == [0]
    assert pair.b.read()
    assert pair.told() == SAID_ONCE
    assert pair.taken == 1


def _alice(pair: Pair) -> Sid:
    with pair.world.store.read() as uow:
        return uow.users.all()[0].priv.sid


def _killed() -> None:
    raise Killed
