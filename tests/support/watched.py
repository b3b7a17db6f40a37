"""A Bastide in memory that is monitored, raises alerts and answers HTTP. For modules with `pytest_plugins = ["tests.support.watched"]`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from litestar.testing import TestClient

from bastide.domain.alerts import Alert
from bastide.domain.drift import Finding, Rule
from bastide.domain.people import Forest
from tests.support.alert_world import AlertWorld
from tests.support.api import ApiWorld, app_over
from tests.support.monitored import MonitoredWorld


class WatchedWorld(MonitoredWorld, AlertWorld, ApiWorld):  # type: ignore[misc]  # both have a `told`; that of monitoring counts
    """`people` and `program` keep what they were told."""

    def drifted(self, name: str = "bob", forest: Forest = Forest.CORP) -> Finding:
        """Somebody put a person into the CORP group, and it was found: a drift that can be accepted."""
        with self.store.read() as uow:
            group = uow.groups.all()[0]
        self.add_by_hand(forest, group.corp, self.directory(forest).find_person(name).ref.sid)
        self.look()
        return self.standing()[Rule.OTHER_MEMBER]

    def alerted(self, kind: str = "kill-switch", **said: Any) -> Alert:
        """Something happened that is an alert."""
        self.happen(kind, **said)
        self.settle()
        return self.found()[0]


@contextmanager
def watched_over(*, looked: bool = True, **options: Any) -> Iterator[WatchedWorld]:
    """One that answers, with a PAM user and a group. `looked`: each domain was read once."""
    world = WatchedWorld(**options)
    world.serve()
    if looked:
        world.look()
    try:
        with app_over(world.services) as app, TestClient(app, raise_server_exceptions=False) as client:
            world.client = client
            yield world
    finally:
        world.close()


@pytest.fixture
def watched_world() -> Iterator[WatchedWorld]:
    with watched_over() as world:
        yield world
