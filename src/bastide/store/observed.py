"""Privileged changes that domain controllers told of, and who told."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from bastide.domain.observed import Judged, Verdict
from bastide.services.intake.ports import Observed, Station
from bastide.store import tables
from bastide.store.codec import Document, micros, moment
from bastide.store.session import Session
from bastide.store.statements import one_of, upserts

_JUDGED, _STATION = Document(Judged), Document(Station)
_t, _s = tables.observed_changes.c, tables.event_sources.c
_ADD = {
    "sqlite": sqlite_insert(tables.observed_changes).on_conflict_do_nothing().returning(_t.source),
    "postgresql": postgres_insert(tables.observed_changes).on_conflict_do_nothing().returning(_t.source),
}
_SAVE = (
    update(tables.observed_changes)
    .where(_t.source == bindparam("source_"), _t.record == bindparam("record_"))
    .values(verdict=bindparam("verdict_"), doc=bindparam("doc_"))
)
_PUT_OFF = (
    update(tables.observed_changes)
    .where(_t.source == bindparam("source_"), _t.record == bindparam("record_"))
    .values(judge_at=bindparam("judge_at_"))
)
_DROP = delete(tables.observed_changes).where(
    _t.source == bindparam("source_"), _t.record == bindparam("record_")
)
_PENDING = _t.verdict == Verdict.PENDING.value
_DUE = (
    select(_t.doc)
    .where(_PENDING, _t.judge_at <= bindparam("now_"))
    .order_by(_t.judge_at, _t.source, _t.record)
    .limit(bindparam("limit_"))
)
_NEXT = select(func.min(_t.judge_at)).where(_PENDING)
#: By time: there are few verdicts, and each of them is of many changes. Of a value that is no column no index is looked into.
_SINCE = (
    select(_t.doc)
    .where(_t.at >= bindparam("since_"), one_of(_t.verdict.concat(""), "verdicts"))
    .order_by(_t.at.desc(), _t.source, _t.record)
    .limit(bindparam("limit_"))
)
_FORGET = delete(tables.observed_changes).where(
    _t.verdict != Verdict.PENDING.value, _t.at < bindparam("moment_")
)
_STATIONS = select(_s.doc).order_by(_s.name)
_OF_NAME = select(_s.doc).where(_s.name == bindparam("name_"))
_PUT = upserts(tables.event_sources, ["name"])


class SqlObserved(Observed):
    """A row for each change, and one for each source."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, judged: Judged, judge_at: datetime) -> bool:
        """False: it is there already, and stays as it is."""
        change = judged.change
        row = {
            "source": change.source,
            "record": change.record,
            "at": micros(change.at),
            "judge_at": micros(judge_at),
            "verdict": judged.verdict.value,
            "doc": _JUDGED.dump(judged),
        }
        # Not by the count of rows, which psycopg does not have for an INSERT.
        return self._session.run(_ADD[self._session.dialect], row).first() is not None

    def save(self, judged: Judged) -> None:
        """The verdict of one that is there."""
        row = {"verdict_": judged.verdict.value, "doc_": _JUDGED.dump(judged)}
        self._session.run(_SAVE, {**_identity(judged), **row})

    def put_off(self, many: Sequence[Judged], judge_at: datetime) -> None:
        """They are judged then."""
        if many:
            self._session.run(_PUT_OFF, [{**_identity(one), "judge_at_": micros(judge_at)} for one in many])

    def drop(self, judged: Judged) -> None:
        """It is none of ours."""
        self._session.run(_DROP, _identity(judged))

    def due(self, now: datetime, limit: int) -> tuple[Judged, ...]:
        """Those to be judged by now, oldest first."""
        rows = self._session.run(_DUE, {"now_": micros(now), "limit_": limit})
        return tuple(_JUDGED.load(row.doc) for row in rows)

    def next_due(self) -> datetime | None:
        """When the next one is to be judged; None: none waits."""
        value = self._session.run(_NEXT).scalar_one()
        return None if value is None else moment(value)

    def since(self, since: datetime, verdicts: Collection[Verdict], limit: int) -> tuple[Judged, ...]:
        """What happened from then on, newest first."""
        wanted = {"since_": micros(since), "verdicts": [one.value for one in verdicts], "limit_": limit}
        return tuple(_JUDGED.load(row.doc) for row in self._session.run(_SINCE, wanted))

    def forget_before(self, before: datetime) -> None:
        """Those that were judged and happened before that."""
        self._session.run(_FORGET, {"moment_": micros(before)})

    def station(self, name: str) -> Station | None:
        """None: it was never heard."""
        row = self._session.run(_OF_NAME, {"name_": name}).first()
        return None if row is None else _STATION.load(row.doc)

    def stations(self) -> tuple[Station, ...]:
        """By name."""
        return tuple(_STATION.load(row.doc) for row in self._session.run(_STATIONS))

    def put(self, station: Station) -> None:
        """Replaces what was known of it."""
        self._session.run(_PUT[self._session.dialect], {"name": station.name, "doc": _STATION.dump(station)})


def _identity(judged: Judged) -> dict[str, str]:
    return {"source_": judged.change.source, "record_": judged.change.record}
