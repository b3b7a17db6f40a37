"""`make bench`: brings up a lab of its own, measures, writes benchmarks/latest.json, prints a table, takes the lab down.

The exit code is 0 also when a goal is missed: a goal is a promise to keep an eye on, not a test. It is 1 when something could not be measured.
"""

import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from types import FrameType

from rich.console import Console

from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from benchmarks import objects, phases, report, server
from benchmarks.phases import Run
from benchmarks.report import Metric
from benchmarks.stage import Stage

PREFIX = "bench"
INTERRUPTED = 130


def main() -> int:
    """The exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
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
    console.print(_circumstances())
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
    metrics: dict[str, Metric] = {}
    steps: tuple[tuple[str, Callable[[Run], dict[str, Metric]]], ...] = (
        ("activations", phases.activations),
        ("ends, one after the other", phases.single_removals),
        (f"{phases.TOGETHER} ends at once", phases.many_removals),
    )
    with server.running(stage, settings) as node:
        said("the server starts")
        for name, step in steps:
            said(name)
            metrics |= step(run)
            node.check()
        metrics |= phases.memory(node)
    store.close()
    said(f"idle for {phases.IDLE_S:g} s")
    metrics |= phases.idle(run, settings, phases.start_postgres(stage))
    said("done")
    return metrics


def _circumstances() -> str:
    """Date, versions, and how busy the machine was: absolute numbers are worth little without."""
    samba = subprocess.run(["samba", "--version"], capture_output=True, text=True, check=True).stdout.split()[
        -1
    ]
    versions = [f"Samba {samba}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    versions += [f"{name} {metadata.version(name)}" for name in ("python-ldap", "SQLAlchemy", "granian")]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{objects.now():%Y-%m-%d %H:%M} UTC. {'; '.join(versions)}. {os.cpu_count()} cores, load average {load}."


class _Clock:
    """Says what is going on, and since when."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        self._console.print(f"{time.monotonic() - self._started:6.1f} s  {text}")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {number}")


if __name__ == "__main__":
    raise SystemExit(main())
