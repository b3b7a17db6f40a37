"""`bastide request`: ask for a role, look, extend, end."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli.console import Column
from bastide.cli.exits import Stop, by_option, with_remedy
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import moment, one_line, seconds, span, when

if TYPE_CHECKING:
    from bastide.cli.client import Answer

app = commands(
    "Ask for a role, look at it, extend it, end it.",
    ("see which roles there are for you", "bastide offers"),
    ("ask for one, and wait until it is open", 'bastide request new "File administrator" --for 30m --wait'),
    ("see until when you have it", "bastide request list"),
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The request's id.")]
#: Which option gives a field.
_OPTIONS = MappingProxyType(
    {"ttl": "--for", "start_at": "--start", "justification": "--justification", "ticket": "--ticket"}
)
_FIRST_LOOK, _LONGEST_LOOK = 0.2, 2.0
_OVER = {"Closed", "Expired", "Rejected", "Cancelled", "Failed"}

COLUMNS: list[Column] = [
    ("ID", lambda r: r.get("id")),
    ("ROLE", lambda r: r.get("role")),
    ("USER", lambda r: r.get("user")),
    ("STATE", lambda r: r.get("state")),
    ("ASKED", lambda r: when(r.get("created_at"))),
    ("ENDS", lambda r: when(r.get("ends_at"))),
    ("TRUE END", lambda r: when(r.get("true_end"))),
]


@remote(
    app, "new", example='bastide request new "File administrator" --for 30m --justification "INC-42" --wait'
)
def new(
    call: Call,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="The role, as `bastide offers` shows it.")],
    length: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="How long: 30m, 1h30m or seconds. Default: the role's."),
    ] = "",
    start: Annotated[str, typer.Option(metavar="TIME", help="When: 2026-03-01T22:00 (UTC) or +30m.")] = "",
    justification: Annotated[
        str, typer.Option("--justification", "-j", help="What you are going to do.")
    ] = "",
    ticket: Annotated[str, typer.Option(help="The ticket of the change or incident.")] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until access is there, and say when it ends.")
    ] = False,
) -> None:
    """Ask for a role. The second factor is asked for where it is needed."""
    body: dict[str, object] = {"role": role, "justification": justification, "ticket": ticket}
    if length:
        body["ttl_seconds"] = seconds(length)
    if start:
        body["start_at"] = moment(start, call.world.now())
    with by_option(_OPTIONS):
        answer = call.client.post("/requests", body)
    if answer.fields.get("state") == "PendingMFA":
        answer = _prove(call, answer.fields)
    if wait:
        _wait(call, answer.fields)
    else:
        call.show(answer, lambda request: _print(call, request))


@remote(app, "list", example="bastide request list --all --user priv.alice")
def listing(
    call: Call,
    everybody: Annotated[
        bool, typer.Option("--all", help="Everybody's (administrators and auditors), not only your own.")
    ] = False,
    user: Annotated[str, typer.Option(metavar="USER", help="With --all: of this PAM user only.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 100,
) -> None:
    """Requests, newest first."""
    if everybody or user:
        answer = call.client.get("/admin/requests", user=user, limit=limit)
    else:
        answer = call.client.get("/requests", limit=limit)
    call.table(answer, COLUMNS, empty="no requests")


@remote(app, "show", example="bastide request show 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def show(
    call: Call,
    id: Id,  # noqa: A002  # the argument's name on the command line
    wait: Annotated[bool, typer.Option("--wait", help="Wait until access is there or refused.")] = False,
) -> None:
    """One request, with its votes and its ends."""
    answer = call.client.get(f"/requests/{_segment(id)}")
    if wait:
        _wait(call, answer.fields)
    else:
        call.show(answer, lambda request: _print(call, request))


@remote(app, "prove", example="bastide request prove 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def prove(call: Call, id: Id) -> None:  # noqa: A002
    """Show the second factor for a request that waits for it."""
    answer = call.client.post(f"/requests/{_segment(id)}/mfa")
    call.show(answer, lambda request: _print(call, request))


@remote(app, "extend", example="bastide request extend 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11 --for 15m")
def extend(
    call: Call,
    id: Id,  # noqa: A002
    length: Annotated[str, typer.Option("--for", metavar="TIME", help="By how much: 15m or seconds.")],
) -> None:
    """End active access later, within what the role allows."""
    answer = call.client.post(f"/requests/{_segment(id)}/extension", {"seconds": seconds(length)})
    call.show(answer, lambda request: _print(call, request))


@remote(app, "close", example="bastide request close 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
def close(
    call: Call,
    id: Id,  # noqa: A002
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
) -> None:
    """End your access now, or withdraw what is not active yet."""
    answer = call.client.post(f"/requests/{_segment(id)}/close", {"reason": reason})
    call.show(answer, lambda request: _print(call, request))


def _segment(text: str) -> str:
    """A name as one part of a path: no slash in it leads elsewhere."""
    return quote(text, safe="")


def _path(request: Mapping[str, Any]) -> str:
    return f"/requests/{_segment(str(request.get('id')))}"


def _prove(call: Call, request: Mapping[str, Any]) -> "Answer":
    """The request is there whatever becomes of the code, so an error names it. Raises Stop."""
    try:
        return call.client.post(f"{_path(request)}/mfa")
    except Stop as stop:
        remedy = f"{stop.remedy}; {_left(request)}".removeprefix("; ")
        raise with_remedy(stop, remedy) from None
    except KeyboardInterrupt:
        call.screen.note(_left(request))
        raise


def _left(request: Mapping[str, Any]) -> str:
    id_ = request.get("id")
    return (
        f"request {id_} waits for your second factor: `bastide request prove {id_}` shows it, "
        f"`bastide request close {id_}` withdraws the request"
    )


def _wait(call: Call, request: Mapping[str, Any]) -> None:
    """Look again, less and less often, until it is active or over. Raises Stop if it will never be active."""
    look = _FIRST_LOOK
    answer = None
    with _spinner(call, request):
        while request.get("state") != "Active" and request.get("state") not in _OVER:
            if answer is not None:
                call.world.sleep(look)
                look = min(look * 1.3, _LONGEST_LOOK)
            answer = call.client.get(_path(request))
            request = answer.fields
    answer = answer or call.client.get(_path(request))
    if request.get("state") in _OVER:
        raise Stop(
            f"the request is {request.get('state')}: {request.get('reason') or 'no reason was given'}",
            raw=answer.text,
        )
    call.show(answer, lambda done: _print(call, done))


def _spinner(call: Call, request: Mapping[str, Any]) -> AbstractContextManager[object]:
    if not call.screen.interactive or call.as_json:
        return nullcontext()
    return call.screen.err.status(f"waiting for {one_line(request.get('role', 'the role'))}")


def _print(call: Call, request: Mapping[str, Any]) -> None:
    """All of a request, and what to do next."""
    call.screen.fields(
        (
            ("Request", request.get("id")),
            ("Role", request.get("role")),
            ("User", request.get("user")),
            ("State", request.get("state")),
            ("Asked", when(request.get("created_at"))),
            ("For", span(request.get("ttl_seconds"))),
            ("Starts", when(request.get("start_at"))),
            ("Justification", request.get("justification")),
            ("Ticket", request.get("ticket")),
            ("Reason", request.get("reason")),
            ("Active from", when(request.get("active_from"))),
            ("Ends", when(request.get("ends_at"))),
            ("To be extended to", when(request.get("extend_to"))),
            ("True end", when(request.get("true_end"))),
            (_ending(request), request.get("enforcer")),
            ("Without Bastide", _alone(request)),
            ("Approvals missing", [f"{n}: {c}" for n, c in (request.get("missing") or {}).items()]),
            ("Votes", [_vote(vote) for vote in request.get("votes") or []]),
        )
    )
    _next(call, request)


def _ending(request: Mapping[str, Any]) -> str:
    return "Ended by" if request.get("state") in _OVER else "Will be ended by"


def _alone(request: Mapping[str, Any]) -> str:
    """What the directory does by itself should Bastide stop now."""
    if request.get("state") != "Active":
        return ""
    end = request.get("directory_end")
    return f"the directory ends it by {when(end)}" if end else "it would stay until somebody takes it away"


def _vote(vote: Mapping[str, Any]) -> str:
    reason = f" ({vote.get('reason')})" if vote.get("reason") else ""
    return f"{vote.get('name')}: {vote.get('decision')}{reason}"


def _next(call: Call, request: Mapping[str, Any]) -> None:
    match request.get("state"):
        case "Active":
            true_end = request.get("true_end")
            last = f"is {when(true_end)}, when" if true_end else "is known when it was taken away:"
            call.screen.line(
                f"Access is there until {when(request.get('ends_at'))}; the true end of access {last} the last ticket is over.",
                "green",
            )
            call.screen.note("Get a fresh ticket (kinit) for your PRIV account to use it.")
        case "PendingMFA":
            call.screen.note(f"It waits for your second factor: bastide request prove {request.get('id')}")
        case "PendingApproval":
            call.screen.note("It waits for approval.")
        case _:
            return
