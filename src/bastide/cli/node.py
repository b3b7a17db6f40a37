"""`bastide node`: the servers on one database."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask
from bastide.cli.console import Column
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import when

app = commands(
    "The nodes on one database: look, take one out for maintenance, take over the work of one that is lost.",
    ("see them all", "bastide node list"),
    ("take one out: it finishes what it has", "bastide node drain bastide-2"),
    ("see whether it has finished (drained)", "bastide node show bastide-2"),
    ("after the work on it", "bastide node resume bastide-2"),
)

Name = Annotated[str, typer.Argument(metavar="NODE", help="Its name, as `bastide node list` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _state(node: Mapping[str, Any]) -> str:
    if node.get("state") == "left" or node.get("alive"):
        return str(node.get("state"))
    return f"{node.get('state')}, LOST"


_COLUMNS: list[Column] = [
    ("NODE", lambda n: n.get("name")),
    ("PARTITION", lambda n: n.get("partition")),
    ("STATE", _state),
    ("IN HAND", lambda n: n.get("in_hand")),
    ("HEARD", lambda n: when(n.get("heartbeat"))),
    ("VERSION", lambda n: n.get("version")),
    ("SCHEMA", lambda n: n.get("schema")),
    ("ADDRESS", lambda n: n.get("url")),
]


@remote(app, "list", example="bastide node list")
def list_nodes(call: Call) -> None:
    """All nodes, idle and lost ones too, and partitions that have work and no living node."""
    answer = call.client.get("/nodes")
    call.table(answer, _COLUMNS, empty="no node has registered")
    if call.as_json:
        return
    for one in answer.fields.get("unregistered", ()):
        call.screen.note(
            f"{one.get('owner')} has work in hand until {when(one.get('until'))} and is not registered: is it of an earlier version?",
            "yellow",
        )
    for one in answer.fields.get("abandoned", ()):
        partition, work = one.get("partition"), one.get("work")
        call.screen.note(f"partition {partition} has {work} pieces of work and no living node", "bold red")


@remote(app, "show", example="bastide node show bastide-2")
def show_node(call: Call, name: Name) -> None:
    """One node, and how many others do the work of its partition."""
    call.show(call.client.get(_path(name)), lambda node: _fields(call, node))


@remote(app, "drain", example="bastide node drain bastide-2")
def drain_node(call: Call, name: Name) -> None:
    """It finishes what it has and claims nothing new, until it is resumed, over restarts too. It goes on to answer calls, and says that it is not ready."""
    call.show(call.client.post(f"{_path(name)}/drain"), lambda node: _drained(call, node))


@remote(app, "resume", example="bastide node resume bastide-2")
def resume_node(call: Call, name: Name) -> None:
    """It takes work again, at once."""
    call.done(call.client.post(f"{_path(name)}/resume"), f"{name} takes work again")


@remote(app, "adopt", example="bastide node adopt lyon --into default")
def adopt_partition(
    call: Call,
    partition: Annotated[
        str, typer.Argument(metavar="PARTITION", help="The partition whose nodes are lost for good.")
    ],
    into: Annotated[str, typer.Option(metavar="PARTITION", help="Whose nodes go on with the work.")],
    yes: Yes = False,
) -> None:
    """Give the work of a partition whose nodes are lost for good to another. Refused while one of them is alive, or a lease of theirs runs."""
    ask.confirm(f"Give all work of partition {partition} to {into}?", yes=yes)
    answer = call.client.post(f"/partitions/{quote(partition, safe='')}/adopt", {"into": into})
    call.done(answer, f"{into} goes on with {answer.fields.get('work')} pieces of work of {partition}")


@remote(app, "remove", example="bastide node remove bastide-2")
def remove_node(call: Call, name: Name, yes: Yes = False) -> None:
    """Forget a node that is stopped or lost. Refused while it is alive, and while its partition has work that nobody else does."""
    ask.confirm(f"Forget node {name}?", yes=yes)
    call.done(call.client.delete(_path(name)), f"{name} is forgotten")


def _path(name: str) -> str:
    return f"/nodes/{quote(name, safe='')}"


def _fields(call: Call, node: Mapping[str, Any]) -> None:
    call.screen.fields(
        (
            ("Node", node.get("name")),
            ("Address", node.get("url")),
            ("Partition", node.get("partition")),
            ("State", _state(node)),
            ("In hand", node.get("in_hand")),
            ("Until", when(node.get("until"))),
            ("Others that take work", node.get("others")),
            ("Version", node.get("version")),
            ("Schema", node.get("schema")),
            ("Started", when(node.get("started_at"))),
            ("Heard", when(node.get("heartbeat"))),
            ("Left", when(node.get("left_at"))),
        )
    )


def _drained(call: Call, node: Mapping[str, Any]) -> None:
    left = node.get("in_hand")
    doing = f"has {left} pieces of work left" if left else "has nothing in hand"
    call.screen.line(f"{node.get('name')} claims nothing new, and {doing}", "green")
    if not node.get("others"):
        call.screen.note(
            f"no other node of partition {node.get('partition')} takes work: what is due there waits",
            "yellow",
        )
