"""A file system that is really full, under the database, the audit file and the log files: it is said, nothing is half written, and it goes on by itself."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bastide.audit.export import from_json
from bastide.audit.file import FileSink
from bastide.cli.exits import Exit, as_stop
from bastide.domain.audit import verify
from bastide.domain.errors import StoreUnavailable
from bastide.domain.journal import Span
from bastide.domain.requests import Request, State
from bastide.journal.files import FileJournal, open_files
from bastide.services.pace import EXPORT
from bastide.services.ports import AuditQuery
from bastide.services.upkeep import KEY
from bastide.store import migrations
from bastide.wiring import assemble
from tests.support.inside import filled, small_disk
from tests.support.world import World

FULL = "disk of the database is full"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, "2m"):
        yield folder
    assert list(folder.iterdir()) == [], "the mount is gone, and nothing was written below it"


@pytest.fixture
def url(disk: Path) -> str:
    made = f"sqlite:///{disk}/bastide.db"
    migrations.upgrade(made)
    return made


@pytest.fixture
def world(url: str) -> Iterator[World]:
    made = World(url=url)
    made.ready()
    yield made
    made.close()


def everything(world: World) -> tuple[list[str], tuple[Request, ...]]:
    return world.events(), world.open()


def ask_until_full(world: World, disk: Path) -> None:
    """Room for a few pages of the log, so that a commit fails half-way through writing, not before it."""

    def ask_and_close() -> None:
        for _ in range(100):
            world.services.requests.close(world.alice(), world.ask().id)

    with filled(disk, left=8192), pytest.raises(StoreUnavailable, match=FULL):
        ask_and_close()


# ---------------------------------------------------------------------------------------------------------- the database


def test_a_request_on_a_full_disk_is_refused_whole_and_taken_when_there_is_room(
    world: World, disk: Path
) -> None:
    before = everything(world)
    with filled(disk):
        with pytest.raises(StoreUnavailable, match=FULL) as refused:
            world.ask()
        assert everything(world) == before, "reading goes on, and finds nothing of it"
    stop = as_stop(refused.value)
    assert stop is not None
    assert stop.status is Exit.UNAVAILABLE
    assert "free some space" in stop.remedy
    request = world.ask()
    world.work()
    assert world.get(request).state is State.ACTIVE
    world.services.audit.verify_chain()


def test_a_disk_that_fills_up_in_the_middle_loses_nothing_that_was_said(world: World, disk: Path) -> None:
    ask_until_full(world, disk)
    world.services.audit.verify_chain()
    asked, closed = world.events("request.submitted"), world.events("request.closed")
    assert len(asked) - len(closed) == len(world.open())
    with world.store.read() as uow:
        records = tuple(uow.audit.read(AuditQuery(limit=0)))
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    request = world.ask()
    assert request in world.open()


def test_a_worker_that_finds_no_room_grants_later_and_ends_in_time(world: World, disk: Path) -> None:
    request = world.ask()
    with filled(disk):
        with pytest.raises(StoreUnavailable, match=FULL):
            world.work()
        assert world.get(request).state is State.PROCESSING
    world.clock.move(seconds=60)
    world.work()
    active = world.get(request)
    assert active.state is State.ACTIVE
    assert active.ends_at is not None
    world.clock.moment = active.ends_at
    world.clock.move(seconds=60)
    world.work()
    assert world.get(request).state is State.EXPIRED
    world.services.audit.verify_chain()


def test_a_command_on_a_full_disk_says_so_without_a_traceback(url: str, disk: Path) -> None:
    """A process that starts then: SQLite cannot even make its log."""
    settings = disk / "bastide.toml"
    settings.write_text(f"""
[database]
url = "{url}"
[keys]
master = "/nowhere/master.key"
signing = "/nowhere/signing.key"
[priv]
domain = "priv.bastide.test"
principal = "svc-bastide@PRIV.BASTIDE.TEST"
keytab = "/nowhere/keytab"
users_container = "OU=Users,DC=priv,DC=bastide,DC=test"
groups_container = "OU=Groups,DC=priv,DC=bastide,DC=test"
[rights]
administrators = ["Bastide Administrators"]
auditors = ["Bastide Auditors"]
approvers = ["Bastide Approvers"]
""")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "bastide.cli.main",
        "db",
        "check",
        "--config",
        settings,
    ]
    with filled(disk):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == Exit.UNAVAILABLE, done.stderr
        assert "disk of the database" in done.stderr
        assert "Traceback" not in done.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.OK, done.stderr


# -------------------------------------------------------------------------------------------------------- the audit file


def test_the_audit_file_holds_whole_records_only_and_catches_up(tmp_path: Path, disk: Path) -> None:
    world = World()
    file = disk / "audit.jsonl"
    world.adapters = replace(world.adapters, sinks=(FileSink(file),))
    world.services = assemble(world.adapters, world._preparation())
    world.runner = world.new_runner()
    world.ready()
    world.services.upkeep.plant()
    world.work()
    written = file.read_bytes()
    assert written
    with filled(disk):
        for _ in range(
            20
        ):  # more than fits into what is left of the file's last page: the write breaks off in a record
            world.services.requests.close(world.alice(), world.ask().id)
        with world.store.write() as uow:
            uow.work.poke(EXPORT, KEY, world.clock.now())
            uow.commit()
        world.work()
        assert file.read_bytes() == written, "not a part of a record"
    world.clock.move(minutes=10)
    world.work()
    records = [from_json(line) for line in file.read_text().splitlines()]
    with world.store.read() as uow:
        kept = tuple(uow.audit.read(AuditQuery(limit=0)))
    assert records == list(kept[: len(records)])
    assert "request.submitted" in {record.kind for record in records}
    verify(records)
    assert all(json.loads(line)["hash"] for line in file.read_text().splitlines())
    world.close()


# --------------------------------------------------------------------------------------------------------- the log files


@pytest.mark.parametrize("left", [0, 100_000])
def test_log_files_lose_what_has_no_room_and_go_on_by_themselves(disk: Path, left: int) -> None:
    """`left`: so that it is full in the middle of a record, or when a file has just been renamed."""
    handler = open_files(disk / "logs", "n", "serve", 1)
    assert handler is not None

    def say(text: str) -> None:
        handler.emit(logging.LogRecord("bastide", logging.INFO, "", 0, text, (), None))

    say("it began")
    with filled(disk, left=left):
        for number in range(200):
            say(f"no room for this {number} " + "x" * 2000)
    say("there is room again")
    handler.close()
    now = datetime.now(UTC)
    found = FileJournal(disk / "logs", "n").read(
        Span(now - timedelta(hours=1), now + timedelta(hours=1)), most=1 << 20
    )
    said = [json.loads(line)["message"] for _, line in found.lines]
    assert said[0] == "it began"
    assert said[-1] == "there is room again"
    assert len(said) < 200
    assert found.torn <= 1
