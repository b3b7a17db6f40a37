"""One cause, thousands of accounts: the log says so at once, goes on saying it, and stays readable."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bastide.pcns import Configuration, ServiceSettings
from bastide_agent.capture import Capture
from bastide_agent.events import Value
from bastide_agent.spool import KEY, Spool
from bastide_agent.spool_file import load_key
from bastide_agent.state import PlaceFile
from bastide_agent.sums import FIRST, INTERVAL, SummingLog
from tests.support.agent import BASE, ManualClock, MemoryDirectory, MemoryLog, target
from tests.unit.test_agent_configuration import entry
from tests.unit.test_agent_life import Running

ACCOUNTS = 1000


class World:
    """A log that sums, in front of one that remembers."""

    def __init__(self) -> None:
        self.behind, self.clock = MemoryLog(), ManualClock()
        self.log = SummingLog(self.behind, self.clock)

    def write(self, count: int = 1) -> None:
        for number in range(count):
            self.log.write(6005, detail=f"user{number}: no ciphertext")

    def said(self) -> Sequence[Mapping[str, Value]]:
        return self.behind.of(6005)

    def total(self) -> int:
        """Of how many accounts the events speak."""
        return sum(int(str(one.get("count", 1))) for one in self.said())


def test_a_thousand_accounts_without_ciphertext(tmp_path: Path) -> None:
    """A bulk import: all are counted, those with a password are told, and the next round begins behind all of them."""
    world, directory, one = World(), MemoryDirectory(), target()
    spool = Spool(tmp_path, world.log, limit=1 << 22, aside=lambda: "now")
    place = PlaceFile(tmp_path, load_key(tmp_path / KEY), world.log)
    capture = Capture(directory, spool, place, world.log, world.clock)
    capture.begin(BASE, directory.invocation)
    for number in range(ACCOUNTS):
        directory.add(f"user{number}").secret = b""
    directory.add("ann")
    assert capture.round(Configuration(ServiceSettings(), (one,))) == 1
    assert [fields["user"] for fields in world.behind.of(2201)] == ["ann"]
    assert len(world.said()) == FIRST
    assert "user0 (" in str(world.said()[0]["detail"])
    world.clock.advance(INTERVAL)
    world.log.tell_due()
    assert len(world.said()) == FIRST + 1
    assert world.said()[-1]["count"] == ACCOUNTS - FIRST
    assert f"user{ACCOUNTS - 1} (" in str(world.said()[-1]["detail"])
    assert "holds no ciphertext" in str(world.said()[-1]["detail"])
    assert capture.round(Configuration(ServiceSettings(), (one,))) == 0
    assert world.total() == ACCOUNTS


def test_each_interval_has_its_count_while_it_goes_on() -> None:
    world = World()
    for _ in range(3):
        world.write(100)
        world.clock.advance(INTERVAL)
        world.log.tell_due()
    assert [one.get("count") for one in world.said()] == [None] * FIRST + [95, 100, 100]


def test_a_long_round_does_not_wait_for_its_end() -> None:
    """Nobody calls tell_due while twenty thousand accounts are read."""
    world = World()
    for _ in range(20):
        world.write(100)
        world.clock.advance(INTERVAL / 10)
    assert [one["count"] for one in world.said()[FIRST:]] == [995]
    world.log.tell_all()
    assert world.total() == 2000


def test_after_a_quiet_interval_they_are_written_singly_again() -> None:
    world = World()
    world.write(FIRST + 1)
    for _ in range(2):
        world.clock.advance(INTERVAL)
        world.log.tell_due()
    world.write(FIRST)
    assert [one.get("count") for one in world.said()] == [None] * FIRST + [1] + [None] * FIRST


def test_a_few_are_written_at_once_and_no_count_follows() -> None:
    world = World()
    world.write(FIRST)
    world.log.tell_all()
    assert world.total() == len(world.said()) == FIRST


@pytest.mark.parametrize("number", [4101, 6010, 6018])
def test_other_numbers_go_through(number: int) -> None:
    world = World()
    for _ in range(ACCOUNTS):
        world.log.write(number, detail="x")
    assert len(world.behind.of(number)) == ACCOUNTS


def test_the_agent_tells_in_time_and_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path, monkeypatch)
    running.controller.configure(entry(target("One", keep_alive=0)))
    running.start()

    people = running.controller.people

    def arrive(count: int) -> None:
        """Until the round that reads the last of them."""
        for number in range(count):
            people.add(f"user{number}")
        running.until(lambda: running.agent._read_at == people.highest_usn())

    people.before_read = lambda guid: setattr(people.people[guid], "secret", b"")
    arrive(20)
    running.until(lambda: len(running.log.of(6005)) == FIRST)
    running.clock.advance(INTERVAL)
    running.until(lambda: running.log.of(6005)[-1].get("count"))
    arrive(10)
    running.stop()
    said = running.log.of(6005)
    assert sum(int(str(one.get("count", 1))) for one in said) == 30
    assert running.log.numbers()[-1] == 2002
