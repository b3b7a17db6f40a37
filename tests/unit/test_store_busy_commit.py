"""A commit that could not be made leaves no lock behind: another process was still reading when the vault wanted to write."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from bastide.domain.errors import StoreBusy
from bastide.store.database import Database
from bastide.store.engine import open_database
from bastide.store.transactions import transaction

BUSY = timedelta(milliseconds=50)
WRITE = text("INSERT INTO kept VALUES (1)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "vault.db"
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("CREATE TABLE kept (one INTEGER)")
    return made


@pytest.fixture(params=[True, False], ids=["rollback journal", "write-ahead log"])
def database(request: pytest.FixtureRequest, path: Path) -> Iterator[Database]:
    made = open_database(f"sqlite:///{path}", busy=BUSY, pool=2, erase=request.param)
    yield made
    made.close()


def write(database: Database) -> None:
    with transaction(database, write=True) as session:
        session.run(WRITE)
        session.commit()


def count(path: Path) -> int:
    """As another process sees it."""
    with closing(sqlite3.connect(path, timeout=BUSY.total_seconds())) as other:
        return int(other.execute("SELECT count(*) FROM kept").fetchone()[0])


def test_a_reader_that_goes_leaves_the_way_free(path: Path) -> None:
    database = open_database(f"sqlite:///{path}", busy=BUSY, pool=2, erase=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        with pytest.raises(StoreBusy):
            write(database)
        reader.execute("COMMIT")
        assert count(path) == 0, "the way is free before the connection is used again"
    write(database)
    assert count(path) == 1
    database.close()


def test_what_was_left_without_a_commit_is_undone(database: Database, path: Path) -> None:
    with transaction(database, write=True) as session:
        session.run(WRITE)
    assert count(path) == 0
    write(database)
    assert count(path) == 1
