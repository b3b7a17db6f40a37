"""`bastide access`: who can reach what."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.report_tables import keep
from bastide.domain.counted import counted

_GRAPH = "bastide access graph --group FileAdmins --out access.svg"
app = commands(
    "Who can reach which group by which role, as a picture or for a program.",
    ("all ways to one group", _GRAPH),
    ("all that one person can reach", "bastide access graph --person prv.alice --out alice.svg"),
    ("for a program", "bastide access graph --format json"),
)


class Form(StrEnum):
    """How the graph is written."""

    SVG = "svg"
    JSON = "json"


@remote(app, "graph", example=_GRAPH)
def graph(
    call: Call,
    person: Annotated[str, typer.Option(metavar="WHO", help="Only this person, as reports name them.")] = "",
    role: Annotated[str, typer.Option(metavar="ROLE", help="Only this role.")] = "",
    group: Annotated[str, typer.Option(metavar="GROUP", help="Only this group of the directory.")] = "",
    form: Annotated[Form, typer.Option("--format", help="svg or json.")] = Form.SVG,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write it there, mode 0600. Default: standard output."),
    ] = None,
) -> None:
    """Every way from a person by a role to a group, nested groups too; protected ones are red, what nobody could ask for now is dashed."""
    from bastide.cli.access_svg import draw  # noqa: PLC0415  # --help is light

    found = call.client.get("/access-graph", person=person, role=role, group=group).fields
    for note in found["notes"]:
        call.screen.note(f"not seen: {note}", "yellow")
    if not found["ways"]:
        call.screen.note("nobody can reach anything that fits")
    if call.as_json or form is Form.JSON:
        text = json.dumps(dict(found), ensure_ascii=False, indent=1) + "\n"
    elif found["ways"]:
        text = draw(found["ways"])
    else:
        return
    if out is None:
        call.screen.out.file.write(text)
        return
    keep(out, text)
    call.screen.note(f"{counted(len(found['ways']), 'way', 'ways')} in {out}")
