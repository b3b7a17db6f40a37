"""`bastide passwords`: the switch, the queue, the history, and why a password did or did not arrive."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask
from bastide.cli.console import Column
from bastide.cli.exits import Exit
from bastide.cli.group import Group
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import moment, when

app = commands(
    "Password synchronization: a password that is changed in Active Directory goes to the other systems.",
    ("in the directory: whom the domain controllers tell of changes", "bastide pcns --help"),
    ("here: the connected systems, and who is one person there", "bastide ma --help"),
    ("switch it on; it is off until somebody says so", "bastide passwords enable"),
    ("change a password, then ask what became of it", "bastide passwords explain alice"),
)
queue = typer.Typer(help="Passwords on their way.", no_args_is_help=True)
history = typer.Typer(help="Notifications and what became of them.", no_args_is_help=True)
app.add_typer(queue, name="queue", cls=Group)
app.add_typer(history, name="history", cls=Group)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option(help="At most so many.")]

_DELIVERIES: list[Column] = [
    ("ACCOUNT", lambda d: d.get("account")),
    ("AGENT", lambda d: d.get("agent")),
    ("TO", lambda d: d.get("dn")),
    ("CHANGED", lambda d: when(d.get("changed_at"))),
    ("STATE", lambda d: d.get("state")),
    ("TRIES", lambda d: d.get("attempts")),
    ("NEXT", lambda d: when(d.get("due"))),
    ("LAST ANSWER", lambda d: " ".join(filter(None, (d.get("code"), d.get("detail"))))),
    ("REFERENCE", lambda d: d.get("reference")),
]
_CHANGES: list[Column] = [
    ("RECEIVED", lambda c: when(c.get("received_at"))),
    ("ACCOUNT", lambda c: c.get("account")),
    ("SOURCE", lambda c: c.get("source") or c.get("domain")),
    ("FROM", lambda c: c.get("controller")),
    ("RECEIPT", lambda c: c.get("receipt")),
    ("DELIVERED", lambda c: _delivered(c.get("deliveries") or [])),
    ("REFERENCE", lambda c: c.get("reference")),
]
_CONTACTS: list[Column] = [
    ("CONTROLLER", lambda c: c.get("controller")),
    ("LAST HEARD", lambda c: when(c.get("heard_at"))),
    ("WAITING", lambda c: c.get("waiting")),
    ("OLDEST", lambda c: when(c.get("oldest"))),
    ("", lambda c: "SILENT" if c.get("silent") else ""),
]


@remote(app, "status", example="bastide passwords status")
def status(call: Call) -> None:
    """Whether passwords are synchronized, and how many deliveries wait."""
    call.show(call.client.get("/passwords"), lambda found: _status(call, found))


@remote(app, "enable", example="bastide passwords enable")
def enable(call: Call, yes: Yes = False) -> None:
    """Switch synchronization on. It is off until somebody says so, and after a restore from a backup."""
    found = call.client.get("/passwords").fields
    if found.get("restored"):
        ask.confirm("The database was restored from a backup. Have you checked what was lost?", yes=yes)
    call.show(call.client.put("/passwords/enabled", {}), lambda answer: _status(call, answer))


@remote(app, "disable", example="bastide passwords disable")
def disable(call: Call) -> None:
    """Switch synchronization off. What waits goes on waiting, here and on the domain controllers."""
    call.show(call.client.delete("/passwords/enabled"), lambda answer: _status(call, answer))


@remote(queue, "list", example="bastide passwords queue list --agent ldap")
def queue_list(
    call: Call,
    agent: Annotated[str, typer.Option(metavar="NAME", help="Of this management agent.")] = "",
    limit: Limit = 100,
) -> None:
    """Undelivered passwords, the oldest first."""
    answer = call.client.get("/passwords/queue", agent=agent, limit=limit)
    call.table(answer, _DELIVERIES, empty="nothing waits")


@remote(queue, "clear", example="bastide passwords queue clear")
def queue_clear(call: Call, yes: Yes = False) -> None:
    """Give up everything undelivered. Those accounts keep their old passwords until the next change."""
    ask.confirm("Give up all undelivered passwords? They cannot be brought back.", yes=yes)
    call.show(call.client.delete("/passwords/queue"), lambda found: _cleared(call, found))


@remote(history, "list", example="bastide passwords history list --user alice")
def history_list(
    call: Call,
    user: Annotated[str, typer.Option(metavar="NAME", help="Of this account name or objectGUID.")] = "",
    before: Annotated[
        str, typer.Option(metavar="TIME", help="Received before 2026-03-01T22:00 (UTC), or -7d.")
    ] = "",
    limit: Limit = 100,
) -> None:
    """Notifications, the newest first."""
    answer = call.client.get(
        "/passwords/history",
        user=user,
        before=moment(before, call.world.now()) if before else "",
        limit=limit,
    )
    call.table(answer, _CHANGES, empty="no notification has come")


@remote(history, "clear", example="bastide passwords history clear --ending-before 2026-01-01T00:00")
def history_clear(
    call: Call,
    ending_before: Annotated[str, typer.Option(metavar="TIME", help="Received before then (UTC), or -90d.")],
    yes: Yes = False,
) -> None:
    """Forget notifications that are over. The audit keeps its records. Clear the queue first."""
    until = moment(ending_before, call.world.now())
    ask.confirm(f"Forget all notifications from before {until}?", yes=yes)
    call.show(
        call.client.delete("/passwords/history", ending_before=until), lambda found: _cleared(call, found)
    )


@remote(app, "show", example="bastide passwords show 0b9f3c1e-4a52-5d0e-9a57-3d6f2f0f8a11")
def show(call: Call, reference: Annotated[str, typer.Argument(help="The reference id.")]) -> None:
    """One notification with every delivery."""

    def render(found: Mapping[str, Any]) -> None:
        call.screen.fields(
            (
                ("Account", found.get("account")),
                ("Object", found.get("user_guid")),
                ("Source", found.get("source") or found.get("domain")),
                ("Changed", when(found.get("changed_at"))),
                ("Received", when(found.get("received_at"))),
                ("From", found.get("controller")),
                ("Receipt", found.get("receipt")),
            )
        )
        call.screen.table(_DELIVERIES, found.get("deliveries") or [], empty="it went to no target")

    call.show(call.client.get(f"/passwords/changes/{quote(reference, safe='')}"), render)


@remote(app, "explain", example="bastide passwords explain alice")
def explain(call: Call, user: Annotated[str, typer.Argument(help="Account name or objectGUID.")]) -> None:
    """In plain words: why a password arrived or did not, and what happens next."""

    def render(found: Mapping[str, Any]) -> None:
        for line in found.get("standing") or []:
            call.screen.line(line)
        for story in found.get("stories") or []:
            call.screen.line("")
            call.screen.line(f"{when(story.get('changed_at'))}  {story.get('summary')}", "bold")
            for line in story.get("targets") or []:
                call.screen.line(f"  {line}")
            call.screen.line(f"  reference {story.get('reference')}", "dim")

    call.show(call.client.get("/passwords/explanation", user=user), render)


@remote(app, "coverage", example="bastide passwords coverage --since -7d")
def coverage(
    call: Call,
    domain: Annotated[str, typer.Option(metavar="DNS", help="Of this source domain.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Changed since then. Default: -30d.")] = "",
) -> None:
    """Users whose password was changed without a notification, by domain controller. Exit code 1 if there are any."""
    answer = call.client.get(
        "/passwords/coverage", domain=domain, since=moment(since, call.world.now()) if since else ""
    )
    found = answer.items

    def render(_: Mapping[str, Any]) -> None:
        for one in found:
            _coverage(call, one)

    call.show(answer, render)
    if any(one.get("uncovered") for one in found):
        raise typer.Exit(int(Exit.REFUSED))


def _coverage(call: Call, one: Mapping[str, Any]) -> None:
    missing = one.get("uncovered") or []
    call.screen.line(
        f"{one.get('domain')}: {one.get('users')} passwords changed since {when(one.get('since'))}, "
        f"{one.get('covered')} notified, {one.get('fresh')} on their way, {len(missing)} missing",
        "red" if missing else "green",
    )
    for gap in one.get("by_controller") or []:
        call.screen.line(f"  {gap.get('controller')}: {gap.get('users')}")
    columns: list[Column] = [
        ("ACCOUNT", lambda u: u.get("account")),
        ("CHANGED", lambda u: when(u.get("changed_at"))),
        ("ON", lambda u: u.get("controller")),
    ]
    if missing:
        call.screen.table(columns, missing, empty="")
    call.screen.table(_CONTACTS, one.get("contacts") or [], empty="no controller was heard yet")


def _status(call: Call, found: Mapping[str, Any]) -> None:
    call.screen.fields(
        (
            ("Synchronization", "on" if found.get("enabled") else "off"),
            (
                "Database",
                "restored from a backup: look at what was lost, then enable" if found.get("restored") else "",
            ),
            ("Waiting", found.get("waiting")),
        )
    )


def _cleared(call: Call, found: Mapping[str, Any]) -> None:
    call.screen.line(f"cleared: {found.get('count')}")


def _delivered(deliveries: list[Mapping[str, Any]]) -> str:
    done = sum(one.get("state") == "delivered" for one in deliveries)
    return f"{done} of {len(deliveries)}" if deliveries else ""
