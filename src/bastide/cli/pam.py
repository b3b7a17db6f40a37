"""`bastide pam user` and `bastide pam group`: prepare people and groups."""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask
from bastide.cli.console import Column
from bastide.cli.findings import print_finding
from bastide.cli.group import Group
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import span, when
from bastide.domain.roles import Carrier

app = commands(
    "Prepare people (PAM users) and groups (PAM groups).",
    ("a person: a dormant account in PRIV", "bastide pam user add alice"),
    ("its password, with the person present", "bastide pam user password priv.alice"),
    ("a group: what the CORP group may do", "bastide pam group add FileAdmins"),
    ("a role gives the group for a time", "bastide role add --help"),
)
user = typer.Typer(help="PAM users: the PRIV accounts of people.", no_args_is_help=True)
group = typer.Typer(help="PAM groups: PRIV groups that carry a CORP group's rights.", no_args_is_help=True)
app.add_typer(user, name="user", cls=Group)
app.add_typer(group, name="group", cls=Group)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show, change nothing.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.")]
Adopt = Annotated[bool, typer.Option("--adopt", help="Take an existing PRIV object instead of making one.")]
PrivName = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Its name in PRIV. Default: prefix and CORP name.")
]
Delete = Annotated[bool, typer.Option("--delete", help="Delete the PRIV object as well, if Bastide made it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why.")]

_USERS: list[Column] = [
    ("NAME", lambda u: u.get("name")),
    ("CORP", lambda u: _ref(u, "corp")),
    ("PRIV", lambda u: _ref(u, "priv")),
    ("TICKET CAP", lambda u: span(u.get("ticket_cap"))),
    ("KEPT ALIVE", lambda u: bool(u.get("kept_alive"))),
    ("ENABLED", lambda u: bool(u.get("enabled", True))),
    ("SINCE", lambda u: when(u.get("created_at"))),
]
_GROUPS: list[Column] = [
    ("NAME", lambda g: g.get("name")),
    ("CARRIER", lambda g: g.get("carrier")),
    ("CORP", lambda g: _ref(g, "corp")),
    ("PRIV", lambda g: _ref(g, "priv")),
    ("SCOPE", lambda g: g.get("scope")),
    ("LINK", lambda g: g.get("link")),
    ("ENABLED", lambda g: bool(g.get("enabled", True))),
]


def _ref(thing: Mapping[str, Any], side: str) -> object:
    ref = thing.get(side)
    return ref.get("name") if isinstance(ref, Mapping) else ref


def _details(thing: Mapping[str, Any], columns: list[Column]) -> list[tuple[str, object]]:
    """The columns of a listing below each other, then what a listing has no room for."""
    shown = [(title.capitalize(), read(thing)) for title, read in columns]
    for side in ("corp", "priv"):
        ref = thing.get(side)
        if isinstance(ref, Mapping):
            shown += [(f"{side.upper()} DN", ref.get("dn")), (f"{side.upper()} SID", ref.get("sid"))]
    return [*shown, ("Id", thing.get("id"))]


def _made(call: Call, thing: Mapping[str, Any], columns: list[Column], *, dry_run: bool) -> None:
    call.screen.fields(_details(thing, columns))
    for finding in thing.get("findings") or []:
        print_finding(call.screen, finding)
    call.screen.note("dry run: nothing was changed" if dry_run else "done")


@remote(user, "add", example="bastide pam user add alice --dry-run")
def user_add(
    call: Call,
    corp: Annotated[str, typer.Argument(metavar="CORP-ACCOUNT", help="The person's CORP account.")],
    name: PrivName = "",
    adopt: Adopt = False,
    kept_alive: Annotated[
        bool, typer.Option("--kept-alive", help="Not dormant between grants: weaker, for emergencies.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Prepare a person: a dormant PRIV account with short tickets, tied to the CORP account."""
    body = {"corp": corp, "priv_name": name, "adopt": adopt, "kept_alive": kept_alive}
    answer = call.client.post("/pam-users", body, dry_run=dry_run)
    call.show(answer, lambda made: _made(call, made, _USERS, dry_run=dry_run))
    if not dry_run and not adopt and not call.as_json:
        call.screen.note(f"next: bastide pam user password {shlex.quote(str(answer.fields.get('name')))}")


@remote(user, "list", example="bastide pam user list")
def user_list(call: Call) -> None:
    """All PAM users."""
    call.table(call.client.get("/pam-users"), _USERS, empty="no PAM users yet: bastide pam user add")


@remote(user, "show", example="bastide pam user show priv.alice")
def user_show(call: Call, name: Name) -> None:
    """One PAM user."""
    answer = call.client.get(f"/pam-users/{quote(name, safe='')}")
    call.show(answer, lambda shown: call.screen.fields(_details(shown, _USERS)))


@remote(user, "password", example="bastide pam user password priv.alice")
def user_password(call: Call, name: Name, dry_run: DryRun = False) -> None:
    """Set the PRIV password of a PAM user. Asked for twice, or one line of standard input."""
    found = call.client.get(f"/pam-users/{quote(name, safe='')}")
    if dry_run:
        call.done(found, f"dry run: the password of {name} would be set")
        return
    body = {"password": ask.new_secret(f"New password of {name}")}
    call.done(
        call.client.post(f"/pam-users/{quote(name, safe='')}/password", body),
        f"the password of {name} is set",
    )


@remote(user, "disable", example='bastide pam user disable priv.alice --reason "on leave"')
def user_disable(call: Call, name: Name, reason: Reason, yes: Yes = False) -> None:
    """Switch a PAM user off: all access ends, what was asked for is cancelled, and nothing can be asked for. The PRIV account stays."""
    ask.confirm(f"Switch off {name}, and end all of its access?", yes=yes)
    answer = call.client.put(
        f"/pam-users/{quote(name, safe='')}/enabled", {"enabled": False, "reason": reason}
    )
    call.done(answer, f"{name} is switched off; {len(answer.data['ended'])} requests end with it")


@remote(user, "enable", example='bastide pam user enable priv.alice --reason "is back"')
def user_enable(call: Call, name: Name, reason: Reason) -> None:
    """Switch a PAM user on again: it may ask. Nothing that ended comes back."""
    answer = call.client.put(
        f"/pam-users/{quote(name, safe='')}/enabled", {"enabled": True, "reason": reason}
    )
    call.done(answer, f"{name} is switched on")


@remote(user, "remove", example="bastide pam user remove priv.alice --delete")
def user_remove(
    call: Call, name: Name, delete: Delete = False, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Forget a PAM user that no role names and no request uses."""
    ask.confirm(f"Remove PAM user {name}?", yes=yes or dry_run)
    answer = call.client.delete(f"/pam-users/{quote(name, safe='')}", delete=delete, dry_run=dry_run)
    call.done(answer, f"dry run: {name} could be removed" if dry_run else f"{name} is removed")


@remote(group, "add", example="bastide pam group add FileAdmins --carrier foreign-principal")
def group_add(
    call: Call,
    corp: Annotated[
        str, typer.Argument(metavar="CORP-GROUP", help="The CORP group whose rights it carries.")
    ],
    carrier: Annotated[
        Carrier, typer.Option(metavar="CARRIER", help="How: foreign-principal, shadow-principal or direct.")
    ] = Carrier.FOREIGN_PRINCIPAL,
    name: PrivName = "",
    adopt: Adopt = False,
    dry_run: DryRun = False,
) -> None:
    """Prepare a group."""
    body = {"corp": corp, "carrier": carrier, "priv_name": name, "adopt": adopt}
    answer = call.client.post("/pam-groups", body, dry_run=dry_run)
    call.show(answer, lambda made: _made(call, made, _GROUPS, dry_run=dry_run))


@remote(group, "list", example="bastide pam group list")
def group_list(call: Call) -> None:
    """All PAM groups."""
    call.table(call.client.get("/pam-groups"), _GROUPS, empty="no PAM groups yet: bastide pam group add")


@remote(group, "show", example="bastide pam group show PAM-FileAdmins")
def group_show(call: Call, name: Name) -> None:
    """One PAM group."""
    answer = call.client.get(f"/pam-groups/{quote(name, safe='')}")
    call.show(answer, lambda shown: call.screen.fields(_details(shown, _GROUPS)))


@remote(group, "remove", example="bastide pam group remove PAM-FileAdmins --delete")
def group_remove(
    call: Call, name: Name, delete: Delete = False, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Forget a PAM group that no role gives."""
    ask.confirm(f"Remove PAM group {name}?", yes=yes or dry_run)
    answer = call.client.delete(f"/pam-groups/{quote(name, safe='')}", delete=delete, dry_run=dry_run)
    call.done(answer, f"dry run: {name} could be removed" if dry_run else f"{name} is removed")
