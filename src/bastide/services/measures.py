"""What a monitoring system is told, in figures (docs/reference/metrics.md). Nobody is named, and nothing is asked but the database: a look every few seconds costs a
few statements that count.

(1) Without a token in the settings there are no figures.
(2) Who shows another token than that one gets none. The two are compared as digests, in constant time.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain import break_glass
from bastide.domain.alerts import Severity
from bastide.domain.drift import Rule
from bastide.domain.errors import NotAuthenticated, NotFound
from bastide.domain.observed import Verdict
from bastide.domain.passwords import State
from bastide.domain.reset.flow import Stage
from bastide.domain.reset.lockout import Kind as Lock
from bastide.services.alerts.book import kind_of
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
ENVELOPES = Measure(
    "bastide_break_glass_envelopes",
    "Emergency accounts by their envelope: sealed and good for one use, or used.",
    ("state",),
)
DRILL = Measure(
    "bastide_break_glass_drill_age_seconds",
    "Since when the sealed envelope that waits longest was neither drilled nor sealed.",
)
ALERTS = Measure("bastide_alerts_open", "Alerts that nobody has acknowledged, by severity.", ("severity",))
UNDELIVERED = Measure(
    "bastide_alerts_undelivered", "Alerts that a destination has not taken yet.", ("destination",)
)
DRIFTS = Measure(
    "bastide_drift_open", "What stands in the directories and nobody asked for, by rule.", ("rule",)
)
READ_AGE = Measure(
    "bastide_monitor_read_age_seconds",
    "Since when a domain was not read; while nothing happens there it is written down once a minute.",
    ("domain",),
)
CHANGE_AGE = Measure("bastide_monitor_change_age_seconds", "Since when no change was read.", ("domain",))
PAUSED = Measure("bastide_monitor_paused", "1: reading of a domain is paused; 0: it is not.", ("domain",))
REVIEWS = Measure("bastide_reviews_open", "Access reviews that take decisions.")
REVIEWS_OVERDUE = Measure(
    "bastide_reviews_overdue", "Access reviews that take decisions although their end has passed."
)
RESETS = Measure("bastide_resets_open", "Self-service resets that go on, by stage.", ("stage",))
RESETS_OF_NOBODY = Measure(
    "bastide_resets_of_nobody",
    "Self-service resets that go on for a name that is unknown, not registered or excluded.",
)
RESETS_LOCKED = Measure(
    "bastide_resets_locked",
    "People who are locked after wrong answers: by their name, from addresses that nobody registered from (name) or that somebody did (near); or the pair of name and address (pair).",
    ("kind",),
)
RECENT = Measure(
    "bastide_audit_last_hour",
    "Records of the audit of the last hour, of kinds that tell of trouble.",
    ("kind",),
)
EVENTS = Measure(
    "bastide_events_last_day",
    "Privileged changes that domain controllers told of and that happened in the last day, by verdict.",
    ("verdict",),
)
SOURCE_SILENT = Measure(
    "bastide_event_source_silent",
    "1: the source of events is silent for longer than it may be, or was never heard; 0: it is not.",
    ("source",),
)
SOURCE_HEARD = Measure(
    "bastide_event_source_heard_age_seconds", "Since when a source of events was not heard.", ("source",)
)
SOURCE_LINES = Measure(
    "bastide_event_source_lines",
    "Lines of a source of events, taken or refused.",
    ("source", "result"),
    Kind.COUNTER,
)
#: Of RECENT: what people do, or fail at, whom monitoring names nobody of.
RECENT_KINDS = (
    "help-desk.not-told",
    "help-desk.ordered",
    "help-desk.verification-refused",
    "intake.gap",
    "intake.refused",
    "intake.unexplained",
    "reset.code-withheld",
    "reset.done",
    "reset.gate-refused",
    "reset.locked",
    "reset.not-told",
)

MEASURES = (
    REQUESTS, OVERDUE, ROWS, DUE, CLAIMED, FAILING, LATE, COMPARING, NODE_UP, NODE_STATE, HEARTBEAT, RECORDS, CHECKPOINT, SINK_LAG, SYNC, PENDING,
    HEARD, WAITING, ENVELOPES, DRILL, ALERTS, UNDELIVERED, DRIFTS, READ_AGE, CHANGE_AGE, PAUSED, REVIEWS, REVIEWS_OVERDUE, RESETS, RESETS_OF_NOBODY,
    RESETS_LOCKED, RECENT, EVENTS, SOURCE_SILENT, SOURCE_HEARD, SOURCE_LINES,
)  # fmt: skip


_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_LOCKS = (Lock.NAME, Lock.NEAR, Lock.PAIR)


def digest(token: str) -> bytes:
    """What is kept of the token that monitoring shows."""
    return hashlib.sha256(token.encode()).digest()


class Measures:
    """The use case. `token`: the digest of the one that is to be shown; None: monitoring is not set up. `passwords`: whether this node synchronizes them.
    `destinations`: of alerts. `resets`: whether people reset their passwords themselves. `sources`: of events.
    """

    def __init__(
        self,
        *,
        store: Store,
        sinks: Sequence[AuditSink],
        token: bytes | None,
        passwords: bool,
        destinations: Sequence[str] = (),
        resets: bool = False,
        sources: Sequence[str] = (),
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sinks = sinks
        self._token = token
        self._passwords = passwords
        self._destinations = destinations
        self._resets = resets
        self._sources = sources
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
                *_of_envelopes(uow, now),
                *_of_monitoring(uow, now),
                *_of_reviews(uow, now),
                *_of_records(uow, now),
                *(_of_resets(uow, now) if self._resets else ()),
                *(self._of_events(uow, now) if self._sources else ()),
                *(_of_passwords(uow, now) if self._passwords else ()),
                *(self._of_alerts(uow, now) if self._destinations else ()),
            )

    def _of_audit(self, uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
        seq, _ = uow.audit.head()
        yield Sample(RECORDS, seq)
        newest = uow.audit.newest_checkpoint()
        if newest is not None:
            yield Sample(CHECKPOINT, _since(newest.at, now))
        for sink in self._sinks:
            yield Sample(SINK_LAG, seq - uow.audit.cursor(sink.name), (sink.name,))

    def _of_alerts(self, uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
        found = uow.alerts.open()
        for severity in Severity:
            yield Sample(ALERTS, found.get(severity, 0), (severity.value,))
        rows = {queue.kind: queue.rows for queue in uow.figures.queues(now)}
        for name in self._destinations:
            yield Sample(UNDELIVERED, rows.get(kind_of(name), 0), (name,))

    def _of_events(self, uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
        found = uow.figures.observed(now - _DAY)
        for verdict in Verdict:
            yield Sample(EVENTS, found.get(verdict, 0), (verdict.value,))
        for name in self._sources:
            station = uow.observed.station(name)
            yield Sample(SOURCE_SILENT, float(station is None or station.silent), (name,))
            if station is not None:
                yield Sample(SOURCE_HEARD, _since(station.heard_at, now), (name,))
                yield Sample(SOURCE_LINES, station.taken, (name, "taken"))
                yield Sample(SOURCE_LINES, station.refused, (name, "refused"))


def _of_reviews(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    found = uow.reviews.open()
    yield Sample(REVIEWS, len(found))
    yield Sample(REVIEWS_OVERDUE, sum(one.closes_at <= now for one in found))


def _of_records(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    found = uow.figures.recorded(RECENT_KINDS, now - _HOUR)
    for kind in RECENT_KINDS:
        yield Sample(RECENT, found.get(kind, 0), (kind,))


def _of_resets(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    going_on, of_nobody = uow.figures.resets(now)
    for stage in (Stage.GATES, Stage.COOLING, Stage.CHOOSE):
        yield Sample(RESETS, going_on.get(stage, 0), (stage.value,))
    yield Sample(RESETS_OF_NOBODY, of_nobody)
    locked = Counter(one.kind for one in uow.resets.counts(_LOCKS) if one.locked_at(now))
    for kind in _LOCKS:
        yield Sample(RESETS_LOCKED, locked[kind], (kind.value,))


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


def _of_monitoring(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    """Nothing where no domain was ever read."""
    domains = uow.monitored.domains()
    found = Counter(one.drift.rule for one in uow.monitored.findings())
    for rule in Rule if domains else ():
        yield Sample(DRIFTS, found[rule], (rule.value,))
    for one in domains:
        yield Sample(PAUSED, float(one.paused), (one.name,))
        for measure, at in ((READ_AGE, one.read_at), (CHANGE_AGE, one.changed_at)):
            if at is not None:
                yield Sample(measure, _since(at, now), (one.name,))


def _of_passwords(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    yield Sample(SYNC, float(uow.switch.enabled()))
    yield Sample(PENDING, uow.changes.count(State.PENDING))
    for one in uow.contacts.all():
        yield Sample(HEARD, _since(one.heard_at, now), (one.domain, one.host))
        if one.beat_at is not None:
            yield Sample(WAITING, one.waiting, (one.domain, one.host))


def _of_envelopes(uow: UnitOfWork, now: datetime) -> Iterator[Sample]:
    """Both states, also with none: without one that is sealed nobody gets in on the worst day."""
    current = uow.envelopes.current()
    for state in (break_glass.State.SEALED, break_glass.State.USED):
        yield Sample(ENVELOPES, sum(one.state is state for one in current), (state.value,))
    sealed = [one.drilled_at or one.sealed_at for one in current if one.state is break_glass.State.SEALED]
    if sealed:
        yield Sample(DRILL, _since(min(sealed), now))


def _since(moment: datetime, now: datetime) -> float:
    """Seconds. A clock that stepped back is no negative age."""
    return max((now - moment).total_seconds(), 0.0)
