"""From the audit to work: each new record is looked at once, and what it gives rise to becomes one row of work for each channel and recipient.

(1) The store plans this job in the commit that holds state and record (`followers`), so no notice is forgotten, and none is made for what was not kept.
(2) The rows, and how far the audit was read, are one commit: each record is read once, by whoever holds the row.
(3) Nothing is asked here but the database: a directory or a mail server that is down holds up its own channel only.
(4) Where notifications begin, the audit that is there already is history.
(5) Of a crowd not all are told in the same second: when a thousand grants end, their ends come first.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from bastide.domain.audit import Record
from bastide.domain.notifications import CHANNEL, KINDS, Notice, Told, told_of
from bastide.services.notifications.ports import Channel, Settings
from bastide.services.pace import NOTIFY
from bastide.services.ports import AuditQuery, Store, Work

KEY = "audit"
_CURSOR = "notifications"
#: Before the first record, and not 0: that says that nobody has ever read.
_BEGINNING = -1
_BATCH = 500
_A_SECOND = timedelta(seconds=1)
#: Rows of one channel that are due in one second: as many as its job takes at once.
_IN_A_SECOND = 50
_OF_CHANNEL = f"{NOTIFY}:"


def kind_of(channel: str) -> str:
    """The kind of work that a channel's messages are."""
    return f"{_OF_CHANNEL}{channel}"


class Plan:
    """The recurring job."""

    def __init__(self, *, store: Store, settings: Settings, now: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._now = now

    def plant(self) -> None:
        """See to it that the row exists, and that no row waits for a channel that is gone; a node does this when it starts."""
        ours = {kind_of(channel.name) for channel in self._settings.channels}
        with self._store.write() as uow:
            if uow.audit.cursor(_CURSOR) == 0:
                uow.audit.move_cursor(_CURSOR, uow.audit.head()[0] or _BEGINNING)  # (4)
            kinds = {str(row["kind"]) for row in uow.work.listing()}
            for kind in kinds:
                if kind.startswith(_OF_CHANNEL) and kind not in ours:
                    uow.work.forget(kind)
            uow.work.poke(NOTIFY, KEY, self._now())
            uow.commit()

    def run(self, works: Sequence[Work]) -> None:
        """Read on. Raises LostLease, StoreError."""
        for work in works:
            self._read_on(work)

    def _read_on(self, work: Work) -> None:
        with self._store.read() as uow:
            head = uow.audit.head()[0]
            query = AuditQuery(after_seq=uow.audit.cursor(_CURSOR), kinds=KINDS, limit=_BATCH)
            records = tuple(uow.audit.read(query))
        more = len(records) == _BATCH
        with self._store.write() as uow:  # (2)
            now = self._now()
            for kind, key, due in self._rows(records, now):
                uow.work.poke(kind, key, due)
            uow.audit.move_cursor(_CURSOR, records[-1].seq if more else head or _BEGINNING)
            uow.work.finish(work, now if more else None)
            uow.commit()

    def _rows(self, records: Sequence[Record], now: datetime) -> Iterator[tuple[str, str, datetime]]:
        """Kind, key and due time."""
        told = [one for record in records if (one := told_of(record, self._settings.lead, now)) is not None]
        for channel in self._settings.channels:
            mine = [
                (Notice(to, one.occasion, one.ref).key, one.due)
                for one in told
                if channel.takes(one.occasion, one.role) and (to := _recipient(channel, one))
            ]
            for place, (key, due) in enumerate(mine):
                yield kind_of(channel.name), key, due + _A_SECOND * (place // _IN_A_SECOND)  # (5)


def _recipient(channel: Channel, told: Told) -> str:
    """Empty: nobody."""
    if channel.people:
        return told.person
    return CHANNEL if told.at_large else ""
