"""What the store must do for password changes, and the vault for their keys: on SQLite in a file, SQLite in memory and PostgreSQL."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from bastide.domain.contacts import Contact, Hearing
from bastide.domain.errors import Conflict, NotFound, StoreUnavailable
from bastide.domain.management_agents import CsId, MaId
from bastide.domain.observed import Verdict
from bastide.domain.passwords import Change, Code, Delivery, Proof, Receipt, Stamp, State
from bastide.services.passwords.ports import SourceState
from bastide.services.ports import UnitOfWork
from bastide.store.keys import AeadSealer
from bastide.store.unit_of_work import SqlStore
from bastide.store.vault import SqlVault
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)
NOW = build.NOW
MASTER = AeadSealer([bytes(range(11, 43))])


def change(reference: str = "r1", **fields: Any) -> Change:
    defaults: dict[str, Any] = {
        "ma": MaId("ma-corp"),
        "object": CsId("cs-alice"),
        "domain": "corp.test",
        "user_guid": "guid-alice",
        "account": "Alice",
        "stamp": Stamp(NOW, 3, "cs-alice"),
        "controller": "dc1",
        "origin": "inv",
        "attempt": 1,
        "received_at": NOW,
        "receipt": Receipt.STAGED,
    }
    return Change(reference=reference, **defaults | fields)


def delivery(id: str = "d1", reference: str = "r1", **fields: Any) -> Delivery:  # noqa: A002
    defaults: dict[str, Any] = {
        "ma": MaId("ma-crm"),
        "object": CsId(f"cs-{id}"),
        "dn": "CN=alice",
        "stamp": Stamp(NOW, 3, "cs-alice"),
        "created_at": NOW,
        "sealed": b"\x00sealed\xff",
        "mv": "mv-alice",
    }
    return Delivery(id=id, reference=reference, **defaults | fields)


def commit(store: SqlStore, act: Callable[[UnitOfWork], Any]) -> Any:
    with store.write() as uow:
        done = act(uow)
        uow.commit()
    return done


def look(store: SqlStore, act: Callable[[UnitOfWork], Any]) -> Any:
    with store.read() as uow:
        return act(uow)


def add(store: SqlStore, one: Change, *deliveries: Delivery) -> None:
    commit(store, lambda uow: uow.changes.add([one], deliveries))


def test_what_is_added_is_read_again(store: SqlStore) -> None:
    first, second = delivery("d1"), delivery("d2", due=NOW, code=Code.POLICY, proof=Proof.PROVED, attempts=4)
    add(store, change(), first, second)
    assert look(store, lambda uow: uow.changes.get("r1")) == change()
    assert look(store, lambda uow: uow.changes.delivery("d2")) == second
    assert look(store, lambda uow: uow.changes.deliveries("r1")) == (first, second)
    assert look(store, lambda uow: uow.changes.known(["r1", "r2"])) == {"r1": "corp.test"}
    for missing in (lambda uow: uow.changes.get("x"), lambda uow: uow.changes.delivery("x")):
        with pytest.raises(NotFound):
            look(store, missing)


def test_a_reference_counts_once(store: SqlStore) -> None:
    add(store, change())
    with pytest.raises(Conflict):
        add(store, change(account="other"))


def test_pending_made_and_waiting(store: SqlStore) -> None:
    done = delivery(
        "d3", state=State.DELIVERED, sealed=b"", object=CsId("cs-d1"), created_at=NOW - timedelta(hours=1)
    )
    add(store, change(), delivery("d1"), delivery("d2"), done)
    objects = [CsId("cs-d1"), CsId("cs-d2"), CsId("none")]
    assert {one.id for one in look(store, lambda uow: uow.changes.pending(objects))} == {"d1", "d2"}
    assert look(store, lambda uow: uow.changes.waiting()) == {"cs-d1", "cs-d2"}
    made = look(store, lambda uow: uow.changes.made([CsId("cs-d1")], NOW - timedelta(hours=2)))
    assert {one.id for one in made} == {"d1", "d3"}
    later = look(store, lambda uow: uow.changes.made([CsId("cs-d1")], NOW))
    assert {one.id for one in later} == {"d1"}
    assert look(store, lambda uow: uow.changes.pending([])) == ()


def test_saving_takes_the_secret_away(store: SqlStore) -> None:
    add(store, change(), delivery("d1"), delivery("d2"))
    over = replace(delivery("d1"), state=State.DELIVERED, sealed=b"", attempts=1, attempted_at=NOW)
    commit(store, lambda uow: uow.changes.save([over, delivery("gone")]))
    assert look(store, lambda uow: uow.changes.delivery("d1")) == over
    assert look(store, lambda uow: uow.changes.open_references(["r1", "x"])) == {"r1"}
    commit(store, lambda uow: uow.changes.save([replace(delivery("d2"), state=State.FAILED, sealed=b"")]))
    assert look(store, lambda uow: uow.changes.open_references(["r1"])) == set()
    assert look(store, lambda uow: uow.changes.count(State.DELIVERED)) == 1


def test_contacts_of_controllers(store: SqlStore) -> None:
    first = Contact(
        domain="corp.test",
        account="dc2$",
        host="a",
        heard_at=NOW,
        waiting=2**63 - 1,
        oldest=NOW - timedelta(hours=1),
        beat_at=NOW - timedelta(seconds=1),
    )
    second = Contact(domain="corp.test", account="dc1$", host="b" * 255, heard_at=NOW, silent=True)
    commit(store, lambda uow: uow.contacts.put(second))
    before = replace(first, host="renamed", waiting=9, oldest=None, beat_at=None)
    commit(store, lambda uow: uow.contacts.put(before))
    commit(store, lambda uow: uow.contacts.put(first))
    assert look(store, lambda uow: uow.contacts.all()) == (first, second), "by domain and name"
    assert look(store, lambda uow: uow.contacts.get("corp.test", "dc1$")) == second
    assert look(store, lambda uow: uow.contacts.get("priv.test", "dc1$")) is None
    commit(store, lambda uow: uow.contacts.remove(second))
    assert look(store, lambda uow: uow.contacts.all()) == (first,)


def test_since_when_somebody_listens(store: SqlStore) -> None:
    assert look(store, lambda uow: uow.contacts.hearing()) is None
    first, second = (Hearing(NOW, NOW + timedelta(minutes=minutes)) for minutes in (1, 2))
    commit(store, lambda uow: uow.contacts.hear(first))
    assert look(store, lambda uow: uow.contacts.hearing()) == first
    commit(store, lambda uow: uow.contacts.hear(second))
    assert look(store, lambda uow: uow.contacts.hearing()) == second


def test_stamps_and_source_states(store: SqlStore) -> None:
    stamp = Stamp(NOW, 7, "cs-alice")
    states: dict[CsId, SourceState] = {}
    for count in (4, 5):
        commit(store, lambda uow: uow.changes.mark_applied({CsId("t"): stamp}))
        for name in ("cs-a", "cs-b"):
            states[CsId(name)] = SourceState(Stamp(NOW, 7, name), NOW - timedelta(hours=3), count)
        commit(store, lambda uow: uow.changes.set_source_states(states))
    assert look(store, lambda uow: uow.changes.applied([CsId("t"), CsId("u")])) == {"t": stamp}
    wanted = [CsId("cs-a"), CsId("cs-b"), CsId("none")]
    assert look(store, lambda uow: uow.changes.source_states(wanted)) == states
    commit(store, lambda uow: uow.changes.set_source_states({}))
    assert look(store, lambda uow: uow.changes.source_states([])) == {}


def test_several_changes_are_added_together(store: SqlStore) -> None:
    """All or none: half a batch must not count either."""
    deliveries = [delivery(f"d{number}", f"r{number % 3}") for number in range(5)]
    commit(store, lambda uow: uow.changes.add([change(f"r{number}") for number in range(4)], deliveries))
    found = look(store, lambda uow: uow.changes.deliveries_of(["r0", "r1", "r3", "none"]))
    assert {reference: [one.id for one in all_] for reference, all_ in found.items()} == {
        "r0": ["d0", "d3"],
        "r1": ["d1", "d4"],
    }
    with pytest.raises(Conflict):
        commit(store, lambda uow: uow.changes.add([change("new"), change("r1")], []))
    assert look(store, lambda uow: uow.changes.known(["new", "r3"])) == {"r3": "corp.test"}
    commit(store, lambda uow: uow.changes.add([], []))


def test_the_queue_is_in_the_order_of_time(store: SqlStore) -> None:
    for number in (3, 1, 2):
        at = NOW + timedelta(seconds=number)
        add(store, change(f"r{number}"), delivery(f"d{number}", f"r{number}", created_at=at))
    add(store, change("r4"), delivery("d4", "r4", ma=MaId("ma-other"), created_at=NOW))
    queue = look(store, lambda uow: uow.changes.queue(ma=MaId("ma-crm"), limit=2))
    assert [one.id for one in queue] == ["d1", "d2"]
    assert look(store, lambda uow: uow.changes.queue_length(None)) == 4
    assert look(store, lambda uow: uow.changes.queue_length(MaId("ma-other"))) == 1


def test_history_and_its_filters(store: SqlStore) -> None:
    for number in range(4):
        name = "Bob" if number % 2 else "Straße"
        add(
            store,
            change(
                f"r{number}",
                account=name,
                user_guid=f"guid-{name.lower()}",
                received_at=NOW + timedelta(seconds=number),
            ),
            delivery(f"d{number}", f"r{number}"),
        )

    def references(**filters: Any) -> list[str]:
        arguments: dict[str, Any] = {"user": "", "before": None, "limit": 10, **filters}
        found = look(store, lambda uow: uow.changes.history(**arguments))
        assert all(len(deliveries) == 1 for _, deliveries in found)
        return [one.reference for one, _ in found]

    assert references() == ["r3", "r2", "r1", "r0"]
    assert references(limit=1) == ["r3"]
    assert references(before=NOW + timedelta(seconds=2)) == ["r1", "r0"]
    assert references(user="STRASSE") == ["r2", "r0"]
    assert references(user="GUID-bob") == ["r3", "r1"]
    newest = look(store, lambda uow: uow.changes.newest(MaId("ma-corp"), ["guid-bob", "unknown"]))
    assert newest == {"guid-bob": NOW}
    assert look(store, lambda uow: uow.changes.newest(MaId("ma-other"), ["guid-bob"])) == {}


def test_hostile_names_are_stored(store: SqlStore) -> None:
    add(store, change(account="a\0b" + "ß" * 5000))
    assert look(store, lambda uow: uow.changes.get("r1")).account.startswith("a\0b")


def test_clearing(store: SqlStore) -> None:
    add(store, change("r1"), delivery("d1", "r1"))
    add(store, change("r2"), delivery("d2", "r2", state=State.DELIVERED, sealed=b""))
    later = NOW + timedelta(hours=1)
    assert commit(store, lambda uow: uow.changes.clear_history(later)) == 1, "what is pending stays"
    assert commit(store, lambda uow: uow.changes.clear_queue(later)) == ("r1",)
    cleared = look(store, lambda uow: uow.changes.delivery("d1"))
    assert (cleared.state, cleared.sealed, cleared.due) == (State.CLEARED, b"", None)
    assert commit(store, lambda uow: uow.changes.clear_history(NOW)) == 0
    assert commit(store, lambda uow: uow.changes.clear_history(later)) == 1
    with pytest.raises(NotFound):
        look(store, lambda uow: uow.changes.delivery("d1"))


def test_what_is_held_keeps_its_key_and_its_history(store: SqlStore) -> None:
    """Delivered, and what is sealed is still there (services/passwords/late.py)."""
    until = NOW + timedelta(hours=1)
    held = replace(delivery("d1", "r1"), state=State.DELIVERED, sealed=b"text", held_until=until)
    add(store, change("r1"), held)
    add(store, change("r2"), delivery("d2", "r2", state=State.DELIVERED, sealed=b""))
    assert look(store, lambda uow: uow.changes.kept([held.object])) == (held,)
    assert look(store, lambda uow: uow.changes.pending([held.object])) == ()
    assert look(store, lambda uow: uow.changes.waiting()) == {held.object}
    assert look(store, lambda uow: uow.changes.open_references(["r1", "r2"])) == {"r1"}
    assert commit(store, lambda uow: uow.changes.clear_history(NOW + timedelta(hours=2))) == 1
    commit(store, lambda uow: uow.changes.save([replace(held, sealed=b"")]))
    assert look(store, lambda uow: uow.changes.open_references(["r1"])) == frozenset()


@pytest.mark.parametrize(
    ("asked", "plan"),
    [
        (
            lambda uow: uow.changes.kept(["cs-d1"]),
            "SEARCH password_deliveries USING INDEX ix_password_deliveries_kept (object_id=?)",
        ),
        (
            lambda uow: uow.changes.pending(["cs-d1"]),
            "SEARCH password_deliveries USING INDEX ix_password_deliveries_object (object_id=? AND state=?)",
        ),
        (
            lambda uow: uow.changes.still_pending(["d1"]),
            "SEARCH password_deliveries USING INDEX sqlite_autoindex_password_deliveries_1 (id=?)",
        ),
        (
            lambda uow: uow.space.by_anchor(MaId("ma"), ["a"]),
            "SEARCH cs_objects USING INDEX ix_cs_objects_anchor (ma_id=? AND anchor_key=?)",
        ),
        (
            lambda uow: uow.observed.since(NOW, [Verdict.GRANT], 1),
            "SEARCH observed_changes USING INDEX ix_observed_changes_at (at>?)",
        ),
    ],
    ids=["kept", "pending", "still pending", "anchors", "verdicts"],
)
def test_several_are_looked_up_in_an_index(asked: Callable[[UnitOfWork], object], plan: str) -> None:
    """SQLite's own way: it has no statistics, so the statement decides. Beside another condition, `IN (...) = 1` made it read whole tables."""
    said: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        said.append((statement, parameters))

    store = SqlStore("sqlite://")
    event.listen(store.engine, "before_cursor_execute", hear)
    look(store, asked)
    statement, parameters = said[-1]
    with store.engine.connect() as connection:
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    store.close()
    assert plan in [step.detail for step in steps]


def test_more_than_a_statement_can_hold(store: SqlStore) -> None:
    many = [delivery(f"d{number:04}") for number in range(1200)]
    add(store, change(), *many)
    objects = [one.object for one in many]
    assert len(look(store, lambda uow: uow.changes.pending(objects))) == 1200
    commit(store, lambda uow: uow.changes.mark_applied({one: Stamp(NOW) for one in objects}))
    assert len(look(store, lambda uow: uow.changes.applied(objects))) == 1200


def test_the_switch(store: SqlStore) -> None:
    assert look(store, lambda uow: uow.switch.enabled()) is False
    commit(store, lambda uow: uow.switch.set(enabled=True))
    assert look(store, lambda uow: uow.switch.enabled()) is True


def test_a_database_belongs_to_a_vault(store: SqlStore) -> None:
    assert look(store, lambda uow: uow.switch.vault()) == ""
    commit(store, lambda uow: uow.switch.belong("one"))
    assert look(store, lambda uow: uow.switch.vault()) == "one"


# ----------------------------------------------------------------------------------------------------------------- vault


def _vault_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "memory":
        return "sqlite://"
    if kind == "postgres":
        server = request.getfixturevalue("postgres_server")
        return str(server.make_database(f"vault_{uuid.uuid4().hex}"))
    return f"sqlite:///{folder / 'vault.db'}"


@pytest.fixture(params=["sqlite", "memory", POSTGRES])
def vault_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _vault_url(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", POSTGRES])
def shared_vault_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One that two processes can open."""
    return _vault_url(request.param, request, tmp_path)


@pytest.fixture
def vault(vault_url: str) -> Iterator[SqlVault]:
    opened = SqlVault(vault_url, MASTER)
    yield opened
    opened.close()


def test_a_key_is_there_until_it_is_destroyed(vault: SqlVault) -> None:
    assert vault.references() == frozenset()
    vault.put({"r1": b"1" * 32})
    vault.put({"r2": b"2" * 32})
    assert vault.get(["r1", "r2", "r3"]) == {"r1": b"1" * 32, "r2": b"2" * 32}
    vault.destroy(["r1", "never"])
    vault.destroy([])
    assert vault.get(["r1", "r2"]) == {"r2": b"2" * 32}
    assert vault.references() == {"r2"}
    assert vault.get([]) == {}


def test_a_key_put_again_replaces_the_first(vault: SqlVault) -> None:
    vault.put({"r1": b"1" * 32})
    vault.put({"r1": b"2" * 32})
    assert vault.get(["r1"]) == {"r1": b"2" * 32}


def test_the_mark(vault: SqlVault) -> None:
    assert vault.mark() is None
    vault.set_mark(7, "a" * 64)
    vault.set_mark(5, "b" * 64)
    vault.put({"r1": b"1" * 32}, (6, "c" * 64))
    assert vault.mark() == (7, "a" * 64), "of two workers the later record counts, in any order"
    vault.put({"r2": b"2" * 32}, (8, "d" * 64))
    assert vault.mark() == (8, "d" * 64)
    vault.reset_mark(5, "b" * 64)
    assert vault.mark() == (5, "b" * 64)


def test_a_vault_has_an_id_of_its_own(shared_vault_url: str) -> None:
    one, again, other = (SqlVault(url, MASTER) for url in (shared_vault_url, shared_vault_url, "sqlite://"))
    assert one.identity() == again.identity() != other.identity()
    assert one.identity()
    for vault in (one, again, other):
        vault.close()


def test_threads_share_a_vault(vault: SqlVault) -> None:
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(5):
            vault.put({f"{number}-{turn}": bytes([number]) * 32})
            assert vault.get([f"{number}-{turn}"])
        vault.destroy([f"{number}-{turn}" for turn in range(4)])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()
    assert vault.references() == {f"{number}-4" for number in range(4)}


def test_two_nodes_share_a_vault(shared_vault_url: str) -> None:
    one, other = SqlVault(shared_vault_url, MASTER), SqlVault(shared_vault_url, MASTER)
    one.put({"r1": b"1" * 32})
    assert other.get(["r1"]) == {"r1": b"1" * 32}
    other.destroy(["r1"])
    assert one.get(["r1"]) == {}
    one.close()
    other.close()


def test_another_master_key_opens_nothing(shared_vault_url: str) -> None:
    one, other = (
        SqlVault(shared_vault_url, MASTER),
        SqlVault(shared_vault_url, AeadSealer([bytes(range(130, 162))])),
    )
    one.put({"r1": b"1" * 32})
    assert other.get(["r1"]) == {}
    assert "r1" in other.references()
    one.close()
    other.close()


def test_a_vault_without_its_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        SqlVault(f"sqlite:///{tmp_path / 'missing' / 'vault.db'}", MASTER).references()
