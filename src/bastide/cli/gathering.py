"""Records of all nodes, or of this machine's files, for commands that show them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from bastide.cli.exits import Exit, Stop
from bastide.cli.remote import Call
from bastide.cli.text import moment, when

Since = Annotated[str, typer.Option(metavar="TIME", help="From 2026-03-01T22:00 (UTC) on, or -30m.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="Before that moment. Default: now.")]
Nodes = Annotated[
    list[str] | None, typer.Option("--node", metavar="NODE", help="Ask this node alone. May be repeated.")
]
Wait = Annotated[
    int, typer.Option(min=1, max=300, metavar="SECONDS", help="Wait so long for living nodes to answer.")
]
#: More than three heartbeats, as nodes have them unless settings say otherwise.
PATIENCE = 35
_PAUSE = 1.0
#: Of this machine's own files, in characters: they are bounded themselves.
_ALL = 2**40


@dataclass(frozen=True, slots=True)
class Wanted:
    """As the options say it."""

    since: str
    until: str
    level: int
    traces: bool = False
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathered:
    """Every node that was asked, and the records in the order of time, each a line of JSON with `node` and `record`."""

    parts: list[Mapping[str, Any]]
    lines: Iterator[str]

    @property
    def whole(self) -> bool:
        """Every node answered, and had its files."""
        return all(part["answered"] and not part["problem"] for part in self.parts)


@contextmanager
def of_all_nodes(call: Call, wanted: Wanted, wait: int) -> Iterator[Gathered]:
    """Ask, wait until every living node has answered, and forget what was asked when it was read."""
    now = call.world.now()
    body = {
        "since": moment(wanted.since, now),
        "until": moment(wanted.until or "+0s", now),
        "level": wanted.level,
        "traces": wanted.traces,
        "nodes": [*wanted.nodes],
    }
    found = call.client.post("/log-wishes", body).fields
    where = f"/log-wishes/{quote(str(found['id']), safe='')}"
    try:
        for _ in range(wait):
            if found["complete"]:
                break
            call.world.sleep(_PAUSE)
            found = call.client.get(where).fields
        yield Gathered(found["nodes"], call.client.lines(f"{where}/records"))
    finally:
        # Gone, or out of reach: the nodes remove it when it is old. What was read, or why it was not, is what counts.
        with suppress(Stop):
            call.client.delete(where)


@contextmanager
def of_this_machine(call: Call, wanted: Wanted, config: Path) -> Iterator[Gathered]:
    """Out of this node's own files, with service and database down. Raises ConfigError, Stop."""
    from bastide.config import load  # noqa: PLC0415
    from bastide.domain.journal import Level, Span  # noqa: PLC0415
    from bastide.wiring.journal import node_journal  # noqa: PLC0415  # loads the whole service
    from bastide.wiring.process import node_name  # noqa: PLC0415

    settings, now = load(config), call.world.now()
    node, files = node_name(settings), node_journal(settings.logs, node_name(settings))
    since, until = (
        datetime.fromisoformat(moment(text, now)) for text in (wanted.since, wanted.until or "+0s")
    )
    if files is None:
        raise Stop(
            "this node keeps no log files",
            remedy="set logs.folder; until then `journalctl -u bastide` has them",
        )
    try:
        read = files.read(Span(since, until, Level(wanted.level), wanted.traces), _ALL)
    except OSError as error:
        raise Stop(
            f"{settings.logs.folder}: {error.strerror}",
            remedy="run it as root on the server; logs.folder names where the files are",
            status=Exit.UNAVAILABLE,
        ) from None
    part = {
        "node": node,
        "answered": True,
        "alive": True,
        "whole_from": None,
        "torn": read.torn,
        "problem": "",
    }
    encode = msgspec.json.Encoder().encode
    lines = (encode({"node": node, "record": msgspec.Raw(line.encode())}).decode() for _, line in read.lines)
    yield Gathered([part], lines)


def say_what_is_missing(call: Call, found: Gathered) -> None:
    """To standard error: what is not in the text, and why."""
    for part in found.parts:
        node = part["node"]
        if not part["answered"]:
            call.screen.note(f"{node} did not answer: {_why(part)}", "bold red")
        elif part["problem"]:
            call.screen.note(f"{node} has no records here: {part['problem']}", "bold red")
        if part["whole_from"]:
            call.screen.note(
                f"{node} was cut off: its records before {when(part['whole_from'])} are left out; ask for a shorter span or a lower level",
                "yellow",
            )
        if part["torn"]:
            call.screen.note(f"{node}: {part['torn']} lines of its files could not be read", "yellow")


def _why(part: Mapping[str, Any]) -> str:
    if part["alive"]:
        return "it is alive, and may be busy or of an earlier version; --wait gives it longer"
    heard = when(part["heartbeat"])
    return f"it is lost, heard last {heard}" if heard else "nobody knows it any more"
