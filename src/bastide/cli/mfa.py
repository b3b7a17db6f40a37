"""`bastide mfa`: the second factor of oneself, and of others for administrators."""

import shlex
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
    "The second factor: set it up, show it, invite, reset. Security keys are registered in the portal.",
    ("an administrator gives the person a one-time code", "bastide mfa invite priv.alice"),
    ("the person sets up an authenticator with it", "bastide mfa enrol --invited --account 'CORP\\alice'"),
    ("and shows its first code", "bastide mfa confirm --account 'CORP\\alice'"),
)

Whom = Annotated[str, typer.Argument(metavar="ACCOUNT", help="A PAM user, or FOREST\\NAME.")]


@remote(app, "enrol", example="bastide mfa enrol --invited --account 'CORP\\alice'")
def enrol(
    call: Call,
    invited: Annotated[
        bool,
        typer.Option("--invited", help="You have an invitation: it is asked for. A CORP sign-in needs one."),
    ] = False,
) -> None:
    """Set up an authenticator app. The secret and the recovery codes are shown this once."""
    call.client.sign_in()
    body = {"invitation": call.world.ask("Invitation")} if invited else {}
    answer = call.client.post("/me/factors", body)
    call.show(answer, lambda enrolment: _print_enrolment(call, enrolment))


def _print_enrolment(call: Call, enrolment: Mapping[str, Any]) -> None:
    """The QR code in a terminal only: in a file it would be a picture of a secret."""
    uri = str(enrolment.get("uri", ""))
    if call.screen.interactive:
        import segno  # noqa: PLC0415  # only here

        segno.make(uri, error="l").terminal(compact=True)
    call.screen.line(uri)
    call.screen.line("")
    call.screen.line("Recovery codes, each for one use. Keep them where your phone is not:", "bold")
    for code in enrolment.get("recovery_codes", []):
        call.screen.line(f"  {code}")
    call.screen.note("Scan the code with an authenticator app, then: bastide mfa confirm")


@remote(app, "confirm", example="bastide mfa confirm")
def confirm(call: Call) -> None:
    """Show the first code of a new authenticator; from then on it counts."""
    call.client.sign_in()
    answer = call.client.show_code("/me/factors/confirm", call.world.ask("Code"))
    call.done(answer, "the authenticator is set up")


@remote(app, "status", example="bastide mfa status")
def status(call: Call) -> None:
    """Your second factors."""
    columns: list[Column] = [
        ("METHOD", lambda f: f.get("method")),
        ("NAME", lambda f: f.get("name")),
        ("SET UP", lambda f: when(f.get("created_at"))),
        ("LAST USED", lambda f: when(f.get("last_used_at"))),
        ("CONFIRMED", lambda f: bool(f.get("confirmed"))),
        ("LOCKED UNTIL", lambda f: when(f.get("locked_until"))),
        ("RECOVERY CODES LEFT", lambda f: f.get("recovery_codes_left")),
    ]
    call.table(call.client.get("/me/factors"), columns, empty="no second factor is set up: bastide mfa enrol")


@remote(app, "remove", example='bastide mfa remove "blue key"')
def remove(
    call: Call,
    name: Annotated[
        str, typer.Argument(metavar="KEY", help="The security key's name or id, as in `bastide mfa status`.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove one of your security keys. The last second factor goes by an administrator only: bastide mfa reset."""
    ask.confirm(f"Remove your security key {name}?", yes=yes)
    answer = call.client.delete(f"/me/keys/{quote(name, safe='')}")
    call.done(answer, "the security key is removed; what it signed still counts")


@remote(app, "invite", example="bastide mfa invite priv.alice")
def invite(call: Call, whom: Whom) -> None:
    """A one-time code with which a person may set up an authenticator within 24 hours."""
    answer = call.client.post("/factors/invitations", {"account": whom})

    def render(invitation: Mapping[str, Any]) -> None:
        call.screen.line(invitation.get("code", ""))
        call.screen.note("Hand it over in person. They use it with: bastide mfa enrol --invited")

    call.show(answer, render)


@remote(app, "reset", example="bastide mfa reset priv.alice")
def reset(
    call: Call, whom: Whom, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Take a person's second factors away (a lost phone). They need an invitation afterwards."""
    ask.confirm(f"Take all second factors of {whom} away?", yes=yes)
    answer = call.client.delete(f"/factors/{quote(whom, safe='')}")
    call.done(answer, f"{whom} has no second factor any more; next: bastide mfa invite {shlex.quote(whom)}")
