"""Wishes for logs, their answers, and traces in the store, on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bastide.domain.errors import NotFound
from bastide.domain.journal import Answer, Level, Span, Wish
from bastide.domain.traces import Trace
from bastide.store.unit_of_work import SqlStore

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(shared_url: str) -> Iterator[SqlStore]:
    made = SqlStore(shared_url)
    yield made
    made.close()


def a_wish(name: str, at: datetime = NOW) -> Wish:
    return Wish(name, at, Span(at - MINUTE, at, Level.DEBUG, traces=True), ("a", "b"))


def test_a_wish_is_answered_replaced_and_forgotten_with_its_answers(store: SqlStore) -> None:
    first, second = a_wish("w1"), a_wish("w2", NOW + MINUTE)
    answer = Answer("a", NOW, records=2, whole_from=NOW - MINUTE, torn=1)
    with store.write() as uow:
        for wish in (second, first):
            uow.wishes.add(wish)
        uow.wishes.answer("w1", Answer("a", NOW, problem="none"), b"")
        uow.wishes.answer("w1", answer, b"\x00packed")
        uow.commit()
    with store.read() as uow:
        assert uow.wishes.all() == (first, second)
        assert uow.wishes.get("w1") == first
        assert uow.wishes.answers("w1") == (answer,)
        assert (uow.wishes.packed("w1", "a"), uow.wishes.packed("w1", "b")) == (b"\x00packed", b"")
        assert uow.wishes.unanswered("a") == (second,)
        assert uow.wishes.unanswered("b") == (first, second)
    with store.write() as uow:
        uow.wishes.remove(("w1", "gone"))
        uow.commit()
    with store.read() as uow:
        assert uow.wishes.find("w1") is None
        assert uow.wishes.answers("w1") == ()
        with pytest.raises(NotFound, match="nothing is gathered under 'w1'") as refused:
            uow.wishes.get("w1")
    assert "ask again" in refused.value.remedy


def test_a_trace_is_put_replaced_and_removed(store: SqlStore) -> None:
    roles = Trace("roles", NOW, NOW + MINUTE, "PRIV\\dave")
    work = Trace("work.account", NOW, NOW + 2 * MINUTE, "PRIV\\dave")
    with store.write() as uow:
        uow.traces.put(Trace("roles", NOW, NOW + 9 * MINUTE, "PRIV\\grace"))
        for one in (work, roles):
            uow.traces.put(one)
        uow.commit()
    with store.write() as uow:
        assert uow.traces.all() == (roles, work)
        uow.traces.remove_before(NOW + MINUTE)
        assert uow.traces.all() == (work,)
        assert [uow.traces.remove("work.account") for _ in range(2)] == [True, False]
        uow.commit()
    with store.read() as uow:
        assert uow.traces.all() == ()
