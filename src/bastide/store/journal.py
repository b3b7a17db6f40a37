"""Wishes for logs with their answers, and traces."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import bindparam, delete, exists, insert, select

from bastide.domain.errors import NotFound
from bastide.domain.ids import typed
from bastide.domain.journal import Answer, Wish
from bastide.domain.traces import Trace
from bastide.services.journal_rows import LogWishes, Traces
from bastide.store import tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session
from bastide.store.statements import one_of, upserts

_WISH, _ANSWER, _TRACE = Document(Wish), Document(Answer), Document(Trace)
_w, _a, _t = tables.log_wishes.c, tables.log_answers.c, tables.traces.c
_ADD = insert(tables.log_wishes)
_FIND = select(_w.doc).where(_w.id == bindparam("id_"))
_ALL = select(_w.doc).order_by(_w.made_at, _w.id)
_UNANSWERED = _ALL.where(~exists().where(_a.wish == _w.id, _a.node == bindparam("node_")))
_REMOVE = delete(tables.log_wishes).where(one_of(_w.id, "ids"))
_SAY = upserts(tables.log_answers, ("wish", "node"))
_ANSWERS = select(_a.doc).where(_a.wish == bindparam("wish_")).order_by(_a.node)
_PACKED = select(_a.packed).where(_a.wish == bindparam("wish_"), _a.node == bindparam("node_"))
_PUT = upserts(tables.traces, ("operation",))
_TRACES = select(_t.doc).order_by(_t.operation)
_OFF = delete(tables.traces).where(_t.operation == bindparam("operation_"))
_OVER = delete(tables.traces).where(_t.ends_at <= bindparam("moment_"))


class SqlLogWishes(LogWishes):
    """A row for each wish, and one for each answer."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, wish: Wish) -> None:
        """Raises Conflict if its id is taken."""
        self._session.run(_ADD, {"id": wish.id, "made_at": micros(wish.made_at), "doc": _WISH.dump(wish)})

    def find(self, id: str) -> Wish | None:  # noqa: A002
        """None: there is none of that id."""
        row = self._session.run(_FIND, {"id_": id}).first()
        return None if row is None else _WISH.load(row.doc)

    def get(self, id: str) -> Wish:  # noqa: A002
        """Raises NotFound."""
        wish = self.find(id)
        if wish is None:
            raise NotFound(
                f"nothing is gathered under {typed(id)}",
                remedy="it was read already, or is too old: ask again",
            )
        return wish

    def all(self) -> tuple[Wish, ...]:
        """Oldest first."""
        return tuple(_WISH.load(row.doc) for row in self._session.run(_ALL))

    def unanswered(self, node: str) -> tuple[Wish, ...]:
        """Those that this node has not answered, whether it was asked or not; oldest first."""
        return tuple(_WISH.load(row.doc) for row in self._session.run(_UNANSWERED, {"node_": node}))

    def remove(self, ids: Collection[str]) -> None:
        """With their answers."""
        self._session.run(_REMOVE, {"ids": ids})

    def answer(self, wish: str, answer: Answer, packed: bytes) -> None:
        """In the place of what the node said before, if it did."""
        row = {"wish": wish, "node": answer.node, "doc": _ANSWER.dump(answer), "packed": packed}
        self._session.run(_SAY[self._session.dialect], row)

    def answers(self, wish: str) -> tuple[Answer, ...]:
        """By node."""
        return tuple(_ANSWER.load(row.doc) for row in self._session.run(_ANSWERS, {"wish_": wish}))

    def packed(self, wish: str, node: str) -> bytes:
        """Empty: it did not answer."""
        found = self._session.run(_PACKED, {"wish_": wish, "node_": node}).scalar_one_or_none()
        return b"" if found is None else bytes(found)


class SqlTraces(Traces):
    """A row for each operation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, trace: Trace) -> None:
        """In the place of one that is there."""
        row = {"operation": trace.operation, "ends_at": micros(trace.ends_at), "doc": _TRACE.dump(trace)}
        self._session.run(_PUT[self._session.dialect], row)

    def remove(self, operation: str) -> bool:
        """Whether it was there."""
        return self._session.run(_OFF, {"operation_": operation}).rowcount == 1

    def all(self) -> tuple[Trace, ...]:
        """By operation; also those that are over."""
        return tuple(_TRACE.load(row.doc) for row in self._session.run(_TRACES))

    def remove_before(self, moment: datetime) -> None:
        """Those that are over."""
        self._session.run(_OVER, {"moment_": micros(moment)})
