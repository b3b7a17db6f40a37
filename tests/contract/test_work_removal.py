"""Work that is done for good: its row goes, unless it is not ours any more."""

import time
from datetime import timedelta

import pytest

from bastide.domain.errors import LostLease
from bastide.services.ports import Work
from bastide.store.unit_of_work import SqlStore
from tests.support.work_rows import SHORT, claim, claim_one, poke, row

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]


def remove(store: SqlStore, *works: Work) -> None:
    with store.write() as uow:
        uow.work.remove_many(works)
        uow.commit()


def keys(store: SqlStore) -> list[str]:
    with store.read() as uow:
        return [str(found["key"]) for found in uow.work.listing()]


def test_what_is_done_for_good_is_gone(store: SqlStore) -> None:
    for key in ("1", "2", "3"):
        poke(store, key)
    works = claim(store)
    remove(store, works[0], works[2])
    assert keys(store) == [works[1].key]
    assert row(store, works[1].key)["owner"] == "one"


def test_nothing_to_remove_is_nothing(store: SqlStore) -> None:
    poke(store)
    remove(store)
    assert keys(store) == ["1"]


def test_a_poke_since_the_claim_keeps_the_row(store: SqlStore) -> None:
    poke(store)
    work = claim_one(store)
    poke(store, due=timedelta(seconds=-2))
    remove(store, work)
    assert claim_one(store).key == "1"


def test_only_the_holder_of_the_fence_removes(store: SqlStore) -> None:
    """(3), (7)"""
    for key in ("1", "2"):
        poke(store, key)
    works = claim(store, lease=SHORT)
    time.sleep(SHORT.total_seconds() + 0.1)
    claim(store, "two", limit=1)
    with pytest.raises(LostLease):
        remove(store, *works)
    assert keys(store) == ["1", "2"], "all or nothing"


def test_a_kind_that_nobody_does_any_more_is_forgotten(store: SqlStore) -> None:
    poke(store, "1")
    poke(store, "2", kind="other")
    poke(store, "3", kind="other")
    claim(store, kinds=("other",), limit=1)
    with store.write() as uow:
        uow.work.forget("other")
        uow.commit()
    assert keys(store) == ["1"]
