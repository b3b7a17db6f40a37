"""Each test of the store's contract runs on SQLite in a file, SQLite in memory, and PostgreSQL."""

from collections.abc import Iterator
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
    url = f"sqlite:///{folder / 'bastide.db'}"
    migrations.upgrade(url)
    return url


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
