"""`make bench`: brings up a lab of its own, measures, writes benchmarks/latest.json, prints a table, takes the lab down.

The exit code is 0 also when a goal is missed: a goal is a promise to keep an eye on, not a test. It is 1 when something could not be measured.
"""

import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore
from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from benchmarks import cluster, monitor, phases, portal, report, server, sync_objects, sync_phases
from benchmarks.phases import Run
from benchmarks.report import Metric
from benchmarks.server import ServerProcess
from benchmarks.stage import Stage
from benchmarks.sync_objects import Crowd
from benchmarks.sync_phases import SyncRun
from benchmarks.sync_stage import BACKLOG, CROWD, Agent, SyncStage

PREFIX = "bench"
INTERRUPTED = 130


def main() -> int:
    """The exit code."""
    signal.signal(signal.SIGTERM, report.interrupted)
    console = report.console()
    lab = Lab(PREFIX)
    try:
        metrics = _measure(lab, console)
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lab.down()
    report.write(metrics)
    report.show(metrics, console)
    console.print(report.circumstances())
    return 0


def _measure(lab: Lab, console: Console) -> dict[str, Metric]:
    lab.down()
    lab.up()
    stage = Stage(lab, phases.ACCOUNTS)
    said = _Clock(console)
    said(f"the lab is up; {phases.ACCOUNTS} accounts on each side")
    stage.prepare()
    url = f"sqlite:///{stage.work / 'bastide.db'}"
    store, registered = stage.register(url)
    settings = stage.settings("bastide", url)
    run = Run(stage, store, registered)
    metrics = _grants(run, settings, said)
    store.close()
    sync = SyncStage(stage)
    said("passwords: controller, agent and slapd are prepared")
    sync.prepare()
    metrics |= _passwords(sync, said, lambda: phases.idle(run, settings, phases.start_postgres(stage)))
    said("the portal")
    metrics |= portal.measure(said)
    metrics |= cluster.measure(said)
    said("done")
    return metrics


def _grants(run: Run, settings: Path, said: "_Clock") -> dict[str, Metric]:
    """The first part."""
    metrics: dict[str, Metric] = {}
    steps: tuple[tuple[str, Callable[[Run], dict[str, Metric]]], ...] = (
        ("activations", phases.activations),
        ("ends, one after the other", phases.single_removals),
        (f"{phases.TOGETHER} ends at once", phases.many_removals),
    )
    with server.running(run.stage, settings) as node:
        said("the server starts")
        for name, step in steps:
            said(name)
            metrics |= step(run)
            node.check()
        metrics |= phases.memory(node)
    return metrics


def _passwords(sync: SyncStage, said: "_Clock", idle: Callable[[], dict[str, Metric]]) -> dict[str, Metric]:
    """The second part. The idle phase of the first counts CPU and statements, not time: meanwhile CORP gets its 20,000 users."""
    url = f"sqlite:///{sync.stage.work / 'passwords.db'}"
    migrations.upgrade(url)
    store = SqlStore(url)
    run = SyncRun(sync, store, Crowd(sync, sync_objects.register(store, sync)), Agent(sync, "agent"))
    settings = sync.settings("passwords", url)
    metrics: dict[str, Metric] = {}
    steps: tuple[tuple[str, Callable[[SyncRun, ServerProcess], dict[str, Metric]]], ...] = (
        ("passwords, beside syncpasswords", sync_phases.latency),
        (f"{len(CROWD)} passwords at once", sync_phases.rates),
        (f"{len(BACKLOG)} passwords after an outage of slapd", sync_phases.target_outage),
        (f"{len(BACKLOG)} passwords after an outage of the server", sync_phases.server_outage),
    )
    try:
        with server.running(sync.stage, settings) as node:
            for name, step in steps:
                said(name)
                metrics |= step(run, node)
                node.check()
            said("passwords of databases")
            metrics |= sync_phases.databases(run)
        said(f"idle for {phases.IDLE_S:g} s; {sync_phases.BULK_USERS} users come to CORP")
        with ThreadPoolExecutor(1) as pool:
            populated = pool.submit(sync_phases.populate, sync.stage)
            metrics |= idle()
            populated.result()
        said(f"idle in a large domain for {sync_phases.IDLE_S:g} s")
        # Another one, new there: the old one would first tell of 20,000 new accounts that it cannot read their passwords.
        run.agent = Agent(sync, "agent-large")
        with server.running(sync.stage, settings) as node:
            metrics |= sync_phases.large_domain(run, node)
        said(f"monitoring of {sync_phases.BULK_USERS} users and {sync_phases.BULK_GROUPS} groups")
        metrics |= monitor.measure(sync.stage)
    finally:
        run.agent.stop()
        store.close()
    return metrics


class _Clock:
    """Says what is going on, and since when."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        self._console.print(f"{time.monotonic() - self._started:6.1f} s  {text}")


if __name__ == "__main__":
    raise SystemExit(main())
