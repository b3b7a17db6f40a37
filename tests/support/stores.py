"""Each test of the store's contract runs on SQLite in a file, SQLite in memory, and PostgreSQL."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


def url_for(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """A fresh database of a kind, with the schema."""
    if kind == "memory":
        return "sqlite://"
    if kind == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return with_schema(folder / "bastide.db")


def with_schema(file: Path) -> str:
    """Make a SQLite file with the schema, as `bastide db upgrade` does, but by a copy: to run all migrations takes longer than most tests. Its URL."""
    file.touch(mode=0o600)
    file.write_bytes(_upgraded())
    return f"sqlite:///{file}"


@cache
def _upgraded() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bastide.db"
        migrations.upgrade(f"sqlite:///{file}")
        return file.read_bytes()


@pytest.fixture(params=["sqlite", "memory", POSTGRES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    """An empty store of each kind."""
    opened = SqlStore(url_for(request.param, tmp_path, request))
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", POSTGRES])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that several processes can open."""
    return url_for(request.param, tmp_path, request)
