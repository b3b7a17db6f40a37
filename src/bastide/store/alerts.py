"""The alerts that are kept."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, select, update

from bastide.domain.alerts import Alert, Severity, Signal, State
from bastide.domain.errors import NotFound
from bastide.domain.ids import typed
from bastide.services.alerts.ports import Alerts
from bastide.store import tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session
from bastide.store.statements import one_of

_DOCUMENT = Document(Alert)
_t = tables.alerts.c
_INSERT = insert(tables.alerts)
_UPDATE = (
    update(tables.alerts)
    .where(_t.id == bindparam("id_"))
    .values(state=bindparam("state_"), last_at=bindparam("last_at_"), doc=bindparam("doc_"))
)
_GET = select(_t.doc).where(_t.id == bindparam("id_"))
_MANY = select(_t.doc).where(one_of(_t.id, "ids"))
_OF = select(_t.doc).where(_t.state != State.OVER.value).order_by(_t.first_at, _t.id)
_LATEST = (
    select(_t.doc)
    .where(_t.rule == bindparam("rule_"), _t.key == bindparam("key_"))
    .order_by(_t.first_at.desc(), _t.id.desc())
    .limit(1)
)
_WATCHED = _OF.where(_t.signal == bindparam("signal_"))
_NEWEST = (
    select(_t.doc)
    .where(one_of(_t.state, "states"))
    .order_by(_t.first_at.desc(), _t.id.desc())
    .limit(bindparam("limit_"))
)
_OPEN = (
    select(_t.severity, func.count().label("number"))
    .where(_t.state == State.OPEN.value)
    .group_by(_t.severity)
)
_FORGET = delete(tables.alerts).where(_t.state != State.OPEN.value, _t.last_at < bindparam("moment_"))


class SqlAlerts(Alerts):
    """A row for each."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, alert: Alert) -> None:
        """Raises Conflict if its id is taken."""
        self._session.run(
            _INSERT,
            {
                "id": alert.id,
                "rule": alert.rule,
                "signal": alert.signal.value,
                "key": alert.key,
                "severity": alert.severity.value,
                "state": alert.state.value,
                "first_at": micros(alert.first_at),
                "last_at": micros(alert.last_at),
                "doc": _DOCUMENT.dump(alert),
            },
        )

    def save(self, alert: Alert) -> None:
        """Raises NotFound."""
        row = {
            "id_": alert.id,
            "state_": alert.state.value,
            "last_at_": micros(alert.last_at),
            "doc_": _DOCUMENT.dump(alert),
        }
        if self._session.run(_UPDATE, row).rowcount != 1:
            raise _missing(alert.id)

    def get(self, id: str) -> Alert:  # noqa: A002
        """Raises NotFound."""
        row = self._session.run(_GET, {"id_": id}).first()
        if row is None:
            raise _missing(id)
        return _DOCUMENT.load(row.doc)

    def many(self, ids: Collection[str]) -> Mapping[str, Alert]:
        """Those that are there, by id."""
        found = (_DOCUMENT.load(row.doc) for row in self._session.run(_MANY, {"ids": ids}))
        return {alert.id: alert for alert in found}

    def latest(self, rule: str, key: str) -> Alert | None:
        """The newest of a rule and a key."""
        row = self._session.run(_LATEST, {"rule_": rule, "key_": key}).first()
        return None if row is None else _DOCUMENT.load(row.doc)

    def watched(self, signal: Signal) -> tuple[Alert, ...]:
        """All of a signal that are not over, oldest first."""
        rows = self._session.run(_WATCHED, {"signal_": signal.value})
        return tuple(_DOCUMENT.load(row.doc) for row in rows)

    def newest(self, states: Collection[State], limit: int) -> tuple[Alert, ...]:
        """The newest of these states first."""
        wanted = {"states": [state.value for state in states], "limit_": limit}
        return tuple(_DOCUMENT.load(row.doc) for row in self._session.run(_NEWEST, wanted))

    def open(self) -> Mapping[Severity, int]:
        """How many nobody has acknowledged, by severity."""
        return {Severity(row.severity): row.number for row in self._session.run(_OPEN)}

    def forget_before(self, moment: datetime) -> None:
        """Those that are acknowledged or over, and were last seen before that."""
        self._session.run(_FORGET, {"moment_": micros(moment)})


def _missing(key: str) -> NotFound:
    return NotFound(f"there is no alert {typed(key)}", remedy="`bastide alert list` shows them")
