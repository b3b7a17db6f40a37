"""`bastide cs`: objects of connected systems as last seen."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bastide.cli.console import Column
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import when

app = commands(
    "Connector space: objects of connected systems as last seen.",
    ("fill it", "bastide ma import ldap"),
    ("find an object", "bastide cs search alice --agent ldap"),
    ("see what it is joined with", "bastide cs show uid=alice,ou=people,dc=example --agent ldap"),
    ("ask why, or why not", "bastide join explain uid=alice,ou=people,dc=example --agent ldap"),
)

Object = Annotated[str, typer.Argument(metavar="OBJECT", help="Its id, anchor or DN.")]
Agent = Annotated[str, typer.Option("--agent", metavar="AGENT", help="Of this management agent only.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")]
COLUMNS: list[Column] = [
    ("AGENT", lambda o: o.get("agent")),
    ("DN", lambda o: o.get("dn")),
    ("LINK", lambda o: o.get("link")),
    ("BECAUSE", lambda o: o.get("because")),
    ("ID", lambda o: o.get("id")),
]


@remote(app, "search", example="bastide cs search alice --agent ldap")
def search(
    call: Call,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A part of DN, anchor or a value.")] = "",
    agent: Agent = "",
    link: Annotated[
        str,
        typer.Option(
            metavar="LINK", help="none, filtered, joined, projected, manual, conflict or kept-apart."
        ),
    ] = "",
    limit: Limit = 100,
) -> None:
    """Find objects."""
    found = call.client.get("/connector-space", text=text, agent=agent, link=link, limit=limit)
    call.table(found, COLUMNS, empty="no such objects")


@remote(app, "show", example="bastide cs show uid=alice,ou=people,dc=example --agent ldap")
def show(call: Call, name: Object, agent: Agent = "") -> None:
    """One object: its attributes, and what it is joined with."""
    answer = call.client.get("/connector-space/object", name=name, agent=agent)
    call.show(answer, lambda one: print_object(call, one))


@remote(app, "project", example="bastide cs project uid=alice,ou=people,dc=example --agent ldap")
def project(
    call: Call,
    name: Object,
    agent: Agent = "",
    kind: Annotated[str, typer.Option("--type", metavar="TYPE", help="MV type. Default: the agent's.")] = "",
) -> None:
    """Make a person in the metaverse out of an object, by hand."""
    answer = call.client.post("/metaverse", {"object": name, "agent": agent, "type": kind})
    call.done(answer, f"{answer.fields.get('dn')} is projected to {answer.fields.get('person')}")


def print_object(call: Call, one: Mapping[str, Any]) -> None:
    """For people."""
    call.screen.fields(
        (
            ("Object", one.get("dn")),
            ("Agent", one.get("agent")),
            ("Anchor", one.get("anchor")),
            ("Type", one.get("type")),
            ("Link", one.get("link")),
            ("Because", one.get("because")),
            ("Person", one.get("person")),
            ("Seen", when(one.get("seen_at"))),
            ("Id", one.get("id")),
            *((f"  {name}", values) for name, values in sorted((one.get("attributes") or {}).items())),
        )
    )
