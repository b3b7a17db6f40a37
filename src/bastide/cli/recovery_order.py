"""`bastide validate --recovery`: the order in which things are brought back, and which step is next."""

from collections.abc import Sequence
from pathlib import Path

import typer

from bastide.cli.console import Screen
from bastide.cli.exits import Exit
from bastide.cli.validate import print_result, run_all
from bastide.domain.health import together
from bastide.domain.recovery_order import ORDER, Stage, Standing, stages

_STYLES = {Standing.DONE: "green", Standing.NEXT: "bold red", Standing.LATER: "dim"}


def walk(screen: Screen, config: Path, *, as_json: bool) -> None:
    """Run what the steps need, and say which is next. Exit code 1 while one is."""
    from bastide.health.checks.recovery import AFTER_AN_OUTAGE  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.health.registry import CHECKS  # noqa: PLC0415

    wanted = frozenset().union(*(step.checks for step in ORDER))
    results = run_all(
        screen, [check for check in (*CHECKS, *AFTER_AN_OUTAGE) if check.id in wanted], config
    ).results
    found = stages(results)
    if as_json:
        screen.json([_shown(stage) for stage in found])
    else:
        _print(screen, found)
    if any(stage.standing is Standing.NEXT for stage in found):
        raise typer.Exit(int(Exit.REFUSED))


def _print(screen: Screen, found: Sequence[Stage]) -> None:
    for stage in found:
        screen.line(f"{stage.number}  {stage.standing.upper():5} {stage.step.title}", _STYLES[stage.standing])
        for one in together(stage.findings):
            print_result(screen, one)
        if stage.standing is Standing.NEXT:
            screen.line(f"          -> {stage.step.how}")
    if all(stage.standing is Standing.DONE for stage in found):
        screen.line("everything is back", "bold green")


def _shown(stage: Stage) -> dict[str, object]:
    return {
        "number": stage.number,
        "step": stage.step.title,
        "standing": stage.standing.value,
        "how": stage.step.how,
        "findings": [
            {
                "check": one.check, "subject": one.subject, "severity": one.severity.value, "text": one.text,
                "remedy": one.remedy,
            }
            for one in stage.findings
        ],
    }  # fmt: skip
