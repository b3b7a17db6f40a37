"""`bastide trace`: look at an operation step by step, on all nodes, for a while."""

import csv
import json
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import gathering
from bastide.cli.cluster_log import new_file
from bastide.cli.console import Column
from bastide.cli.exits import Exit
from bastide.cli.gathering import PATIENCE, Wanted
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import seconds, when
from bastide.domain.traces import COLUMNS, OPERATIONS

app = commands(
    "Trace an operation on all nodes: its steps, their durations, and how they ended.",
    ("begin", "bastide trace on requests --for 15m"),
    ("do what is slow or fails, then look", "bastide trace show"),
    ("as a table for other programs", "bastide trace show --csv trace.csv"),
    ("end it before its time", "bastide trace off requests"),
)

Operation = Annotated[str, typer.Argument(metavar="OPERATION", help=f"One of: {', '.join(OPERATIONS)}.")]
_ON: list[Column] = [
    ("TRACED", lambda t: t.get("operation")),
    ("UNTIL", lambda t: when(t.get("ends_at"))),
    ("SINCE", lambda t: when(t.get("since"))),
    ("BY", lambda t: t.get("by")),
]
_STEPS: list[Column] = [(name.upper(), itemgetter(name)) for name in COLUMNS]
#: Steps are records of this level.
_VERBOSE = 4


@remote(app, "on", example="bastide trace on requests --for 15m")
def switch_on(
    call: Call,
    operation: Operation,
    length: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long; at most 4 hours. Then it ends by itself.")
    ] = "15m",
) -> None:
    """Trace it from now on, on all nodes. Nothing of what people typed, and no secret, is recorded."""
    answer = call.client.put(_path(operation), {"seconds": seconds(length)})
    call.done(answer, f"{operation} is traced until {when(answer.fields.get('ends_at'))}")


@remote(app, "off", example="bastide trace off requests")
def switch_off(call: Call, operation: Operation) -> None:
    """Stop before its end. What was recorded stays in the logs."""
    call.done(call.client.delete(_path(operation)), f"{operation} is not traced any more")


@remote(app, "show", example="bastide trace show --since -15m --csv trace.csv")
def show(
    call: Call,
    since: gathering.Since = "-1h",
    until: gathering.Until = "",
    node: gathering.Nodes = None,
    to: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="A new file with the steps, mode 0600.")
    ] = None,
    wait: gathering.Wait = PATIENCE,
) -> None:
    """What is traced now, and the steps that were recorded, of all nodes. A node that does not answer is named, and the exit code is 1."""
    answer = call.client.get("/traces")
    wanted = Wanted(since, until, _VERBOSE, traces=True, nodes=tuple(node or ()))
    with gathering.of_all_nodes(call, wanted, wait) as found:
        steps = [*_steps(found.lines)]
    if to is not None:
        _write(to, steps)
        call.screen.note(f"{len(steps)} steps in {to}")
    if call.as_json:
        call.screen.json({"traced": answer.items, "nodes": found.parts, "steps": steps})
    else:
        call.table(answer, _ON, empty="nothing is traced now")
        if to is None:
            call.screen.table(_STEPS, steps, empty="no steps were recorded in that time")
    gathering.say_what_is_missing(call, found)
    if not found.whole:
        raise typer.Exit(int(Exit.REFUSED))


def _steps(lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        said = json.loads(line)
        step = said["record"].get("trace", {})
        yield {
            **{name: step.get(name, "") for name in COLUMNS},
            "at": said["record"]["at"],
            "node": said["node"],
        }


def _write(path: Path, steps: list[Mapping[str, Any]]) -> None:
    with new_file(path) as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(steps)


def _path(operation: str) -> str:
    return f"/traces/{quote(operation, safe='')}"
