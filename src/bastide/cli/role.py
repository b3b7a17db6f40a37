"""`bastide role`: what a role gives, to whom, who agrees, and its rules."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask, role_rules
from bastide.cli.console import Column
from bastide.cli.exits import Exit, Stop, by_option
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import span, when
from bastide.domain.people import Demand
from bastide.domain.roles import Enforcer

if TYPE_CHECKING:
    from bastide.cli.client import Answer

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
Proposal = Annotated[str, typer.Argument(metavar="ID", help="The proposal's id.")]
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
FactorOption = Annotated[
    Demand | None,
    typer.Option("--factor", metavar="FACTOR", help="Which second factor activates: any or webauthn."),
]
ApprovalFactor = Annotated[
    Demand | None,
    typer.Option(
        metavar="FACTOR", help="How an approval is given: any, or signed with a security key: webauthn."
    ),
]
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

_SIGNED = "signed with a security key"
#: Which option gives a field.
_OPTIONS = MappingProxyType(
    {
        "privileges": "--gives",
        "candidates": "--candidate",
        "stages": "--stage",
        "ttl": "--for",
        "pending_life": "--pending",
        "factor": "--factor",
        "approval_factor": "--approval-factor",
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
    factor: FactorOption = None,
    approval_factor: ApprovalFactor = None,
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
        call.screen.note(_outcome(answer, "the role is there", dry_run=dry_run))


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
    factor: FactorOption = None,
    approval_factor: ApprovalFactor = None,
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
    call.done(answer, _outcome(answer, f"{after.get('name')} is changed", dry_run=dry_run))


@remote(app, "remove", example='bastide role remove "File administrator"')
def remove(call: Call, name: Name, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Remove a role that no open request uses."""
    ask.confirm(f"Remove role {name}?", yes=yes or dry_run)
    answer = call.client.delete(f"/roles/{quote(name, safe='')}", dry_run=dry_run)
    done = f"dry run: {name} could be removed" if dry_run else f"{name} is removed"
    call.done(answer, _outcome(answer, done, dry_run=False))


_PROPOSALS: list[Column] = [
    ("ID", lambda p: p.get("id")),
    ("ROLE", lambda p: p.get("role")),
    ("ACTION", lambda p: p.get("action")),
    ("BY", lambda p: p.get("by")),
    ("SINCE", lambda p: when(p.get("made_at"))),
]


@remote(app, "proposals", example="bastide role proposals")
def proposals(call: Call) -> None:
    """Changes of roles that wait for a second administrator, oldest first."""
    call.table(
        call.client.get("/role-proposals"), _PROPOSALS, empty="no change waits for a second administrator"
    )


@remote(app, "approve", example="bastide role approve 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def approve(call: Call, id: Proposal, yes: Yes = False) -> None:  # noqa: A002
    """Approve a change that another administrator proposed. It is shown first, and asked about."""
    path = f"/role-proposals/{quote(id, safe='')}"
    shown = call.client.get(path).fields
    _print_proposal(call, shown)
    ask.confirm(f"Approve what {shown.get('by')} proposed?", yes=yes)
    call.done(call.client.post(f"{path}/approval"), f"{shown.get('role')}: done")


@remote(app, "reject", example='bastide role reject 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11 --reason "too long"')
def reject(
    call: Call,
    id: Proposal,  # noqa: A002
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
) -> None:
    """Reject a proposed change, or take one of your own back. The role stays as it is."""
    answer = call.client.post(f"/role-proposals/{quote(id, safe='')}/rejection", {"reason": reason})
    call.done(answer, "rejected: the role stays as it is")


def _outcome(answer: "Answer", done: str, *, dry_run: bool) -> str:
    """What came of a change."""
    if dry_run:
        return "dry run: nothing was changed"
    proposal = answer.fields.get("proposal")
    if proposal:
        return f"proposed, not done: another administrator decides with `bastide role approve {proposal}`"
    return done


def _print_proposal(call: Call, shown: Mapping[str, Any]) -> None:
    call.screen.note(
        f"{shown.get('action')} {shown.get('role')}, proposed by {shown.get('by')} at {when(shown.get('made_at'))}"
    )
    for rule, said in (shown.get("changes") or {}).items():
        call.screen.note(str(rule), "bold")
        if shown.get("action") == "edit":
            call.screen.note(f"  - {role_rules.shown('', said[0])}", "red")
            call.screen.note(f"  + {role_rules.shown('', said[1])}", "green")
        else:
            call.screen.note(f"  {role_rules.shown('', said)}")


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


def _factor(role: Mapping[str, Any]) -> object:
    return "a security key" if role.get("factor") == Demand.WEBAUTHN else bool(role.get("mfa"))


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
            ("Second factor", _factor(role)),
            ("Approvals", _SIGNED if role.get("approval_factor") == Demand.WEBAUTHN else ""),
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
