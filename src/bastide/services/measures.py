"""What a monitoring system is told, in figures (docs/reference/metrics.md). Nobody is named, and nothing is asked but the database: a look every few seconds costs a
few statements that count.

(1) Without a token in the settings there are no figures.
(2) Who shows another token than that one gets none. The two are compared as digests, in constant time.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.errors import NotAuthenticated, NotFound
from bastide.domain.passwords import State
from bastide.services.nodes import seen
from bastide.services.ports import AuditSink, Store, UnitOfWork
from bastide.services.recovery import reconciling


class Kind(StrEnum):
    """`COUNTER`: only grows."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Measure:
    """`name` and `help` as monitoring systems show them; `labels`: what tells its samples apart."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: Kind = Kind.GAUGE


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure. `labels`: the values, in the order of the measure's names."""

    measure: Measure
    value: float
    labels: tuple[str, ...] = ()


REQUESTS = Measure("bastide_requests", "Requests that are not over, by state.", ("state",))
OVERDUE = Measure("bastide_grants_overdue", "Access that is active although its end has passed.")
ROWS = Measure("bastide_work_rows", "Durable work, by kind.", ("kind",))
DUE = Measure("bastide_work_due", "Work that only waits for a worker.", ("kind",))
CLAIMED = Measure("bastide_work_claimed", "Work that a worker has in hand.", ("kind",))
FAILING = Measure("bastide_work_failing", "Work that went wrong the last time.", ("kind",))
LATE = Measure(
    "bastide_work_late_seconds", "Since when the oldest of the work waits for a worker.", ("kind",)
)
COMPARING = Measure(
    "bastide_database_comparing",
    "1: the database came back from an earlier time and nothing is granted before it was compared; 0: it did not.",
)
NODE_UP = Measure(
    "bastide_node_up",
    "1: the node was heard lately; 0: it was not. None of a node that left.",
    ("node", "partition"),
)
NODE_STATE = Measure(
    "bastide_node_info", "1, with what the node says of itself.", ("node", "state", "version", "schema")
)
HEARTBEAT = Measure("bastide_node_heartbeat_age_seconds", "Since when the node was not heard.", ("node",))
RECORDS = Measure("bastide_audit_records", "Records of the audit chain.", kind=Kind.COUNTER)
CHECKPOINT = Measure(
    "bastide_audit_checkpoint_age_seconds", "Since when the end of the chain was not signed."
)
SINK_LAG = Measure("bastide_audit_sink_lag_records", "Records that a sink has not taken yet.", ("sink",))
SYNC = Measure("bastide_passwords_enabled", "1: password synchronization is on; 0: it is off.")
PENDING = Measure("bastide_passwords_pending", "Passwords that are on their way to a target.")
HEARD = Measure(
    "bastide_controller_heard_age_seconds",
    "Since when the agent on a domain controller was not heard.",
    ("domain", "controller"),
)
WAITING = Measure(
    "bastide_controller_waiting",
    "Changes that waited on the domain controller when it was last heard.",
    ("domain", "controller"),
)

MEASURES = (
    REQUESTS, OVERDUE, ROWS, DUE, CLAIMED, FAILING, LATE, COMPARING, NODE_UP, NODE_STATE, HEARTBEAT, RECORDS, CHECKPOINT, SINK_LAG, SYNC, PENDING,
    HEARD, WAITING,
)  # fmt: skip


def digest(token: str) -> bytes:
    """What is kept of the token that monitoring shows."""
    return hashlib.sha256(token.encode()).digest()


class Measures:
    """The use case. `token`: the digest of the one that is to be shown; None: monitoring is not set up. `passwords`: whether this node synchronizes them."""

    def __init__(
        self,
        *,
        store: Store,
        sinks: Sequence[AuditSink],
        token: bytes | None,
        passwords: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sinks = sinks
        self._token = token
        self._passwords = passwords
        self._now = now

    def admit(self, shown: str) -> None:
        """Raises NotFound where monitoring is not set up, NotAuthenticated for another token."""
        if self._token is None:  # (1)
            raise NotFound(
                "monitoring is not set up", remedy="set metrics.token (docs/operations/monitoring.md)"
            )
        if not hmac.compare_digest(digest(shown), self._token):  # (2)
            raise NotAuthenticated(
                "this is not the token of metrics.token", remedy="send it as a bearer token"
            )

    def read(self) -> tuple[Sample, ...]:
        """As of now. Raises StoreError."""
        with self._store.read() as uow:
            now = uow.nodes.time(self._now())
            return (
                *_of_requests(uow, now),
                Sample(COMPARING, float(reconciling(uow) is not None)),
                *_of_work(uow, now),
                *_of_nodes(uow, now),
                *self._of_audit(uow, now),
                *(_of_passwords(uow, now) if self._passwords else ()),
            )

    def _of_audit(self, uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
        seq, _ = uow.audit.head()
        yield Sample(RECORDS, seq)
        newest = uow.audit.newest_checkpoint()
        if newest is not None:
            yield Sample(CHECKPOINT, _since(newest.at, now))
        for sink in self._sinks:
            yield Sample(SINK_LAG, seq - uow.audit.cursor(sink.name), (sink.name,))


def _of_requests(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    for state, count in sorted(uow.figures.open_requests().items()):
        yield Sample(REQUESTS, count, (state.value,))
    overdue, _ = uow.figures.ending(now, (timedelta(0),))
    yield Sample(OVERDUE, overdue)


def _of_work(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    for queue in uow.figures.queues(now):
        label = (queue.kind,)
        yield Sample(ROWS, queue.rows, label)
        yield Sample(DUE, queue.due, label)
        yield Sample(CLAIMED, queue.claimed, label)
        yield Sample(FAILING, queue.failing, label)
        yield Sample(LATE, 0 if queue.oldest is None else _since(queue.oldest, now), label)


def _of_nodes(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    known, holders = uow.nodes.all(), uow.figures.holders()
    for one in (seen(node, known, holders, now) for node in known):
        node = one.node
        if node.left_at is None:  # who said that it stops is missed by nobody
            yield Sample(NODE_UP, float(one.alive), (node.name, node.partition))
        yield Sample(NODE_STATE, 1, (node.name, one.state.value, node.version, node.schema))
        yield Sample(HEARTBEAT, _since(node.heartbeat, now), (node.name,))


def _of_passwords(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    yield Sample(SYNC, float(uow.switch.enabled()))
    yield Sample(PENDING, uow.changes.count(State.PENDING))
    for one in uow.contacts.all():
        yield Sample(HEARD, _since(one.heard_at, now), (one.domain, one.host))
        if one.beat_at is not None:
            yield Sample(WAITING, one.waiting, (one.domain, one.host))


def _since(moment: datetime, now: datetime) -> float:
    """Seconds. A clock that stepped back is no negative age."""
    return max((now - moment).total_seconds(), 0.0)
