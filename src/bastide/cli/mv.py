"""`bastide mv`: the metaverse, one object per person."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli.console import Column
from bastide.cli.cs import COLUMNS
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote

app = commands(
    "Metaverse: one object per person.",
    ("fill it, from an agent that projects", "bastide ma import corp"),
    ("find a person", "bastide mv search alice"),
    (
        "see where each attribute came from, and all that is joined",
        "bastide mv show 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11",
    ),
)


@remote(app, "search", example="bastide mv search alice")
def search(
    call: Call,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A part of a value.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
) -> None:
    """Find people."""
    columns: list[Column] = [
        ("TYPE", lambda p: p.get("type")),
        ("ATTRIBUTES", lambda p: [f"{n}={', '.join(v)}" for n, v in (p.get("attributes") or {}).items()]),
        ("ID", lambda p: p.get("id")),
    ]
    call.table(call.client.get("/metaverse", text=text, limit=limit), columns, empty="no such people")


@remote(app, "show", example="bastide mv show 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def show(call: Call, person: Annotated[str, typer.Argument(metavar="ID", help="Its id.")]) -> None:
    """One person: attributes, where each came from, and everything that is joined."""
    answer = call.client.get(f"/metaverse/{quote(person, safe='')}")
    call.show(answer, lambda one: _print(call, one))


def _print(call: Call, one: Mapping[str, Any]) -> None:
    origins = one.get("origins") or {}
    attributes = sorted((one.get("attributes") or {}).items())
    call.screen.fields(
        (
            ("Person", one.get("id")),
            ("Type", one.get("type")),
            *((f"  {name}", f"{', '.join(values)} ({origins.get(name)})") for name, values in attributes),
        )
    )
    call.screen.table(COLUMNS, one.get("connectors") or [], empty="nothing is joined")
