"""The agent as a whole, on a directory in memory: what it reads at its start, what stops it, and what a change of configuration does to the queue."""

# ruff: noqa: ARG002 - the signatures are those that the agent calls

import io
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from bastide import pcns
from bastide.pcns import ServiceSettings
from bastide_agent import agent as agent_module
from bastide_agent.agent import Agent
from bastide_agent.channel import KerberosConnector, Machine
from bastide_agent.commands import say_stop
from bastide_agent.events import CATALOG, JsonLog
from bastide_agent.failures import DirectoryGone, NoAccount, SpoolFull, Stop, where
from bastide_agent.host import identify
from bastide_agent.ldapi import Changed, Root
from bastide_agent.privileges import NotOpened
from bastide_agent.settings import Settings
from bastide_agent.spool_file import SealedFile
from bastide_agent.state import PlaceFile
from tests.support.agent import BASE, ROOT, ManualClock, MemoryDirectory, MemoryLog, MemoryServer, target
from tests.support.agent_spool import change
from tests.unit.test_agent_configuration import CONTAINER_ENTRY, entry, service

CONTROLLER = f"CN=DC,OU=Domain Controllers,{BASE}"


class Controller:
    """All that an agent asks of its directory."""

    def __init__(self) -> None:
        self.people = MemoryDirectory()
        self.configuration: list[pcns.Entry] | None = [CONTAINER_ENTRY]
        self.control = 0x2000
        self.away = False
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def root(self) -> Root:
        self._here()
        return ROOT

    def read(self, dn: str, names: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        self._here()
        invocation = UUID(self.people.invocation).bytes_le
        return {
            ROOT.server: {"serverReference": [CONTROLLER.encode()]},
            CONTROLLER: {"sAMAccountName": [b"DC$"], "userAccountControl": [str(self.control).encode()]},
            ROOT.ntds_settings: {"invocationId": [invocation]},
        }[dn]

    def below(self, dn: str, names: Sequence[str]) -> list[pcns.Entry]:
        self._here()
        if self.configuration is None:
            raise NoAccount("it is not there")
        return self.configuration

    def any_of(
        self, dn: str, attribute: str, values: Collection[str], names: Sequence[str]
    ) -> list[pcns.Entry]:
        return []

    def highest_usn(self) -> int:
        self._here()
        return self.people.highest_usn()

    def changed(self, base: str, cookie: bytes, attribute: str) -> Iterator[Changed]:
        self._here()
        return self.people.changed(base, cookie, attribute)

    def read_guid(self, guid: str, names: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        self._here()
        return self.people.read_guid(guid, names)

    def _here(self) -> None:
        if self.away:
            raise DirectoryGone("restarting")

    def configure(self, *entries: pcns.Entry) -> None:
        self.configuration = [CONTAINER_ENTRY, *entries]
        self.people.usn += 1


class NoOpener:
    """There is nothing to open in memory."""

    def ldapi(self) -> int:
        raise DirectoryGone("in memory")

    def open(self, thing: object) -> int:
        raise NotOpened(str(thing))


class Running:
    """An agent in a thread."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("state", "runtime"):
            (path / name).mkdir(exist_ok=True)
        self.settings = Settings(state=str(path / "state"), runtime=str(path / "runtime"), log_level=3)
        self.clock, self.log = ManualClock(), MemoryLog()
        self.controller, self.server = Controller(), MemoryServer()
        self.stopped: BaseException | None = None
        monkeypatch.setattr(agent_module, "KerberosConnector", lambda _machine, _keytab: self.server)
        monkeypatch.setattr(Agent, "_watch_key", lambda _self: None)
        self.agent = self._new()

    def _new(self) -> Agent:
        made = Agent(self.settings, cast("Any", NoOpener()), self.log, self.clock)
        made._directory = cast("Any", self.controller)
        return made

    def start(self, *, until: int = 2001) -> None:
        self.log.lines.clear()
        self.agent = self._new()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.until(lambda: until in self.log.numbers())

    def _run(self) -> None:
        try:
            self.agent.run()
        except Stop as error:
            self.stopped = error

    def until(self, good: Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while not good():
            assert time.monotonic() < deadline, self.log.lines
            time.sleep(0.005)

    def stop(self) -> None:
        self.agent.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def stop_number(self) -> int:
        """Of the Stop that ended it."""
        self.thread.join(10)
        assert isinstance(self.stopped, Stop)
        return self.stopped.number

    @property
    def spool(self) -> Any:
        return self.agent._spool

    @property
    def threads(self) -> Any:
        return self.agent._threads


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    made = Running(tmp_path, monkeypatch)
    yield made
    made.agent.stop()


def test_from_the_directory_to_the_server(running: Running) -> None:
    one = target("One", keep_alive=0)
    running.controller.configure(entry(one))
    ann = running.controller.people.add("ann")
    running.start()
    assert running.log.numbers()[0] == 2003
    running.controller.people.set_password(ann, b"sealed")
    running.until(lambda: running.server.heard)
    assert [(m.account, m.secret) for m in running.server.heard] == [("ann", b"sealed")]
    running.until(lambda: 2100 in running.log.numbers())
    running.until(lambda: running.agent.status()["captured"] == 1)
    running.stop()
    assert running.log.numbers()[-1] == 2002
    assert 2104 in running.log.numbers()
    assert running.controller.closed


@pytest.mark.parametrize(
    ("control", "number"), [(0x1000, 6026), (0x2000 | 0x04000000, 6026)], ids=["member", "read-only"]
)
def test_only_a_writable_controller_will_do(running: Running, control: int, number: int) -> None:
    running.controller.control = control
    with pytest.raises(Stop) as stop:
        identify(running.controller)
    assert stop.value.number == number


def test_who_we_are(running: Running) -> None:
    _, machine, invocation = identify(running.controller)
    assert (machine.principal, machine.domain, machine.controller) == (
        "DC$@CORP.TEST",
        "corp.test",
        "dc.corp.test",
    )
    assert invocation == running.controller.people.invocation


def run_to_its_stop(running: Running) -> int:
    running.thread = threading.Thread(target=running._run, daemon=True)
    running.thread.start()
    return running.stop_number()


def test_without_a_configuration_it_stops(running: Running) -> None:
    running.controller.configuration = None
    assert run_to_its_stop(running) == 6000


def test_more_than_fifty_targets_stop_it(running: Running) -> None:
    running.controller.configure(*(entry(target(f"t{number}")) for number in range(51)))
    assert run_to_its_stop(running) == 6029


def test_a_deleted_configuration_stops_it_and_keeps_the_queue(running: Running) -> None:
    running.server.up = False
    running.controller.configure(entry(target("One", keep_alive=0)))
    running.start()
    running.controller.people.add("ann")
    running.until(lambda: 4003 in running.log.numbers())
    running.controller.configuration = None
    running.controller.people.usn += 1
    assert running.stop_number() == 6030
    assert running.log.numbers()[-1] == 2002
    running.controller.configure(entry(target("Other")))
    running.start()
    assert running.log.of(2004) == [{"read": 1, "expired": 0, "no_targets": 1, "queued": 0}]
    assert len(running.log.of(4202)) == 1


def test_two_agents_do_not_share_a_queue(running: Running) -> None:
    running.controller.configure(entry(target("One")))
    running.start()
    other = running._new()
    with pytest.raises(Stop, match="another agent"):
        other.run()


def test_old_entries_are_given_up_when_they_are_loaded(running: Running) -> None:
    one = target("One", keep_alive=0)
    running.server.up = False
    running.controller.configure(entry(one), service(ServiceSettings(max_queue_age=100, retry_interval=3600)))
    running.start()
    running.controller.people.add("ann")
    running.until(lambda: 4003 in running.log.numbers())
    running.stop()
    running.clock.advance(101)
    running.start()
    assert running.log.of(2004) == [{"read": 1, "expired": 1, "no_targets": 0, "queued": 0}]
    assert [fields["user"] for fields in running.log.of(4205)] == ["ann"]


def test_while_it_runs_age_and_length_are_kept(running: Running) -> None:
    one = target("One", keep_alive=0)
    running.server.up = False
    rules = ServiceSettings(max_queue_age=100, max_queue_length=1, retry_interval=3600)
    running.controller.configure(entry(one), service(rules))
    running.start()
    ann = running.controller.people.add("ann")
    running.until(lambda: running.spool.waiting() == 1)
    running.controller.people.set_password(ann, b"newer")
    running.until(lambda: len(running.log.of(2201)) == 2)
    running.clock.advance(2)
    running.until(lambda: len(running.log.of(4208)) == 1)
    running.clock.advance(101)
    running.until(lambda: len(running.log.of(4208)) == 2)


def test_a_change_of_configuration_reaches_queue_and_threads(running: Running) -> None:
    one, two = target("One", keep_alive=0), target("Two", keep_alive=0)
    running.server.up = False
    running.controller.configure(entry(one), entry(two), service(ServiceSettings(retry_interval=3600)))
    running.start()
    running.controller.people.add("ann")
    running.until(lambda: running.spool.waiting() == 1)
    running.controller.configure(entry(one), entry(replace(two, disabled=True)))
    running.until(lambda: 2101 in running.log.numbers())
    running.until(lambda: running.spool.waiting(str(two.guid)) == 0)
    assert running.spool.waiting() == 1
    running.controller.configure(entry(replace(two, disabled=True)))
    running.until(lambda: {2103, 4002, 4203} <= set(running.log.numbers()))
    assert running.spool.waiting() == 0


def test_a_change_of_configuration_without_room_on_the_disk_is_made_up_for(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing more is sent to a target that is gone; its changes are discarded, and the events written, when there is room."""
    one, two = target("One", keep_alive=0), target("Two", keep_alive=0)
    running.server.up = False
    running.controller.configure(entry(one), entry(two), service(ServiceSettings(retry_interval=3600)))
    running.start()
    running.controller.people.add("ann")
    running.until(lambda: running.spool.waiting() == 1)

    def full(*_: object, **_more: object) -> None:
        raise SpoolFull("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SealedFile, "append", full)
        patch.setattr(SealedFile, "rewrite", full)
        running.controller.configure(entry(one))
        left = {str(one.guid)}
        running.until(
            lambda: running.agent._health.directory_problem and set(running.threads.deliveries()) == left
        )
        assert running.spool.waiting(str(two.guid)) == 1
        assert 2103 not in running.log.numbers()
    running.until(lambda: {2103, 2106} <= set(running.log.numbers()))
    assert running.spool.waiting(str(two.guid)) == 0
    assert running.spool.waiting(str(one.guid)) == 1
    assert len(running.log.of(2103)) == len(running.log.of(2106)) == 1


def test_without_room_for_its_place_it_does_not_begin(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.controller.configure(entry(target("One")))

    def full(*_: object) -> None:
        raise SpoolFull("No space left on device")

    monkeypatch.setattr(PlaceFile, "store", full)
    assert run_to_its_stop(running) == 6018
    assert running.log.numbers()[-1] == 2002


def test_an_address_that_is_none_stops_one_target_alone(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS takes no empty label: Python's codec of names says so with an error of its own kind."""
    real = KerberosConnector(
        Machine(principal="DC$@X", realm="X", domain="x.test", controller="dc.x.test", software="agent 1"),
        lambda: (os.open(os.devnull, os.O_RDONLY), "MEMORY:none"),
    )
    monkeypatch.setattr(real, "_credentials", lambda: None)
    to_memory = running.server.connect
    monkeypatch.setattr(
        running.server, "connect", lambda to: real.connect(to) if to.name == "Two" else to_memory(to)
    )
    one, two = target("One", keep_alive=0), target("Two", keep_alive=0, server="bastide..corp.test")
    running.controller.configure(entry(one), entry(two))
    running.start()
    running.controller.people.add("ann")
    running.until(lambda: 6027 in running.log.numbers() and running.server.heard)
    running.clock.advance(2)
    running.controller.people.add("bob")
    running.until(lambda: len(running.server.heard) == 2)
    assert running.stopped is None
    assert [fields["target"] for fields in running.log.of(6027)] == ["Two"]
    assert running.spool.waiting(str(two.guid)) == 2


def test_a_wrong_value_is_said_once(running: Running) -> None:
    wrong = entry(target("One"), TargetKeepAliveInterval=[b"often"])
    running.controller.configure(wrong)
    running.start()
    running.controller.people.usn += 1
    running.until(lambda: running.agent._read_at == running.controller.people.usn)
    assert running.agent._configuration.targets
    assert len(running.log.of(6035)) == 1


def test_without_an_active_target_it_says_so(running: Running) -> None:
    running.start()
    assert 4001 in running.log.numbers()


def test_a_controller_that_is_away_is_said_once_and_waited_for(running: Running) -> None:
    running.controller.configure(entry(target("One", keep_alive=0)))
    running.controller.away = True
    running.start(until=7000)
    time.sleep(0.3)
    running.controller.away = False
    running.until(lambda: 2001 in running.log.numbers())
    assert len(running.log.of(7000)) == 1
    running.controller.away = True
    running.until(lambda: len(running.log.of(7000)) == 2)
    running.controller.people.add("ann")
    running.controller.away = False
    running.until(lambda: running.server.heard)
    assert len(running.log.of(7000)) == 2


def test_stop_is_heard_while_it_waits_for_the_controller(running: Running) -> None:
    running.controller.away = True
    running.start(until=7000)
    running.stop()


def test_a_dead_target_thread_stops_it(running: Running) -> None:
    running.controller.configure(entry(target("One", keep_alive=0)))
    running.start()

    def broken(_message: object) -> Any:
        raise ZeroDivisionError

    running.server.decide = broken
    running.controller.people.add("ann")
    running.until(lambda: running.agent._threads and running.agent._threads.dead())
    running.clock.advance(2)
    assert running.stop_number() == 6028


def test_a_damaged_queue_is_said_with_its_numbers(running: Running, tmp_path: Path) -> None:
    running.server.up = False
    running.controller.configure(entry(target("One", keep_alive=0)))
    running.start()
    running.controller.people.add("ann")
    running.until(lambda: running.spool.waiting() == 1)
    running.stop()
    queue = tmp_path / "state" / "queue.dat"
    queue.write_bytes(queue.read_bytes()[:-3])
    running.start()
    (said,) = running.log.of(6001)
    assert str(said["saved_as"]).startswith("queue.corrupt-")
    assert (tmp_path / "state" / str(said["saved_as"])).exists()
    assert 6011 in running.log.numbers()


# --------------------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize(
    "number", [n for n, kind in CATALOG.items() if kind.severity == "error" and not kind.never]
)
def test_every_stop_can_be_said(number: int) -> None:
    stream = io.StringIO()
    say_stop(JsonLog(ManualClock(), 3, stream), Stop(number, "why"))
    line = json.loads(stream.getvalue())
    assert line["event"] == number
    assert "why" in line.values()


def test_an_unforeseen_error_shows_a_place_and_no_value() -> None:
    try:
        change("CANARY").notification("CANARY" + 1)  # type: ignore[operator]
    except TypeError as error:
        shown = where(error)
    assert shown.startswith("test_agent_life.py:")
    assert "CANARY" not in shown
