"""Access reviews: administrators plan and end them, reviewers decide line by line, auditors take the signed result away."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from bastide.api.native.inputs import Body
from bastide.api.native.views import View
from bastide.domain.people import Right
from bastide.domain.reviews import REASON_LIMIT, Every, Line, Review, Verdict
from bastide.domain.usage import Usage
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.services.reviews.campaigns import Draft

TAGS = ["reviews"]
_READ = needs(Right.ADMINISTER, also=Right.AUDIT)
_ADMINISTER = needs(Right.ADMINISTER)
_Name = Annotated[str, msgspec.Meta(max_length=256)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**4)]


class ReviewIn(Body, frozen=True, kw_only=True):
    """`roles` empty: all. `reviewer` empty: each person's own manager. `fallback`: who reviews where nobody else can. `silence`: what is done where nobody decides."""

    name: _Name
    roles: Annotated[list[_Name], msgspec.Meta(max_length=500)] = msgspec.field(default_factory=list)
    reviewer: _Name = ""
    fallback: _Name
    silence: Verdict
    opens_at: datetime | None = None
    lasts_seconds: _Seconds = 14 * 86400
    remind_seconds: _Seconds = 3 * 86400
    lookback_seconds: _Seconds = 90 * 86400
    every_days: _Count = 0
    every_months: _Count = 0

    def draft(self) -> Draft:
        """As the use case takes it."""
        every = Every(self.every_days, self.every_months) if self.every_days or self.every_months else None
        return Draft(
            name=self.name,
            roles=tuple(self.roles),
            reviewer=self.reviewer,
            fallback=self.fallback,
            silence=self.silence,
            opens_at=self.opens_at,
            lasts=timedelta(seconds=self.lasts_seconds),
            remind=timedelta(seconds=self.remind_seconds),
            lookback=timedelta(seconds=self.lookback_seconds),
            every=every,
        )


class LineDecision(Body, frozen=True, kw_only=True):
    """Taking away needs a reason."""

    verdict: Verdict
    reason: Annotated[str, msgspec.Meta(max_length=REASON_LIMIT)] = ""


class UsageView(View, frozen=True, kw_only=True):
    """What the person did with the role in the time that the review looks back."""

    asked: int
    used: int
    last_used: datetime | None
    reasons: list[str]
    approved_by: list[str]
    unapproved: int


class LineView(View, frozen=True, kw_only=True):
    """`direct`: the role names the person; `through`: groups that it names. `reviewer` empty: any administrator. `said`: what was done, or a person must do."""

    id: str
    review: str
    role: str
    person: str
    direct: bool
    through: list[str]
    enabled: bool
    reviewer: str
    why_reviewer: str
    usage: UsageView
    verdict: str
    reason: str
    decided_by: str
    decided_at: datetime | None
    outcome: str
    said: str


class ReviewView(View, frozen=True, kw_only=True):
    """`notes`: what could not be found out when it began. `ended_at`: when it ended, which can be before `closes_at`. `digest`: of its signed result."""

    id: str
    name: str
    state: str
    roles: list[str]
    reviewer: str
    fallback: str
    silence: str
    opens_at: datetime
    closes_at: datetime
    ended_at: datetime | None
    every_days: int
    every_months: int
    created_by: str
    notes: list[str]
    digest: str


class Reviews(View, frozen=True, kw_only=True):
    items: list[ReviewView]


class ReviewWithLines(ReviewView, frozen=True, kw_only=True):
    lines: list[LineView]


class ReviewsToDo(View, frozen=True, kw_only=True):
    items: list[ReviewWithLines]


class ResultView(View, frozen=True, kw_only=True):
    """`signature` (Ed25519, in hexadecimal) is over the line `bastide-review-1`, the id and the SHA-256 of `text`, a line each; `key` made it. Checked just now."""

    review: str
    text: str
    digest: str
    key: str
    signature: str


@get("/reviews", opt=_READ, sync_to_thread=True, tags=TAGS, summary="All reviews")
def list_reviews(actor: Caller, services: UseCases) -> Reviews:
    """The latest first."""
    return Reviews(items=[ReviewView(**_fields(one)) for one in services.oversight.reviews.all(actor)])


@post("/reviews", opt=_ADMINISTER, sync_to_thread=True, tags=TAGS, summary="Plan a review")
def create_review(data: JSONBody[ReviewIn], actor: Caller, services: UseCases) -> Response[ReviewView]:
    """It begins by itself at `opens_at` (now, if nothing is said), and does at its end what was decided."""
    made = services.oversight.reviews.create(actor, data.draft())
    return Response(
        ReviewView(**_fields(made)), status_code=201, headers={"Location": f"/api/v1/reviews/{made.id}"}
    )


@get("/reviews/{review_id:str}", opt=_READ, sync_to_thread=True, tags=TAGS, summary="One review")
def show_review(review_id: FromPath[str], actor: Caller, services: UseCases) -> ReviewWithLines:
    """With all its lines."""
    return _whole(*services.oversight.reviews.show(actor, review_id))


@post(
    "/reviews/{review_id:str}/end",
    opt=_ADMINISTER,
    sync_to_thread=True,
    status_code=202,
    tags=TAGS,
    summary="End a review now",
)
def end_review(review_id: FromPath[str], actor: Caller, services: UseCases) -> ReviewView:
    """No decision counts any more. What was decided is done next: ask again until `state` is `closed`."""
    return ReviewView(**_fields(services.oversight.reviews.close(actor, review_id)))


@post(
    "/reviews/{review_id:str}/cancel",
    opt=_ADMINISTER,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Cancel a review that did not begin",
)
def cancel_review(review_id: FromPath[str], actor: Caller, services: UseCases) -> ReviewView:
    """It never begins, and comes back no more."""
    return ReviewView(**_fields(services.oversight.reviews.cancel(actor, review_id)))


@get(
    "/reviews/{review_id:str}/result",
    opt=_READ,
    sync_to_thread=True,
    tags=TAGS,
    summary="The signed result of a review",
)
def show_result(review_id: FromPath[str], actor: Caller, services: UseCases) -> ResultView:
    """Made anew from the lines and compared with what was signed. One that was changed is answered as the problem audit-broken."""
    return ResultView(**services.oversight.reviews.result(actor, review_id).handed_on())


@get("/me/reviews", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="What is mine to review")
def list_mine(actor: Caller, services: UseCases) -> ReviewsToDo:
    """Lines of open reviews that the caller decides, those that are decided already too."""
    return ReviewsToDo(items=[_whole(*one) for one in services.oversight.reviews.waiting(actor)])


@post(
    "/reviews/{review_id:str}/lines/{line_id:str}",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Decide a line",
)
def decide_line(
    review_id: FromPath[str],
    line_id: FromPath[str],
    data: JSONBody[LineDecision],
    actor: Caller,
    services: UseCases,
) -> LineView:
    """Keep or remove. Needs a second factor. It can be changed until the review ends; nothing is taken away before."""
    return _line(services.oversight.reviews.decide(actor, review_id, line_id, data.verdict, data.reason))


def _fields(one: Review) -> dict[str, Any]:
    every = one.every or Every()
    return {
        "id": one.id,
        "name": one.name,
        "state": one.state.value,
        "roles": list(one.roles),
        "reviewer": one.reviewer.name if one.reviewer else "",
        "fallback": one.fallback.name,
        "silence": one.silence.value,
        "opens_at": one.opens_at,
        "closes_at": one.closes_at,
        "ended_at": one.ended_at,
        "every_days": every.days,
        "every_months": every.months,
        "created_by": one.created_by_name,
        "notes": list(one.notes),
        "digest": one.digest,
    }


def _whole(review: Review, lines: tuple[Line, ...]) -> ReviewWithLines:
    return ReviewWithLines(**_fields(review), lines=[_line(one) for one in lines])


def _line(one: Line) -> LineView:
    decision = one.decision
    return LineView(
        id=one.id,
        review=one.review,
        role=one.role_name,
        person=one.person,
        direct=one.direct,
        through=list(one.through),
        enabled=one.enabled,
        reviewer=one.reviewer.name if one.reviewer else "",
        why_reviewer=one.why_reviewer,
        usage=_usage(one.usage),
        verdict=decision.verdict.value if decision else "",
        reason=decision.reason if decision else "",
        decided_by=decision.by_name if decision else "",
        decided_at=decision.at if decision else None,
        outcome=one.outcome.value if one.outcome else "",
        said=one.said,
    )


def _usage(one: Usage) -> UsageView:
    return UsageView(
        asked=one.asked,
        used=one.used,
        last_used=one.last,
        reasons=list(one.reasons),
        approved_by=list(one.approved_by),
        unapproved=one.unapproved,
    )


HANDLERS = [
    list_reviews,
    create_review,
    show_review,
    end_review,
    cancel_review,
    show_result,
    list_mine,
    decide_line,
]
