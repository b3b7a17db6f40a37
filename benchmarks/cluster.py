"""Several nodes over one PostgreSQL: how soon the work of one that is killed is taken over, how late ten thousand ends are, and what three nodes cost beside one.

PostgreSQL is Debian's, with its fsyncs; the nodes are processes of this machine with the product's workers, leases and heartbeats. The directories are in the
memory of each node: what is measured is the database and the work, and a real directory comes on top (`removal_*`). Alone: python -m benchmarks.cluster (root).
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from bastide.clock import SystemClock
from bastide.domain.ids import RequestId
from bastide.domain.requests import Request, State
from bastide.services.pace import ACCOUNT
from bastide.store import keys, migrations
from bastide.store.unit_of_work import SqlStore
from bastide.workers.jobs import LEASE
from benchmarks import objects, report
from benchmarks.cluster_node import Forests
from benchmarks.objects import Registered
from benchmarks.phases import percentile
from benchmarks.portal import Here
from benchmarks.postgres import Postgres
from benchmarks.report import Metric

ROOT = Path(__file__).parent.parent
GRANTS, MINUTE = 10_000, 60.0
#: Ends of one moment, for the comparison of three nodes with one.
TOGETHER, TURNS = 1500, 3
KILLS = 3
#: Until the nodes have everything in memory and wait.
LEAD = 3.0
TAKEOVER_S, LATENESS_S = LEASE.total_seconds() + 1, 1.0
PATIENCE = 300.0


class Node:
    """A process that has not been told to stop."""

    def __init__(self, stage: "Nodes", name: str, *, stuck: bool = False) -> None:
        order = {
            "name": name,
            "url": stage.url,
            "work": str(stage.work),
            "accounts": GRANTS,
            "stuck": stuck,
            "ready": str(stage.work / f"{name}.ready"),
        }
        self.name = name
        self._ready = Path(str(order["ready"]))
        self._ready.unlink(missing_ok=True)
        path = stage.work / f"{name}.json"
        path.write_text(json.dumps(order), encoding="utf-8")
        self._log = stage.work / f"{name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.cluster_node", path], cwd=ROOT, stdout=log, stderr=log
            )

    def wait(self) -> None:
        """Until it works. Raises RuntimeError."""
        until(lambda: self._ready.exists() or self._process.poll() is not None)
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended: {self._log.read_text()[-1000:]}")

    def kill(self) -> float:
        """SIGKILL; the moment of it, monotonic."""
        self._process.kill()
        at = time.monotonic()
        self._process.wait()
        return at

    def stop(self) -> None:
        """SIGTERM."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


class Nodes:
    """The database, filled, and whichever nodes run."""

    def __init__(self, work: Path, url: str) -> None:
        self.work, self.url = work, url
        migrations.upgrade(url)
        keys.generate_key_files(work)
        self.store = SqlStore(url)
        self.registered: Registered = Forests(GRANTS, SystemClock()).register(self.store)
        self.names = [*self.registered.users]
        self._next = 0

    @contextmanager
    def running(self, *names: str, stuck: bool = False) -> Iterator[list[Node]]:
        """Nodes of these names that wait for work."""
        made = [Node(self, name, stuck=stuck) for name in names]
        try:
            for node in made:
                node.wait()
            yield made
        finally:
            for node in made:
                node.stop()

    def plant(self, number: int, lead: float, over: float) -> list[RequestId]:
        """So many grants that end from `lead` seconds on, evenly over so many. Each of another person: who had one before was taken out of the group."""
        first = objects.now() + timedelta(seconds=lead)
        names = [self.names[(self._next + one) % len(self.names)] for one in range(number)]
        self._next += number
        step = timedelta(seconds=over) / number
        ends = {name: first + step * place for place, name in enumerate(names)}
        return [*objects.plant_grants(self.store, self.registered, ends).values()]

    def requests(self, ids: Sequence[RequestId]) -> list[Request]:
        """As the database has them."""
        with self.store.read() as uow:
            return [uow.requests.get(one) for one in ids]

    def left(self) -> int:
        """How many grants are not over."""
        with self.store.read() as uow:
            return len(uow.requests.in_states({State.ACTIVE, State.CLOSING}))

    def holder(self) -> str:
        """Who has an account in hand; empty: nobody."""
        with self.store.read() as uow:
            return next(
                (str(row["owner"]) for row in uow.work.listing() if row["kind"] == ACCOUNT and row["owner"]),
                "",
            )


def until(good: Callable[[], bool], pause: float = 0.05) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while not good():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come about")
        time.sleep(pause)


def takeover(nodes: Nodes) -> dict[str, Metric]:
    """Kill -9 of the process that holds the end of a grant, while its controller does not answer; until another node has ended it and read that back. The worst."""
    spans = []
    for turn in range(KILLS):
        with nodes.running(f"stuck-{turn}", stuck=True) as (stuck,):
            nodes.plant(1, 0.2, 0.1)
            until(lambda: nodes.holder().startswith("stuck"))
            with nodes.running("heir"):
                time.sleep(turn * LEASE.total_seconds() / 3 / KILLS)  # at another moment between two renewals
                killed = stuck.kill()
                until(lambda: not nodes.left(), 0.01)
                spans.append(time.monotonic() - killed)
    return {"takeover_s": Metric(max(spans), "s", goal=TAKEOVER_S)}


def lateness(nodes: Nodes) -> dict[str, Metric]:
    """Ends over a minute on three nodes: from the end of each grant until it was committed that its absence was read back."""
    with nodes.running("one", "two", "three"):
        planted = nodes.plant(GRANTS, LEAD + 10, MINUTE)
        time.sleep(LEAD + 10 + MINUTE)
        until(lambda: not nodes.left(), 0.5)
    late = [late_by(request) for request in nodes.requests(planted)]
    return {
        "end_lateness_p50_s": Metric(percentile(late, 50), "s"),
        "end_lateness_p99_s": Metric(percentile(late, 99), "s", goal=LATENESS_S),
    }


def late_by(request: Request) -> float:
    """Seconds. Its planned end is its start and how long it was granted for."""
    assert request.closed_at is not None
    assert request.active_from is not None
    return (request.closed_at - request.active_from - request.ttl).total_seconds()


def overhead(nodes: Nodes) -> dict[str, Metric]:
    """Ends of one moment on three nodes, and in turns on one: until the last is read back."""
    spans: dict[int, list[float]] = {1: [], 3: []}
    for _ in range(TURNS):
        for count, taken in spans.items():
            with nodes.running(*(f"node-{number}" for number in range(count))):
                planted = nodes.plant(TOGETHER, LEAD, 0.0)
                time.sleep(LEAD)
                until(lambda: not nodes.left(), 0.2)
            taken.append(max(late_by(request) for request in nodes.requests(planted)))
    one, three = (sorted(taken)[len(taken) // 2] for taken in spans.values())
    return {
        "ends_1500_three_nodes_s": Metric(three, "s", peer=one),
        "three_nodes_to_one_ratio": Metric(three / one, ""),
    }


def measure(said: Callable[[str], None]) -> dict[str, Metric]:
    """All three."""
    metrics: dict[str, Metric] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-cluster-")))
        work.chmod(0o711)  # PostgreSQL's own user goes through it
        here = Here()
        stack.callback(here.end)
        database = Postgres(here, "", work / "postgres")
        nodes = Nodes(work, database.url)
        stack.callback(nodes.store.close)
        for name, step in (
            ("takeover", takeover),
            ("ends over a minute", lateness),
            ("three nodes and one", overhead),
        ):
            said(f"cluster: {name}")
            metrics |= step(nodes)
    return metrics


if __name__ == "__main__":
    sys.exit(report.alone(measure))
