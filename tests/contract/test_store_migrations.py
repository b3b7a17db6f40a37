"""The schema after all migrations is the schema of tables.py, on both databases; and a database that does not fit is refused."""

import stat
import uuid
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from bastide.domain.errors import StoreUnavailable
from bastide.store import migrations
from bastide.store.password_tables import password_switch
from bastide.store.unit_of_work import SqlStore
from tests.support.stores import POSTGRES

pytest_plugins = ["tests.support.postgres"]


@pytest.fixture(params=["sqlite", POSTGRES])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    return str(request.getfixturevalue("postgres_server").make_database(f"m_{uuid.uuid4().hex}"))


def differences(store: SqlStore) -> list[object]:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, password_switch.metadata))


def test_upgrade_makes_what_the_tables_say_and_can_be_repeated(empty_url: str) -> None:
    for _ in range(2):
        assert migrations.upgrade(empty_url) == migrations.newest() == migrations.current(empty_url)
    migrations.check(empty_url)
    store = SqlStore(empty_url)
    assert differences(store) == []
    with store.engine.connect() as connection:
        connection.execute(text("ALTER TABLE roles ADD COLUMN extra TEXT"))
        connection.execute(text("DROP INDEX ix_work_ready"))
        connection.commit()
    assert len(differences(store)) == 2, "the comparison must see a difference"
    store.close()


def test_memory_has_the_same_schema() -> None:
    store = SqlStore("sqlite://")
    assert differences(store) == []
    store.close()


def test_a_database_of_another_version_is_refused(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    store = SqlStore(empty_url)
    with store.engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'future'"))
        connection.commit()
    store.close()
    with pytest.raises(StoreUnavailable, match="version future"):
        migrations.check(empty_url)


@pytest.mark.postgres
def test_an_empty_database_says_how_to_fill_it(postgres_server: object) -> None:
    url = postgres_server.make_database("not_filled")  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable, match="version none"):
        migrations.check(url)
    store = SqlStore(url)
    with pytest.raises(StoreUnavailable, match="not set up") as refused, store.write():
        pass
    assert "db upgrade" in refused.value.remedy
    store.close()


def test_a_new_file_is_for_nobody_else(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    migrations.upgrade(url)
    store = SqlStore(url)
    store.next_due(["account"])
    with store.write() as uow:
        uow.commit()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert modes.pop("new.db.wake") == 0o700
    assert set(modes.values()) == {0o600}, modes
    assert "new.db-wal" in modes


def test_a_directory_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        migrations.upgrade(f"sqlite:///{tmp_path}/missing/new.db")
