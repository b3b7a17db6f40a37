"""`bastide review`: access reviews, for who plans them, who decides, and who takes the signed result away."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask
from bastide.cli.console import Column
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.report_tables import keep
from bastide.cli.text import moment, seconds, when
from bastide.domain.reviews import Verdict

_CREATE = (
    "bastide review create \"Winter\" --fallback 'PRIV\\Auditors' --silence remove --for 14d --every-months 6"
)
app = commands(
    "Access reviews: somebody else looks at who may ask for what, and says keep or remove.",
    ("plan one, for each person's own manager", _CREATE),
    ("what is mine to decide", "bastide review list --mine"),
    ("decide a line", 'bastide review decide REVIEW LINE remove --reason "left the team"'),
    ("when it is closed, take the signed result away", "bastide review export REVIEW --out winter.json"),
)

Id = Annotated[str, typer.Argument(metavar="REVIEW", help="The review's id.")]

_REVIEWS: list[Column] = [
    ("ID", lambda r: r.get("id")),
    ("NAME", lambda r: r.get("name")),
    ("STATE", lambda r: r.get("state")),
    ("REVIEWER", lambda r: r.get("reviewer") or "each person's manager"),
    ("ON SILENCE", lambda r: r.get("silence")),
    ("FROM", lambda r: when(r.get("opens_at"))),
    ("TO", lambda r: when(r.get("ended_at") or r.get("closes_at"))),
]
_LINES: list[Column] = [
    ("LINE", lambda r: r.get("id")),
    ("PERSON", lambda r: r.get("person")),
    ("ROLE", lambda r: r.get("role")),
    ("CANDIDATE", lambda r: [*(["by name"] if r.get("direct") else []), *(r.get("through") or [])]),
    ("USED", lambda r: r["usage"]["used"]),
    ("LAST USED", lambda r: when(r["usage"]["last_used"]) or "never"),
    ("WHY", lambda r: r["usage"]["reasons"]),
    ("APPROVED BY", lambda r: r["usage"]["approved_by"]),
    ("REVIEWER", lambda r: r.get("reviewer") or "an administrator"),
    ("DECIDED", lambda r: f"{r['verdict']} by {r['decided_by']}" if r.get("verdict") else ""),
    (
        "OUTCOME",
        lambda r: f"{r['outcome']}{': ' + r['said'] if r.get('said') else ''}" if r.get("outcome") else "",
    ),
]


@remote(app, "create", example=_CREATE)
def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people know it by.")],
    fallback: Annotated[
        str,
        typer.Option(metavar="FOREST\\WHO", help="Who reviews where nobody else can: a person or a group."),
    ],
    silence: Annotated[
        Verdict, typer.Option(help="What is done where nobody decides: keep or remove. Reviewers see it.")
    ],
    roles: Annotated[
        list[str] | None, typer.Option("--role", metavar="ROLE", help="Only this role. May be repeated.")
    ] = None,
    reviewer: Annotated[
        str, typer.Option(metavar="FOREST\\WHO", help="Who reviews. Default: each person's own manager.")
    ] = "",
    opens: Annotated[str, typer.Option("--from", metavar="TIME", help="When it begins. Default: now.")] = "",
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it takes decisions.")] = "14d",
    remind: Annotated[str, typer.Option(metavar="TIME", help="Reviewers are reminded so often.")] = "3d",
    lookback: Annotated[str, typer.Option(metavar="TIME", help="How far back evidence goes.")] = "90d",
    every_days: Annotated[
        int, typer.Option(min=0, metavar="N", help="It comes back after so many days.")
    ] = 0,
    every_months: Annotated[
        int, typer.Option(min=0, metavar="N", help="It comes back after so many months.")
    ] = 0,
) -> None:
    """Plan a review. It begins, reminds and ends by itself, and does at its end what was decided."""
    body = {
        "name": name,
        "roles": roles or [],
        "reviewer": reviewer,
        "fallback": fallback,
        "silence": silence.value,
        "opens_at": moment(opens, call.world.now()) if opens else None,
        "lasts_seconds": seconds(lasts),
        "remind_seconds": seconds(remind),
        "lookback_seconds": seconds(lookback),
        "every_days": every_days,
        "every_months": every_months,
    }
    answer = call.client.post("/reviews", body)
    call.done(answer, f"review {answer.fields.get('id')} runs to {when(answer.fields.get('closes_at'))}")


@remote(app, "list", example="bastide review list --mine")
def listing(
    call: Call,
    mine: Annotated[bool, typer.Option("--mine", help="Only what is mine to decide, line by line.")] = False,
) -> None:
    """All reviews, the latest first; or what is mine."""
    if not mine:
        call.table(call.client.get("/reviews"), _REVIEWS, empty="no reviews: bastide review create")
        return
    answer = call.client.get("/me/reviews")
    if call.as_json:
        call.screen.raw_json(answer.text)
        return
    for review in answer.items:
        _print(call, review)
    if not answer.items:
        call.screen.note("nothing is yours to review")


@remote(app, "show", example="bastide review show 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def show(call: Call, review: Id) -> None:
    """One review with all its lines."""
    call.show(call.client.get(f"/reviews/{quote(review, safe='')}"), lambda found: _print(call, found))


@remote(
    app,
    "decide",
    example='bastide review decide 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11 0b6a5d0d-5d11-4f0e-9f64-6f9c1a526c1e remove --reason "left"',
)
def decide(
    call: Call,
    review: Id,
    line: Annotated[str, typer.Argument(metavar="LINE", help="The line's id.")],
    verdict: Annotated[Verdict, typer.Argument(metavar="VERDICT", help="keep or remove.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit. Taking away needs one.")] = "",
) -> None:
    """Say keep or remove of a line that is yours. Asks for your second factor. It can be changed until the review ends."""
    path = f"/reviews/{quote(review, safe='')}/lines/{quote(line, safe='')}"
    answer = call.client.post(path, {"verdict": verdict.value, "reason": reason})
    call.done(
        answer,
        f"{answer.fields.get('person')}, {answer.fields.get('role')}: {verdict.value} when the review ends",
    )


@remote(app, "close", example="bastide review close 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def close(
    call: Call, review: Id, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """End a review now. What nobody decided goes by what it said of silence; a role that is left without candidates by it is switched off."""
    path = f"/reviews/{quote(review, safe='')}"
    shown = call.client.get(path).fields
    left = sum(not line["verdict"] for line in shown.get("lines", ()))
    off = (
        " A role that is left without candidates is switched off." if shown.get("silence") == "remove" else ""
    )
    said = "1 line is" if left == 1 else f"{left} lines are"
    ask.confirm(f"End {shown.get('name')}? {said} not decided: {shown.get('silence')}.{off}", yes=yes)
    call.done(
        call.client.post(f"{path}/end"),
        "ended; what was decided is being done: `bastide review show` says what",
    )


@remote(app, "cancel", example="bastide review cancel 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def cancel(
    call: Call, review: Id, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Cancel a review that did not begin. One that comes back does so no more."""
    path = f"/reviews/{quote(review, safe='')}"
    ask.confirm(f"Cancel {call.client.get(path).fields.get('name')}? It comes back no more.", yes=yes)
    call.done(call.client.post(f"{path}/cancel"), "cancelled: it does not begin, and comes back no more")


@remote(app, "export", example="bastide review export 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11 --out winter.json")
def export(
    call: Call,
    review: Id,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Mode 0600. Default: standard output.")
    ] = None,
) -> None:
    """The signed result of a review that is closed: every line, what was decided by whom, and what became of it. It is checked first."""
    answer = call.client.get(f"/reviews/{quote(review, safe='')}/result")
    if out is None:
        call.screen.raw_json(answer.text)
        return
    keep(out, answer.text)
    call.screen.note(f"the signed result is in {out}")


def _print(call: Call, review: Mapping[str, Any]) -> None:
    call.screen.line(
        f"{review['name']} ({review['id']}): {review['state']}, to {when(review.get('ended_at') or review['closes_at'])}",
        "bold",
    )
    call.screen.line(f"Where nobody decides: {review['silence']}.")
    for note in review["notes"]:
        call.screen.note(f"not found out: {note}", "yellow")
    call.screen.table(_LINES, review["lines"], empty="no lines yet")
