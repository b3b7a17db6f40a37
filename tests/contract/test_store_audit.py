"""The audit chain in every store: whole under concurrency, append-only, and found out when somebody changes it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import text

from bastide.domain.audit import Checkpoint, Event, Record, verify
from bastide.domain.errors import AuditBroken
from bastide.services.ports import AuditQuery, UnitOfWork
from bastide.store.unit_of_work import SqlStore
from tests.support import build
from tests.support.child import Child

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW
ALL = AuditQuery(limit=0)


def commit(store: SqlStore, act: Callable[[UnitOfWork], Any]) -> Any:
    with store.write() as uow:
        done = act(uow)
        uow.commit()
    return done


def look(store: SqlStore, act: Callable[[UnitOfWork], Any]) -> Any:
    with store.read() as uow:
        return act(uow)


def event(kind: str = "test", **changes: Any) -> Event:
    fields: dict[str, Any] = {"at": NOW, "actor": "S-1-5-21-1-1-1-500", "actor_name": "CORP\\dave"}
    return Event(kind, **fields | changes)


def test_the_audit_chain_comes_back_as_it_was_written(store: SqlStore) -> None:
    commit(store, lambda uow: uow.audit.append(event("a", data={"ttl": 60, "why": "Größe"}), event("b")))
    with store.write() as uow:
        uow.audit.append(event("c"))
        uow.audit.append(event("d"))
        uow.commit()
    with store.read() as uow:
        records = list(verify(uow.audit.read(ALL)))
        assert [(record.seq, record.kind) for record in records] == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
        assert records[0].data == '{"ttl":60,"why":"Größe"}'
        assert uow.audit.head() == (4, records[3].hash)


def test_an_event_of_any_zone_and_with_any_text_verifies(store: SqlStore) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    hostile = 'a\0b\ud800c\u2028]"\\\r\n'
    commit(
        store,
        lambda uow: uow.audit.append(
            event(
                at=NOW.astimezone(zone), actor_name=hostile, data={hostile: [hostile, {1}, ("x",), None, NOW]}
            )
        ),
    )
    with store.read() as uow:
        (record,) = verify(uow.audit.read(ALL))
    assert record.at == NOW
    assert record.actor_name == 'a\ufffdb?c\u2028]"\\\r\n'


def test_a_time_without_a_zone_is_refused_at_once(store: SqlStore) -> None:
    with store.write() as uow, pytest.raises(ValueError, match="zone"):
        uow.audit.append(event(at=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_audit_queries_filter(store: SqlStore) -> None:
    events = [
        event("request.active", request="r1", subject="S-2", subject_name="bob"),
        event("request.ended", request="r1", at=NOW + timedelta(hours=1)),
        event("role.changed", actor="S-3", actor_name="eve", at=NOW + timedelta(hours=2)),
    ]
    commit(store, lambda uow: uow.audit.append(*events))

    def found(**query: Any) -> list[int]:
        with store.read() as uow:
            return [record.seq for record in uow.audit.read(AuditQuery(**query))]

    assert found() == [1, 2, 3]
    assert found(request="r1") == [1, 2]
    assert found(kind="role.changed") == [3]
    assert found(person="S-2") == found(person="bob") == [1]
    assert found(person="eve") == found(person="S-3") == [3]
    assert found(since=NOW + timedelta(hours=1)) == [2, 3]
    assert found(until=NOW + timedelta(hours=1)) == [1]
    assert found(after_seq=1, limit=1) == [2]
    assert found(after_seq=1, limit=0) == [2, 3]


def test_the_newest_of_a_kind_about_a_subject(store: SqlStore) -> None:
    commit(
        store,
        lambda uow: uow.audit.append(
            event("sent", subject="mail"),
            event("sent", subject="mail"),
            event("failing", subject="mail"),
            event("sent", subject="chat"),
        ),
    )
    found = look(store, lambda uow: uow.audit.last("sent", "mail"))
    assert (found.seq, found.kind, found.subject) == (2, "sent", "mail")
    assert look(store, lambda uow: uow.audit.last("failing", "chat")) is None


def test_records_of_several_kinds_are_found_past_all_others(store: SqlStore) -> None:
    commit(store, lambda uow: uow.audit.append(*(event(kind) for kind in ("a", "b", "c", "a", "b"))))
    query = AuditQuery(after_seq=1, kinds=frozenset({"a", "c"}), limit=2)
    assert look(store, lambda uow: [record.seq for record in uow.audit.read(query)]) == [3, 4]


def test_a_long_audit_streams(store: SqlStore) -> None:
    commit(store, lambda uow: uow.audit.append(*(event(data={"n": n}) for n in range(2500))))
    with store.read() as uow:
        records = uow.audit.read(ALL)
        assert next(records).seq == 1
        assert sum(1 for _ in records) == 2499


def test_checkpoints_and_cursors_are_kept(store: SqlStore) -> None:
    checkpoints = (Checkpoint(1, "a" * 64, NOW, "k", b"\0\xff"), Checkpoint(7, "b" * 64, NOW, "k", b"sig"))
    with store.write() as uow:
        for checkpoint in checkpoints:
            uow.audit.add_checkpoint(checkpoint)
        uow.commit()
    assert look(store, lambda uow: uow.audit.checkpoints()) == checkpoints
    assert look(store, lambda uow: uow.audit.newest_checkpoint()) == checkpoints[-1]
    assert look(store, lambda uow: uow.audit.cursor("file:x")) == 0
    with store.write() as uow:
        uow.audit.move_cursor("file:x", 3)
        uow.audit.move_cursor("file:x", 5)
        uow.commit()
    assert look(store, lambda uow: (uow.audit.cursor("file:x"), uow.audit.cursor("other"))) == (5, 0)


TAMPERINGS = [
    "UPDATE audit SET actor_name = 'nobody' WHERE seq = 2",
    "DELETE FROM audit WHERE seq = 2",
    "DELETE FROM audit",
    "UPDATE audit_checkpoints SET seq = 9",
    "DELETE FROM audit_checkpoints",
]
REPLACINGS = [
    "INSERT OR REPLACE INTO audit SELECT seq, at, kind, actor, 'nobody', subject, subject_name, request, data, previous, hash FROM audit",
    "REPLACE INTO audit_checkpoints SELECT id, 9, hash, at, key, signature FROM audit_checkpoints",
]


def _fill(store: SqlStore, records: int) -> list[Record]:
    commit(store, lambda uow: uow.audit.append(*(event(data={"n": n}) for n in range(records))))
    commit(store, lambda uow: uow.audit.add_checkpoint(Checkpoint(1, "a" * 64, NOW, "k", b"s")))
    with store.read() as uow:
        return list(uow.audit.read(ALL))


def test_the_database_refuses_to_change_the_audit(store: SqlStore) -> None:
    before = _fill(store, 3)
    dialect = store.engine.dialect.name
    for statement in [*TAMPERINGS, *(REPLACINGS if dialect == "sqlite" else ["TRUNCATE audit"])]:
        with (
            store.engine.connect() as connection,
            pytest.raises(Exception, match="never changed"),
        ):
            connection.execute(text(statement))
    assert look(store, lambda uow: list(uow.audit.read(ALL))) == before


@pytest.mark.parametrize("tampering", TAMPERINGS[:2])
def test_whoever_gets_around_the_triggers_is_found_out(store: SqlStore, tampering: str) -> None:
    _fill(store, 3)
    off = (
        ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"]
        if store.engine.dialect.name == "sqlite"
        else ["SET LOCAL session_replication_role = replica"]
    )
    with store.engine.connect() as connection:
        for statement in [*off, tampering]:
            connection.execute(text(statement))
        connection.commit()
    with store.read() as uow, pytest.raises(AuditBroken) as broken:
        list(verify(uow.audit.read(ALL)))
    assert broken.value.seq == 2


def test_threads_that_append_at_once_keep_the_chain_whole(store: SqlStore) -> None:
    def append(thread: int) -> None:
        for n in range(20):
            with store.write() as uow:
                uow.audit.append(event(f"t{thread}", data={"n": n}), event("x"))
                uow.commit()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(append, range(6)))
    with store.read() as uow:
        assert sum(1 for _ in verify(uow.audit.read(ALL))) == 240


_APPENDER = """
from datetime import UTC, datetime
from bastide.domain.audit import Event
store = SqlStore(url)
for n in range(25):
    with store.write() as uow:
        uow.audit.append(Event("child", datetime.now(UTC), "a", "b", data={"n": n}))
        uow.commit()
store.close()
"""


def test_processes_that_append_at_once_keep_the_chain_whole(shared_url: str) -> None:
    with (
        Child(_APPENDER, shared_url) as one,
        Child(_APPENDER, shared_url) as two,
        Child(_APPENDER, shared_url) as three,
    ):
        assert all(child.ended_well() for child in (one, two, three))
    store = SqlStore(shared_url)
    try:
        with store.read() as uow:
            assert sum(1 for _ in verify(uow.audit.read(ALL))) == 75
    finally:
        store.close()


_VICTIM = """
import time
from datetime import UTC, datetime
from bastide.domain.audit import Event
store = SqlStore(url)
for n in range(10):
    with store.write() as uow:
        uow.audit.append(Event("child", datetime.now(UTC), "a", "b", data={"n": n}))
        uow.work.poke("account", str(n), datetime.now(UTC))
        uow.commit()
with store.write() as uow:
    uow.audit.append(Event("never", datetime.now(UTC), "a", "b"))
    uow.work.poke("account", "never", datetime.now(UTC))
    assert uow.audit.head()[0] == 11
    assert len(uow.work.listing()) == 11
    say("inside")
    time.sleep(60)
"""


def test_a_process_killed_inside_a_transaction_loses_nothing_committed(shared_url: str) -> None:
    with Child(_VICTIM, shared_url) as child:
        assert child.heard() == "inside"
        child.kill()
    store = SqlStore(shared_url)
    try:
        with store.read() as uow:
            assert [record.kind for record in verify(uow.audit.read(ALL))] == ["child"] * 10
            assert len(uow.work.listing()) == 10
        commit(store, lambda uow: uow.audit.append(event("after")))
        assert look(store, lambda uow: uow.audit.head())[0] == 11
    finally:
        store.close()
