"""Auditing: who had what when, to look at and to take away; counts as charts; and whether the chain is whole."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import RawBody
from litestar.response import Stream

from bastide.domain.errors import BastideError
from bastide.domain.ids import NAME_LIMIT
from bastide.domain.people import Right
from bastide.domain.requests import State
from bastide.domain.roles import length
from bastide.http.door import needs
from bastide.http.fields import stamp
from bastide.http.handed import UseCases
from bastide.portal import admin, charts, forms
from bastide.portal.admin import AUDITING, CHAIN, CHARTS, READ, SAID
from bastide.portal.pages import span, state_words
from bastide.portal.text import csv_rows
from bastide.portal.visits import Visit, Visited, see
from bastide.services.audit import Held, HeldPage, Wanted
from bastide.services.figures import Outcomes, Span
from bastide.services.reports import APPROVAL_LIMITS, ENDING_LIMITS, LONGEST, Activity, Ending

_PAGE = 50
_MINUTE = timedelta(minutes=1)
#: The last minute that can be counted from.
_LAST = datetime.max.replace(tzinfo=UTC) - _MINUTE
_FILTERS = ("person", "group", "role", "since", "until")
_VERIFY = needs(Right.AUDIT, forms=True, cookie=True)
_COLUMNS = (
    "person", "group", "role", "request", "state", "since", "until", "true_end", "justification", "ticket",
)  # fmt: skip
_DONE = {"whole": "The chain is whole: every record and every checkpoint was checked."}


@get(AUDITING, opt=READ, sync_to_thread=True)
def show_holders(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """Who had what, when, newest first."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    said = _filters(request.query_params)
    try:
        wanted = _wanted(visit, said)
        before = forms.place(request.query_params.get("before", ""))
        found = services.audit.holders(visit.actor, wanted, limit=_PAGE, before=before)
    except SAID as error:
        return _holders(visit, said, HeldPage((), None), error)
    said |= {"since": _field(wanted.since), "until": _field(wanted.until, up=True)}
    return _holders(visit, said, found, first=before is None)


@get(f"{AUDITING}/holders.csv", opt=READ, sync_to_thread=True)
def export_csv(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes] | Stream:
    """What the page shows, all of it, as a table for a spreadsheet."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    held = services.audit.who_had(visit.actor, _wanted(visit, _filters(request.query_params)))
    return _download(csv_rows(_COLUMNS, (_row(one).values() for one in held)), "text/csv", "csv")


@get(f"{AUDITING}/holders.jsonl", opt=READ, sync_to_thread=True)
def export_jsonl(
    request: Call[Any, Any, Any], visit: Visited, services: UseCases
) -> Response[bytes] | Stream:
    """The same as JSON Lines."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    held = services.audit.who_had(visit.actor, _wanted(visit, _filters(request.query_params)))
    lines = (f"{json.dumps(_row(one))}\n".encode() for one in held)
    return _download(lines, "application/jsonl", "jsonl")


@get(CHARTS, opt=READ, sync_to_thread=True)
def show_charts(request: Call[Any, Any, Any], visit: Visited, services: UseCases) -> Response[bytes]:
    """Activations by role and hour, time to approval, what ends soon, and what failed."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    said, error = _filters(request.query_params), None
    try:
        activity = services.reports.activity(
            visit.actor, since=_moment(said, "since"), until=_moment(said, "until")
        )
    except SAID as refused:
        error, activity = refused, services.reports.activity(visit.actor)
    else:
        said = {"since": _field(activity.span.since), "until": _field(activity.span.until, up=True)}
    ending = services.reports.ending(visit.actor)
    return admin.page(
        visit,
        "charts.html",
        CHARTS,
        error,
        fields=said,
        span=activity.span,
        longest=LONGEST.days,
        drawn=_drawn(activity, ending),
        ending=ending.first,
        outcomes=_totals(activity.outcomes),
    )


@get(CHAIN, opt=READ, sync_to_thread=True)
def show_chain(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """How long the chain is, what is signed, and when it was proved whole last."""
    if (asked := admin.lacking(request, visit)) is not None:
        return asked
    return _chain(visit, done=_DONE.get(request.query_params.get("said", ""), ""))


@post(CHAIN, opt=_VERIFY, sync_to_thread=True)
def verify(visit: Visited, services: UseCases, body: RawBody) -> Response[bytes]:
    """Check every record and every checkpoint."""
    visit.opened(body)
    services.audit.verify(visit.actor)
    return see(f"{CHAIN}?said=whole")


def _filters(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query.get(name, "").strip()[:NAME_LIMIT] for name in _FILTERS}


def _wanted(visit: Visit, said: Mapping[str, str]) -> Wanted:
    """Always within a span. Raises InvalidInput."""
    within: Span = visit.services.reports.span(_moment(said, "since"), _moment(said, "until"))
    return Wanted(said["person"], said["group"], said["role"], within.since, within.until)


def _moment(said: Mapping[str, str], field: str) -> datetime | None:
    return forms.moment(said, field)


def _field(at: datetime | None, *, up: bool = False) -> str:
    """As a field of type datetime-local takes it, in whole minutes: no less is asked for by it than was shown."""
    if at is None:
        return ""
    whole = at.replace(second=0, microsecond=0)
    return f"{whole + _MINUTE if up and whole < min(at, _LAST) else whole:%Y-%m-%dT%H:%M}"


def _row(one: Held) -> dict[str, str]:
    """As text; an end that is not there is empty."""
    return dict(
        zip(
            _COLUMNS,
            (
                one.person,
                one.group,
                one.role,
                one.request,
                one.state.value,
                stamp(one.since),
                stamp(one.until) if one.until is not None else "",
                stamp(one.true_end) if one.true_end is not None else "",
                one.justification,
                one.ticket,
            ),
            strict=True,
        )
    )


def _download(content: Iterator[bytes], media_type: str, ending: str) -> Stream:
    headers = {"Content-Disposition": f'attachment; filename="who-had-what.{ending}"'}
    return Stream(content, media_type=media_type, headers=headers)


def _holders(
    visit: Visit,
    said: Mapping[str, str],
    found: HeldPage,
    error: BastideError | None = None,
    *,
    first: bool = True,
) -> Response[bytes]:
    query = urlencode({name: value for name, value in said.items() if value})
    place = forms.as_place(found.onward.at, found.onward.id) if found.onward is not None else ""
    return admin.page(
        visit,
        "holders.html",
        AUDITING,
        error,
        fields=said,
        items=found.items,
        query=query,
        onward=urlencode({"before": place}) if place else "",
        first=first,
        groups=[group.name for group in visit.services.accounts.groups(visit.actor)],
        roles=[role.name for role in visit.services.roles.all(visit.actor)],
        longest=LONGEST.days,
    )


def _drawn(activity: Activity, ending: Ending) -> tuple[charts.Chart, ...]:
    hours = charts.summed((f"{one.hour:02}", one.count) for one in activity.activations)
    failed = ((one.role_name, one.count) for one in activity.outcomes if one.state is State.FAILED)
    by_role = charts.summed((one.role_name, one.count) for one in activity.activations)
    return (
        charts.rows("roles", "Activations by role", "activations", "Role", by_role),
        charts.columns(
            "hours",
            "Activations by hour of the day",
            "activations",
            "Hour (UTC)",
            [(f"{hour}:00 to {hour}:59", f"{hour:02}", hours.get(f"{hour:02}", 0)) for hour in range(24)],
            every=3,
        ),
        charts.columns(
            "approval",
            "Time to approval",
            "approvals",
            "Waited",
            _steps(APPROVAL_LIMITS, activity.approval_times, "less than", "longer"),
        ),
        charts.columns(
            "ending",
            "Active access that ends soon",
            "active requests",
            "Ends",
            _steps(ENDING_LIMITS, ending.counts, "within", "later"),
        ),
        charts.rows("failures", "Failed activations by role", "failures", "Role", charts.summed(failed)),
    )


def _steps(
    limits: tuple[timedelta, ...], counts: tuple[int, ...], below: str, above: str
) -> list[tuple[str, str, int]]:
    names = [(f"{below} {span(limit)}", f"< {length(limit)}") for limit in limits]
    return [(*name, count) for name, count in zip([*names, (above, above)], counts, strict=True)]


def _totals(outcomes: tuple[Outcomes, ...]) -> list[tuple[str, int]]:
    """How many requests are in each state, over all roles, the most first."""
    found = charts.summed((state_words(one.state), one.count) for one in outcomes)
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))


def _chain(visit: Visit, error: BastideError | None = None, done: str = "") -> Response[bytes]:
    return admin.page(
        visit,
        "chain.html",
        CHAIN,
        error,
        done=done,
        status=visit.services.audit.status(visit.actor),
        audits=Right.AUDIT in visit.actor.rights,
    )


HANDLERS = [show_holders, export_csv, export_jsonl, show_charts, show_chain, verify]
