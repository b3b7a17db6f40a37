"""`bastide approval`: what waits for my decision, yes and no."""

from typing import Annotated
from urllib.parse import quote

import typer

from bastide.cli.console import Column
from bastide.cli.remote import Call, remote
from bastide.cli.text import span, when

app = typer.Typer(help="Decide the requests that name you as approver.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The request's id.")]

_COLUMNS: list[Column] = [
    ("ID", lambda r: r.get("id")),
    ("USER", lambda r: r.get("user")),
    ("ROLE", lambda r: r.get("role")),
    ("FOR", lambda r: span(r.get("ttl_seconds"))),
    ("STARTS", lambda r: when(r.get("start_at")) or "at once"),
    ("JUSTIFICATION", lambda r: r.get("justification")),
    ("TICKET", lambda r: r.get("ticket")),
    ("ASKED", lambda r: when(r.get("created_at"))),
    ("UNTIL", lambda r: when(r.get("pending_until"))),
]


@remote(app, "list", example="bastide approval list")
def listing(call: Call) -> None:
    """Requests that wait for your decision, oldest first."""
    call.table(call.client.get("/approvals"), _COLUMNS, empty="nothing waits for you")


_GIVES: list[Column] = [
    ("GROUP", lambda g: g.get("name")),
    ("FOREST", lambda g: str(g.get("forest", "")).upper()),
    ("PROTECTED", lambda g: "PROTECTED" if g.get("protected") else ""),
    ("COMES", lambda g: "itself" if g.get("carried") else "with it"),
    ("BY", lambda g: g.get("by")),
]


@remote(app, "gives", example="bastide approval gives 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def gives(call: Call, id: Id) -> None:  # noqa: A002
    """What a request would open: its groups and all they are in, nested ones too; protected ones are marked."""
    answer = call.client.get(f"/requests/{quote(id, safe='')}/gives")
    call.table(answer, _GIVES, empty="its PAM groups no longer exist")
    for problem in answer.fields.get("problems", ()):
        call.screen.note(f"not all is shown: {problem}", "yellow")


@remote(
    app, "approve", example='bastide approval approve 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11 --reason "agreed"'
)
def approve(
    call: Call,
    id: Id,  # noqa: A002  # the argument's name on the command line
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
) -> None:
    """Say yes. Asks for your second factor."""
    answer = call.client.post(f"/approvals/{quote(id, safe='')}", {"decision": "approve", "reason": reason})
    call.show(answer, lambda r: call.screen.line(f"approved; the request is {r.get('state')}", "green"))


@remote(
    app, "reject", example='bastide approval reject 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11 --reason "no change"'
)
def reject(
    call: Call,
    id: Id,  # noqa: A002
    reason: Annotated[str, typer.Option(help="Why: the person reads it.")],
) -> None:
    """Say no. One rejection ends the request."""
    answer = call.client.post(f"/approvals/{quote(id, safe='')}", {"decision": "reject", "reason": reason})
    call.show(answer, lambda r: call.screen.line(f"rejected; the request is {r.get('state')}", "yellow"))
