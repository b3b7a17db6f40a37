"""`bastide audit`: read what happened, prove that it is whole, take it away, ask who had what."""

import json
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from bastide.audit.export import from_json, syslog_message
from bastide.cli.console import Column
from bastide.cli.exits import Exit, Stop
from bastide.cli.remote import Call, remote
from bastide.cli.text import moment, when
from bastide.config import DEFAULT_PATH, load
from bastide.domain.roles import length

app = typer.Typer(help="The audit: read it, verify it, export it.", no_args_is_help=True)

Since = Annotated[str, typer.Option(metavar="TIME", help="From 2026-03-01 or 2026-03-01T22:00 (UTC) on.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="Before that moment.")]
_LOOK = 2.0

_COLUMNS: list[Column] = [
    ("SEQ", lambda r: r.get("seq")),
    ("AT", lambda r: when(r.get("at"))),
    ("EVENT", lambda r: r.get("kind")),
    ("ACTOR", lambda r: r.get("actor_name")),
    ("SUBJECT", lambda r: r.get("subject_name")),
    ("REQUEST", lambda r: r.get("request")),
    ("DATA", lambda r: json.dumps(r.get("data") or {}, ensure_ascii=False)),
]


@remote(app, "tail", example="bastide audit tail --limit 20 --follow")
def tail(
    call: Call,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes; Ctrl-C ends it.")
    ] = False,
) -> None:
    """The newest records."""
    answer = call.client.get("/audit", limit=limit, newest=True)
    call.table(answer, _COLUMNS, empty="no records")
    last = max((int(record.get("seq", 0)) for record in answer.items), default=0)
    while follow:
        call.world.sleep(_LOOK)
        answer = call.client.get("/audit", after_seq=last, limit=1000)
        if answer.items:
            call.table(answer, _COLUMNS, empty="")
            last = max(int(record.get("seq", 0)) for record in answer.items)


@remote(app, "show", example="bastide audit show --person priv.alice --since 2026-03-01")
def show(
    call: Call,
    person: Annotated[
        str, typer.Option(metavar="WHO", help="Who did it or whom it concerned: name or SID.")
    ] = "",
    kind: Annotated[str, typer.Option(metavar="EVENT", help="This event, as in request.active.")] = "",
    request: Annotated[str, typer.Option(metavar="ID", help="This request.")] = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 1000,
) -> None:
    """Records that match, oldest first."""
    answer = call.client.get(
        "/audit",
        person=person,
        kind=kind,
        request=request,
        since=_moment(call, since),
        until=_moment(call, until),
        limit=limit,
    )
    call.table(answer, _COLUMNS, empty="no records match")


def _moment(call: Call, text: str) -> str:
    return moment(text, call.world.now()) if text else ""


@remote(app, "verify", example="bastide audit verify --local")
def verify(
    call: Call,
    on_server: Annotated[
        bool, typer.Option("--local", help="On the server itself, by the database: no sign-in, no API.")
    ] = False,
    config: Annotated[Path, typer.Option(help="With --local: the settings.")] = DEFAULT_PATH,
) -> None:
    """Check every record and every signed checkpoint. Exit code 1 if the chain is broken."""
    if on_server:
        verdict = _verify_here(config)
        if call.as_json:
            call.screen.json(verdict)
        else:
            _print(call, verdict)
        return
    call.show(call.client.get("/audit/verification"), lambda verdict: _print(call, verdict))


def _verify_here(config: Path) -> dict[str, Any]:
    from bastide.cli.server import open_services  # noqa: PLC0415  # loads the whole service
    from bastide.wiring.database import shown  # noqa: PLC0415

    with open_services(config) as services:
        found = services.audit.verify_chain()
    database = shown(load(config))
    return {
        "database": database,
        "seq": found.seq,
        "head": found.head,
        "checkpoints": found.checkpoints,
        "signed": found.signed,
    }


def _print(call: Call, verdict: Mapping[str, Any]) -> None:
    if verdict.get("database"):
        call.screen.fields([("Database", verdict["database"])])
    if not verdict.get("seq"):
        call.screen.line(
            "The audit has 0 records: there is nothing to verify. Is this the right database?", "yellow"
        )
        return
    signed = (
        f"{_count(verdict['checkpoints'], 'signed checkpoint')}, signed up to record {verdict.get('signed')}"
        if verdict.get("checkpoints")
        else "none signed yet: the service signs the end every audit.checkpoint_minutes"
    )
    call.screen.line(f"The audit is whole: {_count(verdict.get('seq'), 'record')}, {signed}.", "green")
    call.screen.fields([("Head", verdict.get("head"))])


def _count(number: object, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@remote(app, "status", example="bastide audit status")
def status(call: Call) -> None:
    """How long the chain is, what of it is signed, and when it was proved whole last. It is not read: `verify` does that."""

    def say(chain: Mapping[str, Any]) -> None:
        proved, signed = when(chain.get("proved_at")), when(chain.get("signed_at"))
        call.screen.fields(
            [
                ("Records", chain.get("seq")),
                ("Head", chain.get("head")),
                ("Signed", f"up to record {chain.get('signed')}, {signed}" if signed else "none yet"),
                ("Proved whole", f"{proved} by {chain.get('proved_by')}" if proved else "never"),
            ]
        )

    call.show(call.client.get("/audit/status"), say)


@remote(app, "activity", example="bastide audit activity --since 2026-03-01")
def activity(call: Call, since: Since = "", until: Until = "") -> None:
    """How often each role was used and at which hours, how requests ended, how long approval took, what ends soon. The last 30 days, unless it is said."""
    answer = call.client.get("/audit/activity", since=_moment(call, since), until=_moment(call, until))
    call.show(answer, lambda found: _activity(call, found))


def _activity(call: Call, found: Mapping[str, Any]) -> None:
    call.screen.line(f"{when(found.get('since'))} to {when(found.get('until'))}")
    for title, columns, rows, empty in (
        ("Activations", ("role", "hour", "count"), found.get("activations"), "nothing was activated"),
        ("How requests are", ("role", "state", "count"), found.get("outcomes"), "nothing was asked for"),
        ("Time to approval", ("waited", "count"), _waited(found.get("approval"), "less than"), ""),
        ("Active access ends", ("ends", "count"), _waited(found.get("ending"), "within", "ends"), ""),
    ):
        call.screen.line(f"\n{title}", "bold")
        shown: list[Column] = [(name.upper(), itemgetter(name)) for name in columns]
        call.screen.table(shown, rows or [], empty=empty)


def _waited(steps: Any, below: str, name: str = "waited") -> list[dict[str, Any]]:
    """The steps in words: 15m, 1h, 1d."""
    return [{name: _step(one["below_seconds"], below), "count": one["count"]} for one in steps or []]


def _step(seconds: int | None, below: str) -> str:
    return "longer" if seconds is None else f"{below} {length(timedelta(seconds=seconds))}"


@remote(app, "export", example="bastide audit export --to audit.jsonl")
def export(
    call: Call,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A new file, mode 0600. Default: standard output.")
    ] = None,
    syslog: Annotated[bool, typer.Option("--syslog", help="RFC 5424 messages instead of JSON.")] = False,
) -> None:
    """All records, one JSON object (or syslog message) a line, oldest first."""
    lines = call.client.lines("/audit/export")
    if syslog:
        host = socket.gethostname()
        lines = (syslog_message(from_json(line), host).decode() for line in lines)
    if to is None:
        for line in lines:
            call.screen.raw_json(line)
        return
    number = 0
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Stop(
            f"{to}: {error.strerror}", remedy="name a file that does not exist", status=Exit.USAGE
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(f"{line}\n")
            number += 1
    call.screen.note(f"{number} records in {to}")


@remote(app, "who", example="bastide audit who --group PAM-FileAdmins --since 2026-03-01")
def who(
    call: Call,
    person: Annotated[str, typer.Option(metavar="WHO", help="This PAM user.")] = "",
    group: Annotated[str, typer.Option(metavar="GROUP", help="This PAM group.")] = "",
    role: Annotated[str, typer.Option(metavar="ROLE", help="By this role.")] = "",
    since: Since = "",
    until: Until = "",
) -> None:
    """Who held which PAM group, from when to when, with the true end of access. With `--json` also why."""
    columns: list[Column] = [
        ("PERSON", lambda h: h.get("person")),
        ("GROUP", lambda h: h.get("group")),
        ("ROLE", lambda h: h.get("role")),
        ("FROM", lambda h: when(h.get("since"))),
        ("TO", lambda h: when(h.get("until")) or "still"),
        ("TRUE END", lambda h: when(h.get("true_end"))),
        ("REQUEST", lambda h: h.get("request")),
    ]
    answer = call.client.get(
        "/audit/holders",
        person=person,
        group=group,
        role=role,
        since=_moment(call, since),
        until=_moment(call, until),
    )
    call.table(answer, columns, empty="nobody")
