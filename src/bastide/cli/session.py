"""`bastide session`: one's own sign-ins that are open. `bastide token`: one for a program."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask
from bastide.cli.console import Column
from bastide.cli.remote import Call, remote
from bastide.cli.text import when

app = typer.Typer(help="Your own sign-ins that are open: look, and end them.", no_args_is_help=True)

_COLUMNS: list[Column] = [
    ("ID", lambda s: s.get("id")),
    ("SINCE", lambda s: when(s.get("created_at"))),
    ("LAST USED", lambda s: when(s.get("used_at"))),
    ("ENDS", lambda s: when(s.get("expires_at"))),
    ("BY", lambda s: s.get("via")),
    ("FROM", lambda s: s.get("address")),
    ("WITH", lambda s: s.get("agent")),
    ("THIS ONE", lambda s: "yes" if s.get("current") else ""),
]


def token(
    call: Call,
    minutes: Annotated[int, typer.Option(min=1, max=60, help="How long it lives.")] = 15,
    right: Annotated[
        list[str] | None,
        typer.Option(
            help="What it may do: use, approve, administer, audit. Say it again for more. Without it: use."
        ),
    ] = None,
) -> None:
    """A bearer token for a program, in exchange for your Kerberos ticket. It is shown this once; `bastide session end` ends it."""

    def render(made: Mapping[str, Any]) -> None:
        call.screen.fields(
            (
                ("Token", made.get("token")),
                ("Rights", made.get("rights")),
                ("Ends", when(made.get("expires_at"))),
            )
        )

    call.show(call.client.post("/tokens", {"minutes": minutes, "rights": right or ["use"]}), render)


@remote(app, "list", example="bastide session list")
def listing(call: Call) -> None:
    """Sessions of the account you sign in with, newest first. A command that signs in with a password has one of its own."""
    call.table(call.client.get("/sessions"), _COLUMNS, empty="you have no session open")


@remote(app, "end", example="bastide session end 4f1d6a0b9c2e47d38a51b6e0c7f29d84")
def end(
    call: Call,
    id: Annotated[str, typer.Argument(metavar="ID", help="As `bastide session list` shows it.")],  # noqa: A002
) -> None:
    """End one of them: whoever has it must sign in again."""
    call.done(call.client.delete(f"/sessions/{quote(id, safe='')}"), "ended")


@remote(app, "end-others", example="bastide session end-others")
def end_others(
    call: Call, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """End all of them but the one of this command."""
    ask.confirm("End all your other sessions?", yes=yes)
    answer = call.client.delete("/sessions")
    call.done(answer, f"ended: {answer.fields.get('ended')}")
