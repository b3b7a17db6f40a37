"""`bastide monitor`: what happens in the directories behind our back."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli.console import Column
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import when
from bastide.domain.drift import Rule
from bastide.domain.people import Forest

app = commands(
    "What happens in the directories behind Bastide's back: people who leave, members nobody asked for, changed permissions.",
    ("see how far they were read", "bastide monitor status"),
    ("see what nobody asked for", "bastide monitor drift"),
    ("see what became of it", "bastide monitor drift --over"),
    ("say that it is right as it is", 'bastide monitor accept DRIFT --reason "CHG-4711"'),
)
Reason = Annotated[str, typer.Option(help="Why. It stands in the audit.")]
_DOMAINS: list[Column] = [
    ("DOMAIN", lambda d: d.get("name")),
    ("CONTROLLER", lambda d: d.get("controller")),
    ("WATCHED", lambda d: d.get("watched")),
    ("LAST CHANGE", lambda d: when(d.get("changed_at"))),
    ("LAST LOOK", lambda d: when(d.get("looked_at"))),
    ("STATE", lambda d: "paused" if d.get("paused") else d.get("problem") or d.get("lags") or "read"),
]
_DRIFTS: list[Column] = [
    ("RULE", lambda d: d.get("rule")),
    ("DOMAIN", lambda d: d.get("domain")),
    ("SINCE", lambda d: when(d.get("found_at"))),
    ("OWNER", lambda d: d.get("owner")),
    ("WHAT", lambda d: d.get("reason")),
    ("REMEDY", lambda d: d.get("remedy")),
    ("NOT REPAIRED", lambda d: d.get("wrong")),
    ("DRIFT", lambda d: d.get("key")),
]
_OVER: list[Column] = [
    ("RULE", lambda d: d.get("rule")),
    ("DOMAIN", lambda d: d.get("domain")),
    ("SINCE", lambda d: when(d.get("found_at"))),
    ("OVER", lambda d: when(d.get("over_at"))),
    ("OWNER", lambda d: d.get("owner")),
    ("WHAT", lambda d: d.get("reason")),
    ("BECAME", lambda d: d.get("end")),
    ("BY", lambda d: d.get("by")),
    ("WHY", lambda d: d.get("said")),
]


@remote(app, "status", example="bastide monitor status")
def show_status(call: Call) -> None:
    """How far each domain was read, and how much drifted."""

    def render(status: Mapping[str, Any]) -> None:
        call.screen.table(_DOMAINS, status.get("domains") or [], empty="no domain was read yet")
        call.screen.fields([("Drift", status.get("drifts"))])

    call.show(call.client.get("/monitoring"), render)


@remote(app, "drift", example="bastide monitor drift --forest corp --rule other-member")
def list_drift(
    call: Call,
    over: Annotated[
        bool, typer.Option("--over", help="What is over instead: of the last 30 days, the newest 500.")
    ] = False,
    forest: Annotated[Forest | None, typer.Option(help="Of this domain only.")] = None,
    rule: Annotated[Rule | None, typer.Option(help="Of this kind only.")] = None,
) -> None:
    """What stands in the directories and nobody asked for, oldest first; or what became of it, newest first."""
    wanted = {"forest": "" if forest is None else forest.value, "rule": "" if rule is None else rule.value}
    if over:
        answer = call.client.get("/monitoring/drift/over", limit=500, **wanted)
        call.table(answer, _OVER, empty="nothing that fits was over within the last 30 days")
        return
    call.table(call.client.get("/monitoring/drift", **wanted), _DRIFTS, empty="nothing drifted")


@remote(app, "accept", example='bastide monitor accept corp-other-member-3f9a0c1b22de --reason "CHG-4711"')
def accept(
    call: Call,
    drift: Annotated[str, typer.Argument(metavar="DRIFT", help="As `bastide monitor drift` shows it.")],
    reason: Reason,
) -> None:
    """It is right as it is: from now on that is what counts."""
    answer = call.client.post(f"/monitoring/drift/{quote(drift, safe='')}/accept", {"reason": reason})
    call.done(answer, f"accepted: {answer.fields.get('reason')}")


@remote(app, "pause", example='bastide monitor pause --reason "moving the users, CHG-4711"')
def pause(call: Call, reason: Reason) -> None:
    """Read no domain until it is resumed. What happens meanwhile is found then; until then nobody is warned."""
    call.done(call.client.post("/monitoring/pause", {"reason": reason}), "paused")


@remote(app, "resume", example='bastide monitor resume --reason "done, CHG-4711"')
def resume(call: Call, reason: Reason) -> None:
    """Read on from where it was."""
    call.done(call.client.post("/monitoring/resume", {"reason": reason}), "resumed")


@remote(app, "resync", example="bastide monitor resync")
def resync(call: Call) -> None:
    """Read everything anew and compare it with what the changes said. A worker does it; `bastide monitor drift` shows what differed."""
    call.done(
        call.client.post("/monitoring/resync", {}), "asked for; `bastide monitor drift` shows what differs"
    )
