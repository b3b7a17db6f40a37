"""Counts for pages. What is only in a request's document is read by the database's own JSON functions; spans are cut by the indexed column."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from bastide.domain.observed import Verdict
from bastide.domain.requests import OPEN, Decision, Place, Request, State
from bastide.domain.reset.flow import Stage
from bastide.services.figures import (
    REACH,
    Activations,
    Called,
    Fault,
    Figures,
    HeldQuery,
    Holder,
    Outcomes,
    Queue,
    Span,
)
from bastide.store import reset_tables, tables
from bastide.store.codec import Document, micros, moment
from bastide.store.session import Session

_DOCUMENT = Document(Request)
_SECOND = 1_000_000
#: Where the hour stands in an ISO 8601 time.
_HOUR_AT, _HOUR_LENGTH = 12, 2
_t = tables.requests.c
_g = tables.request_groups.c
_w = tables.work.c
_a = tables.audit.c
_o = tables.observed_changes.c
_s = reset_tables.resets.c
_GOING_ON = (Stage.GATES, Stage.COOLING, Stage.CHOOSE)


@dataclass(frozen=True, slots=True)
class _Fields:
    """Expressions over documents, of a request unless said otherwise; times in seconds since the epoch, UTC."""

    role_name: ColumnElement[str]
    user_name: ColumnElement[str]
    active_from: ColumnElement[int]
    hour: ColumnElement[str]
    ends_at: ColumnElement[int]
    true_end: ColumnElement[int]
    approved: ColumnElement[str]
    approved_at: ColumnElement[int]
    #: Of a reset's document.
    stage: ColumnElement[str]


def _sqlite() -> _Fields:
    def text(path: str) -> ColumnElement[str]:
        return func.json_extract(_t.doc, f"$.{path}")

    def seconds(path: str) -> ColumnElement[int]:
        return cast(func.strftime("%s", text(path)), BigInteger)

    return _fields(text, seconds, "votes[#-1].", func.json_extract(_s.doc, "$.stage"))


def _postgres() -> _Fields:
    def text(path: str) -> ColumnElement[str]:
        found: Any = cast(_t.doc, JSONB)
        for part in path.split("."):
            found = found[-1 if part == "-1" else part]
        words: ColumnElement[str] = found.astext
        return words

    def seconds(path: str) -> ColumnElement[int]:
        at = cast(text(path), TIMESTAMP(timezone=True))
        return cast(func.floor(func.extract("epoch", at)), BigInteger)

    return _fields(text, seconds, "votes.-1.", cast(_s.doc, JSONB)["stage"].astext)


def _fields(text: Any, seconds: Any, last_vote: str, stage: ColumnElement[str]) -> _Fields:
    return _Fields(
        role_name=text("role_name"),
        user_name=text("user_name"),
        active_from=seconds("active_from"),
        hour=func.substr(text("active_from"), _HOUR_AT, _HOUR_LENGTH),
        ends_at=seconds("ends_at"),
        true_end=seconds("true_end"),
        approved=text(f"{last_vote}decision"),
        approved_at=seconds(f"{last_vote}at"),
        stage=stage,
    )


_FIELDS: Mapping[str, _Fields] = {"sqlite": _sqlite(), "postgresql": _postgres()}


class SqlFigures(Figures):
    """Reads only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._f = _FIELDS[session.dialect]

    def held(self, query: HeldQuery, *, limit: int, before: Place | None) -> tuple[Request, ...]:
        """Requests that gave access within the span (to the second), newest first, from `before` on. See REACH."""
        f, statement = self._f, select(_t.doc).where(self._f.active_from.is_not(None))
        if query.user is not None:
            statement = statement.where(_called(query.user, _t.user_id, f.user_name))
        if query.role is not None:
            statement = statement.where(_called(query.role, _t.role_id, f.role_name))
        if query.group is not None:
            statement = statement.where(_t.id.in_(select(_g.request_id).where(_g.group_id == query.group)))
        if query.until is not None:
            statement = statement.where(
                _t.created_at < micros(query.until), f.active_from <= micros(query.until) // _SECOND
            )
        if query.since is not None:
            statement = statement.where(
                _t.created_at >= micros(query.since - REACH),
                or_(f.true_end.is_(None), f.true_end >= micros(query.since) // _SECOND),
            )
        if before is not None:
            statement = statement.where(
                tuple_(_t.created_at, _t.id)
                < tuple_(literal(micros(before.at), BigInteger), literal(before.id))
            )
        return self._requests(statement.order_by(_t.created_at.desc(), _t.id.desc()).limit(limit))

    def activations(self, span: Span) -> tuple[Activations, ...]:
        """Of the requests that were made within the span."""
        f = self._f
        statement = (
            select(_t.role_id, func.max(f.role_name), f.hour.label("hour"), func.count())
            .where(_within(span), f.active_from.is_not(None))
            .group_by(_t.role_id, "hour")
        )
        found = (
            Activations(role, name, int(hour), count) for role, name, hour, count in self._rows(statement)
        )
        return tuple(sorted(found, key=lambda one: (one.role_name, one.role, one.hour)))

    def outcomes(self, span: Span) -> tuple[Outcomes, ...]:
        """Of the requests that were made within the span."""
        statement = (
            select(_t.role_id, func.max(self._f.role_name), _t.state, func.count())
            .where(_within(span))
            .group_by(_t.role_id, _t.state)
        )
        found = (
            Outcomes(role, name, State(state), count) for role, name, state, count in self._rows(statement)
        )
        return tuple(sorted(found, key=lambda one: (one.role_name, one.role, one.state)))

    def approval_times(self, span: Span, limits: Sequence[timedelta]) -> tuple[int, ...]:
        """How many of the requests made within the span had their last approval below each of the limits, and, at the end, above all."""
        f = self._f
        waited = f.approved_at - _t.created_at // _SECOND
        passed = and_(
            _within(span), f.approved == Decision.APPROVE.value, _t.state != State.PENDING_APPROVAL.value
        )
        return self._by_limit(waited, passed, limits)

    def open_requests(self) -> Mapping[State, int]:
        """Those that are not over, by state."""
        states = sorted(state.value for state in OPEN)
        statement = select(_t.state, func.count()).where(_t.state.in_(states)).group_by(_t.state)
        return {State(state): count for state, count in self._rows(statement)}

    def ending(self, now: datetime, limits: Sequence[timedelta]) -> tuple[int, ...]:
        """How many of the active requests end below each of the limits from `now`, and, at the end, later."""
        left = self._f.ends_at - micros(now) // _SECOND
        return self._by_limit(left, _t.state == State.ACTIVE.value, limits)

    def ending_next(self, limit: int) -> tuple[Request, ...]:
        """The active requests that end first."""
        active = select(_t.doc).where(_t.state == State.ACTIVE.value)
        return self._requests(active.order_by(self._f.ends_at, _t.id).limit(limit))

    def queues(self, now: datetime) -> tuple[Queue, ...]:
        """The durable work by kind."""
        ripe = and_(_w.owner.is_(None), _w.ready <= micros(now))
        statement = (
            select(
                _w.kind,
                func.count(),
                func.count(case((ripe, 1))),
                func.count(_w.owner),
                func.count(case((_w.error != "", 1))),
                func.min(case((ripe, _w.ready), else_=null())),
            )
            .group_by(_w.kind)
            .order_by(_w.kind)
        )
        return tuple(
            Queue(kind, rows, due, claimed, failing, _moment(oldest))
            for kind, rows, due, claimed, failing, oldest in self._rows(statement)
        )

    def faults(self, limit: int) -> tuple[Fault, ...]:
        """What went wrong the last time, most attempts first."""
        statement = (
            select(_w.kind, _w.key, _w.attempts, _w.ready, _w.owner, _w.error)
            .where(_w.error != "")
            .order_by(_w.attempts.desc(), _w.kind, _w.key)
            .limit(limit)
        )
        return tuple(
            Fault(kind, key, attempts, None if owner else _moment(ready), error)
            for kind, key, attempts, ready, owner, error in self._rows(statement)
        )

    def holders(self) -> tuple[Holder, ...]:
        """Who has work in hand."""
        statement = (
            select(_w.owner, func.count(), func.max(_w.ready))
            .where(_w.owner.is_not(None))
            .group_by(_w.owner)
            .order_by(_w.owner)
        )
        return tuple(Holder(owner, count, moment(until)) for owner, count, until in self._rows(statement))

    def recorded(self, kinds: Collection[str], since: datetime) -> Mapping[str, int]:
        """Records of the audit since then, by kind; none of a kind: it is not there."""
        statement = (
            select(_a.kind, func.count())
            .where(_a.at >= micros(since), _a.kind.in_(sorted(kinds)))
            .group_by(_a.kind)
        )
        return dict(tuple(row) for row in self._rows(statement))

    def observed(self, since: datetime) -> Mapping[Verdict, int]:
        """Privileged changes that happened since then, by verdict."""
        statement = select(_o.verdict, func.count()).where(_o.at >= micros(since)).group_by(_o.verdict)
        return {Verdict(verdict): count for verdict, count in self._rows(statement)}

    def resets(self, now: datetime) -> tuple[Mapping[Stage, int], int]:
        """Resets of people that go on, by stage; and those of nobody."""
        nobody: ColumnElement[Any] = (_s.person == "").label("nobody")
        stage = self._f.stage.label("stage")
        statement = (
            select(nobody, stage, func.count())
            .where(_s.expires_at > micros(now), stage.in_([one.value for one in _GOING_ON]))
            .group_by("nobody", "stage")
        )
        rows = self._rows(statement)
        known = {Stage(stage): count for nobody, stage, count in rows if not nobody}
        return known, sum(count for nobody, _, count in rows if nobody)

    def _by_limit(
        self, measured: ColumnElement[Any], wanted: ColumnElement[bool], limits: Sequence[timedelta]
    ) -> tuple[int, ...]:
        place = case(
            *((measured < int(limit.total_seconds()), number) for number, limit in enumerate(limits)),
            else_=len(limits),
        )
        found = dict(
            tuple(row)
            for row in self._rows(select(place.label("place"), func.count()).where(wanted).group_by("place"))
        )
        return tuple(found.get(number, 0) for number in range(len(limits) + 1))

    def _rows(self, statement: Select[Any]) -> Sequence[Any]:
        return self._session.run(statement).all()

    def _requests(self, statement: Select[Any]) -> tuple[Request, ...]:
        return tuple(_DOCUMENT.load(row.doc) for row in self._session.run(statement))


def _called(wanted: Called, id_: ColumnElement[str], name: ColumnElement[str]) -> ColumnElement[bool]:
    return or_(id_ == wanted.id, func.lower(name) == func.lower(wanted.name))


def _within(span: Span) -> ColumnElement[bool]:
    return and_(_t.created_at >= micros(span.since), _t.created_at < micros(span.until))


def _moment(value: int | None) -> datetime | None:
    return None if value is None else moment(value)
