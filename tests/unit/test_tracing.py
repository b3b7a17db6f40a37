"""`bastide trace`: what is traced on two nodes, its steps, its end; and that nothing is measured while nothing is traced."""

import csv
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bastide.cli.exits import Exit
from bastide.domain.errors import Conflict
from bastide.domain.policy import Draft
from bastide.domain.traces import COLUMNS, LONGEST, OPERATIONS, SUBJECTS, WORK, Trace, operation_of
from bastide.journal.files import open_files
from bastide.services import pace
from bastide.services.ports import AuditQuery
from bastide.services.tracing import VERBOSE, Tracer
from bastide.wiring import Services
from bastide.wiring.traced import port, subject
from bastide.workers.runner import Runner
from bastide.workers.watcher import Watcher
from tests.support.log_stand import DAVE, Stand
from tests.support.patience import PATIENCE
from tests.support.world import SeededRandom, World

pytest_plugins = ["tests.support.log_stand"]
AN_ID, A_PASSWORD = "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11", "00000000-6c1e-4f0e-9f64-0b6a5d0d5d11"
NOT_TRACED = {
    "store", "clock", "forests", "tracer", "tracing", "logs", "grants", "links", "upkeep", "measures", "notifications",
    "recovery", "reconcile",
}  # fmt: skip


@pytest.fixture
def kept(stand: Stand) -> Iterator[None]:
    """This process writes into the files of node a."""
    handler = open_files(stand.folder, "a", "serve", 8)
    assert handler is not None
    logger = logging.getLogger("bastide")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield
    logger.removeHandler(handler)
    logger.setLevel(before)
    handler.close()


def test_what_can_be_traced_are_the_use_cases_and_kinds_of_work_that_there_are() -> None:
    """Whoever adds one adds it to domain/traces.py, or says here that it is none."""
    assert {*SUBJECTS, *NOT_TRACED} == {one.name for one in fields(Services)}
    kinds = {value for name, value in vars(pace).items() if name.isupper() and isinstance(value, str)}
    kinds |= set(pace.MONITOR.values())
    assert {operation_of(kind) for kind in kinds} == {one for one in OPERATIONS if one.startswith(WORK)}
    assert operation_of("notify:mail") == "work.notify"


def test_steps_of_all_nodes_come_as_a_table(stand: Stand, kept: None, tmp_path: Path) -> None:
    stand.world.clock.moment = datetime.now(UTC)
    for name in ("a", "b"):
        stand.nodes[name].services.nodes.beat()
    said = stand.run("trace", "on", "roles", "--for", "15m")
    assert "roles is traced until" in said.stdout
    for name in ("a", "b"):
        stand.nodes[name].services.tracing.look()
    dave = stand.world.sign_in("dave")
    stand.nodes["a"].services.roles.all(dave)
    with pytest.raises(Exception, match="no role"):
        stand.nodes["a"].services.roles.show(dave, "secret words")
    target = tmp_path / "trace.csv"
    shown = stand.run("trace", "show", "--node", "a", "--until", "+1h", "--csv", str(target), "--json")
    steps = json.loads(shown.stdout)["steps"]
    with target.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["step"] for row in table] == [step["step"] for step in steps]
    assert tuple(table[0]) == COLUMNS
    assert {(row["step"], row["outcome"]) for row in table} >= {
        ("store.read", "ok"),
        ("roles.all", "ok"),
        ("roles.show", "not-found"),
    }
    assert {(row["node"], row["partition"], row["operation"]) for row in table} == {("a", "default", "roles")}
    assert len({row["trace"] for row in table}) == 2, "one for each call"
    assert all(float(row["seconds"]) >= 0 for row in table)
    assert "secret words" not in (stand.folder / "a.serve.jsonl").read_text()
    with stand.world.store.read() as uow:
        (on,) = uow.audit.read(AuditQuery(kind="trace.on"))
    assert (on.actor_name, on.subject_name) == (DAVE, "roles")


def test_a_trace_ends_by_itself_and_by_hand(stand: Stand) -> None:
    stand.run("trace", "on", "roles", "--for", "1m")
    stand.run("trace", "on", "requests", "--for", "4h")
    stand.look()
    tracer = stand.nodes["b"].services.tracer
    assert tracer.traces("roles")
    assert tracer.traces("requests")
    stand.world.clock.move(minutes=1)
    assert not tracer.traces("roles"), "without a look at the database"
    shown = stand.run("trace", "show", "--node", "a", wanted=Exit.REFUSED)
    assert "requests" in shown.stdout
    assert "roles" not in shown.stdout
    gone = stand.run("trace", "off", "roles", wanted=Exit.REFUSED)
    assert "is not traced" in gone.stderr
    assert "requests is not traced any more" in stand.run("trace", "off", "requests").stdout
    stand.look()
    assert not tracer.traces("requests")
    with stand.world.store.read() as uow:
        assert len([*uow.audit.read(AuditQuery(kind="trace.off"))]) == 1


def test_what_cannot_be_traced_is_refused(stand: Stand) -> None:
    said = stand.run("trace", "on", "everything", wanted=Exit.REFUSED)
    assert "work.account" in said.stderr, "it says what there is"
    stand.run("trace", "on", "roles", "--for", "5h", wanted=Exit.REFUSED)
    stand.run("trace", "on", "roles", who="PRIV\\frank", wanted=Exit.REFUSED)
    stand.run("trace", "show", who="PRIV\\frank", wanted=Exit.REFUSED)
    stand.run("trace", "off", "roles", who="PRIV\\frank", wanted=Exit.REFUSED)


# -------------------------------------------------------------------------------------------------------------------- steps


class Silent:
    """A clock that must not be read."""

    def now(self) -> datetime:
        raise AssertionError("the clock was read")

    def monotonic(self) -> float:
        raise AssertionError("the clock was read")


class Directory:
    """A port."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def find(self, name: str, password: str = "") -> str:
        self.threads.append(threading.current_thread().name)
        if name == "nobody" or password == "wrong":
            raise Conflict("nobody is called Sesame-4711")
        return name


class UseCases:
    """A subject of use cases over it."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def ask(self, name: str, role_id: str = "", password: str = "") -> str:
        return self._directory.find(name, password) or role_id


def tracer(clock: object) -> Tracer:
    return Tracer(node="n", partition="p", random=SeededRandom(), now=clock.now, monotonic=clock.monotonic)  # type: ignore[attr-defined]


def test_nothing_is_measured_while_nothing_is_traced() -> None:
    quiet, inner = tracer(Silent()), Directory()
    directory = port(inner, "directory", quiet)
    roles = subject(UseCases(directory), "roles", quiet)
    assert roles.ask("alice") == "alice"
    assert directory.find == inner.find, "the method itself, with nothing around it"
    with quiet.step("a step"):
        pass
    assert isinstance(directory, Directory)
    assert repr(directory) == repr(inner)
    directory.threads = ["set"]
    assert inner.threads == ["set"]


def test_a_step_says_how_it_ended_and_no_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    loud = tracer(world.clock)
    loud.turn([Trace("roles", world.clock.now(), world.clock.now() + LONGEST, "dave")])
    roles = subject(UseCases(port(Directory(), "directory", loud)), "roles", loud)
    caplog.set_level(VERBOSE, "bastide.trace")
    with pytest.raises(Conflict):
        roles.ask("nobody")
    roles.ask(A_PASSWORD, AN_ID, password=A_PASSWORD)
    roles.ask("alice", role_id="Sesame-4711")
    said = [record.__dict__["trace"] for record in caplog.records]
    assert [(one["step"], one["outcome"], one["subject"]) for one in said] == [
        ("directory.find", "conflict", ""),
        ("roles.ask", "conflict", ""),
        ("directory.find", "ok", ""),
        ("roles.ask", "ok", AN_ID),
        ("directory.find", "ok", ""),
        ("roles.ask", "ok", ""),
    ]
    assert "Sesame" not in caplog.text
    assert A_PASSWORD not in str(said), "although it has the form of an id"
    assert said[0]["trace"] == said[1]["trace"] != said[2]["trace"]
    world.close()


class Block:
    """A transaction that fails at its end."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None:
        raise Conflict("too late")


class Store:
    """A port with a block, and with what is written in C."""

    def __init__(self) -> None:
        self.bounds = range

    def write(self) -> Block:
        return Block()


def test_what_is_traced_does_what_it_does_untraced(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    loud = tracer(world.clock)
    loud.turn([Trace("roles", world.clock.now(), world.clock.now() + LONGEST, "dave")])
    store, roles = port(Store(), "store", loud), subject(UseCases(Directory()), "roles", loud)
    caplog.set_level(VERBOSE, "bastide.trace")
    with loud.operation("roles", "all"):
        assert list(store.bounds(2)) == [0, 1]
        with pytest.raises(Conflict, match="too late"), store.write():
            pass
    said = [record.__dict__["trace"] for record in caplog.records]
    assert ("store.write", "conflict") in {(one["step"], one["outcome"]) for one in said}
    with pytest.raises(TypeError, match=r"UseCases\.ask\(\) got an unexpected keyword argument 'nobody'"):
        roles.ask("alice", nobody=1)  # type: ignore[call-arg]
    world.close()


def test_work_is_traced_with_its_key(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.prepare("alice")
    world.prepare_group()
    world.add_role(candidates=("CORP\\alice",))
    now = world.clock.now()
    world.services.tracer.turn([Trace("work.account", now, now + LONGEST, "dave")])
    caplog.set_level(VERBOSE, "bastide.trace")
    request = world.services.requests.submit(
        world.alice(), "File administrators", Draft(justification="patch the server")
    )
    runner = Runner(
        store=world.store,
        jobs=world.runner._jobs,
        owner="n:1",
        clock=world.clock,
        trace=world.services.tracer.work,
    )
    runner.run_due()
    steps = [record.__dict__["trace"] for record in caplog.records]
    assert {"run account", "directory.priv.add_members", "store.write"} <= {one["step"] for one in steps}
    assert {one["operation"] for one in steps} == {"work.account"}
    (whole, *_) = [one for one in steps if one["step"] == "run account"]
    assert whole["subject"]
    assert request.id not in whole["subject"], "the key of the work is the account"
    world.close()


def test_a_watcher_looks_when_it_is_woken_and_outlives_errors() -> None:
    world, looked, failing = World(), threading.Semaphore(0), [True]

    def look() -> None:
        looked.release()
        if failing:
            failing.clear()
            raise RuntimeError("once")

    watcher = Watcher(world.store, (look,), timedelta(hours=1))
    watcher.start()
    assert looked.acquire(timeout=PATIENCE), "at the start"
    for _ in range(2):
        with world.store.write() as uow:
            uow.work.wake()
            uow.commit()
        assert looked.acquire(timeout=PATIENCE), "an hour before its time"
    watcher.stop()
    world.close()
