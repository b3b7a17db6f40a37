"""A Bastide in memory that raises alerts: one destination with people, one program. For modules with `pytest_plugins = ["tests.support.alert_world"]`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.audit.siem import MemoryOutlet
from bastide.domain.alerts import CATALOGUE, Alert, Policy, Rule, State
from bastide.domain.audit import Event
from bastide.services.pace import ALERT
from bastide.services.ports import AuditQuery
from bastide.wiring import Adapters
from bastide.wiring.alerts import AlertAdapters, AlertServices
from tests.support.world import World

#: As wiring/production.py has it.
FOLLOWERS = {ALERT: timedelta(seconds=1)}
PERSON = "S-1-5-21-1-2-3-1105"


def rule(name: str, **changes: Any) -> Rule:
    """Of the catalogue, with changes."""
    return replace(next(one for one in CATALOGUE if one.name == name), **changes)


def only(*rules: Rule, **more: Any) -> Policy:
    return Policy(rules=rules, **more)


class AlertWorld(World):
    """`people` and `program` keep what they were told."""

    def __init__(self, policy: Policy | None = None, **options: Any) -> None:
        self.people = MemoryOutlet("people", people=True)
        self.program = MemoryOutlet("program")
        self.policy = policy or Policy()
        super().__init__(**{"followers": FOLLOWERS, **options})
        self.alerts.reader.plant()
        self.alerts.looker.plant()

    def _adapters(self) -> Adapters:
        return replace(super()._adapters(), alerts=AlertAdapters((self.people, self.program), self.policy))

    @property
    def alerts(self) -> AlertServices:
        assert self.services.alerts is not None
        return self.services.alerts

    def happen(
        self, kind: str, subject: str = PERSON, name: str = "alice", data: Mapping[str, object] | None = None
    ) -> None:
        """An audit record, as whoever writes it does."""
        with self.store.write() as uow:
            uow.audit.append(Event(kind, self.clock.now(), "bastide", "bastide", subject, name, data=data))
            uow.commit()

    def settle(self) -> None:
        """Let everything be done that is due within a few seconds."""
        for _ in range(3):
            self.work()
            self.clock.move(seconds=1.1)
        self.work()

    def found(self, *states: State) -> tuple[Alert, ...]:
        with self.store.read() as uow:
            return uow.alerts.newest(states or tuple(State), 100)

    def told(self, outlet: MemoryOutlet) -> list[tuple[str, str]]:
        return [(one.stage.value, one.alert.rule) for one in outlet.taken]

    def audited(self, kind: str) -> list[dict[str, Any]]:
        with self.store.read() as uow:
            return [json.loads(one.data) for one in uow.audit.read(AuditQuery(kind=kind, limit=0))]


@pytest.fixture
def alert_world() -> Iterator[AlertWorld]:
    made = AlertWorld()
    yield made
    made.close()
