"""Privileged changes that controllers told of, and who told, on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

from bastide.domain.observed import Change, Judged, Kind, Named, Verdict
from bastide.services.intake.ports import Station
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW


def judged(number: int, *, source: str = "dc1", **more: object) -> Judged:
    """The later, the greater its number."""
    change = Change(
        source=source,
        record=str(number),
        at=NOW + timedelta(minutes=number),
        kind=Kind.MEMBER_ADDED,
        event=4728,
        computer="dc1.corp.example",
        actor=Named(sid="S-1-5-21-1-2-3-500", name="Administrator"),
        target=Named(dn="CN=Nína\\, Größe,DC=corp"),
        group=Named(sid="S-1-5-21-1-2-3-512"),
        address="192.0.2.1",
    )
    return replace(Judged(change=change), **more)  # type: ignore[arg-type]


def add(store: SqlStore, *changes: Judged) -> list[bool]:
    """Each is to be judged five minutes after it happened; whether it was new."""
    with store.write() as uow:
        new = [uow.observed.add(one, one.change.at + timedelta(minutes=5)) for one in changes]
        uow.commit()
    return new


def test_a_change_is_kept_once_however_often_it_is_told(store: SqlStore) -> None:
    first = judged(1)
    again = replace(first, because="told again")
    assert add(store, first, again, judged(1, source="dc2")) == [True, False, True]
    assert add(store, first) == [False]
    with store.read() as uow:
        found = uow.observed.since(NOW, [Verdict.PENDING], 9)
    assert found == (first, judged(1, source="dc2")), "as it was told first; of equal times by source"


def test_what_is_due_comes_oldest_first_and_no_sooner(store: SqlStore) -> None:
    done = judged(0, verdict=Verdict.GRANT)
    add(store, judged(3), judged(1), judged(2), done)
    with store.read() as uow:
        assert uow.observed.next_due() == NOW + timedelta(minutes=6)
        assert uow.observed.due(NOW + timedelta(minutes=5, seconds=59), 9) == ()
        assert uow.observed.due(NOW + timedelta(minutes=6), 9) == (judged(1),)
        assert uow.observed.due(NOW + timedelta(hours=1), 2) == (judged(1), judged(2))


def test_a_verdict_is_saved_and_waits_no_more(store: SqlStore) -> None:
    add(store, judged(1))
    after = judged(1, verdict=Verdict.UNEXPLAINED, because="Eve is not Bastide", request="r1")
    with store.write() as uow:
        uow.observed.save(after)
        uow.observed.save(judged(9, verdict=Verdict.OWN))
        uow.commit()
    with store.read() as uow:
        assert uow.observed.next_due() is None
        assert uow.observed.due(NOW + timedelta(days=1), 9) == ()
        assert uow.observed.since(NOW, tuple(Verdict), 9) == (after,), "what was never told is not made up"


def test_what_is_put_off_is_due_later_and_what_is_dropped_is_gone(store: SqlStore) -> None:
    add(store, judged(1), judged(2), judged(3, unsure=True), judged(3, source="dc2"))
    with store.write() as uow:
        uow.observed.put_off([judged(1), judged(9)], NOW + timedelta(hours=1))
        uow.observed.put_off([], NOW)
        uow.observed.drop(judged(2))
        uow.observed.drop(judged(9))
        uow.commit()
    with store.read() as uow:
        assert uow.observed.due(NOW + timedelta(minutes=59), 9) == (
            judged(3, unsure=True),
            judged(3, source="dc2"),
        )
        assert uow.observed.due(NOW + timedelta(hours=1), 9)[-1] == judged(1), "as it was told"


def test_the_list_is_newest_first_of_the_verdicts_that_are_asked_for(store: SqlStore) -> None:
    add(store, judged(1), judged(2, verdict=Verdict.OWN), judged(3), judged(4, verdict=Verdict.GRANT))
    with store.read() as uow:
        assert [one.change.record for one in uow.observed.since(NOW, tuple(Verdict), 3)] == ["4", "3", "2"]
        wanted = [Verdict.PENDING, Verdict.GRANT]
        assert [one.change.record for one in uow.observed.since(judged(3).change.at, wanted, 9)] == ["4", "3"]
        assert uow.observed.since(NOW, [], 9) == ()


def test_what_was_judged_is_forgotten_and_what_waits_is_not(store: SqlStore) -> None:
    add(store, judged(1), judged(2, verdict=Verdict.OWN), judged(3, verdict=Verdict.OWN))
    with store.write() as uow:
        uow.observed.forget_before(judged(3).change.at)
        uow.commit()
    with store.read() as uow:
        assert [one.change.record for one in uow.observed.since(NOW, tuple(Verdict), 9)] == ["3", "1"]


def test_a_source_is_kept_and_replaced(store: SqlStore) -> None:
    second = Station(
        name="dc2",
        heard_at=NOW,
        taken=3,
        refused=1,
        refusal="no event",
        refused_at=NOW + timedelta(microseconds=1),
        silent=True,
        numbers={"dc2.corp.example": 2**40},
    )
    with store.write() as uow:
        uow.observed.put(second)
        uow.observed.put(Station(name="dc1", heard_at=NOW))
        uow.commit()
    with store.read() as uow:
        assert uow.observed.stations() == (Station(name="dc1", heard_at=NOW), second), "by name"
        assert uow.observed.station("dc3") is None
    heard = replace(second, silent=False, taken=4)
    with store.write() as uow:
        uow.observed.put(heard)
        uow.commit()
    with store.read() as uow:
        assert uow.observed.station("dc2") == heard
