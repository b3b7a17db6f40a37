"""What is the person's to review: who may go on asking for which role. Nothing is taken away before a review ends."""

from typing import Any

from litestar import Request as Call
from litestar import Response, get, post
from litestar.params import FromPath, RawBody

from bastide.domain.errors import InvalidInput, Refused
from bastide.domain.people import Right
from bastide.domain.reviews import REASON_LIMIT, Verdict
from bastide.http.door import needs
from bastide.http.handed import UseCases
from bastide.portal.addresses import REVIEWS
from bastide.portal.visits import Visit, Visited, see

#: Lines on a page; those that are not decided come first.
MOST = 200
_DONE = {"keep": "You said keep.", "remove": "You said remove. It is done when the review ends."}


@get(REVIEWS, opt=needs(Right.USE, cookie=True), sync_to_thread=True)
def show_reviews(request: Call[Any, Any, Any], visit: Visited) -> Response[bytes]:
    """The lines that wait for the person, review by review."""
    return _page(visit, done=_DONE.get(request.query_params.get("said", ""), ""))


@post(
    f"{REVIEWS}/{{review_id:str}}/{{line_id:str}}",
    opt=needs(Right.USE, forms=True, cookie=True),
    sync_to_thread=True,
)
def decide_review_line(
    review_id: FromPath[str], line_id: FromPath[str], visit: Visited, services: UseCases, body: RawBody
) -> Response[bytes]:
    """Keep or remove, with the code that came in the form or a second factor shown just before."""
    fields = visit.opened(body)
    try:
        verdict = _verdict(fields.get("verdict", ""))
        visit = visit.proved(fields, Right.USE)
        services.oversight.reviews.decide(visit.actor, review_id, line_id, verdict, fields.get("reason", ""))
    except Refused as error:
        return _page(visit, error, {**fields, "line": line_id})
    return see(f"{REVIEWS}?said={verdict.value}")


def _verdict(said: str) -> Verdict:
    try:
        return Verdict(said)
    except ValueError:
        raise InvalidInput("verdict", "is neither keep nor remove") from None


def _page(
    visit: Visit, error: Refused | None = None, fields: dict[str, str] | None = None, done: str = ""
) -> Response[bytes]:
    found = visit.services.oversight.reviews.waiting(visit.actor)
    left = MOST
    shown = []
    for review, lines in found:
        first = sorted(lines, key=lambda line: line.decision is not None)[:left]
        left -= len(first)
        shown.append((review, first))
    return visit.page(
        "reviews.html",
        error,
        fields=fields or {},
        done=done,
        found=shown,
        total=sum(len(lines) for _, lines in found),
        open=sum(line.decision is None for _, lines in found for line in lines),
        most=MOST,
        limits={"reason": REASON_LIMIT},
    )


HANDLERS = [show_reviews, decide_review_line]
