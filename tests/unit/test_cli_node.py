"""`bastide node`: what people see of the nodes, and what they are asked and told when they take one out."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from litestar.testing import TestClient

from bastide.cli.exits import Exit
from tests.support.api import app_over
from tests.support.nodes import Cluster, several
from tests.support.stores import with_schema
from tests.unit.test_cli_app import SERVER, Desk, InProcess

DAVE, FRANK = "PRIV\\dave", "PRIV\\frank"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    url = with_schema(tmp_path / "bastide.db")
    with several(url) as made:
        yield made


@pytest.fixture
def desk(cluster: Cluster) -> Iterator[Desk]:
    """At node a; b is beside it, and l is in Lyon."""
    nodes = {name: cluster.node(name, "lyon" if name == "l" else "default") for name in "abl"}
    with ExitStack() as stack:
        app = stack.enter_context(app_over(nodes["a"].services))
        client = stack.enter_context(TestClient(app, base_url=SERVER))
        yield Desk(cluster.world, InProcess(client._transport))


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_list_shows_idle_nodes_and_is_for_administrators(desk: Desk) -> None:
    listed = json.loads(desk.run(DAVE, "node", "list", "--json").stdout)["items"]
    assert [(one["name"], one["state"], one["in_hand"]) for one in listed] == [
        ("a", "serving", 0),
        ("b", "serving", 0),
        ("l", "serving", 0),
    ]
    assert "lyon" in desk.run(DAVE, "node", "list").stdout
    desk.run(FRANK, "node", "list", wanted=Exit.REFUSED)


def test_a_node_is_drained_and_resumed(desk: Desk) -> None:
    said = desk.run(DAVE, "node", "drain", "b")
    assert "b claims nothing new, and has nothing in hand" in words(said.stdout)
    assert "takes no work" not in said.stderr
    assert "drained" in desk.run(DAVE, "node", "show", "b").stdout
    again = desk.run(DAVE, "node", "drain", "b", wanted=Exit.REFUSED)
    assert "bastide node resume" in again.stderr
    assert "b takes work again" in desk.run(DAVE, "node", "resume", "b").stdout
    last = desk.run(DAVE, "node", "drain", "l")
    assert "no other node of partition lyon takes work: what is due there waits" in words(last.stderr)


def test_a_lost_partition_is_said_adopted_and_forgotten(cluster: Cluster, desk: Desk) -> None:
    world = cluster.world
    with cluster.node("x", "lyon", joined=False).store.write() as uow:
        uow.work.poke("account", "1", world.clock.now())
        uow.commit()
    with world.store.write() as uow:
        uow.work.poke("link", "2", world.clock.now())
        uow.commit()
    world.store.claim(["link"], owner="old:1", lease=timedelta(minutes=9), limit=1, now=world.clock.now())
    world.clock.move(minutes=1)
    shown = desk.run(DAVE, "node", "list")
    assert "serving, LOST" in words(shown.stdout)
    assert "partition lyon has 1 pieces of work and no living node" in words(shown.stderr)
    assert "old:1 has work in hand until" in words(shown.stderr)
    desk.run(DAVE, "node", "adopt", "lyon", "--into", "default", "--yes", wanted=Exit.REFUSED)
    with cluster.node("c").store.read() as uow:
        assert uow.nodes.get("c").alive(world.clock.now())
    done = desk.run(DAVE, "node", "adopt", "lyon", "--into", "default", "--yes")
    assert "default goes on with 1 pieces of work of lyon" in words(done.stdout)
    assert "l is forgotten" in desk.run(DAVE, "node", "remove", "l", "--yes").stdout
    desk.run(DAVE, "node", "remove", "c", "--yes", wanted=Exit.REFUSED)
