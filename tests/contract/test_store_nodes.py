"""Nodes and partitions in the store, as two nodes on one database see them; SQLite and PostgreSQL."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from bastide.domain.errors import NotFound
from bastide.domain.nodes import Node
from bastide.services.pace import CHECKPOINT
from bastide.services.ports import Work
from bastide.services.registry import Planned, Seat
from bastide.store import tables
from bastide.store.unit_of_work import SqlStore
from bastide.store.work import Claimer
from tests.support.work_rows import KIND, LEASE, now, row

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
#: A lease that is over while a test waits.
HELD = timedelta(seconds=2)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def a_node(name: str, partition: str = "default") -> Node:
    return Node(
        name=name,
        url=f"https://{name}.priv.example:8443",
        partition=partition,
        version="0.1.0",
        schema="0005",
        process=f"process-of-{name}",
        rhythm=timedelta(seconds=10),
        started_at=now(),
        heartbeat=now(),
    )


class Cluster:
    """Stores of several nodes on one database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.opened: list[SqlStore] = []

    def node(self, name: str, partition: str = "default", *, registered: bool = True) -> SqlStore:
        store = SqlStore(self._url, claimer=Claimer(partition, Seat(name, f"process-of-{name}")))
        self.opened.append(store)
        if registered:
            put(store, a_node(name, partition))
        return store


@pytest.fixture
def cluster(shared_url: str) -> Iterator[Cluster]:
    made = Cluster(shared_url)
    yield made
    for store in made.opened:
        store.close()


def put(store: SqlStore, node: Node) -> None:
    with store.write() as uow:
        uow.nodes.put(node)
        uow.work.wake()
        uow.commit()


def read(store: SqlStore, name: str) -> Node:
    with store.read() as uow:
        return uow.nodes.get(name)


def poke(store: SqlStore, key: str = "1", kind: str = KIND, after: timedelta = timedelta()) -> None:
    with store.write() as uow:
        uow.work.poke(kind, key, now() + after)
        uow.commit()


def claim(store: SqlStore, lease: timedelta = LEASE) -> tuple[Work, ...]:
    return store.claim([KIND, CHECKPOINT], owner="somebody:1", lease=lease, limit=10, now=now())


def test_a_node_is_written_down_and_forgotten(cluster: Cluster) -> None:
    a = cluster.node("a")
    node = replace(a_node("a"), draining=True, left_at=now())
    put(a, node)
    found = read(a, "a")
    assert replace(found, heartbeat=node.heartbeat) == node
    with a.read() as uow:
        assert uow.nodes.find("b") is None
        with pytest.raises(NotFound):
            uow.nodes.get("b")
    cluster.node("b", "another")
    with a.write() as uow:
        assert [one.name for one in uow.nodes.all()] == ["b", "a"], "by partition and name"
        uow.nodes.remove("a")
        with pytest.raises(NotFound):
            uow.nodes.remove("a")


def test_a_heartbeat_is_of_the_process_that_is_registered(cluster: Cluster) -> None:
    a = cluster.node("a")
    other = SqlStore(cluster._url, claimer=Claimer("default", Seat("a", "another process")))
    cluster.opened.append(other)
    put(a, replace(a_node("a"), process="the one before", heartbeat=LONG_AGO))
    assert not a.beat(now())
    put(a, replace(a_node("a"), heartbeat=LONG_AGO))
    assert read(a, "a").heartbeat == LONG_AGO, "another process: its heartbeat begins anew"
    put(a, replace(a_node("a"), draining=True))
    assert read(a, "a").heartbeat == LONG_AGO, "the same process: only its own statement moves it"
    assert a.beat(now())
    assert abs(read(a, "a").heartbeat - now()) < timedelta(seconds=30)
    assert not other.beat(now())
    put(a, replace(a_node("a"), left_at=now()))
    assert not a.beat(now())
    assert not cluster.node("c", registered=False).beat(now())


def test_a_heartbeat_wakes_nobody(cluster: Cluster) -> None:
    """An idle node must stay idle: what its own heartbeat writes is nothing to look for."""
    a, b = cluster.node("a"), cluster.node("b")
    for store in (a, b):
        store.next_due([KIND])
        store.wait(0)
    time.sleep(1.2)  # what was written before is noticed by then
    a.wait(0)
    for _ in range(3):
        a.beat(now())
        assert not a.wait(0.8)


def test_the_time_is_the_databases_where_it_has_a_clock(cluster: Cluster) -> None:
    a = cluster.node("a")
    with a.read() as uow:
        said = uow.nodes.time(LONG_AGO)
    if a.engine.dialect.name == "sqlite":
        assert said == LONG_AGO
    else:
        assert abs(said - now()) < timedelta(seconds=30)


# ----------------------------------------------------------------------------------------------------------- partitions


def test_work_is_claimed_in_the_partition_that_planned_it(cluster: Cluster) -> None:
    a, b, lyon = cluster.node("a"), cluster.node("b"), cluster.node("l", "lyon")
    poke(a, "1")
    assert row(a, "1")["partition"] == "default"
    assert lyon.next_due([KIND]) is None
    assert claim(lyon) == ()
    assert b.next_due([KIND]) is not None
    assert [work.key for work in claim(b)] == ["1"]


def test_what_a_dead_node_held_goes_to_its_partition_and_to_no_other(cluster: Cluster) -> None:
    a, b, lyon = cluster.node("a"), cluster.node("b"), cluster.node("l", "lyon")
    poke(a)
    began = time.monotonic()
    assert len(claim(a, HELD)) == 1
    while not (taken := claim(b)):
        assert claim(lyon) == ()
        time.sleep(0.1)
    assert time.monotonic() - began >= HELD.total_seconds()
    assert claim(lyon) == ()
    assert [work.fence for work in taken] == [2]


def test_work_of_the_database_is_done_by_any_partition(cluster: Cluster) -> None:
    a, lyon = cluster.node("a"), cluster.node("l", "lyon")
    poke(a, "audit", CHECKPOINT)
    assert row(a, "audit")["partition"] == ""
    assert [work.kind for work in claim(lyon)] == [CHECKPOINT]


def test_what_an_earlier_program_planned_for_itself_is_everybodys_after_a_poke(cluster: Cluster) -> None:
    """A program of 0004 names no partition: its new rows of shared kinds are in `default`, where perhaps nobody is any more."""
    a, lyon = cluster.node("a"), cluster.node("l", "lyon")
    poke(a, "audit", CHECKPOINT)
    with a.engine.begin() as raw:
        raw.execute(update(tables.work).values(partition="default"))
    assert claim(lyon) == ()
    poke(lyon, "audit", CHECKPOINT, after=timedelta(hours=1))
    assert row(a, "audit")["partition"] == ""
    assert [work.kind for work in claim(lyon)] == [CHECKPOINT]


def test_a_poke_from_another_partition_leaves_planned_work_where_it_is(cluster: Cluster) -> None:
    a, lyon = cluster.node("a"), cluster.node("l", "lyon")
    poke(a, after=timedelta(hours=1))
    poke(lyon)
    assert claim(lyon) == ()
    (work,) = claim(a)
    poke(lyon)
    with a.write() as uow:
        uow.work.finish(work, None)
        uow.commit()
    (work,) = claim(a)
    with a.write() as uow:
        uow.work.finish(work, None)
        uow.commit()
    poke(lyon)  # nobody plans anything for it any more
    assert claim(a) == ()
    assert len(claim(lyon)) == 1


def test_a_partition_is_adopted_with_all_it_plans(cluster: Cluster) -> None:
    a, lyon = cluster.node("a"), cluster.node("l", "lyon")
    poke(lyon, "1")
    poke(lyon, "2", after=timedelta(hours=1))
    poke(lyon, "audit", CHECKPOINT)
    claim(lyon)
    with a.read() as uow:
        planned = uow.work.planned(now())
    assert planned.keys() == {"lyon"}
    assert planned["lyon"].rows == 2
    lease = planned["lyon"].lease
    assert lease is not None
    assert lease > now()
    with a.write() as uow:
        uow.work.adopt("lyon", "default")
        assert uow.work.planned(now()) == {"default": Planned(2, lease)}
        uow.commit()
    assert row(a, "2")["partition"] == "default"
    assert claim(a) == (), "the lease that runs stays"


def test_a_lease_that_counts_as_over_keeps_nobody_from_adopting(cluster: Cluster) -> None:
    """It was taken while the clock was wrong: (2)."""
    a, lyon = cluster.node("a"), cluster.node("l", "lyon")
    poke(lyon)
    assert len(claim(lyon, timedelta(days=400))) == 1
    with a.read() as uow:
        assert uow.work.planned(now()) == {"lyon": Planned(1, None)}


# ----------------------------------------------------------------------------------------------------- in a node's name


def test_a_drained_node_claims_nothing_until_it_is_resumed(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    poke(a, "1")
    (held,) = claim(a)
    put(b, replace(a_node("a"), draining=True))
    poke(a, "2")
    assert claim(a) == ()
    assert a.next_due([KIND]) is None, "it must not look again and again"
    a.renew([held], owner="somebody:1", lease=LEASE, now=now())
    with a.write() as uow:
        uow.work.finish(held, None)
        uow.commit()
    put(b, a_node("a"))
    assert [work.key for work in claim(a)] == ["2"]


def test_who_waits_hears_that_its_node_is_resumed(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    put(b, replace(a_node("a"), draining=True))
    poke(a)
    assert a.next_due([KIND]) is None
    a.wait(0)
    started, took = time.monotonic(), 0.0
    threading.Timer(0.2, lambda: put(b, a_node("a"))).start()
    while a.next_due([KIND]) is None and took < 10:
        a.wait(10)
        took = time.monotonic() - started
    assert took < 5
    assert len(claim(a)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"process": "another"},
        {"left_at": LONG_AGO},
    ],
)
def test_a_process_without_its_name_claims_nothing(cluster: Cluster, change: dict[str, object]) -> None:
    a = cluster.node("a")
    poke(a)
    put(a, replace(a_node("a"), **change))  # type: ignore[arg-type]
    assert claim(a) == ()
    with a.write() as uow:
        uow.nodes.remove("a")
        uow.commit()
    assert claim(a) == ()
    put(a, a_node("a"))
    assert len(claim(a)) == 1
