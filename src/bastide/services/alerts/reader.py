"""From the audit to alerts: each record is looked at once, by all rules that are on.

(1) The store plans this job in the commit that holds state and record (`followers`), so nothing that happened is missed.
(2) Alerts, their rows of work, and how far the audit was read are one commit.
(3) Nothing is asked here but the database.
(4) Where alerts begin, the audit that is there already is history.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from bastide.domain.alerts import (
    COMPARED,
    COUNTED,
    KEPT,
    KINDS,
    Policy,
    Rule,
    Sighting,
    counted,
    plain,
    settled,
)
from bastide.domain.audit import Record
from bastide.domain.unusual import compared, person_of
from bastide.services.alerts.book import Book, kind_of
from bastide.services.pace import ALERT
from bastide.services.ports import AuditQuery, Store, UnitOfWork, Work

#: Of the work that follows the audit.
KEY = "audit"
_CURSOR = "alerts"
#: Before the first record, and not 0: that says that nobody has ever read.
_BEGINNING = -1
_BATCH = 200
#: Records that one rule counts or compares with.
_MOST = 5000
_OF_DESTINATION = f"{ALERT}:"


class Reader:
    """The recurring job."""

    def __init__(
        self,
        *,
        store: Store,
        policy: Policy,
        book: Book,
        destinations: Sequence[str],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._policy = policy
        self._book = book
        self._destinations = destinations
        self._now = now

    def plant(self) -> None:
        """See to it that the row exists, and that no row waits for a destination that is gone; a node does this when it starts."""
        ours = {kind_of(name) for name in self._destinations}
        with self._store.write() as uow:
            if uow.audit.cursor(_CURSOR) == 0:
                uow.audit.move_cursor(_CURSOR, uow.audit.head()[0] or _BEGINNING)  # (4)
            for kind in {str(row["kind"]) for row in uow.work.listing()}:
                if kind.startswith(_OF_DESTINATION) and kind not in ours:
                    uow.work.forget(kind)
            uow.work.poke(ALERT, KEY, self._now())
            uow.commit()

    def run(self, works: Sequence[Work]) -> None:
        """Read on. Raises LostLease, StoreError."""
        for work in works:
            self._read_on(work)

    def late(self, works: Sequence[Work]) -> None:
        """Nobody took an alert in hand in time: others are told. Raises LostLease, StoreError."""
        with self._store.write() as uow:
            now = self._now()
            alerts = uow.alerts.many([work.key for work in works])
            for work in works:
                if (alert := alerts.get(work.key)) is not None and alert.escalates():
                    rule = self._policy.named(alert.rule)
                    self._book.escalate(uow, alert, frozenset() if rule is None else rule.escalate_to, now)
            uow.work.remove_many(works)
            uow.commit()

    def _read_on(self, work: Work) -> None:
        with self._store.read() as uow:
            head, after = uow.audit.head()[0], uow.audit.cursor(_CURSOR)
            records = tuple(uow.audit.read(AuditQuery(after_seq=after, kinds=KINDS, limit=_BATCH)))
            found = list(self._found(uow, records, after))
        more = len(records) == _BATCH
        with self._store.write() as uow:  # (2)
            now = self._now()
            for _, rule, sighting in sorted(found, key=lambda one: one[0]):
                self._book.found(uow, rule, sighting, now)
            for record in records:
                self._settle(uow, record, now)
            uow.alerts.forget_before(now - KEPT)
            uow.audit.move_cursor(_CURSOR, records[-1].seq if more else head or _BEGINNING)
            uow.work.finish(work, now if more else None)
            uow.commit()

    def _found(
        self, uow: UnitOfWork, records: Sequence[Record], after: int
    ) -> Iterator[tuple[int, Rule, Sighting]]:
        """With the number of the record, so that all is written in the order in which it happened."""
        for record in records:
            if (signalled := plain(record)) is not None:
                signal, sighting = signalled
                yield from ((record.seq, rule, sighting) for rule in self._policy.alone(signal))
        yield from self._many(uow, records, after)
        for signal, kind in COMPARED.items():
            mine = [one for one in records if one.kind == kind]
            for rule in self._policy.of(signal) if mine else ():
                seen = ((one.seq, rule, self._compare(uow, rule, one)) for one in mine)
                yield from ((seq, rule, one) for seq, rule, one in seen if one is not None)

    def _many(
        self, uow: UnitOfWork, records: Sequence[Record], after: int
    ) -> Iterator[tuple[int, Rule, Sighting]]:
        for signal, kinds in COUNTED.items():
            mine = [one for one in records if one.kind in kinds]
            for rule in self._policy.of(signal) if mine else ():
                query = AuditQuery(since=mine[0].at - rule.window, kinds=kinds, limit=_MOST)
                some = [one for one in uow.audit.read(query) if one.seq <= mine[-1].seq]
                yield from ((one.record, rule, one) for one in counted(rule, some, after))

    def _compare(self, uow: UnitOfWork, rule: Rule, record: Record) -> Sighting | None:
        since = record.at - timedelta(days=self._policy.learned)
        who = person_of(record)
        if not who:
            return None
        query = AuditQuery(since=since, until=record.at, person=who, kind=record.kind, limit=_MOST)
        earlier = [one for one in uow.audit.read(query) if one.seq < record.seq and person_of(one) == who]
        return compared(rule, record, earlier, self._policy.learned)

    def _settle(self, uow: UnitOfWork, record: Record, now: datetime) -> None:
        over = settled(record)
        if over is None:
            return
        signal, key, because = over
        for alert in uow.alerts.watched(signal):
            if alert.key == key and alert.last_at <= record.at:
                self._book.over(uow, alert, because, now)
