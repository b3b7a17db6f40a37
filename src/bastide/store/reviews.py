"""Access reviews, and their lines."""

from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.ids import typed
from bastide.domain.reviews import Line, Outcome, Review, State, Tally, Verdict, tally
from bastide.services.reviews.ports import Reviews
from bastide.store import tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session


@dataclass(frozen=True, slots=True)
class _Said:
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Counted:
    """What is counted of a line: a list of reviews would read the evidence of all their lines else."""

    decision: _Said | None = None
    outcome: Outcome | None = None


_REVIEW, _LINE, _COUNTED = Document(Review), Document(Line), Document(_Counted)
_r, _l = tables.reviews.c, tables.review_lines.c
_ADD = insert(tables.reviews)
_SAVE = (
    update(tables.reviews)
    .where(_r.id == bindparam("id_"), _r.version == bindparam("seen"))
    .values(state=bindparam("state_"), version=bindparam("seen") + 1, doc=bindparam("doc_"))
)
_GET = select(_r.doc, _r.version).where(_r.id == bindparam("id_"))
_ALL = select(_r.doc, _r.version).order_by(_r.opens_at.desc(), _r.id)
_OF_STATE = _ALL.where(_r.state == bindparam("state_"))
_ADD_LINE = insert(tables.review_lines)
_SAVE_LINE = (
    update(tables.review_lines)
    .where(_l.review == bindparam("review_"), _l.id == bindparam("id_"))
    .values(doc=bindparam("doc_"))
)
_GET_LINE = select(_l.doc).where(_l.review == bindparam("review_"), _l.id == bindparam("id_"))
_LINES = select(_l.doc).where(_l.review == bindparam("review_")).order_by(_l.place)


class SqlReviews(Reviews):
    """A row for each, and one for each line."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, review: Review) -> None:
        """Raises Conflict if the id is taken."""
        said = {
            "id": review.id, "state": review.state.value, "opens_at": micros(review.opens_at), "version": 1,
            "doc": _REVIEW.dump(review),
        }  # fmt: skip
        self._session.run(_ADD, said)

    def save(self, review: Review) -> Review:
        """Raises Conflict if somebody else saved since it was read."""
        said = {
            "id_": review.id, "seen": review.version, "state_": review.state.value, "doc_": _REVIEW.dump(review),
        }  # fmt: skip
        if self._session.run(_SAVE, said).rowcount != 1:
            raise Conflict(
                f"the review {review.name} was changed by somebody else",
                remedy="look at it again, then repeat",
            )
        return self.get(review.id)

    def get(self, id: str) -> Review:  # noqa: A002
        """Raises NotFound."""
        row = self._session.run(_GET, {"id_": id}).first()
        if row is None:
            raise NotFound(
                f"there is no review {typed(id)}", remedy="`bastide review list` shows those there are"
            )
        return _REVIEW.load(row.doc, version=row.version)

    def all(self) -> tuple[Review, ...]:
        """The latest first."""
        return tuple(_REVIEW.load(row.doc, version=row.version) for row in self._session.run(_ALL))

    def open(self) -> tuple[Review, ...]:
        """Those that take decisions."""
        found = self._session.run(_OF_STATE, {"state_": State.OPEN.value})
        return tuple(_REVIEW.load(row.doc, version=row.version) for row in found)

    def add_lines(self, lines: tuple[Line, ...]) -> None:
        """In their order."""
        for place, line in enumerate(lines):
            said = {"review": line.review, "id": line.id, "place": place, "doc": _LINE.dump(line)}
            self._session.run(_ADD_LINE, said)

    def save_line(self, line: Line) -> None:
        """Raises NotFound."""
        said = {"review_": line.review, "id_": line.id, "doc_": _LINE.dump(line)}
        if self._session.run(_SAVE_LINE, said).rowcount != 1:
            raise _no_line(line.id)

    def line(self, review: str, id: str) -> Line:  # noqa: A002
        """Raises NotFound."""
        row = self._session.run(_GET_LINE, {"review_": review, "id_": id}).first()
        if row is None:
            raise _no_line(id)
        return _LINE.load(row.doc)

    def lines(self, review: str) -> tuple[Line, ...]:
        """By role and person."""
        return tuple(_LINE.load(row.doc) for row in self._session.run(_LINES, {"review_": review}))

    def tally(self, review: str) -> Tally:
        """Of its lines."""
        found = (_COUNTED.load(row.doc) for row in self._session.run(_LINES, {"review_": review}))
        return tally((one.decision.verdict if one.decision else None, one.outcome) for one in found)


def _no_line(key: str) -> NotFound:
    return NotFound(f"there is no line {typed(key)} in this review", remedy="`bastide review list --mine`")
