"""`bastide reset`: self-service reset, for administrators."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask
from bastide.cli.console import Column, Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.group import Group
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, local, remote
from bastide.cli.text import when
from bastide.config import DEFAULT_PATH, load

app = commands(
    "Self-service reset of forgotten passwords: who is registered, who waits, what is asked.",
    ("see rules and who waits", "bastide reset status"),
    ("let a person try again", "bastide reset unlock nina"),
    ("see what a person goes through", "bastide reset policy nina"),
)
breached = commands(
    "The list of passwords that others lost.",
    ("look a password up in it, on the server", "bastide reset breached check"),
)
app.add_typer(breached, name="breached", cls=Group)
Account = Annotated[str, typer.Argument(help="The account: its name, or CORP\\name.")]
_LOCKED: list[Column] = [
    ("NAME", lambda r: r.get("name")),
    ("WHERE", lambda r: "many addresses" if r.get("everywhere") else "one address"),
    ("UNTIL", lambda r: when(r.get("until")) if r.get("until") else "unlocked"),
    ("LOCKS", lambda r: r.get("locks")),
]
_RULES: list[Column] = [
    ("FOR", lambda r: ", ".join(r.get("groups") or []) or "everybody"),
    ("GATES", lambda r: ", ".join(r.get("gates") or [])),
    ("COOLING OFF", lambda r: f"{(r.get('cooling_seconds') or 0) // 3600} h"),
]
_REGISTERED: list[Column] = [
    ("NAME", lambda r: r.get("name")),
    ("CAN SHOW", lambda r: ", ".join(r.get("gates") or [])),
    ("SINCE", lambda r: when(r.get("registered_at"))),
]


@remote(app, "status", example="bastide reset status")
def show_status(call: Call) -> None:
    """Rules, who waits, and the list of lost passwords."""

    def render(state: Mapping[str, Any]) -> None:
        call.screen.table(_RULES, state.get("rules") or [], empty="there is no rule")
        call.screen.table(_LOCKED, state.get("locked") or [], empty="nobody is locked")
        files = state.get("breached_files")
        oldest = when(state.get("breached_oldest")) if files else ""
        lost = "not set up" if files is None else f"{files} files, the oldest of {oldest}"
        call.screen.fields([("Registered", state.get("registered")), ("Lost passwords", lost)])

    call.show(call.client.get("/resets"), render)


@remote(app, "unlock", example="bastide reset unlock nina")
def unlock(call: Call, person: Account) -> None:
    """Forget what is counted against a person, so that the person can try again at once."""
    answer = call.client.post("/resets/unlock", {"account": person})
    call.show(answer, lambda done: call.screen.line(f"{done.get('name')} can try again", "green"))


@remote(app, "registrations", example="bastide reset registrations")
def list_registrations(call: Call) -> None:
    """Who is registered, and what each can show. Destinations are shown to nobody."""
    call.table(call.client.get("/reset-registrations"), _REGISTERED, empty="nobody is registered")


@remote(app, "unregister", example="bastide reset unregister nina")
def unregister(call: Call, person: Account) -> None:
    """Take a person's registration away, and end resets that are under way."""
    answer = call.client.delete(f"/reset-registrations/{quote(person, safe='')}")
    call.show(
        answer, lambda done: call.screen.line(f"{done.get('name')} is not registered any more", "green")
    )


@remote(app, "policy", example="bastide reset policy nina")
def show_policy(call: Call, person: Account) -> None:
    """The gates of a person, what of them is registered, and the rules of a new password."""

    def render(found: Mapping[str, Any]) -> None:
        call.screen.fields(
            [
                ("Account", found.get("name")),
                ("Excluded", found.get("excluded") or "no"),
                ("Gates", ", ".join(found.get("gates") or []) or "none: no rule fits"),
                ("Registered", ", ".join(found.get("registered") or []) or "nothing"),
            ]
        )
        for rule in found.get("password") or []:
            call.screen.line(f"- {rule}")

    call.show(call.client.get("/resets/policy", account=person), render)


@local(breached, "check", example="bastide reset breached check")
def check_breached(
    screen: Screen,
    as_json: bool,
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The settings of this node.")
    ] = DEFAULT_PATH,
) -> None:
    """Look a password up in the list on this server; it is typed without echo and sent nowhere. Exit code 1 if others lost it."""
    from bastide.wiring.reset import breached_of  # noqa: PLC0415  # loads the store

    table = load(config).reset
    found = None if table is None else breached_of(table)
    if found is None:
        raise Stop(
            "reset.breached names no list of lost passwords", remedy="docs/how-to/self-service-reset.md"
        )
    corpus = found.corpus()
    times = found.times(ask.secret("Password to look up"))
    if as_json:
        screen.json({"files": corpus.files, "oldest": corpus.oldest, "times": times})
    elif times:
        screen.line(f"others lost it: it was seen {times:,} times", "red")
    else:
        screen.line(f"it is not in the list ({corpus.files:,} files)", "green")
    if times:
        raise typer.Exit(int(Exit.REFUSED))
