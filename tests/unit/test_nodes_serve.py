"""`bastide worker` as a node: in the list while it runs, refused beside another of its name, and back at once after it was killed."""

import json
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from bastide.domain.journal import Answer, Span, Wish
from bastide.domain.traces import Trace
from bastide.store.tables import SCHEMA
from bastide.store.unit_of_work import SqlStore
from tests.support.commands import run_here
from tests.support.patience import PATIENCE

pytest.importorskip("ldap")
pytest.importorskip("gssapi")

T = TypeVar("T")
HOUR = timedelta(hours=1)
BASTIDE = [sys.executable, "-m", "bastide.cli.main"]
SETTINGS = """
[server]
address = "127.0.0.1"
node = "bastide-1"
partition = "lyon"
url = "https://bastide.priv.example"
[database]
url = "sqlite:///{home}/bastide.db"
[logs]
folder = "{home}/logs"
[keys]
master = "{home}/keys/master.key"
signing = "{home}/keys/signing.key"
[priv]
domain = "priv.invalid"
principal = "bastide@PRIV.INVALID"
keytab = "{home}/x.keytab"
users_container = "OU=Users"
groups_container = "OU=Groups"
[rights]
administrators = ["Administrators"]
auditors = ["Auditors"]
approvers = ["Approvers"]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """As an administrator makes it."""
    (tmp_path / "x.keytab").write_text("no key")
    (tmp_path / "x.keytab").chmod(0o600)
    (tmp_path / "bastide.toml").write_text(SETTINGS.format(home=tmp_path))
    run_here("keys", "generate", "--to", str(tmp_path / "keys"))
    run_here("db", "upgrade", "--config", str(tmp_path / "bastide.toml"))
    return tmp_path


@contextmanager
def working(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker that is up."""
    with subprocess.Popen(
        [*BASTIDE, "worker", "--config", str(home / "bastide.toml")], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert any("worker is up" in line for line in process.stderr)
            yield process
        finally:
            process.kill()


def registered(home: Path) -> list[tuple[str, str, str, str, bool]]:
    with closing(sqlite3.connect(home / "bastide.db")) as database:
        statement = "SELECT name, partition, url, schema, left_at IS NULL FROM nodes"
        return [(*row[:4], bool(row[4])) for row in database.execute(statement)]


def test_a_worker_is_in_the_list_until_it_leaves(home: Path) -> None:
    with working(home) as process:
        known = ("bastide-1", "lyon", "https://bastide.priv.example", SCHEMA)
        assert registered(home) == [(*known, True)]
        second = subprocess.run(
            [*BASTIDE, "worker", "--config", str(home / "bastide.toml")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 1
        assert "another process serves as node 'bastide-1'" in second.stderr
        assert registered(home) == [(*known, True)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert registered(home) == [(*known, False)]


def test_a_worker_that_was_killed_is_back_at_once(home: Path) -> None:
    """Its heartbeat is fresh, and this machine knows all the same that it is gone."""
    with working(home) as first:
        first.kill()
        first.wait()
    assert registered(home)[0][-1], "it said nothing"
    with working(home) as again:
        assert again.poll() is None


def test_a_worker_answers_with_its_log_and_follows_traces(home: Path) -> None:
    """Woken, out of its own files; and the same is read without it and the database."""
    store = SqlStore(f"sqlite:///{home / 'bastide.db'}")
    with working(home):
        now = datetime.now(UTC)
        with store.write() as uow:
            uow.wishes.add(Wish("w", now, Span(now - HOUR, now + HOUR), ("bastide-1",)))
            uow.traces.put(Trace("work.checkpoint", now, now + HOUR, "a test"))
            uow.work.wake()
            uow.commit()
        (answer,) = eventually(lambda: answers(store))
        assert (answer.node, answer.problem) == ("bastide-1", "")
        assert answer.records
        file = home / "logs" / "bastide-1.worker.jsonl"
        assert "worker is up" in file.read_text(encoding="utf-8")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

        def poked() -> bool:
            with store.write() as uow:
                uow.work.poke("checkpoint", "audit", datetime.now(UTC))
                uow.commit()
            return "run checkpoint" in file.read_text(encoding="utf-8")

        eventually(poked)
    store.close()
    (home / "bastide.db").unlink()
    done = subprocess.run(
        [*BASTIDE, "cluster", "log", "--local", "--level", "4", "--config", str(home / "bastide.toml")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "bastide-1 INFO bastide.cli.server: worker is up" in done.stdout
    assert "bastide-1 VERBOSE bastide.trace: work.checkpoint run checkpoint ok" in done.stdout


def answers(store: SqlStore) -> tuple[Answer, ...]:
    with store.read() as uow:
        return uow.wishes.answers("w")


def eventually(look: Callable[[], T]) -> T:
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)
    return found


def test_the_database_says_what_it_carries(home: Path) -> None:
    done = subprocess.run(
        [*BASTIDE, "db", "check", "--json", "--config", str(home / "bastide.toml")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"version": SCHEMA, "needed": SCHEMA, "floor": "0004"}
