"""What the store says when the database does not do what it should."""

import sqlite3
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, exc

from bastide.domain.audit import Event
from bastide.domain.errors import BastideError, Conflict, StoreBusy, StoreError, StoreUnavailable
from bastide.services.ports import AuditQuery
from bastide.store import migrations
from bastide.store.failures import meaning, translated
from bastide.store.unit_of_work import SqlStore
from tests.support import build
from tests.support.stores import with_schema

CANARY = "canary-w0rd"
QUICK = timedelta(milliseconds=200)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "bastide.db"
    with_schema(found)
    return found


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    opened = SqlStore(f"sqlite:///{path}", busy=QUICK)
    yield opened
    opened.close()


def append(store: SqlStore, number: int = 1) -> None:
    with store.write() as uow:
        uow.audit.append(*(Event("e", build.NOW, "a", "b" * 200) for _ in range(number)))
        uow.commit()


def records(store: SqlStore) -> int:
    with store.read() as uow:
        return sum(1 for _ in uow.audit.read(AuditQuery(limit=0)))


# ---------------------------------------------------------------------------------------------------------------- SQLite


def test_durability_is_on(store: SqlStore) -> None:
    with store.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "trusted_schema")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 200,
        "trusted_schema": 0,
    }


def test_a_full_disk_is_said_and_loses_nothing(path: Path) -> None:
    store = SqlStore(f"sqlite:///{path}")
    append(store)
    limits = iter([1, 10**6])

    @event.listens_for(store.engine, "begin")
    def _limit(connection: object) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {next(limits, 10**6)}")  # type: ignore[attr-defined]

    with pytest.raises(StoreUnavailable, match="full") as full:
        append(store, 500)
    assert full.value.remedy
    append(store)
    assert records(store) == 2
    store.close()


def test_a_lock_held_by_another_process_makes_it_busy(store: SqlStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="locked"):
        append(store)
    with pytest.raises(StoreBusy):
        store.claim(["account"], owner="o", lease=QUICK, limit=1, now=build.NOW)
    assert records(store) == 0, "readers are not held up"
    other.execute("ROLLBACK")
    other.close()
    append(store)


def test_a_unit_of_work_inside_another_is_refused_at_once(store: SqlStore) -> None:
    with store.write() as uow:
        with pytest.raises(StoreBusy, match="open already"):
            append(store)
        assert uow.users.all() == ()
        assert records(store) == 0
    append(store)


def test_a_thread_that_waits_too_long_for_its_turn_is_told(store: SqlStore) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with store.write(), ThreadPoolExecutor(1) as pool, pytest.raises(StoreBusy):
        pool.submit(append, store).result()


def test_a_file_that_is_gone_is_not_made_anew(path: Path) -> None:
    path.unlink()
    store = SqlStore(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="cannot be opened") as gone, store.read():
        pass
    assert "mounted" in gone.value.remedy
    assert not path.exists()
    store.close()


def test_a_file_that_is_no_database_is_said(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    store = SqlStore(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not a database"), store.read() as uow:
        uow.users.all()
    store.close()


def test_a_read_only_database_is_said(store: SqlStore) -> None:
    @event.listens_for(store.engine, "connect")
    def _read_only(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    store.engine.dispose()
    with pytest.raises(StoreUnavailable, match="read-only"):
        append(store)


def test_a_database_without_schema_says_what_to_run(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    store = SqlStore(f"sqlite:///{empty}")
    with pytest.raises(StoreUnavailable, match="not set up") as refused, store.read() as uow:
        uow.users.all()
    assert refused.value.remedy == "run `bastide db upgrade`"
    with pytest.raises(StoreUnavailable, match="version none"):
        migrations.check(f"sqlite:///{empty}")
    store.close()


def test_values_of_a_statement_are_not_in_its_error(store: SqlStore) -> None:
    with store.write() as uow:
        uow.users.add(build.user("alice"))
        with pytest.raises(Conflict) as taken:
            uow.users.add(build.user("alice", adopted=True))
    assert "priv.alice" in str(taken.value)
    text = "".join(traceback.format_exception(taken.value))
    assert "created_at" not in text, "the document must not be shown"


# ------------------------------------------------------------------------------------------------------------ PostgreSQL


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("40001", StoreBusy),
        ("40P01", StoreBusy),
        ("55P03", StoreBusy),
        ("53100", StoreUnavailable),
        ("25006", StoreUnavailable),
        ("42P01", StoreUnavailable),
        ("23505", Conflict),
        ("P0001", StoreError),
    ],
)
def test_each_sqlstate_has_its_meaning(state: str, expected: type[BastideError]) -> None:
    cause = psycopg.errors.lookup(state)(f"what the server said\nDETAIL: {CANARY}")
    error = exc.DBAPIError.instance("SELECT", {}, cause, psycopg.Error)
    assert isinstance(error, exc.DBAPIError)
    found = meaning(error, str)
    assert type(found) is expected
    assert CANARY not in str(found)


def test_an_unreachable_server_never_shows_the_password(tmp_path: Path) -> None:
    for url in (
        f"postgresql://bastide:{CANARY}@127.0.0.1:1/bastide",
        f"postgresql+psycopg://bastide:{CANARY}@/bastide?host={tmp_path}",
        f"postgresql://bastide@127.0.0.1:1/bastide?password={CANARY}",
    ):
        store = SqlStore(url)
        with pytest.raises(StoreUnavailable, match="cannot be reached") as gone, store.write():
            pass
        assert CANARY not in "".join(traceback.format_exception(gone.value))
        assert CANARY not in repr(store)
        store.close()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://bastide:{CANARY}@host:{CANARY}/x",
        f"postgresql://bastide:a%{CANARY}@host/x",
        f"mysql://bastide:{CANARY}@host/x",
        f"bastide:{CANARY}@host",
        f"sqlite:///x:{CANARY}@[",
        "",
    ],
)
def test_an_unreadable_url_never_shows_the_password(url: str) -> None:
    try:
        store = SqlStore(url)
        try:
            with store.read() as uow:
                uow.users.all()
        finally:
            store.close()
    except BastideError as error:
        if not url.startswith("sqlite"):
            assert CANARY not in "".join(traceback.format_exception(error))
    else:
        pytest.fail("accepted")


def test_waiting_on_an_unreachable_server_falls_back_to_a_second() -> None:
    store = SqlStore("postgresql://bastide@127.0.0.1:1/bastide")
    import time

    start = time.monotonic()
    store.wait(30)
    assert 0.5 < time.monotonic() - start < 5
    store.close()


def test_other_errors_pass_the_door_unchanged() -> None:
    with pytest.raises(LookupError), translated(str):
        raise LookupError
