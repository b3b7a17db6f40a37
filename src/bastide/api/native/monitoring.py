"""Monitoring of the directories: how far each domain was read, what drifted, and what people do about it."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from bastide.api.native.inputs import Body
from bastide.api.native.views import View
from bastide.domain.approvals import REASON_LIMIT
from bastide.domain.drift import Finding, Rule
from bastide.domain.people import Forest, Right
from bastide.domain.settled import Settled, Wanted
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.http.parts import needed
from bastide.services.monitor.control import Control
from bastide.services.monitor.ports import Domain
from bastide.wiring import Services

TAGS = ["monitoring"]
_READ = needs(Right.ADMINISTER, also=Right.AUDIT)
_CHANGE = needs(Right.ADMINISTER)
_LISTED = 500
_PAGE = 100

OfForest = Annotated[Forest | None, QueryParameter(name="forest", description="Of this domain only.")]
OfRule = Annotated[Rule | None, QueryParameter(name="rule", description="Of this kind only.")]
Limit = Annotated[int, QueryParameter(ge=1, le=_LISTED, description="At most so many.")]


class DomainView(View, frozen=True, kw_only=True):
    """`controller`: the one that is read. `looked_at`: the last look at everything that is watched. `problem`: why it is not read; empty: it is. `lags`: that this
    controller has not heard yet what the one before showed; empty: it has.
    """

    side: str
    name: str
    controller: str
    watched: int
    read_at: datetime | None
    changed_at: datetime | None
    looked_at: datetime | None
    paused: bool
    problem: str
    lags: str


class MonitoringView(View, frozen=True, kw_only=True):
    """`drifts`: how many stand."""

    domains: list[DomainView]
    drifts: int


class DriftView(View, frozen=True, kw_only=True):
    """`tried_at`: when it was last repaired, to no avail so far. `wrong`: why that failed."""

    key: str
    rule: str
    domain: str
    object: str
    guid: str
    owner: str
    action: str
    reason: str
    remedy: str
    found_at: datetime
    tried_at: datetime | None
    wrong: str


class DriftsView(View, frozen=True, kw_only=True):
    items: list[DriftView]


class SettledView(View, frozen=True, kw_only=True):
    """`end`: repaired, gone (by somebody else's doing) or accepted. `found_at` none: longer ago than was looked. `by`, `said`: who accepted it, and why. `record`: the
    number of the audit record that says so.
    """

    key: str
    rule: str
    domain: str
    object: str
    owner: str
    action: str
    reason: str
    found_at: datetime | None
    over_at: datetime
    end: str
    by: str
    said: str
    record: int


class SettledDriftsView(View, frozen=True, kw_only=True):
    items: list[SettledView]


class ReasonIn(Body, frozen=True):
    """Why."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_LIMIT)]


def _control(services: Services) -> Control:
    """Raises Conflict where nothing is monitored."""
    return needed(services.monitoring, "monitoring").control


def _domain(one: Domain, watched: int) -> DomainView:
    return DomainView(
        side=one.side.value,
        name=one.name,
        controller=one.mark.controller,
        watched=watched,
        read_at=one.read_at,
        changed_at=one.changed_at,
        looked_at=one.looked_at,
        paused=one.paused,
        problem=one.problem,
        lags=one.lags,
    )


def _drift(one: Finding) -> DriftView:
    drift = one.drift
    return DriftView(
        key=one.key,
        rule=drift.rule.value,
        domain=drift.domain.value,
        object=drift.name,
        guid=drift.guid,
        owner=one.owner,
        action=one.action.value,
        reason=drift.reason,
        remedy=drift.remedy,
        found_at=one.found_at,
        tried_at=one.tried,
        wrong=one.wrong,
    )


def _settled(one: Settled) -> SettledView:
    return SettledView(
        key=one.key,
        rule=one.rule,
        domain=one.side,
        object=one.name,
        owner=one.owner,
        action=one.action,
        reason=one.reason,
        found_at=one.found_at,
        over_at=one.over_at,
        end=one.end.value,
        by=one.by,
        said=one.said,
        record=one.record,
    )


def _status(actor: Caller, services: UseCases) -> MonitoringView:
    status = _control(services).status(actor)
    domains = [_domain(one, status.watched.get(one.side, 0)) for one in status.domains]
    return MonitoringView(domains=domains, drifts=status.findings)


@get("/monitoring", opt=_READ, sync_to_thread=True, tags=TAGS, summary="How far the directories were read")
def show_monitoring(actor: Caller, services: UseCases) -> MonitoringView:
    """By domain; one that was not read yet is not there."""
    return _status(actor, services)


@get("/monitoring/drift", opt=_READ, sync_to_thread=True, tags=TAGS, summary="What nobody asked for")
def list_drift(
    actor: Caller, services: UseCases, of_forest: OfForest = None, of_rule: OfRule = None
) -> DriftsView:
    """What stands, oldest first."""
    found = _control(services).drift(actor, Wanted(of_rule, of_forest))
    return DriftsView(items=[_drift(one) for one in found])


@get("/monitoring/drift/over", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Drift that is over")
def list_settled_drift(
    actor: Caller,
    services: UseCases,
    of_forest: OfForest = None,
    of_rule: OfRule = None,
    limit: Limit = _PAGE,
) -> SettledDriftsView:
    """What was put right, went or was accepted within the last 30 days, newest first."""
    found = _control(services).settled(actor, Wanted(of_rule, of_forest), limit)
    return SettledDriftsView(items=[_settled(one) for one in found])


@post(
    "/monitoring/drift/{drift:str}/accept",
    opt=_CHANGE,
    status_code=200,
    sync_to_thread=True,
    tags=TAGS,
    summary="It is right as it is",
)
def accept_drift(
    drift: FromPath[str], data: JSONBody[ReasonIn], actor: Caller, services: UseCases
) -> DriftView:
    """What can be put right cannot be accepted: a `conflict`."""
    return _drift(_control(services).accept(actor, drift, data.reason))


@post(
    "/monitoring/pause",
    opt=_CHANGE,
    status_code=200,
    sync_to_thread=True,
    tags=TAGS,
    summary="Read no directory until it is resumed",
)
def pause_monitoring(data: JSONBody[ReasonIn], actor: Caller, services: UseCases) -> MonitoringView:
    """What happens meanwhile is found then."""
    _control(services).turn(actor, data.reason, on=False)
    return _status(actor, services)


@post("/monitoring/resume", opt=_CHANGE, status_code=200, sync_to_thread=True, tags=TAGS, summary="Read on")
def resume_monitoring(data: JSONBody[ReasonIn], actor: Caller, services: UseCases) -> MonitoringView:
    """From where it was."""
    _control(services).turn(actor, data.reason, on=True)
    return _status(actor, services)


@post(
    "/monitoring/resync",
    opt=_CHANGE,
    status_code=202,
    sync_to_thread=True,
    tags=TAGS,
    summary="Read everything anew and compare",
)
def resync_monitoring(actor: Caller, services: UseCases) -> MonitoringView:
    """A worker does it; differences from what the changes said are drift of their own."""
    _control(services).resync(actor)
    return _status(actor, services)


HANDLERS = [
    show_monitoring,
    list_drift,
    list_settled_drift,
    accept_drift,
    pause_monitoring,
    resume_monitoring,
    resync_monitoring,
]
