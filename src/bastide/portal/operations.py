"""The kill switch, the directory as it was found, and the work of the nodes."""

from collections.abc import Mapping
from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import RawBody

from bastide.domain.errors import BastideError, InvalidInput
from bastide.domain.health import Finding
from bastide.domain.people import Forest, Right
from bastide.domain.requests import Request
from bastide.http.handed import UseCases
from bastide.portal import admin
from bastide.portal.admin import DIRECTORY, DO, KILL, SAID, SEE, WORK
from bastide.portal.visits import Visit, Visited, see
from bastide.services.requests import REASON_LIMIT

_KINDS = {"user": "one person", "role": "one role", "request": "one request", "all": "everybody"}
_EVERYTHING = "everything"
#: The kinds of durable work, as people call them (services/pace.py).
_WORK = {
    "account": "Open and end access",
    "link": "Links of groups in CORP",
    "checkpoint": "Sign the audit",
    "export": "Send the audit on",
    "import": "Read connected systems",
    "watch": "Watch domain controllers",
    "break-glass": "Watch emergency accounts",
    "mark": "Follow restores",
    "password": "Deliver passwords",
    "help-desk": "Tell people what the help desk did, by mail",
    "help-desk-text": "Tell people what the help desk did, by telephone",
    "reset": "Send codes of resets by mail",
    "reset-text": "Send codes of resets to telephones",
}


@get(KILL, opt=SEE, sync_to_thread=True)
def show_kill(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """Whose access is to end, and why. A link may say whose; it ends nothing."""
    if (asked := admin.lacking(request, visit, Right.ADMINISTER)) is not None:
        return asked
    kind = next((kind for kind in _KINDS if kind in request.query_params), "user")
    ended = request.query_params.get("ended", "")
    done = f"The end of {ended} was asked for. It is over when the pages say so." if ended.isdecimal() else ""
    return _form(visit, {"kind": kind, "which": request.query_params.get(kind, "")}, done=done)


@post(KILL, opt=DO, sync_to_thread=True)
def kill(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Look at what would end, or end what was looked at, with a word typed that names it."""
    fields = visit.opened(body)
    if fields.get("step") == "back":
        return _form(visit, fields)
    try:
        criteria, reason = _criteria(fields), fields.get("reason", "")
        found = services.requests.kill(visit.actor, reason, **criteria, dry_run=True)
        if fields.get("step") != "kill":
            return _preview(visit, fields, found)
    except SAID as error:
        return _form(visit, fields, error)
    try:
        admin.confirmed(fields, _word(fields, found))
        ended = services.requests.kill(visit.actor, reason, **criteria)
    except SAID as error:
        return _preview(visit, fields, found, error)
    return see(f"{KILL}?ended={len(ended)}")


@get(DIRECTORY, opt=SEE, sync_to_thread=True)
def show_directory(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """What the forests proved to be able to do."""
    return admin.lacking(request, visit, Right.ADMINISTER) or _directory(visit)


@post(DIRECTORY, opt=DO, sync_to_thread=True)
def test_directory(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """The tests of the trust and of each domain. They change nothing."""
    visit.opened(body)
    probes = services.probes
    try:
        tested = [("The trust", probes.trust(visit.actor))]
        tested += [
            (f"Domain {forest.value.upper()}", probes.domain(visit.actor, forest))
            for forest in services.forests
        ]
    except SAID as error:
        return _directory(visit, error=error)
    return _directory(visit, tested)


@get(WORK, opt=SEE, sync_to_thread=True)
def show_work(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """What the workers have to do, what goes wrong, and which nodes there are."""
    if (asked := admin.lacking(request, visit, Right.ADMINISTER)) is not None:
        return asked
    report, nodes = services.reports.work(visit.actor), services.nodes.overview(visit.actor)
    envelopes = services.break_glass.accounts.seen(visit.actor)
    return admin.page(
        visit, "work.html", WORK, report=report, overview=nodes, envelopes=envelopes, called=_WORK
    )


def _criteria(fields: Mapping[str, str]) -> dict[str, Any]:
    """As the use case takes them. Raises InvalidInput."""
    kind, which = fields.get("kind", ""), fields.get("which", "").strip()
    if kind not in _KINDS:
        raise InvalidInput("what to end", "is none of the choices")
    if kind == "all":
        return {"everything": True}
    if not which:
        raise InvalidInput("which", "must not be empty", remedy=f"name {_KINDS[kind]}, by its name or id")
    return {kind: which}


def _word(fields: Mapping[str, str], found: tuple[Request, ...]) -> str:
    """What is typed to confirm: the name of what is meant, as it is known here."""
    if fields.get("kind") == "all" or not found:
        return _EVERYTHING
    return found[0].role_name if fields.get("kind") == "role" else found[0].user_name


def _form(
    visit: Visit, fields: Mapping[str, str], error: BastideError | None = None, done: str = ""
) -> Response[bytes]:
    return admin.page(
        visit,
        "kill.html",
        KILL,
        error,
        done=done,
        fields=fields,
        kinds=_KINDS,
        roles=[role.name for role in visit.services.roles.all(visit.actor)],
        limits={"reason": REASON_LIMIT},
    )


def _preview(
    visit: Visit, fields: Mapping[str, str], found: tuple[Request, ...], error: BastideError | None = None
) -> Response[bytes]:
    return admin.page(
        visit,
        "kill_preview.html",
        KILL,
        error,
        kept={name: fields.get(name, "") for name in ("kind", "which", "reason")},
        found=found,
        word=_word(fields, found),
    )


def _directory(
    visit: Visit,
    tested: list[tuple[str, tuple[Finding, ...]]] | None = None,
    error: BastideError | None = None,
) -> Response[bytes]:
    return admin.page(
        visit,
        "directory.html",
        DIRECTORY,
        error,
        seen=visit.services.probes.seen(visit.actor),
        corp=Forest.CORP in visit.services.forests,
        tested=tested,
    )


HANDLERS = [show_kill, kill, show_directory, test_directory, show_work]
