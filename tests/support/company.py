"""A company with a personnel system and a directory, both imported; and what a test asks of it. For modules with `pytest_plugins = ["tests.support.company"]`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bastide.domain.management_agents import (
    ManagementAgent,
)
from bastide.services.ports import AuditQuery
from tests.support.spaces import HR, SpaceWorld

SECRET = "canary-SECRET-of-the-agent"


@pytest.fixture
def world() -> Iterator[SpaceWorld]:
    made = SpaceWorld()
    yield made
    made.close()


@pytest.fixture
def company(world: SpaceWorld) -> SpaceWorld:
    """HR with Ann and Ben; both, and Zoe, who is in no HR, in the directory. All imported."""
    world.add("hr", rules=HR)
    world.add("ldap")
    world.staff("ann", "ben")
    world.staff("ann", "ben", "zoe", system="ldap")
    world.load("hr")
    world.load("ldap")
    return world


def audited(world: SpaceWorld, kind: str) -> list[dict[str, Any]]:
    with world.store.read() as uow:
        return [json.loads(r.data) for r in uow.audit.read(AuditQuery(kind=kind, limit=0))]


def agent_of(world: SpaceWorld, name: str) -> ManagementAgent:
    return world.services.management_agents.show(world.dave, name).agent
