"""The numbers, their goals, the file and the table."""

import json
import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

LATEST = Path(__file__).parent / "latest.json"
#: Of the table, with every name whole.
WIDTH = 96


@dataclass(frozen=True, slots=True)
class Metric:
    """`goal`: the most it may be, or with `more` the least. `peer`: what the bare script needs, in the same unit."""

    value: float
    unit: str
    goal: float | None = None
    peer: float | None = None
    more: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None: there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more else self.value <= self.goal


def write(metrics: Mapping[str, Metric]) -> None:
    """benchmarks/latest.json."""
    document = {
        name: {key: value for key, value in asdict(metric).items() if key != "more"}
        for name, metric in metrics.items()
    }
    LATEST.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def console() -> Console:
    """Where the table fits."""
    found = Console()
    found.width = max(found.width, WIDTH)
    return found


def show(metrics: Mapping[str, Metric], console: Console) -> None:
    """A table, and one sentence."""
    table = Table(title="Bastide beside a bare script", title_justify="left")
    for column in ("metric", "value", "bare script", "goal", ""):
        table.add_column(column, justify="left" if column in {"metric", ""} else "right")
    for name, metric in metrics.items():
        sign = "at least" if metric.more else "at most"
        table.add_row(
            name,
            f"{number(metric.value)} {metric.unit}".strip(),
            "" if metric.peer is None else f"{number(metric.peer)} {metric.unit}".strip(),
            "" if metric.goal is None else f"{sign} {number(metric.goal)}",
            {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[metric.met],
        )
    console.print(table)
    missed = [name for name, metric in metrics.items() if metric.met is False]
    with_goal = sum(metric.met is not None for metric in metrics.values())
    console.print(
        f"{with_goal - len(missed)} of {with_goal} goals are met."
        + (f" Missed: {', '.join(missed)}." if missed else "")
    )


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def circumstances() -> str:
    """Date, versions, and how busy the machine was: absolute numbers are worth little without."""
    samba = subprocess.run(["samba", "--version"], capture_output=True, text=True, check=True).stdout.split()[
        -1
    ]
    versions = [f"Samba {samba}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    versions += [f"{name} {metadata.version(name)}" for name in ("python-ldap", "SQLAlchemy", "granian")]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {'; '.join(versions)}. {os.cpu_count()} cores, load average {load}."


def interrupted(number: int, _frame: FrameType | None) -> None:
    """So that what was brought up is taken down."""
    raise KeyboardInterrupt(f"signal {number}")


def alone(measure: Callable[[Callable[[str], None]], Mapping[str, Metric]]) -> int:
    """One part run by itself: the table, and no file. Its exit code."""
    if not shutil.which("setpriv"):
        print("setpriv is missing", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, interrupted)
    wide = console()
    show(measure(wide.print), wide)
    wide.print(circumstances())
    return 0
