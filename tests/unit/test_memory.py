"""What keeps the server small."""

import ctypes
import gc
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from bastide.cli import server
from bastide.clock import SystemClock
from bastide.services.ports import Work
from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore
from bastide.workers.jobs import Job
from bastide.workers.runner import Runner


def test_threads_share_two_arenas(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    glibc = SimpleNamespace(mallopt=lambda name, value: told.append((name, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: glibc)
    server.share_arenas()
    assert told == [(-8, 2)]


def test_a_libc_without_arenas_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    server.share_arenas()


def test_the_collector_waits_for_ten_thousand_objects() -> None:
    before = gc.get_threshold()
    try:
        server.collect_seldom()
        assert gc.get_threshold() == (10_000, *before[1:])
    finally:
        gc.set_threshold(*before)


def test_a_connection_caches_half_a_megabyte(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    migrations.upgrade(url)
    store = SqlStore(url)
    with store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA cache_size")).scalar_one() == -512
    store.close()


def test_memory_is_given_back_where_libc_can(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace(malloc_trim=told.append))
    server.return_memory()
    assert told == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    server.return_memory()


def test_the_service_does_without_the_command_line(tmp_path: Path) -> None:
    """`bastide serve` is replaced by a process that never loads Typer or Rich."""
    code = "import sys, bastide.cli.server, bastide.cli.service; sys.exit(any(m in sys.modules for m in ('typer', 'rich', 'click')))"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, cwd=tmp_path).returncode == 0


def test_the_application_does_without_models_that_it_has_none_of(tmp_path: Path) -> None:
    """Litestar loads pydantic and attrs if they are installed, and our own dependencies install them."""
    code = """
import sys
from unittest.mock import MagicMock
from bastide.web import create_app
app = create_app(MagicMock())
app.openapi_schema.to_schema()
sys.exit(any(name in sys.modules for name in ("pydantic", "attr", "attrs")))
"""
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(("rows", "burst"), [(150, True), (5, False)])
def test_memory_is_given_back_after_a_burst_only(rows: int, burst: bool) -> None:
    store, clock = SqlStore("sqlite://"), SystemClock()
    given_back, idle = threading.Event(), threading.Event()

    def finish(works: Sequence[Work], _: object) -> None:
        with store.write() as uow:
            uow.work.finish_many([(work, None) for work in works])
            uow.commit()
        idle.set()

    with store.write() as uow:
        uow.work.poke_many("thing", {f"{number}": clock.now() for number in range(rows)})
        uow.commit()
    job = Job(("thing",), finish, 1000, timedelta(seconds=10))
    runner = Runner(store=store, jobs=(job,), owner="n", clock=clock, after_burst=given_back.set)
    runner.start()
    assert idle.wait(10)
    assert given_back.wait(10 if burst else 0.5) is burst
    runner.stop()
    store.close()
