"""`bastide whoami`, `bastide offers`, `bastide token`, `bastide kill`, `bastide work`: commands without a noun of their own."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask, session
from bastide.cli.console import Column
from bastide.cli.exits import Exit, Stop
from bastide.cli.remote import Call, remote
from bastide.cli.request import COLUMNS
from bastide.cli.text import span, when

_CLOSING = "Closing"
#: The directory shows an end within a second or two; a few seconds are waited for it. Of so many requests at most, each look.
_LOOKS, _PAUSE, _LOOKED_AT = 10, 0.5, 50

work = typer.Typer(help="The durable work of the service.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Put the commands without a noun on the root."""
    remote(app, "whoami", example="bastide whoami --account 'CORP\\alice'")(whoami)
    remote(app, "offers", example="bastide offers")(offers)
    remote(app, "token", example="bastide token --minutes 30 --right use")(session.token)
    remote(app, "kill", example='bastide kill --role "File administrator" --reason "incident 42"')(kill)


def whoami(call: Call) -> None:
    """Who the server takes you for, and what you may do."""

    def render(me: Mapping[str, Any]) -> None:
        call.screen.fields(
            (
                ("Name", me.get("name")),
                ("SID", me.get("sid")),
                ("Forest", me.get("forest")),
                ("Signed in by", me.get("via")),
                ("Rights", me.get("rights")),
                ("After a code", me.get("rights_with_code")),
                ("PAM user", me.get("pam_user")),
            )
        )

    call.show(call.client.get("/whoami"), render)


_OFFERS: list[Column] = [
    ("ROLE", lambda o: o.get("name")),
    ("DESCRIPTION", lambda o: o.get("description")),
    (
        "FOR",
        lambda o: (
            f"{span(o['ttl']['default'])} (at most {span(o['ttl']['maximum'])})" if o.get("ttl") else ""
        ),
    ),
    ("APPROVAL", lambda o: bool(o.get("needs_approval"))),
    ("SECOND FACTOR", lambda o: bool(o.get("mfa"))),
    ("NOW", lambda o: o.get("why_not") or o.get("lacks") or "can be asked for"),
    ("OPENS", lambda o: when(o.get("opens_at"))),
    ("WINDOW", lambda o: o.get("window")),
]


def offers(call: Call) -> None:
    """Roles you may ask for, and why not now where that is so."""
    call.table(call.client.get("/offers"), _OFFERS, empty="you are a candidate of no role")


def kill(
    call: Call,
    reason: Annotated[str, typer.Option(help="Why, for the audit.")],
    request: Annotated[str, typer.Option(metavar="ID", help="This request.")] = "",
    role: Annotated[
        str, typer.Option(metavar="ROLE", help="All requests for this role; with --user, that person's.")
    ] = "",
    user: Annotated[str, typer.Option(metavar="USER", help="All requests of this PAM user.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All open requests of everybody.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """The kill switch: end all open requests that match. Tickets bought before live on until their true end."""
    if sum([bool(request), bool(role or user), everything]) != 1:
        raise Stop("say --request, or --role, or --user, or both of these, or --all", status=Exit.USAGE)
    what = request or " of ".join(filter(None, (role, user))) or "EVERYTHING"
    ask.confirm(f"End all open requests of {what}?", yes=yes)
    body = {"reason": reason, "request": request, "role": role, "user": user, "all": everything}
    rows = _read_back(call, call.client.post("/kill", body).items)
    if call.as_json:
        call.screen.json({"items": rows})
        return
    call.screen.table(COLUMNS, rows, empty="no open request matched")
    if left := sum(row.get("state") == _CLOSING for row in rows):
        call.screen.note(
            f"{left} are being taken away; when they truly end is known when that was read back: `bastide request list --all`"
        )


def _read_back(call: Call, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With their new ends, as soon as the directory shows that access is gone. Of what takes longer than a few seconds no end is claimed."""
    for number in range(_LOOKS):
        closing = [row for row in rows if row.get("state") == _CLOSING][:_LOOKED_AT]
        if not closing:
            break
        if number:
            call.world.sleep(_PAUSE)
        fresh = {
            row["id"]: call.client.get(f"/requests/{quote(str(row['id']), safe='')}").fields
            for row in closing
        }
        rows = [fresh.get(row.get("id"), row) for row in rows]
    return [
        {**row, "ends_at": None, "true_end": None} if row.get("state") == _CLOSING else row for row in rows
    ]


@remote(work, "list", example="bastide work list")
def work_list(call: Call) -> None:
    """What the workers have to do, when, and what went wrong the last time."""
    columns: list[Column] = [
        ("KIND", lambda w: w.get("kind")),
        ("KEY", lambda w: w.get("key")),
        ("DUE", lambda w: when(w.get("due"))),
        ("ATTEMPTS", lambda w: w.get("attempts")),
        ("OWNER", lambda w: w.get("owner")),
        ("PARTITION", lambda w: w.get("partition") or "(all)"),
        ("LEASE", lambda w: when(w.get("lease"))),
        ("ERROR", lambda w: w.get("error")),
    ]
    call.table(call.client.get("/work"), columns, empty="nothing to do")
