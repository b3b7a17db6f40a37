"""Alerts, for administrators and auditors: what rules found, who has it in hand, the rules, and how each destination does."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.alerts import COUNTED, NOTE_LIMIT, State
from bastide.domain.errors import BastideError, InvalidInput, TargetUnavailable
from bastide.http.handed import UseCases
from bastide.http.parts import shown
from bastide.portal import admin
from bastide.portal.admin import ALERT_RULES, ALERTS, DO, READ, SAID
from bastide.portal.visits import Visit, Visited, see
from bastide.services.alerts.desk import Desk
from bastide.wiring import Services

#: Cards on a page.
MOST = 200
_STANDING = (State.OPEN, State.ACKNOWLEDGED)
_ESCALATED = "escalated"
#: What is shown, by the word in the address.
_SHOWN: Mapping[str, tuple[str, tuple[State, ...]]] = {
    "": ("Open and acknowledged", _STANDING),
    State.OPEN.value: ("Open", (State.OPEN,)),
    State.ACKNOWLEDGED.value: ("Acknowledged", (State.ACKNOWLEDGED,)),
    _ESCALATED: ("Escalated, and not over", _STANDING),
    State.OVER.value: ("Over", (State.OVER,)),
}
_ACKNOWLEDGED = "acknowledged"
_TESTED = "tested"


@get(ALERTS, opt=READ, sync_to_thread=True)
def show_alerts(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The newest first."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    done = "Acknowledged: you have it in hand." if request.query_params.get("said") == _ACKNOWLEDGED else ""
    return _alerts(visit, request.query_params.get("show", ""), done=done)


@post(f"{ALERTS}/{{alert_id:str}}/acknowledge", opt=DO, sync_to_thread=True)
def acknowledge(
    alert_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody
) -> Response[bytes]:
    """The caller has it in hand."""
    fields = visit.opened(body)
    show = fields.get("show", "")
    try:
        _desk(services).acknowledge(visit.actor, alert_id, fields.get("note", ""))
    except SAID as error:
        return _alerts(visit, show, error, {**fields, "alert": alert_id})
    kept = {"show": show} if show in _SHOWN and show else {}
    return see(f"{ALERTS}?{urlencode({**kept, 'said': _ACKNOWLEDGED})}")


@get(ALERT_RULES, opt=READ, sync_to_thread=True)
def show_alert_rules(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The rules that count, and where alerts go."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    done = "The destination took the test." if request.query_params.get("said") == _TESTED else ""
    return _rules(visit, done=done)


@post(f"{ALERT_RULES}/test", opt=DO, sync_to_thread=True)
def run_alert_test(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """One alert that is none, now."""
    fields = visit.opened(body)
    try:
        _desk(services).test(visit.actor, fields.get("destination", ""))
    except (*SAID, TargetUnavailable) as error:
        return _rules(visit, error)
    return see(f"{ALERT_RULES}?said={_TESTED}")


def _desk(services: Services) -> Desk:
    """Raises NotFound where there are no alerts."""
    return shown(services.alerts, "alerts").desk


def _alerts(
    visit: Visit,
    show: str,
    error: BastideError | None = None,
    fields: Mapping[str, str] | None = None,
    done: str = "",
) -> Response[bytes]:
    desk = _desk(visit.services)
    if show not in _SHOWN:
        show, error = "", error or InvalidInput("show", "is none of the choices", remedy="open the page anew")
    _, states = _SHOWN[show]
    found = desk.list(visit.actor, states, MOST, escalated=show == _ESCALATED)
    return admin.page(
        visit,
        "alerts.html",
        ALERTS,
        error,
        done=done,
        fields=fields or {},
        show=show,
        shown=[(word, called) for word, (called, _) in _SHOWN.items()],
        found=found,
        most=MOST,
        limits={"note": NOTE_LIMIT},
    )


def _rules(visit: Visit, error: BastideError | None = None, done: str = "") -> Response[bytes]:
    desk = _desk(visit.services)
    return admin.page(
        visit,
        "alert_rules.html",
        ALERT_RULES,
        error,
        done=done,
        rules=desk.rules(visit.actor),
        destinations=desk.destinations(visit.actor),
        counted=COUNTED,
    )


HANDLERS = [show_alerts, acknowledge, show_alert_rules, run_alert_test]
