"""`bastide trust test` and `bastide domain test`: findings with severity, evidence and remedy."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bastide.cli.console import Screen
from bastide.cli.exits import Exit
from bastide.cli.remote import Call, remote
from bastide.domain.people import Forest

trust = typer.Typer(help="The trust between CORP and PRIV.", no_args_is_help=True)
domain = typer.Typer(help="The domains as Bastide needs them.", no_args_is_help=True)

_STYLE = {"ok": "green", "info": "", "warning": "yellow", "error": "bold red", "critical": "bold red"}
_BAD = {"error", "critical"}


@remote(trust, "test", example="bastide trust test --json")
def trust_test(call: Call) -> None:
    """Test the trust. Exit code 1 if anything is an error."""
    _run(call, "/directory/trust-tests")


@remote(domain, "test", example="bastide domain test")
def domain_test(
    call: Call,
    forest: Annotated[
        Forest | None, typer.Option(metavar="FOREST", help="Only this one: corp or priv.")
    ] = None,
) -> None:
    """Test the domains: DNS, ports, sign-in, clocks, capabilities, rights. Exit code 1 if anything is an error."""
    _run(call, "/directory/domain-tests", forest=forest)


def _run(call: Call, path: str, forest: Forest | None = None) -> None:
    answer = call.client.post(path, forest=forest)
    found = answer.items
    if call.as_json:
        call.screen.raw_json(answer.text)
    else:
        for finding in found:
            print_finding(call.screen, finding)
    if any(finding.get("severity") in _BAD for finding in found):
        raise typer.Exit(int(Exit.REFUSED))


def print_finding(screen: Screen, finding: Mapping[str, Any]) -> None:
    """Severity and what was found; evidence and remedy below."""
    severity = str(finding.get("severity", "info"))
    forest = f"{finding['forest'].upper()}: " if finding.get("forest") else ""
    screen.line(f"{severity.upper():9}{forest}{finding.get('text')}", _STYLE.get(severity, ""))
    if finding.get("evidence"):
        screen.line(f"         {finding['evidence']}", "dim")
    if finding.get("remedy"):
        screen.line(f"         -> {finding['remedy']}")
