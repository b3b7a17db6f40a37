"""`bastide baseline`: on a node. Looking is the service account's; mending acts with the ticket of the person who calls."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bastide.cli import ask
from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.findings import print_finding
from bastide.cli.group import group as commands
from bastide.cli.remote import local
from bastide.config import DEFAULT_PATH, load

if TYPE_CHECKING:
    from bastide.domain.baseline import Weakness
    from bastide.services.baseline.look import Mended, Seen
    from bastide.wiring import Services

_FIX = "bastide baseline fix --account prv.alice --apply"
app = commands(
    "What privileged accounts must have: Protected Users, AES keys, short tickets, no delegation, nothing to guess on.",
    ("who lacks what", "bastide baseline check"),
    ("sign in: mending acts as you on the directory", "kinit Administrator@PRIV.EXAMPLE.COM"),
    ("see what would be changed, nothing is", "bastide baseline fix"),
    ("change it, one account first", _FIX),
)

Settings = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings of this node.")]
Domain = Annotated[str, typer.Option(metavar="DNS", help="The domain. Default: that of your ticket.")]
Controller = Annotated[
    str, typer.Option(metavar="HOST", help="Work on this domain controller. Default: one from DNS.")
]
SmartCards = Annotated[
    bool,
    typer.Option("--smart-cards", help="Everybody here signs in with a card: demand it of each account."),
]


@local(app, "check", example="bastide baseline check")
def check(
    screen: Screen,
    as_json: bool,
    smart_cards: SmartCards = False,
    as_me: Annotated[
        bool, typer.Option("--as-me", help="Look with your own ticket, at the domain of it.")
    ] = False,
    domain: Domain = "",
    controller: Controller = "",
    config: Settings = DEFAULT_PATH,
) -> None:
    """Look at every privileged account of all forests; nothing is changed. Exit code 1 on an error."""
    from bastide.wiring.mending import mending_tools  # noqa: PLC0415  # needs the extra `ad`

    if (domain or controller) and not as_me:
        raise Stop("--domain and --controller go with --as-me", status=Exit.USAGE)
    with _services(config) as services:
        if as_me:
            with mending_tools(domain, controller) as directory:
                seen = services.oversight.baseline.look(smart_cards=smart_cards, instead=directory)
        else:
            seen = services.oversight.baseline.look(smart_cards=smart_cards)
    if as_json:
        screen.json(_seen(seen))
    else:
        _print(screen, seen)
    if seen.failed:
        raise typer.Exit(int(Exit.REFUSED))


@local(app, "fix", example=_FIX)
def fix(
    screen: Screen,
    as_json: bool,
    accounts: Annotated[
        list[str] | None,
        typer.Option("--account", metavar="NAME", help="Only this account. May be repeated. Default: all."),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="RULE", help="Only this rule, as check names it. May be repeated."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Change it. Without this nothing is changed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    smart_cards: SmartCards = False,
    domain: Domain = "",
    controller: Controller = "",
    config: Settings = DEFAULT_PATH,
) -> None:
    """Mend what can be mended without anybody being locked out, in the domain of your ticket, and read it back. Shows it only, unless --apply is said."""
    from bastide.wiring.mending import mending_tools  # noqa: PLC0415  # needs the extra `ad`

    with _services(config) as services, mending_tools(domain, controller) as directory:
        seen = services.oversight.baseline.look(smart_cards=smart_cards, instead=directory)
        wanted = _chosen(seen, accounts or [], rules or [])
        if not apply:
            _show_plan(screen, seen, wanted, directory.domain, as_json=as_json)
            return
        if not as_json:
            _print_plan(screen, wanted)
        ask.confirm(f"Make these {len(wanted)} changes in {directory.domain}?", yes=yes or not wanted)
        policy = load(config).policy.ticket_policy
        done = [
            _told(screen, one, as_json=as_json)
            for one in services.oversight.baseline.mend(directory, wanted, policy=policy)
        ]
    if as_json:
        screen.json({"changes": [_mended(one) for one in done], "problems": list(seen.problems)})
    elif not done:
        screen.note("nothing to change")
    if seen.problems or any(one.problem for one in done):
        raise typer.Exit(int(Exit.REFUSED))


def _chosen(seen: "Seen", accounts: Sequence[str], rules: Sequence[str]) -> "list[Weakness]":
    """What can be mended of what was asked for. Raises Stop for a name or a rule of which nothing was found."""
    found = [one for one in seen.weaknesses if one.change is not None]
    for name in accounts:
        if not any(one.account.name.casefold() == name.casefold() for one in found):
            raise Stop(
                f"nothing of {name} can be mended", remedy="`bastide baseline check` shows what each lacks"
            )
    for rule in rules:
        if not any(one.rule == rule for one in found):
            raise Stop(
                f"nothing can be mended by rule {rule}", remedy="`bastide baseline check` names the rules"
            )
    named, by = {name.casefold() for name in accounts}, set(rules)
    return [
        one
        for one in found
        if (not named or one.account.name.casefold() in named) and (not by or one.rule in by)
    ]


def _show_plan(
    screen: Screen, seen: "Seen", wanted: "Sequence[Weakness]", domain: str, *, as_json: bool
) -> None:
    if as_json:
        screen.json(
            {"dry_run": True, "changes": [_weakness(one) for one in wanted], "problems": list(seen.problems)}
        )
    else:
        _print_plan(screen, wanted)
        screen.note(
            f"dry run in {domain}: nothing was changed; --apply does it. Other domains: with a ticket of theirs"
            if wanted
            else "nothing to change"
        )
    if seen.problems:
        for problem in seen.problems:
            screen.note(problem, "yellow")
        raise typer.Exit(int(Exit.REFUSED))


def _print_plan(screen: Screen, wanted: "Sequence[Weakness]") -> None:
    for one in wanted:
        screen.line(
            f"{one.account.domain}: {one.account.name}: {one.change.value if one.change else ''} ({one.text})"
        )


def _told(screen: Screen, one: "Mended", *, as_json: bool) -> "Mended":
    if not as_json:
        said = f"{one.account.domain}: {one.account.name}: {one.change.value}"
        if one.problem:
            screen.line(f"{said} FAILED: {one.problem}", "bold red")
        elif one.already:
            screen.line(f"{said}: was so already, nothing was changed", "dim")
        else:
            screen.line(f"{said}: done, and read back", "green")
    return one


def _print(screen: Screen, seen: "Seen") -> None:
    for one in seen.weaknesses:
        print_finding(screen, {**_weakness(one), "text": f"{one.account.domain}: {one.text}"})
        if one.severity.is_problem:
            screen.line(
                f"         why: {one.why} [{one.rule}{', mended by fix' if one.change else ''}]", "dim"
            )
    for problem in seen.problems:
        screen.line(problem, "bold red")
    bad = len({(one.account.domain, one.account.sid) for one in seen.weaknesses if one.severity.is_problem})
    screen.note(f"{seen.accounts} privileged accounts, {bad} of them lack something")


def _seen(seen: "Seen") -> Mapping[str, Any]:
    return {
        "accounts": seen.accounts,
        "findings": [_weakness(one) for one in seen.weaknesses],
        "problems": list(seen.problems),
    }


def _weakness(one: "Weakness") -> Mapping[str, Any]:
    return {
        "account": one.account.name,
        "domain": one.account.domain,
        "sid": one.account.sid,
        "rule": one.rule,
        "severity": one.severity.value,
        "text": one.text,
        "why": one.why,
        "evidence": one.evidence,
        "remedy": one.remedy,
        "fix": one.change.value if one.change else "",
    }


def _mended(one: "Mended") -> Mapping[str, Any]:
    return {
        "account": one.account.name,
        "change": one.change.value,
        "done": not one.problem and not one.already,
        "problem": one.problem,
    }


@contextmanager
def _services(config: Path) -> Iterator["Services"]:
    from bastide.cli.server import open_services  # noqa: PLC0415  # loads the whole service

    with open_services(config) as services:
        yield services
