"""`bastide role`: what a role gives, to whom, who agrees, and its rules."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask, role_rules
from bastide.cli.console import Column
from bastide.cli.exits import Exit, Stop, by_option
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import span, when
from bastide.domain.roles import Enforcer

_EXAMPLE = (
    "bastide role add \"File administrator\" --gives PAM-FileAdmins --candidate 'CORP\\alice' "
    "--approver 'PRIV\\apr.grace' --for 1h --max 4h"
)
app = commands(
    "Roles: what they give, to whom, who agrees, and under which rules.",
    ("prepare people and groups", "bastide pam --help"),
    ("make a role of them", _EXAMPLE),
    ("see it with all its rules", 'bastide role show "File administrator"'),
)

Name = Annotated[str, typer.Argument(metavar="ROLE", help="Its name or id.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show, change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
FromFile = Annotated[
    Path | None, typer.Option("--from-file", metavar="FILE", help="A role.toml; options win over it.")
]
Description = Annotated[str | None, typer.Option(help="What it is for.")]
Gives = Annotated[
    list[str] | None, typer.Option("--gives", metavar="GROUP", help="A PAM group. May be repeated.")
]
Candidate = Annotated[
    list[str] | None, typer.Option("--candidate", metavar="FOREST\\WHO", help="Who may ask. May be repeated.")
]
Approver = Annotated[
    list[str] | None,
    typer.Option("--approver", metavar="FOREST\\WHO", help="Who may agree. May be repeated."),
]
Needed = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="How many of the approvers must agree. Default: 1.")
]
StageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stage", metavar="NAME:NEEDED:WHO,WHO", help="One of several stages, in order. May be repeated."
    ),
]
NoApproval = Annotated[bool, typer.Option("--no-approval", help="Nobody has to agree.")]
TtlDefault = Annotated[str | None, typer.Option("--for", metavar="TIME", help="Usual length. Default: 1h.")]
TtlMinimum = Annotated[
    str | None, typer.Option("--min", metavar="TIME", help="Shortest length. Default: 5m.")
]
TtlMaximum = Annotated[str | None, typer.Option("--max", metavar="TIME", help="Longest length. Default: 8h.")]
Mfa = Annotated[bool | None, typer.Option("--mfa/--no-mfa", help="A second factor. Default: yes.")]
Justification = Annotated[
    bool | None, typer.Option("--justification/--no-justification", help="A justification. Default: yes.")
]
TicketPattern = Annotated[
    str | None,
    typer.Option("--ticket-pattern", metavar="REGEX", help="What a ticket must look like. Empty: none."),
]
WindowOption = Annotated[
    str | None,
    typer.Option("--window", metavar="WINDOW", help="When it may start: mon-fri 08:00-18:00 Europe/Zurich."),
]
PendingLife = Annotated[
    str | None, typer.Option("--pending", metavar="TIME", help="How long a request waits. Default: 1d.")
]
AutoApproval = Annotated[
    bool | None,
    typer.Option(
        "--owner-auto-approval/--no-owner-auto-approval", help="An approver's own request counts as approved."
    ),
]
Floor = Annotated[
    Enforcer | None,
    typer.Option(
        metavar="ENFORCER", help="Weakest enforcement accepted: link-ttl, dormant-account or removal."
    ),
]
Extension = Annotated[
    bool | None, typer.Option("--extension/--no-extension", help="May be extended. Default: yes.")
]
Enabled = Annotated[bool | None, typer.Option("--enabled/--disabled", help="Whether it may be used at all.")]

#: Which option gives a field.
_OPTIONS = MappingProxyType(
    {
        "privileges": "--gives",
        "candidates": "--candidate",
        "stages": "--stage",
        "ttl": "--for",
        "pending_life": "--pending",
        "ticket_pattern": "--ticket-pattern",
        "window": "--window",
    }
)


@remote(app, "add", example=_EXAMPLE)
def add(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")] = "",
    description: Description = None,
    privileges: Gives = None,
    candidates: Candidate = None,
    approvers: Approver = None,
    needed: Needed = None,
    stages: StageOption = None,
    ttl_default: TtlDefault = None,
    ttl_minimum: TtlMinimum = None,
    ttl_maximum: TtlMaximum = None,
    mfa: Mfa = None,
    justification: Justification = None,
    ticket_pattern: TicketPattern = None,
    window: WindowOption = None,
    pending_life: PendingLife = None,
    owner_auto_approval: AutoApproval = None,
    floor: Floor = None,
    extension: Extension = None,
    enabled: Enabled = None,
    from_file: FromFile = None,
    dry_run: DryRun = False,
) -> None:
    """Make a role, by options, by a role.toml, or both."""
    given = {key: value for key, value in locals().items() if key not in {"call", "from_file", "dry_run"}}
    rules = role_rules.from_file(from_file) if from_file else {}
    rules = role_rules.overlay(rules, role_rules.from_options({**given, "name": name or None}))
    if not rules.get("name"):
        raise Stop(
            "the role has no name", remedy="give one as the argument or in the file", status=Exit.USAGE
        )
    _require(rules)
    with by_option({} if from_file else _OPTIONS):
        answer = call.client.post("/roles", rules, dry_run=dry_run)
    call.show(answer, lambda role: _print(call, role))
    if not call.as_json:
        call.screen.note("dry run: nothing was changed" if dry_run else "the role is there")


@remote(app, "list", example="bastide role list")
def listing(call: Call) -> None:
    """All roles."""
    columns: list[Column] = [
        ("NAME", lambda r: r.get("name")),
        ("GIVES", lambda r: role_rules.as_draft(r)["privileges"]),
        ("CANDIDATES", lambda r: role_rules.as_draft(r)["candidates"]),
        ("APPROVAL", lambda r: [role_rules.stage_words(stage) for stage in role_rules.as_draft(r)["stages"]]),
        ("FOR", lambda r: role_rules.ttl_words(r.get("ttl") or {})),
        ("ENABLED", lambda r: bool(r.get("enabled", True))),
    ]
    call.table(call.client.get("/roles"), columns, empty="no roles yet: bastide role add")


@remote(app, "show", example='bastide role show "File administrator"')
def show(call: Call, name: Name) -> None:
    """One role with all its rules."""
    call.show(call.client.get(f"/roles/{quote(name, safe='')}"), lambda role: _print(call, role))


@remote(app, "edit", example='bastide role edit "File administrator" --max 2h --no-extension')
def edit(
    call: Call,
    name: Name,
    rename: Annotated[str | None, typer.Option(metavar="NAME", help="Its new name.")] = None,
    description: Description = None,
    privileges: Gives = None,
    candidates: Candidate = None,
    approvers: Approver = None,
    needed: Needed = None,
    stages: StageOption = None,
    no_approval: NoApproval = False,
    ttl_default: TtlDefault = None,
    ttl_minimum: TtlMinimum = None,
    ttl_maximum: TtlMaximum = None,
    mfa: Mfa = None,
    justification: Justification = None,
    ticket_pattern: TicketPattern = None,
    window: WindowOption = None,
    pending_life: PendingLife = None,
    owner_auto_approval: AutoApproval = None,
    floor: Floor = None,
    extension: Extension = None,
    enabled: Enabled = None,
    from_file: FromFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Change a role: what is said changes, the rest stays. The difference is shown first, and asked about."""
    given = {
        key: value for key, value in locals().items() if key not in {"call", "from_file", "dry_run", "yes"}
    }
    path = f"/roles/{quote(name, safe='')}"
    change = role_rules.from_file(from_file) if from_file else {}
    change = role_rules.overlay(change, role_rules.from_options({**given, "name": rename}))
    before = role_rules.as_draft(call.client.get(path).fields)
    after = role_rules.overlay(before, change)
    changed = role_rules.difference(before, after)
    if not changed:
        raise Stop("nothing would change", remedy="say which rule is to change", status=Exit.USAGE)
    _print_difference(call, changed)
    if not dry_run:
        ask.confirm("Change the role?", yes=yes)
    with by_option({} if from_file else _OPTIONS):
        answer = call.client.put(path, after, dry_run=dry_run)
    call.done(answer, "dry run: nothing was changed" if dry_run else f"{after.get('name')} is changed")


@remote(app, "remove", example='bastide role remove "File administrator"')
def remove(call: Call, name: Name, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Remove a role that no open request uses."""
    ask.confirm(f"Remove role {name}?", yes=yes or dry_run)
    answer = call.client.delete(f"/roles/{quote(name, safe='')}", dry_run=dry_run)
    call.done(answer, f"dry run: {name} could be removed" if dry_run else f"{name} is removed")


def _require(rules: role_rules.Rules) -> None:
    """What every role needs, all at once and before anybody signs in. Raises Stop."""
    absent = [_OPTIONS[name] for name in ("privileges", "candidates") if not rules.get(name)]
    if absent:
        raise Stop(
            f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} needed for a new role",
            remedy=f"as in `{_EXAMPLE}`",
            status=Exit.USAGE,
        )


def _print_difference(call: Call, changed: list[tuple[str, object, object]]) -> None:
    """To standard error, so that --json stays JSON."""
    for rule, old, new in changed:
        call.screen.note(rule, "bold")
        call.screen.note(f"  - {role_rules.shown(rule, old)}", "red")
        call.screen.note(f"  + {role_rules.shown(rule, new)}", "green")


def _print(call: Call, role: Mapping[str, Any]) -> None:
    draft = role_rules.as_draft(role)
    call.screen.fields(
        (
            ("Role", role.get("name")),
            ("Description", role.get("description")),
            ("Gives", draft["privileges"]),
            ("Candidates", draft["candidates"]),
            (
                "Approval",
                [role_rules.stage_words(stage) for stage in draft["stages"]] or "nobody has to agree",
            ),
            ("For", role_rules.ttl_words(role.get("ttl") or {})),
            ("Second factor", bool(role.get("mfa"))),
            ("Justification", bool(role.get("justification"))),
            ("Ticket", role.get("ticket_pattern")),
            ("Window", role.get("window_text") or role.get("window")),
            ("Waits for", span(role.get("pending_life"))),
            ("Enforcement at least", role.get("floor")),
            ("May be extended", bool(role.get("extension"))),
            ("Owner auto-approval", bool(role.get("owner_auto_approval"))),
            ("Enabled", bool(role.get("enabled", True))),
            ("Since", when(role.get("created_at"))),
            ("Id", role.get("id")),
        )
    )
