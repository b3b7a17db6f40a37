"""`bastide alert`: what rules found, and who has it in hand."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli.console import Column
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import span, when
from bastide.domain.alerts import COUNTED, State

app = commands(
    "Alerts: drift, emergency accounts, failing sign-ins, silent agents, unusual hours, and more.",
    ("see what nobody has in hand", "bastide alert list"),
    ("say that you have it", 'bastide alert acknowledge ID --note "looking at it"'),
    ("see what is watched, and where it goes", "bastide alert rules"),
    ("try a destination", "bastide alert test operations"),
)
Id = Annotated[str, typer.Argument(metavar="ALERT", help="Its id, as `bastide alert list` shows it.")]
_ALERTS: list[Column] = [
    ("SEVERITY", lambda a: a.get("severity")),
    ("STATE", lambda a: a.get("state")),
    ("TITLE", lambda a: a.get("title")),
    ("COUNT", lambda a: a.get("count")),
    ("FIRST", lambda a: when(a.get("first_at"))),
    ("LAST", lambda a: when(a.get("last_at"))),
    ("ID", lambda a: a.get("id")),
]
_RULES: list[Column] = [
    ("RULE", lambda r: r.get("name")),
    ("WATCHES", lambda r: r.get("signal")),
    ("SEVERITY", lambda r: r.get("severity") if r.get("enabled") else "off"),
    ("THRESHOLD", lambda r: r.get("threshold")),
    ("PER", lambda r: r.get("per") if r.get("signal") in COUNTED else ""),
    ("WINDOW", lambda r: span(r.get("window"))),
    ("TO", lambda r: ", ".join(r.get("to") or []) or "all"),
    (
        "ESCALATES",
        lambda r: (
            f"after {span(r.get('escalate_after'))}: {', '.join(r['escalate_to'])}"
            if r.get("escalate_after")
            else ""
        ),
    ),
]
_DESTINATIONS: list[Column] = [
    ("DESTINATION", lambda d: d.get("name")),
    ("TO", lambda d: "people" if d.get("people") else "a program"),
    ("WAITING", lambda d: d.get("waiting")),
    ("LAST TOLD", lambda d: when(d.get("told_at"))),
    ("FAILING SINCE", lambda d: when(d.get("failing_since"))),
    ("PROBLEM", lambda d: d.get("problem")),
]


@remote(app, "list", example="bastide alert list --state over --limit 20")
def list_alerts(
    call: Call,
    state: Annotated[
        State | None, typer.Option(help="Only these. Default: open and acknowledged ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many, the newest.")] = 100,
) -> None:
    """The alerts, newest first."""
    answer = call.client.get("/alerts", limit=limit, in_state="" if state is None else state.value)
    call.table(answer, _ALERTS, empty="there is no alert")


@remote(app, "show", example="bastide alert show 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def show_alert(call: Call, alert: Id) -> None:
    """One alert: what was found, how often, and who has it in hand."""
    call.show(call.client.get(_path(alert)), lambda one: _fields(call, one))


@remote(
    app,
    "acknowledge",
    example='bastide alert acknowledge 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11 --note "on it"',
)
def acknowledge_alert(
    call: Call,
    alert: Id,
    note: Annotated[str, typer.Option(help="What you are going to do about it.")] = "",
) -> None:
    """You have it in hand: it is not escalated any more. A state that goes on is counted in it; what happens again is a new alert."""
    answer = call.client.post(f"{_path(alert)}/acknowledge", {"note": note})
    call.done(answer, f"acknowledged: {answer.fields.get('title')}")


@remote(app, "rules", example="bastide alert rules")
def list_rules(call: Call) -> None:
    """What is watched, how it is judged, and where it goes; and how each destination does."""
    answer = call.client.get("/alert-rules")
    call.table(answer, _RULES, empty="there is no rule")
    if not call.as_json:
        call.screen.line("")
        call.table(call.client.get("/alert-destinations"), _DESTINATIONS, empty="there is no destination")


@remote(app, "test", example="bastide alert test operations")
def run_test(call: Call, destination: Annotated[str, typer.Argument(help="The destination's name.")]) -> None:
    """Send one alert that is none and say what came back. Exit code 1 or 3 if it was not taken."""
    call.client.wait_long()
    answer = call.client.post(f"/alert-destinations/{quote(destination, safe='')}/tests")
    call.done(answer, f"{destination} took the test")


def _path(alert: str) -> str:
    return f"/alerts/{quote(alert, safe='')}"


def _fields(call: Call, one: Mapping[str, Any]) -> None:
    call.screen.fields(
        (
            ("Alert", one.get("id")),
            ("Title", one.get("title")),
            ("Why", one.get("text")),
            ("Severity", one.get("severity")),
            ("Rule", one.get("rule")),
            ("State", one.get("state")),
            ("Count", one.get("count")),
            ("First", when(one.get("first_at"))),
            ("Last", when(one.get("last_at"))),
            ("Audit record", one.get("record") or "measured"),
            ("Escalated", when(one.get("escalated_at"))),
            ("Acknowledged", when(one.get("acknowledged_at"))),
            ("By", one.get("acknowledged_by")),
            ("Note", one.get("note")),
            ("Over", when(one.get("over_at"))),
            ("Because", one.get("over_because")),
        )
    )
