"""Who is woken by a commit of another node, over PostgreSQL's NOTIFY: those whom it concerns."""

import threading
import time

import pytest

from bastide.store.unit_of_work import SqlStore
from tests.support.patience import PATIENCE
from tests.support.work_rows import HOUR, KIND, poke

pytest_plugins = ["tests.support.postgres"]
pytestmark = pytest.mark.postgres

_TEMPTING = 1.0


def waits(store: SqlStore, seconds: float) -> float:
    began = time.monotonic()
    store.wait(seconds)
    return time.monotonic() - began


def test_a_poke_wakes_who_looked_for_its_kind_and_nobody_else(postgres_url: str) -> None:
    mine, other = SqlStore(postgres_url), SqlStore(postgres_url)
    mine.wait(0)
    assert mine.next_due([KIND]) is None
    poke(other, kind="link")
    assert waits(mine, _TEMPTING) >= _TEMPTING * 0.9
    assert mine.next_due([KIND]) is None
    threading.Timer(0.1, lambda: poke(other)).start()
    assert waits(mine, PATIENCE) < PATIENCE / 2
    other.close()
    mine.close()


def test_a_poke_for_later_than_what_is_waited_for_wakes_nobody(postgres_url: str) -> None:
    mine, other = SqlStore(postgres_url), SqlStore(postgres_url)
    poke(mine, "soon", HOUR / 2)
    mine.wait(0)
    assert mine.next_due([KIND]) is not None
    poke(other, "later", HOUR)
    assert waits(mine, _TEMPTING) >= _TEMPTING * 0.9
    other.close()
    mine.close()


def test_who_is_told_nothing_more_looks(postgres_url: str) -> None:
    """As a node of an earlier version tells it, and one that was resumed."""
    mine, other = SqlStore(postgres_url), SqlStore(postgres_url)
    mine.wait(0)
    mine.next_due([KIND])

    def wake() -> None:
        with other.write() as uow:
            uow.work.wake()
            uow.commit()

    threading.Timer(0.1, wake).start()
    assert waits(mine, PATIENCE) < PATIENCE / 2
    other.close()
    mine.close()
