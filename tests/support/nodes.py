"""Several nodes over one World: each with a store, use cases, a runner and a web application of its own, on one database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from bastide.domain import nodes
from bastide.services.journal import Journal
from bastide.services.nodes import Me, nobody_knows
from bastide.services.registry import Seat
from bastide.store.tables import SCHEMA
from bastide.store.unit_of_work import SqlStore
from bastide.store.work import Claimer
from bastide.wiring import assemble
from bastide.workers import jobs
from bastide.workers.runner import Runner
from tests.support.api import ApiWorld, app_over
from tests.support.stores import with_schema
from tests.support.world import ADDRESS

BEAT = timedelta(seconds=10)


class TestNode:
    """One node. `client` calls its application."""

    __test__ = False

    def __init__(
        self,
        world: ApiWorld,
        url: str,
        me: Me,
        stack: ExitStack,
        gone: Callable[[str], bool] = nobody_knows,
        journal: Journal | None = None,
    ) -> None:
        self.name, self.me = me.name, me
        self.store = SqlStore(url, claimer=Claimer(me.partition, Seat(me.name, me.process)))
        stack.callback(self.store.close)
        adapters = replace(world.adapters, store=self.store, me=me, gone=gone, journal=journal)
        self.services = assemble(adapters, world._preparation(), address=ADDRESS)
        self.runner = Runner(
            store=self.store, jobs=jobs.table(self.services), owner=nodes.owner(me.name, 1), clock=world.clock
        )
        app = stack.enter_context(app_over(self.services))
        self.client: TestClient[Any] = stack.enter_context(TestClient(app, raise_server_exceptions=False))


class Cluster:
    """Nodes over a World whose own services are no node."""

    def __init__(self, world: ApiWorld, url: str, stack: ExitStack) -> None:
        self.world = world
        self._url = url
        self._stack = stack

    def node(
        self,
        name: str,
        partition: str = "default",
        *,
        process: str = "",
        joined: bool = True,
        gone: Callable[[str], bool] = nobody_knows,
        journal: Journal | None = None,
    ) -> TestNode:
        me = Me(
            name, f"https://{name}.test", partition, "0.1.0", SCHEMA, process or f"process of {name}", BEAT
        )
        made = TestNode(self.world, self._url, me, self._stack, gone, journal)
        if joined:
            made.services.nodes.join()
        return made

    def turn_to(self, node: TestNode) -> None:
        """What people send from now on arrives there."""
        self.world.client = node.client


@contextmanager
def several(url: str) -> Iterator[Cluster]:
    """An empty cluster."""
    world = ApiWorld(url=url)
    world.serve()
    with ExitStack() as stack:
        stack.callback(world.close)
        yield Cluster(world, url, stack)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    url = with_schema(tmp_path / "bastide.db")
    with several(url) as made:
        yield made
