"""A node of the service that hears controllers and watches for those that fall silent."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bastide.domain.contacts import Contact
from bastide.domain.errors import StoreUnavailable
from bastide.services.pace import WATCH
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.silence import Silence
from bastide.store.unit_of_work import SqlStore
from bastide.workers.jobs import Job
from bastide.workers.runner import Runner
from tests.support.sync_world import LEASE, SyncWorld

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
KNOWN = Contact(domain="corp.test", account="dc1$", host="dc1.corp.test", heard_at=NOW)


class Counting:
    """How often somebody wrote; and a database that is away."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.writes = 0
        self.away = False

    def write(self) -> Any:
        self.writes += 1
        if self.away:
            raise StoreUnavailable("the database is gone")
        return self.store.write()


class Node:
    """A process that receives, and a worker; `run` lets time go by for both of them."""

    def __init__(self, world: SyncWorld, silence: Silence | None = None) -> None:
        self.world = world
        self.silence = silence or world.passwords.silence
        self.store = Counting(world.store)
        self.silence._store = self.store  # type: ignore[assignment]

    def receive(self) -> None:
        """What the recorder does, also when it fails."""
        if not self.store.away:
            self.silence.write_down()
            return
        with pytest.raises(StoreUnavailable):
            self.silence.write_down()

    def watch(self) -> None:
        job = Job((WATCH,), lambda works, _: self.silence.watch(works), 1, LEASE)
        Runner(store=self.world.store, jobs=(job,), owner="node-1", clock=self.world.clock).run_due()

    def run(self, minutes: int, *speaking: Caller) -> None:
        """Minute by minute: these say something, it is written down, and the worker looks."""
        for _ in range(minutes):
            self.world.clock.move(minutes=1)
            for caller in speaking:
                self.silence.heard(caller, 0)
            self.receive()
            if not self.store.away:
                self.watch()

    def contacts(self) -> list[Contact]:
        with self.world.store.read() as uow:
            return list(uow.contacts.all())

    def said(self, number: int) -> list[dict[str, object]]:
        return [fields for found, fields in self.world.events.written if found == number]

    def audited(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(record.data) for record in self.world.audit(f"passwords.controller-{kind}")]


def many(number: int, domain: str = "corp.test") -> list[Caller]:
    return [Caller(domain, f"DC{one}$", f"dc{one:03}.{domain}") for one in range(number)]
