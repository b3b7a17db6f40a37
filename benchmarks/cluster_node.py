"""One node of several, as a process: the product's workers over PostgreSQL, registered under its name, with heartbeat; the forests are in its own memory. Until SIGTERM.

Every node makes the same forests, to the last SID, so a row of work finds the same accounts wherever it is done. With `stuck` PRIV takes a claim's first question
and does not answer.

Usage: python -m benchmarks.cluster_node ORDER, a file of JSON: name, url, work, accounts, stuck, ready (a file to write).
"""

import json
import signal
import sys
import threading
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bastide.cli import logs
from bastide.clock import SystemClock
from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_forest import MemoryForest
from bastide.domain import nodes
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.accounts import Preparation
from bastide.services.nodes import Me
from bastide.services.ports import AccountState
from bastide.services.registry import Seat
from bastide.store.tables import SCHEMA
from bastide.store.unit_of_work import SqlStore
from bastide.store.work import Claimer
from bastide.wiring import assemble
from bastide.workers import jobs
from bastide.workers.heartbeat import Heartbeat
from bastide.workers.runner import Runner
from benchmarks import objects
from benchmarks.portal_stand import adapters_over, reference

PARTITION = "default"
_BEFORE = datetime(2000, 1, 1, tzinfo=objects.now().tzinfo)


class Crowded(MemoryForest):
    """Nobody has a name twice here, and asking for each of ten thousand would take minutes."""

    def _new_ref(self, name: str, container: str, *, cn: str = "", sid: Sid | None = None) -> ObjectRef:  # noqa: ARG002
        self._rid += 1
        guid = f"{self._rid:08x}-0000-4000-8000-{self.forest.value.encode().hex():0>12}"
        return ObjectRef(
            guid=guid,
            sid=Sid(f"{self.domain_sid}-{self._rid}"),
            dn=f"CN={name},{container},{self.base_dn}",
            name=name,
        )


class Stuck(MemoryDirectory):
    """A controller that takes the question and does not answer."""

    def observe(self, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, AccountState]]:
        threading.Event().wait()
        return super().observe(accounts)


class Forests:
    """Both, with a group on each side and so many people, who are all in it."""

    def __init__(self, accounts: int, clock: SystemClock) -> None:
        self.corp = Crowded(Forest.CORP, clock.now, controllers=("corpdc",))
        self.priv = Crowded(Forest.PRIV, clock.now, controllers=("privdc1", "privdc2"))
        names = [f"n{number:05d}" for number in range(accounts)]
        everyday = {f"priv.{name}": self.corp.add_person(name).ref for name in names}
        self.people = {
            name: (corp, self.priv.add_person(name, expires=_BEFORE).ref) for name, corp in everyday.items()
        }
        share = self.corp.add_group("Share", scope=Scope.DOMAIN_LOCAL).ref
        candidates = self.corp.add_group("People").ref
        carrier = self.priv.add_group("PAM-Share", members=[priv.sid for _, priv in self.people.values()]).ref
        self.groups = (share, carrier, candidates)

    def register(self, store: SqlStore) -> objects.Registered:
        """All of it, into the database."""
        share, carrier, candidates = map(reference, self.groups)
        people = {name: (reference(corp), reference(priv)) for name, (corp, priv) in self.people.items()}
        return objects.register(store, people, (share, carrier), candidates)


def main() -> None:
    """As the order says."""
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    logs.to_stderr()
    clock, work, name = SystemClock(), Path(order["work"]), order["name"]
    forests = Forests(order["accounts"], clock)
    priv = (Stuck if order["stuck"] else MemoryDirectory)(forests.priv)
    me = Me(name, f"https://{name}.test", PARTITION, "bench", SCHEMA, f"{name} of this run", jobs.LEASE)
    with closing(SqlStore(order["url"], claimer=Claimer(PARTITION, Seat(name, me.process)))) as store:
        adapters = replace(
            adapters_over(store, priv, forests.corp, work, clock), me=me, gone=lambda _process: True
        )
        services = assemble(adapters, Preparation())
        services.nodes.join()
        heartbeat = Heartbeat(services.nodes.beat, me.rhythm)
        runner = Runner(store=store, jobs=jobs.table(services), owner=nodes.owner(name, 1), clock=clock)
        heartbeat.start()
        runner.start()
        Path(order["ready"]).touch()
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        runner.stop()
        heartbeat.stop()


if __name__ == "__main__":
    main()
