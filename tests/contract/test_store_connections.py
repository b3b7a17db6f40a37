"""What becomes of the connections of a store on PostgreSQL: cut, late, refused, held by another."""

import time
from datetime import timedelta

import psycopg
import pytest

from bastide.domain.errors import StoreBusy, StoreUnavailable
from bastide.store.unit_of_work import SqlStore
from tests.support import build
from tests.support.child import end_backends
from tests.support.postgres import Server

pytest_plugins = ["tests.support.postgres"]
pytestmark = pytest.mark.postgres


def test_a_connection_that_is_cut_is_said_and_replaced(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    with store.write() as uow:
        uow.users.add(build.user())
        end_backends(postgres_url)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            uow.commit()
    with store.write():
        end_backends(postgres_url)
    assert store.engine.pool.status().endswith("Checked out connections: 0")
    with store.write() as uow:
        uow.users.add(build.user())
        uow.commit()
    store.close()


def test_a_connection_that_comes_back_after_the_store_was_closed_is_closed(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    with psycopg.connect(postgres_url) as looking, looking.cursor() as cursor:
        with store.read() as uow:
            uow.nodes.all()
            store.close()
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        deadline = time.monotonic() + 10
        while (left := cursor.execute(others).fetchone()) != (0,):
            assert time.monotonic() < deadline, left
            looking.rollback()
            time.sleep(0.02)


@pytest.mark.parametrize("password", ["", "Canary-of-yesterday"])
def test_a_password_that_is_not_the_one_of_the_database_names_the_setting(
    postgres_server: Server, postgres_url: str, password: str
) -> None:
    rules = postgres_server.folder / "data" / "pg_hba.conf"
    if "locked" not in (old := rules.read_text()):
        rules.write_text(f"local all locked scram-sha-256\n{old}")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("CREATE ROLE locked LOGIN PASSWORD 'Canary-of-today'")
            connection.execute("SELECT pg_reload_conf()")
    user = f"locked:{password}" if password else "locked"
    store = SqlStore(postgres_url.replace("bastide@", f"{user}@", 1))
    with pytest.raises(StoreUnavailable, match="does not let this node in") as refused, store.write():
        pass
    assert "database.password" in refused.value.remedy
    assert "Canary" not in f"{refused.value} {refused.value.remedy}"
    store.close()


def test_a_stalled_writer_makes_others_busy_and_not_wait_for_ever(postgres_url: str) -> None:
    store = SqlStore(postgres_url, busy=timedelta(milliseconds=300))
    with store.write(), pytest.raises(StoreBusy), store.write():
        pass
    store.close()
