"""`bastide cluster log`: the logs of all nodes for a span of time, as one text."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bastide.cli import gathering
from bastide.cli.exits import Exit, Stop
from bastide.cli.gathering import PATIENCE, Gathered, Wanted
from bastide.cli.remote import Call, remote
from bastide.cli.text import one_line
from bastide.config import DEFAULT_PATH

_LEVELS = "0 nothing, 1 errors, 2 and warnings, 3 and what was done, 4 and steps of traces, 5 everything."


def add_to(app: typer.Typer) -> None:
    """Put `log` into the group `cluster`."""
    remote(app, "log", example="bastide cluster log --since -1h --level 3 --out cluster.log")(log)


def log(
    call: Call,
    since: gathering.Since = "-1h",
    until: gathering.Until = "",
    level: Annotated[int, typer.Option(min=0, max=5, help=_LEVELS)] = 3,
    node: gathering.Nodes = None,
    local_time: Annotated[
        bool, typer.Option("--local-time/--utc", help="Times of this machine's zone, or UTC.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A new file, mode 0600. Default: standard output.")
    ] = None,
    on_server: Annotated[
        bool,
        typer.Option("--local", help="On a server itself, of its own files: with service and database down."),
    ] = False,
    wait: gathering.Wait = PATIENCE,
    config: Annotated[Path, typer.Option(metavar="FILE", help="With --local: the settings.")] = DEFAULT_PATH,
) -> None:
    """The records of all nodes in the order of time. A node that does not answer is named, and the exit code is 1."""
    wanted = Wanted(since, until, level, nodes=tuple(node or ()))
    source: AbstractContextManager[Gathered]
    if on_server:
        if node:
            raise Stop("--local reads this node's files", remedy="leave --node out", status=Exit.USAGE)
        source = gathering.of_this_machine(call, wanted, config)
    else:
        source = gathering.of_all_nodes(call, wanted, wait)
    number = 0
    with _target(call, out) as write, source as found:
        for line in found.lines:
            write(line if call.as_json else _text(json.loads(line), local_time=local_time))
            number += 1
        gathering.say_what_is_missing(call, found)
    if out is not None:
        call.screen.note(f"{number} records in {out}")
    elif not number:
        call.screen.note("no records of that span and level")
    if not found.whole:
        raise typer.Exit(int(Exit.REFUSED))


@contextmanager
def _target(call: Call, out: Path | None) -> Iterator[Callable[[str], None]]:
    """Before anything is asked: a file that is there is never written over."""
    if out is None:
        yield call.screen.raw_json if call.as_json else lambda text: call.screen.line(text, whole=True)
        return
    with new_file(out) as file:
        yield lambda text: file.write(f"{text}\n")


@contextmanager
def new_file(path: Path) -> Iterator[Any]:
    """For writing, mode 0600. If nothing came of it, it is not left there empty, in the way of the next try. Raises Stop."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Stop(
            f"{path}: {error.strerror}", remedy="name a file that does not exist", status=Exit.USAGE
        ) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
    except BaseException:
        if not path.stat().st_size:
            path.unlink()
        raise


def _text(line: dict[str, Any], *, local_time: bool) -> str:
    record = line["record"]
    at = datetime.fromisoformat(record["at"]).astimezone(None if local_time else UTC)
    shown = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    more = [str(record[name]) for name in ("event", "traceback") if name in record]
    words = " | ".join([str(record["message"]), *more])
    return one_line(f"{shown} {line['node']} {record['level'].upper()} {record['logger']}: {words}")
