"""Read the audit, prove it whole, take it away, ask who had what."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter
from litestar.response import Stream

from bastide.api.native import render, views
from bastide.api.native.given import Text, When, moment
from bastide.api.native.views import View
from bastide.domain.errors import InvalidInput
from bastide.domain.people import Actor, Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.services.audit import Wanted
from bastide.services.ports import AuditQuery
from bastide.services.reports import APPROVAL_LIMITS, ENDING_LIMITS
from bastide.wiring import Services

TAGS = ["audit"]
_RIGHT = needs(Right.AUDIT)
_READERS = needs(Right.ADMINISTER, also=Right.AUDIT)
_PAGE, _LARGEST_PAGE = 100, 1000
Seq = Annotated[int, QueryParameter(ge=0, le=2**53, description="Records after this one.")]
Limit = Annotated[int, QueryParameter(ge=1, le=_LARGEST_PAGE, description="At most so many.")]
Newest = Annotated[bool, QueryParameter(description="The newest `limit` records; not with filters.")]


class ChainView(View, frozen=True, kw_only=True):
    """`signed`: the newest record that a checkpoint signs; 0: none. `proved_at`: when somebody proved the chain whole last, and who; null: nobody did."""

    seq: int
    head: str
    signed: int
    signed_at: datetime | None
    proved_at: datetime | None
    proved_by: str


class Activations(View, frozen=True):
    """How often access by a role began in an hour of the day (0 to 23, UTC)."""

    role: str
    hour: int
    count: int


class Outcomes(View, frozen=True):
    """How many requests for a role are in a state."""

    role: str
    state: str
    count: int


class Step(View, frozen=True):
    """How many took less than so many seconds, and no less than the step before; null: all that took longer."""

    below_seconds: int | None
    count: int


class ActivityView(View, frozen=True, kw_only=True):
    """`approval`: how long the last approval took. `ending`: when active access ends, from now."""

    since: datetime
    until: datetime
    activations: list[Activations]
    outcomes: list[Outcomes]
    approval: list[Step]
    ending: list[Step]


@get("/audit", opt=_RIGHT, sync_to_thread=True, tags=TAGS, summary="Audit records")
def list_records(
    actor: Caller,
    services: UseCases,
    person: Text = "",
    kind: Text = "",
    request_id: Annotated[str, QueryParameter(name="request", max_length=256)] = "",
    since: When = "",
    until: When = "",
    after_seq: Seq = 0,
    limit: Limit = _PAGE,
    newest: Newest = False,
) -> views.Records:
    """Oldest first. `person`: SID or name of who did it or whom it concerned. Pass `next_after_seq` on as `after_seq` for the next page."""
    query = AuditQuery(
        since=moment("since", since),
        until=moment("until", until),
        person=person,
        kind=kind,
        request=request_id,
        after_seq=after_seq,
        limit=limit,
    )
    if newest:
        query = _newest(services, query)
    found = services.audit.read(actor, query)
    return views.Records(
        items=[render.record(one) for one in found],
        next_after_seq=found[-1].seq if len(found) == limit and not newest else None,
    )


def _newest(services: Services, query: AuditQuery) -> AuditQuery:
    if query != AuditQuery(limit=query.limit):
        raise InvalidInput("newest", "goes with no filter")
    with services.store.read() as uow:
        last, _ = uow.audit.head()
    return AuditQuery(after_seq=max(0, last - query.limit), limit=query.limit)


@get(
    "/audit/export",
    opt=_RIGHT,
    sync_to_thread=True,
    tags=TAGS,
    media_type="application/jsonl",
    summary="All audit records",
)
def export_records(actor: Caller, services: UseCases) -> Stream:
    """JSON Lines, oldest first, as they are chained: `data` is the text that the hash is over."""
    return Stream(_pages(services, actor), media_type="application/jsonl")


def _pages(services: Services, actor: Actor) -> Iterator[bytes]:
    """A transaction per page: a slow reader holds none open, and each page may be made in another thread."""
    encoder, after = msgspec.json.Encoder(), 0
    while found := services.audit.read(actor, AuditQuery(after_seq=after, limit=_LARGEST_PAGE)):
        yield encoder.encode_lines(found)
        after = found[-1].seq


@get("/audit/verification", opt=_RIGHT, sync_to_thread=True, tags=TAGS, summary="Prove the audit whole")
def verify_records(actor: Caller, services: UseCases) -> views.VerdictView:
    """Checks every record and every signed checkpoint. A chain that is broken is answered as the problem audit-broken."""
    return render.verdict(services.audit.verify(actor))


@get(
    "/audit/status",
    opt=_READERS,
    sync_to_thread=True,
    tags=TAGS,
    summary="How long the chain is, and what is signed",
)
def chain_status(actor: Caller, services: UseCases) -> ChainView:
    """Without reading it: when it was proved whole last, and by whom."""
    status = services.audit.status(actor)
    signed, proof = status.checkpoint, status.proof
    return ChainView(
        seq=status.seq,
        head=status.head,
        signed=0 if signed is None else signed.seq,
        signed_at=None if signed is None else signed.at,
        proved_at=None if proof is None else proof.at,
        proved_by="" if proof is None else proof.actor_name,
    )


@get(
    "/audit/activity",
    opt=_READERS,
    sync_to_thread=True,
    tags=TAGS,
    summary="How much was asked for, and how it went",
)
def activity(actor: Caller, services: UseCases, since: When = "", until: When = "") -> ActivityView:
    """Of the requests made within the span: the last 30 days unless it is said, at most 366. `ending` is as of now."""
    found = services.reports.activity(actor, since=moment("since", since), until=moment("until", until))
    ending = services.reports.ending(actor)
    return ActivityView(
        since=found.span.since,
        until=found.span.until,
        activations=[Activations(one.role_name, one.hour, one.count) for one in found.activations],
        outcomes=[Outcomes(one.role_name, one.state.value, one.count) for one in found.outcomes],
        approval=_steps(APPROVAL_LIMITS, found.approval_times),
        ending=_steps(ENDING_LIMITS, ending.counts),
    )


def _steps(limits: Sequence[timedelta], counts: Sequence[int]) -> list[Step]:
    seconds = [*(int(limit.total_seconds()) for limit in limits), None]
    return [Step(below, count) for below, count in zip(seconds, counts, strict=True)]


@get("/audit/holders", opt=_READERS, sync_to_thread=True, tags=TAGS, summary="Who held what, when")
def list_holders(
    actor: Caller,
    services: UseCases,
    person: Text = "",
    group: Text = "",
    role: Text = "",
    since: When = "",
    until: When = "",
) -> views.Holders:
    """Every activation that overlaps the span, with the true end of access."""
    wanted = Wanted(person, group, role, moment("since", since), moment("until", until))
    found = services.audit.who_had(actor, wanted)
    return views.Holders(items=[render.held(one) for one in found])


HANDLERS = [list_records, export_records, verify_records, chain_status, activity, list_holders]
