"""`bastide diagnose`: from a symptom to the first cause, with what to do about it. `activation ID`: of one request; any other name: of a host or system."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.remote import local
from bastide.cli.validate import STYLE
from bastide.clock import SystemClock
from bastide.config import DEFAULT_PATH, load
from bastide.domain.health import Finding, Severity, first_cause

if TYPE_CHECKING:
    from bastide.health.diagnose import Seen, Step
    from bastide.health.world import World

_ACTIVATION = "activation"


def add_to(app: typer.Typer) -> None:
    """Put `diagnose` on the root."""
    local(app, "diagnose", example="bastide diagnose dc1.priv.example.com")(diagnose)


def diagnose(
    screen: Screen,
    as_json: bool,
    what: Annotated[
        str,
        typer.Argument(
            metavar="[NODE|DC|TARGET]",
            help="A Bastide node, a domain controller or a connected system; or `activation`, and then a request's id.",
        ),
    ] = "",
    request: Annotated[
        str, typer.Argument(metavar="[REQUEST]", help="After `activation`: the request's id.")
    ] = "",
    windows: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            help="A node of a Windows failover cluster instead, with your ticket. A preview: not verified on Windows.",
        ),
    ] = "",
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings.")] = DEFAULT_PATH,
) -> None:
    """Walk from the name to the performance of a host or system, or along one activation, up to the first cause. Exit code 1 if one is found."""
    if windows:
        title, seen = _walk_windows(screen, what, windows, quiet=as_json)
    else:
        title, seen = _walk_here(screen, what, request, config, quiet=as_json)
    cause = first_cause([one.finding for one in seen])
    if as_json:
        _print_json(screen, title, seen, cause)
    elif cause is None:
        _say_none(screen, seen, request=bool(request))
    else:
        screen.line(f"cause: {cause.text}", "bold")
        if cause.remedy:
            screen.line(f"  -> {cause.remedy}")
    if cause is not None:
        raise typer.Exit(int(Exit.REFUSED))


def _walk_windows(screen: Screen, what: str, host: str, *, quiet: bool) -> tuple[str, "list[Seen]"]:
    """Without settings: the cluster stands beside the bastion."""
    from bastide.directory.network import RealNetwork  # noqa: PLC0415  # only here
    from bastide.health.windows import PsrpNode, steps  # noqa: PLC0415

    if what:
        raise Stop("--windows names the host", remedy="leave the other name out", status=Exit.USAGE)
    title = f"Windows failover cluster at {host} (preview: not verified on Windows)"
    return title, _walk(screen, title, steps(RealNetwork(), host, PsrpNode(host)), quiet=quiet)


def _walk_here(
    screen: Screen, what: str, request: str, config: Path, *, quiet: bool
) -> tuple[str, "list[Seen]"]:
    from bastide.health.opened import opened  # noqa: PLC0415  # SQLAlchemy takes its time

    if not what:
        raise Stop(
            "what is to be diagnosed?", remedy="name a node, a controller or a target", status=Exit.USAGE
        )
    if bool(request) != (what == _ACTIVATION):
        raise Stop(
            "`activation` and a request's id go together",
            remedy="`bastide diagnose activation ID`, or `bastide diagnose NAME`",
            status=Exit.USAGE,
        )
    with opened(load(config), config, SystemClock()) as world:
        title, steps = _steps(world, what, request)
        return title, _walk(screen, title, steps, quiet=quiet)


def _say_none(screen: Screen, seen: "list[Seen]", *, request: bool) -> None:
    """Of a request: that this is its normal state. What was skipped is no proof."""
    from bastide.health.activation import normal  # noqa: PLC0415  # SQLAlchemy takes its time

    skipped = sum(one.finding.severity is Severity.SKIPPED for one in seen)
    if request:
        screen.line(f"no cause was found: this is its normal state: {normal(seen)}", "green")
    elif skipped:
        screen.line(f"no cause was found; {skipped} of {len(seen)} steps were skipped, and prove nothing")
    else:
        screen.line("no cause was found: every step is as it should be", "green")
    for remedy in dict.fromkeys(one.finding.remedy for one in seen if one.finding.remedy):
        screen.line(f"  -> {remedy}")


def _steps(world: "World", what: str, request: str) -> "tuple[str, tuple[Step, ...]]":
    from bastide.health.activation import steps_of  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.health.diagnose import steps_for  # noqa: PLC0415

    return steps_of(world, request) if request else steps_for(world, what)


def _walk(screen: Screen, title: str, steps: "Iterable[Step]", *, quiet: bool) -> "list[Seen]":
    """Each step is shown as soon as it is done: the next one may take its time."""
    from bastide.health.diagnose import walk  # noqa: PLC0415  # SQLAlchemy takes its time

    if not quiet:
        screen.line(title, "bold")
    seen = []
    for one in walk(steps):
        seen.append(one)
        if not quiet:
            found = one.finding
            screen.line(f"{found.severity.value.upper():9} {one.title}: {found.text}", STYLE[found.severity])
            if found.evidence:
                screen.line(f"          {found.evidence}", "dim")
    return seen


def _print_json(screen: Screen, title: str, seen: "list[Seen]", cause: Finding | None) -> None:
    steps = [
        {
            "step": one.title,
            "severity": one.finding.severity.value,
            "text": one.finding.text,
            "evidence": one.finding.evidence,
            "remedy": one.finding.remedy,
        }
        for one in seen
    ]
    found = {"cause": "", "remedy": ""} if cause is None else {"cause": cause.text, "remedy": cause.remedy}
    screen.json({"subject": title, "steps": steps, **found})
