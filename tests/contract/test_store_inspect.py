"""What a database says of itself, on SQLite and on a PostgreSQL of our own: asked, judged, and left as it was."""

from pathlib import Path

import pytest

from bastide.domain.errors import StoreError
from bastide.domain.health import Severity
from bastide.health.checks import database
from bastide.store.inspect import inspect
from bastide.store.unit_of_work import SqlStore

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]


def test_a_database_of_ours_fits(shared_url: str) -> None:
    facts = inspect(shared_url)
    assert facts.problem == ""
    assert facts.fit is not None
    assert facts.fit.good
    assert facts.version


def test_what_is_looked_at_is_not_changed(shared_url: str) -> None:
    store = SqlStore(shared_url, read_only=True)
    before = inspect(shared_url)
    with store.read() as uow:
        head = uow.audit.head()
    assert inspect(shared_url) == before
    with store.read() as uow:
        assert uow.audit.head() == head
    store.close()


@pytest.mark.postgres
def test_a_server_alone_can_be_written_to_and_has_no_standby(postgres_url: str) -> None:
    facts = inspect(postgres_url)
    (server,) = facts.servers
    assert (server.problem, server.writable, server.standbys, server.lag) == ("", True, (), None)
    assert server.version == facts.version
    assert server.timeline == 1
    found = {one.key: one.severity for one in database.judge_servers(facts)}
    assert found["writable"] is Severity.OK
    assert found["replication"] is Severity.SKIPPED
    assert found["dsn"] is Severity.OK


@pytest.mark.postgres
def test_a_server_that_is_down_is_named_and_hides_no_other(postgres_url: str, tmp_path: Path) -> None:
    there = postgres_url.partition("host=")[2]
    facts = inspect(postgres_url.replace(f"host={there}", f"host={tmp_path},{there}"))
    down, up = facts.servers
    assert "No such file" in down.problem
    assert up.writable
    assert facts.fit is not None
    assert facts.fit.good


@pytest.mark.postgres
def test_with_every_server_down_the_servers_are_the_answer(tmp_path: Path) -> None:
    facts = inspect(f"postgresql://bastide:hunter2@/x?host={tmp_path}")
    assert facts.fit is None
    assert facts.problem
    assert "hunter2" not in repr(facts)
    found = {one.key: one.severity for one in database.judge_servers(facts)}
    assert found["writable"] is Severity.CRITICAL


@pytest.mark.postgres
def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(StoreError) as refused:
        inspect("postgresql://u:hunter2@h:notaport/x%zz")
    assert "hunter2" not in str(refused.value)
