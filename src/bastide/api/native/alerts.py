"""Alerts: what rules found, who has it in hand, and how the destinations do."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from bastide.api.native.inputs import Body
from bastide.api.native.views import View
from bastide.domain.alerts import NOTE_LIMIT, Alert, Rule, State
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.http.parts import needed
from bastide.services.alerts.desk import Standing
from bastide.wiring import Services
from bastide.wiring.alerts import AlertServices

TAGS = ["alerts"]
_READ = needs(Right.ADMINISTER, also=Right.AUDIT)
_CHANGE = needs(Right.ADMINISTER)
_LISTED = 500
_PAGE = 100

Limit = Annotated[int, QueryParameter(ge=1, le=_LISTED, description="At most so many.")]
Wanted = Annotated[State | None, QueryParameter(description="Only these.")]


class AlertView(View, frozen=True, kw_only=True):
    """`record`: the number of the audit record that it came of; 0: a state that was measured."""

    id: str
    rule: str
    signal: str
    severity: str
    state: str
    title: str
    text: str
    subject: str
    subject_name: str
    first_at: datetime
    last_at: datetime
    count: int
    record: int
    escalated_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    note: str
    over_at: datetime | None
    over_because: str


class AlertsView(View, frozen=True, kw_only=True):
    items: list[AlertView]


class RuleView(View, frozen=True, kw_only=True):
    """`to` empty: all destinations. `window` and `escalate_after` in seconds; 0: never escalated."""

    name: str
    signal: str
    severity: str
    enabled: bool
    to: list[str]
    per: str
    threshold: int
    window: int
    escalate_after: int
    escalate_to: list[str]


class RulesView(View, frozen=True, kw_only=True):
    items: list[RuleView]


class DestinationView(View, frozen=True, kw_only=True):
    """`failing_since`: nothing was taken since. No view holds an address."""

    name: str
    people: bool
    waiting: int
    told_at: datetime | None
    failing_since: datetime | None
    problem: str


class DestinationsView(View, frozen=True, kw_only=True):
    items: list[DestinationView]


class Acknowledgement(Body, frozen=True, kw_only=True):
    """`note`: what the caller is going to do about it; may be empty."""

    note: Annotated[str, msgspec.Meta(max_length=NOTE_LIMIT)] = ""


class DestinationTested(View, frozen=True, kw_only=True):
    """The destination took the test."""

    name: str


def _alerts(services: Services) -> AlertServices:
    return needed(services.alerts, "alerts")


def _view(one: Alert) -> AlertView:
    return AlertView(
        id=one.id,
        rule=one.rule,
        signal=one.signal.value,
        severity=one.severity.value,
        state=one.state.value,
        title=one.title,
        text=one.text,
        subject=one.subject,
        subject_name=one.subject_name,
        first_at=one.first_at,
        last_at=one.last_at,
        count=one.count,
        record=one.record,
        escalated_at=one.escalated_at,
        acknowledged_at=one.acknowledged_at,
        acknowledged_by=one.acknowledged_by,
        note=one.note,
        over_at=one.over_at,
        over_because=one.over_because,
    )


def _rule(one: Rule) -> RuleView:
    return RuleView(
        name=one.name,
        signal=one.signal.value,
        severity=one.severity.value,
        enabled=one.enabled,
        to=sorted(one.to),
        per=one.per.value,
        threshold=one.threshold,
        window=int(one.window.total_seconds()),
        escalate_after=int(one.escalate_after.total_seconds()),
        escalate_to=sorted(one.escalate_to),
    )


def _destination(one: Standing) -> DestinationView:
    return DestinationView(
        name=one.name,
        people=one.people,
        waiting=one.waiting,
        told_at=one.told_at,
        failing_since=one.failing_since,
        problem=one.problem,
    )


@get("/alerts", opt=_READ, sync_to_thread=True, tags=TAGS, summary="The alerts")
def list_alerts(
    actor: Caller, services: UseCases, in_state: Wanted = None, limit: Limit = _PAGE
) -> AlertsView:
    """The newest first: without `in_state` those that are open or acknowledged."""
    states = [State.OPEN, State.ACKNOWLEDGED] if in_state is None else [in_state]
    return AlertsView(items=[_view(one) for one in _alerts(services).desk.list(actor, states, limit)])


@get("/alerts/{alert_id:str}", opt=_READ, sync_to_thread=True, tags=TAGS, summary="One alert")
def show_alert(actor: Caller, services: UseCases, alert_id: FromPath[str]) -> AlertView:
    """What was found, how often, who has it in hand."""
    return _view(_alerts(services).desk.show(actor, alert_id))


@post(
    "/alerts/{alert_id:str}/acknowledge",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Acknowledge an alert",
)
def acknowledge(
    actor: Caller, services: UseCases, alert_id: FromPath[str], data: JSONBody[Acknowledgement]
) -> AlertView:
    """The caller has it in hand: nobody else is told. One that is acknowledged or over already is a conflict."""
    return _view(_alerts(services).desk.acknowledge(actor, alert_id, data.note))


@get("/alert-rules", opt=_READ, sync_to_thread=True, tags=TAGS, summary="The rules of alerts")
def rules(actor: Caller, services: UseCases) -> RulesView:
    """The catalogue, with what the settings say otherwise."""
    return RulesView(items=[_rule(one) for one in _alerts(services).desk.rules(actor)])


@get("/alert-destinations", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Where alerts go")
def destinations(actor: Caller, services: UseCases) -> DestinationsView:
    """Each destination, what waits for it, and what went wrong."""
    return DestinationsView(items=[_destination(one) for one in _alerts(services).desk.destinations(actor)])


@post(
    "/alert-destinations/{name:str}/tests",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Send a test alert",
)
def run_test(actor: Caller, services: UseCases, name: FromPath[str]) -> DestinationTested:
    """One alert that is none, now. What is not taken is the problem target-unavailable, with what came back."""
    return DestinationTested(name=_alerts(services).desk.test(actor, name))


HANDLERS = [list_alerts, show_alert, acknowledge, rules, destinations, run_test]
