"""Nodes, a row for each. A heartbeat is one statement, by the database's clock where it has one."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, bindparam, case, delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from bastide.domain.errors import NotFound
from bastide.domain.ids import typed
from bastide.domain.nodes import Node
from bastide.services.registry import Registry, Seat
from bastide.store import tables
from bastide.store.codec import micros, moment
from bastide.store.session import Session
from bastide.store.work import NOW

_TICK = timedelta(microseconds=1)
_t = tables.nodes.c
_INSERT: Mapping[str, Callable[[Table], Any]] = {"sqlite": sqlite_insert, "postgresql": postgres_insert}
_ALL = select(tables.nodes).order_by(_t.partition, _t.name)
_ONE = select(tables.nodes).where(_t.name == bindparam("name_"))
_REMOVE = delete(tables.nodes).where(_t.name == bindparam("name_"))
_BEAT = {
    dialect: update(tables.nodes)
    .where(_t.name == bindparam("name_"), _t.process == bindparam("process_"), _t.left_at.is_(None))
    .values(heartbeat=now)
    for dialect, now in NOW.items()
}
_CLOCK = select(NOW["postgresql"])


def _upsert(dialect: str) -> Any:
    statement = _INSERT[dialect](tables.nodes)
    new = statement.excluded
    columns = [column.name for column in tables.nodes.columns if column.name not in {"name", "heartbeat"}]
    same = _t.process == new.process
    return statement.on_conflict_do_update(
        index_elements=["name"],
        set_={
            **{name: new[name] for name in columns},
            "heartbeat": case((same, _t.heartbeat), else_=new.heartbeat),
        },
    )


_PUT = {dialect: _upsert(dialect) for dialect in _INSERT}


class SqlRegistry(Registry):
    """The rows, within a transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def time(self, now: datetime) -> datetime:
        """The time by which heartbeats and leases are judged: PostgreSQL's own, else `now`."""
        if self._session.dialect == "postgresql":
            return moment(self._session.run(_CLOCK).scalar_one())
        return now

    def find(self, name: str) -> Node | None:
        """None: no node has that name."""
        found = self._nodes(self._session.run(_ONE, {"name_": name}).all())
        return found[0] if found else None

    def get(self, name: str) -> Node:
        """Raises NotFound."""
        node = self.find(name)
        if node is None:
            raise _missing(name)
        return node

    def all(self) -> tuple[Node, ...]:
        """By partition and name."""
        return self._nodes(self._session.run(_ALL).all())

    def put(self, node: Node) -> None:
        """Write down all of it but the heartbeat of a node that is known with the same process: that one is its own."""
        self._session.run(
            _PUT[self._session.dialect],
            {
                "name": node.name,
                "url": node.url,
                "partition": node.partition,
                "version": node.version,
                "schema": node.schema,
                "process": node.process,
                "rhythm": node.rhythm // _TICK,
                "started_at": micros(node.started_at),
                "heartbeat": micros(node.heartbeat),
                "draining": node.draining,
                "left_at": None if node.left_at is None else micros(node.left_at),
            },
        )

    def remove(self, name: str) -> None:
        """Raises NotFound."""
        if self._session.run(_REMOVE, {"name_": name}).rowcount != 1:
            raise _missing(name)

    @staticmethod
    def _nodes(rows: Sequence[Any]) -> tuple[Node, ...]:
        return tuple(
            Node(
                name=row.name,
                url=row.url,
                partition=row.partition,
                version=row.version,
                schema=row.schema,
                process=row.process,
                rhythm=timedelta(microseconds=row.rhythm),
                started_at=moment(row.started_at),
                heartbeat=moment(row.heartbeat),
                draining=row.draining,
                left_at=None if row.left_at is None else moment(row.left_at),
            )
            for row in rows
        )


def beat(session: Session, seat: Seat, now: datetime) -> bool:
    """The node is alive; whether it is registered with this process, and has not left."""
    parameters: dict[str, object] = {"name_": seat.node, "process_": seat.process}
    if session.dialect != "postgresql":
        parameters["now_"] = micros(now)
    return session.run(_BEAT[session.dialect], parameters).rowcount == 1


def _missing(name: str) -> NotFound:
    return NotFound(
        f"there is no node {typed(name)}", remedy="`bastide node list` shows the nodes that there are"
    )
