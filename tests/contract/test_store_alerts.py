"""Alerts are kept as they are, on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.alerts import Alert, Severity, Signal, State
from bastide.domain.errors import Conflict, NotFound
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW


def alert(number: int, **more: object) -> Alert:
    """The later, the greater its number."""
    at = NOW + timedelta(minutes=number)
    made = Alert(
        id=f"alert {number}",
        rule="drift",
        signal=Signal.DRIFT,
        severity=Severity.HIGH,
        key="S-1-5-21-1-2-3-1104/7",
        title="Drift: Größe\n'--",
        text="what: members",
        subject="S-1-5-21-1-2-3-1104",
        subject_name="CORP\\nina",
        first_at=at,
        last_at=at,
        raised_at=at + timedelta(seconds=1),
        count=1,
        record=42,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def kept(store: SqlStore, *alerts: Alert) -> None:
    with store.write() as uow:
        for one in alerts:
            uow.alerts.add(one)
        uow.commit()


def test_an_alert_reads_as_it_was_written(store: SqlStore) -> None:
    full = alert(
        1,
        state=State.OVER,
        escalated_at=NOW,
        acknowledged_at=NOW + timedelta(microseconds=1),
        acknowledged_by="PRIV\\dave",
        note="seen",
        over_at=NOW,
        over_because="it was repaired",
    )
    kept(store, full, alert(2))
    with store.read() as uow:
        assert uow.alerts.get(full.id) == full
        assert uow.alerts.many([full.id, alert(2).id, "nothing"]) == {
            full.id: full,
            alert(2).id: alert(2),
        }
        assert uow.alerts.many([]) == {}


def test_what_is_saved_takes_the_place(store: SqlStore) -> None:
    kept(store, alert(1))
    after = alert(1).acknowledged("PRIV\\dave", "on it", NOW)
    with store.write() as uow:
        uow.alerts.save(after)
        uow.commit()
    with store.read() as uow:
        assert uow.alerts.get(after.id) == after
        assert uow.alerts.newest([State.OPEN], 9) == ()
        assert uow.alerts.newest([State.ACKNOWLEDGED], 9) == (after,)


def test_what_is_not_there_is_said_to_be_and_an_id_is_taken_once(store: SqlStore) -> None:
    kept(store, alert(1))
    with store.write() as uow:
        with pytest.raises(NotFound):
            uow.alerts.get("alert 9")
        with pytest.raises(NotFound):
            uow.alerts.save(alert(9))
    with store.write() as uow, pytest.raises(Conflict):
        uow.alerts.add(alert(1, key="another"))


def test_the_newest_of_a_rule_and_a_key(store: SqlStore) -> None:
    kept(
        store,
        alert(1),
        alert(2, state=State.ACKNOWLEDGED),
        alert(3, state=State.OVER, returns=2),
        alert(4, key="of somebody else"),
        alert(5, rule="of my own"),
    )
    with store.read() as uow:
        assert uow.alerts.latest("drift", alert(1).key) == alert(3, state=State.OVER, returns=2)
        assert uow.alerts.latest("drift", "nobody") is None


def test_what_is_watched_is_oldest_first_and_the_list_newest_first(store: SqlStore) -> None:
    other = alert(3, signal=Signal.KILL_SWITCH)
    kept(store, alert(2), alert(1), other, alert(4, state=State.OVER), alert(5, first_at=alert(1).first_at))
    with store.read() as uow:
        watched = uow.alerts.watched(Signal.DRIFT)
        assert [one.id for one in watched] == ["alert 1", "alert 5", "alert 2"], "equal times by their id"
        assert uow.alerts.watched(Signal.COVERAGE) == ()
        assert [one.id for one in uow.alerts.newest(tuple(State), 2)] == ["alert 4", "alert 3"]
        assert uow.alerts.newest([], 9) == ()


def test_open_ones_are_counted_by_severity(store: SqlStore) -> None:
    kept(
        store,
        alert(1),
        alert(2),
        alert(3, severity=Severity.LOW),
        alert(4, severity=Severity.CRITICAL, state=State.ACKNOWLEDGED),
    )
    with store.read() as uow:
        assert uow.alerts.open() == {Severity.HIGH: 2, Severity.LOW: 1}


def test_old_ones_are_forgotten_unless_nobody_has_seen_them(store: SqlStore) -> None:
    kept(
        store,
        alert(1),
        alert(2, state=State.ACKNOWLEDGED),
        alert(3, state=State.OVER),
        alert(4, state=State.OVER),
    )
    with store.write() as uow:
        uow.alerts.forget_before(alert(4).last_at)
        uow.commit()
    with store.read() as uow:
        assert [one.id for one in uow.alerts.newest(tuple(State), 9)] == ["alert 4", "alert 1"]
