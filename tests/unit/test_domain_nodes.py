"""Which node is alive, which may take work, and what is refused; a test for each rule of domain/nodes.py."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bastide.domain import nodes
from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.nodes import Node, State

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
BEAT = timedelta(seconds=10)
SECOND = timedelta(seconds=1)
A = Node(
    name="a",
    url="https://a.priv.example",
    partition="default",
    version="0.1.0",
    schema="0005",
    process="machine/1",
    rhythm=BEAT,
    started_at=NOW,
    heartbeat=NOW,
)
B = replace(A, name="b", process="machine/2")
LOST = replace(A, heartbeat=NOW - 31 * SECOND)


@pytest.mark.parametrize(("silent", "alive"), [(0, True), (30, True), (31, False), (-30, True), (-31, False)])
def test_a_node_is_alive_for_three_heartbeats(silent: int, alive: bool) -> None:
    assert A.alive(NOW + silent * SECOND) is alive
    assert A.takes_work(NOW + silent * SECOND) is alive


def test_who_left_is_not_alive() -> None:
    left = replace(A, left_at=NOW)
    assert not left.alive(NOW)
    assert left.state(1) is State.LEFT


def test_what_is_drained_finishes_first() -> None:
    assert A.state(3) is State.SERVING
    drained = nodes.drain(A)
    assert (drained.state(1), drained.state(0)) == (State.DRAINING, State.DRAINED)
    assert drained.alive(NOW)
    assert not drained.takes_work(NOW)
    with pytest.raises(Conflict, match="drained already"):
        nodes.drain(drained)
    assert nodes.resume(drained) == A
    with pytest.raises(Conflict, match="not drained"):
        nodes.resume(A)


def test_the_owner_of_a_lease_names_its_node() -> None:
    assert nodes.node_of(nodes.owner("fe80::1", 17)) == "fe80::1"
    assert nodes.node_of("tool") == "tool"


def test_two_living_processes_do_not_share_a_name() -> None:
    second = replace(A, process="machine/9")
    with pytest.raises(Conflict, match="another process serves as node 'a'") as refused:
        nodes.join(A, second, NOW, gone=False)
    assert "30 s" in refused.value.remedy
    assert nodes.join(A, second, NOW, gone=True) == second, "proved to be over"
    assert nodes.join(LOST, second, NOW, gone=False) == second, "not heard any more"
    assert nodes.join(replace(A, left_at=NOW), second, NOW, gone=False) == second
    assert nodes.join(A, A, NOW, gone=False) == A, "the same process joins again"
    assert nodes.join(None, A, NOW, gone=False) == A


def test_a_drained_node_stays_drained_when_it_starts_again() -> None:
    again = nodes.join(nodes.drain(LOST), replace(A, process="machine/9"), NOW, gone=False)
    assert again.draining


def test_a_node_is_forgotten_when_it_is_dead_and_its_work_has_somebody() -> None:
    with pytest.raises(Conflict, match="is alive"):
        nodes.forget(A, [A], 0, NOW)
    nodes.forget(LOST, [LOST], 0, NOW)
    nodes.forget(LOST, [LOST, B], 5, NOW)
    for others in ([], [replace(B, partition="lyon")], [replace(B, left_at=NOW)]):
        with pytest.raises(Conflict, match="5 pieces of work wait in partition default") as refused:
            nodes.forget(LOST, [LOST, *others], 5, NOW)
        assert "node adopt default" in refused.value.remedy


def test_a_partition_is_adopted_when_nobody_works_there() -> None:
    lyon = replace(LOST, partition="lyon")
    nodes.adopt("lyon", "default", [lyon, B], waiting=1, lease=NOW, now=NOW)
    with pytest.raises(InvalidInput):
        nodes.adopt("lyon", "lyon", [lyon, B], waiting=1, lease=None, now=NOW)
    with pytest.raises(NotFound, match="no work waits"):
        nodes.adopt("lyon", "default", [lyon, B], waiting=0, lease=None, now=NOW)
    with pytest.raises(Conflict, match="node a of partition lyon is alive"):
        nodes.adopt("lyon", "default", [replace(lyon, heartbeat=NOW), B], waiting=1, lease=None, now=NOW)
    with pytest.raises(Conflict, match="until 09:00:01 UTC"):
        nodes.adopt("lyon", "default", [lyon, B], waiting=1, lease=NOW + SECOND, now=NOW)
    for heir in (nodes.drain(B), replace(B, left_at=NOW), replace(B, heartbeat=LOST.heartbeat)):
        with pytest.raises(NotFound, match="no living node"):
            nodes.adopt("lyon", "default", [lyon, heir], waiting=1, lease=None, now=NOW)


@pytest.mark.parametrize(
    ("found", "floor", "good"),
    [
        ("0005", "0004", True),
        ("0005", "", True),
        ("0006", "0005", True),
        ("0007", "0003", True),
        ("0006", "0006", False),
        ("0006", "", False),
        ("0004", "0004", False),
        ("0004", "", False),
        ("future", "0004", False),
        (None, "", False),
    ],
)
def test_a_newer_database_fits_down_to_its_floor(found: str | None, floor: str, good: bool) -> None:
    assert nodes.fits(found, "0005", floor) is good
