"""Whether every partition has a node that does its work."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bastide.domain.health import Severity
from bastide.domain.nodes import Node
from bastide.health.checks import service
from bastide.store.unit_of_work import SqlStore
from tests.support.health import looking_at, memory

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    yield from memory()


def node(name: str, **changes: Any) -> Node:
    made = Node(name, "https://n", "default", "0.1.0", "0005", "p", timedelta(seconds=10), NOW, NOW)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("nodes", "planned", "severity", "said"),
    [
        ([node("a")], {}, Severity.OK, "is served by a"),
        ([node("a"), node("b", left_at=NOW)], {}, Severity.OK, "is served by a"),
        ([node("a", left_at=NOW)], {}, Severity.ERROR, "no node of partition default is alive"),
        ([node("a", heartbeat=NOW - timedelta(hours=1))], {}, Severity.ERROR, "is alive"),
        ([], {"default": 3}, Severity.ERROR, "is alive"),
        ([node("a", draining=True), node("b", left_at=NOW)], {}, Severity.ERROR, "is drained"),
    ],
)
def test_a_partition_that_nobody_serves_is_an_error(
    nodes: list[Node], planned: dict[str, int], severity: Severity, said: str
) -> None:
    (found,) = service.served(nodes, planned, NOW)
    assert (found.severity, said in found.text) == (severity, True), found.text


def test_a_stopped_node_that_was_the_only_one_fails_the_check(store: SqlStore) -> None:
    with store.write() as uow:
        uow.nodes.put(node("a", left_at=NOW))
        uow.commit()
    found = list(service.nodes(looking_at(store=store)))
    assert [one.severity for one in found] == [Severity.OK, Severity.ERROR]
