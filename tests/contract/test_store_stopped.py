"""PostgreSQL whose backends are stopped (SIGSTOP), as when its disk hangs: the kernel goes on answering for them, so no connection breaks."""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.store import migrations, postgres, wakeup
from bastide.store.unit_of_work import SqlStore
from tests.support.patience import PATIENCE
from tests.support.postgres import Server
from tests.support.work_rows import KIND, SHORT, poke

pytest_plugins = ["tests.support.postgres"]
pytestmark = pytest.mark.postgres


class Frozen:
    """The backends of one database."""

    def __init__(self, server: Server, url: str) -> None:
        self._server = server
        self._url = url
        self.stopped: set[int] = set()

    def backends(self, like: str = "%") -> set[int]:
        with psycopg.connect(self._server.dsn("postgres")) as connection:
            found = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = %s AND query LIKE %s",
                (self._url.partition("?")[0].rpartition("/")[2], like),
            )
            return {row[0] for row in found}

    def stop(self) -> None:
        self.stopped = self.backends()
        assert self.stopped
        self._send(signal.SIGSTOP)

    def close(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        for pid in self.stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@pytest.fixture
def url(postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(postgres, "_ANSWER", 1.0)
    monkeypatch.setattr(wakeup, "_SILENCE", 0.5)
    made = postgres_server.make_database(f"s_{uuid.uuid4().hex}")
    migrations.upgrade(made)
    return made


@pytest.fixture
def frozen(postgres_server: Server, url: str) -> Iterator[Frozen]:
    made = Frozen(postgres_server, url)
    yield made
    made.close()


def test_who_waits_for_an_answer_in_vain_is_told(url: str, frozen: Frozen) -> None:
    store = SqlStore(url)

    def look_twice() -> None:
        with store.read() as uow:
            uow.audit.head()
            frozen.stop()
            uow.audit.head()

    with pytest.raises(StoreUnavailable, match="no answer for 1 s"):
        look_twice()
    frozen.close()
    store.close()


def test_who_comes_later_gets_a_new_connection(url: str, frozen: Frozen) -> None:
    store = SqlStore(url)
    with store.read() as uow:
        before = uow.audit.head()
    frozen.stop()
    with store.read() as uow:
        assert uow.audit.head() == before
    frozen.close()
    store.close()


def test_who_listens_notices_it_and_listens_anew(url: str, frozen: Frozen) -> None:
    store = SqlStore(url)
    store.next_due([KIND])
    store.wait(0)
    frozen.stop()
    deadline = time.monotonic() + PATIENCE
    while not frozen.backends("LISTEN%") - frozen.stopped:
        assert time.monotonic() < deadline, "it waits for the one that is stopped"
        store.wait(0.1)
    store.next_due([KIND])
    other = SqlStore(url)
    poke(other, due=SHORT)
    began = time.monotonic()
    store.wait(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    frozen.close()
    other.close()
    store.close()


def test_a_connection_that_breaks_while_it_is_set_up_is_closed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is just being stopped takes connections, and ends them with the first statement."""
    made: list[psycopg.Connection[Any]] = []
    connect = postgres._Limited.connect

    def noted(*arguments: Any, **named: Any) -> psycopg.Connection[Any]:
        made.append(connect(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(postgres._Limited, "connect", noted)
    for setting in ("_SETTINGS", "CHANNEL"):
        with monkeypatch.context() as broken:
            broken.setattr(postgres, setting, "SELECT nothing FROM nowhere WHERE x = %s")
            store = SqlStore(url)
            if setting == "CHANNEL":
                store.wait(0.1)
            else:
                with pytest.raises(StoreError), store.read() as uow:
                    uow.audit.head()
            store.close()
    assert made
    assert all(one.closed for one in made)
