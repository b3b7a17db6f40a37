"""Monitoring, for administrators and auditors: how far each domain was read, what drifted there, what became of it; and what the commands do."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.approvals import REASON_LIMIT
from bastide.domain.drift import ACCEPTABLE, Action, Rule
from bastide.domain.errors import BastideError, InvalidInput
from bastide.domain.people import Forest
from bastide.domain.settled import End, Wanted
from bastide.http.handed import UseCases
from bastide.http.parts import shown
from bastide.portal import admin
from bastide.portal.admin import DO, MONITORING, READ, SAID
from bastide.portal.visits import Visit, Visited, see
from bastide.services.monitor.control import LOOKED_BACK, Control
from bastide.wiring import Services

#: Cards on a page.
MOST = 200
_STANDS, _OVER = "stands", "over"
_FILTERS = ("show", "forest", "rule")
_SHOWN = {_STANDS: "What stands", _OVER: "What is over"}
_ACTIONS = {
    Action.REPORT: "reported only",
    Action.REPAIR: "put right by Bastide, without an alert",
    Action.REPAIR_AND_ALERT: "put right by Bastide, with an alert",
}
_ENDS = {
    End.REPAIRED: "put right by Bastide, and read back",
    End.GONE: "not so any more, by somebody else's doing",
    End.ACCEPTED: "accepted",
}
_DONE = {
    "accepted": "Accepted: from now on that is what counts.",
    "paused": "Paused: no domain is read until it is resumed, and nobody is warned.",
    "resumed": "Resumed: each domain is read on from where it was.",
    "asked": "Asked for: a worker reads everything anew, and what differs is shown below.",
}


@get(MONITORING, opt=READ, sync_to_thread=True)
def show_monitoring(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The domains, and the drift that fits the filters."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    said = _filters(request.query_params)
    return _page(visit, said, done=_DONE.get(request.query_params.get("said", ""), ""))


@post(f"{MONITORING}/drift/{{drift:str}}/accept", opt=DO, sync_to_thread=True)
def accept_drift(drift: FromPath[str], visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """It is right as it is."""
    fields = visit.opened(body)
    try:
        _control(services).accept(visit.actor, drift, fields.get("reason", ""))
    except SAID as error:
        return _page(visit, _filters(fields), error, {**fields, "drift": drift})
    return _back(_filters(fields), "accepted")


@post(f"{MONITORING}/pause", opt=DO, sync_to_thread=True)
def pause_monitoring(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Read no domain until it is resumed."""
    return _turn(visit, services, body, on=False)


@post(f"{MONITORING}/resume", opt=DO, sync_to_thread=True)
def resume_monitoring(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Read on."""
    return _turn(visit, services, body, on=True)


@post(f"{MONITORING}/resync", opt=DO, sync_to_thread=True)
def resync_monitoring(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Read everything anew and compare."""
    visit.opened(body)
    try:
        _control(services).resync(visit.actor)
    except SAID as error:
        return _page(visit, _filters({}), error)
    return _back({}, "asked")


def _control(services: Services) -> Control:
    """Raises NotFound where nothing is monitored."""
    return shown(services.monitoring, "monitoring").control


def _turn(visit: Visit, services: Services, body: bytes, *, on: bool) -> Response[bytes]:
    fields = visit.opened(body)
    try:
        _control(services).turn(visit.actor, fields.get("reason", ""), on=on)
    except SAID as error:
        return _page(visit, _filters({}), error, {"turned": fields.get("reason", "")})
    return _back({}, "resumed" if on else "paused")


def _back(said: Mapping[str, str], done: str) -> Response[bytes]:
    kept = {name: value for name, value in said.items() if value}
    return see(f"{MONITORING}?{urlencode({**kept, 'said': done})}")


def _filters(said: Mapping[str, str]) -> dict[str, str]:
    return {name: said.get(name, "") for name in _FILTERS}


def _wanted(said: Mapping[str, str]) -> Wanted:
    """Raises InvalidInput."""
    if said["show"] not in {"", *_SHOWN}:
        raise InvalidInput("show", "is neither what stands nor what is over")
    try:
        rule = Rule(said["rule"]) if said["rule"] else None
        side = Forest(said["forest"]) if said["forest"] else None
    except ValueError:
        raise InvalidInput("filter", "is none of the choices", remedy="open the page anew") from None
    return Wanted(rule, side)


def _page(
    visit: Visit,
    said: dict[str, str],
    error: BastideError | None = None,
    fields: Mapping[str, str] | None = None,
    done: str = "",
) -> Response[bytes]:
    control = _control(visit.services)
    try:
        wanted = _wanted(said)
    except SAID as refused:
        error, said, wanted = refused, _filters({}), Wanted()
    is_over = said["show"] == _OVER
    found = control.settled(visit.actor, wanted, MOST) if is_over else control.drift(visit.actor, wanted)
    return admin.page(
        visit,
        "monitoring.html",
        MONITORING,
        error,
        done=done,
        fields=fields or {},
        said=said,
        status=control.status(visit.actor),
        found=found[:MOST],
        total=len(found),
        most=MOST,
        is_over=is_over,
        back=LOOKED_BACK.days,
        choices=_choices(),
        actions=_ACTIONS,
        ends=_ENDS,
        acceptable=ACCEPTABLE,
        limits={"reason": REASON_LIMIT},
    )


def _choices() -> dict[str, list[tuple[str, str]]]:
    return {
        "show": list(_SHOWN.items()),
        "forest": [("", "Both"), *((one.value, one.value.upper()) for one in Forest)],
        "rule": [("", "All"), *((one.value, one.value) for one in Rule)],
    }


HANDLERS = [show_monitoring, accept_drift, pause_monitoring, resume_monitoring, resync_monitoring]
