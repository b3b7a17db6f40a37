"""When each controller was last heard, and those that fell silent. In order:

  (1) Whatever an admitted controller says is a contact: a notification, a heartbeat. It is written down at most once a minute for each.
  (2) A contact never holds up what was said: if the database is away, the next minute has it.
  (3) Once a minute one worker looks who is silent for longer than `passwords.silence_minutes`: a warning (6929) and an audit record, once for each silence.
      Only controllers of an enabled source count; and only time in which this node could have heard them.
  (4) Who comes back is said as well (6930), with an audit record.
  (5) Who is silent for 30 days is forgotten.

A controller that was never heard cannot fall silent: whether there is an agent on each of them is what coverage shows.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock

from bastide.domain.contacts import EVERY, Contact, fell_silent, is_forgotten
from bastide.domain.errors import StoreError
from bastide.services.events import by_worker
from bastide.services.pace import WATCH
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.ports import EventLog
from bastide.services.ports import Store, UnitOfWork, Work

_log = logging.getLogger(__name__)
_KEY = "controllers"
_YEAR_1601 = datetime(1601, 1, 1, tzinfo=UTC)
_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class _Noted:
    """`at`: when it was last written down. The queue as the last heartbeat said; None: there was none yet."""

    at: datetime
    queue: tuple[int, datetime | None] | None


class Silence:
    """Hears controllers, and notices who is not heard any more."""

    def __init__(
        self, *, store: Store, events: EventLog, now: Callable[[], datetime], after: timedelta
    ) -> None:
        """`after`: zero turns the warning off."""
        self._store = store
        self._events = events
        self._now = now
        self._after = after
        self._since = datetime.min.replace(tzinfo=UTC)
        self._lock = Lock()
        self._noted: dict[tuple[str, str], _Noted] = {}

    def heard(self, caller: Caller, waiting: int | None = None, oldest: int = 0) -> None:
        """(1), (2). Of a heartbeat: how many notifications wait, and since when the oldest (100 ns since 1601; 0: none)."""
        now, key = self._now(), (caller.domain, caller.host)
        with self._lock:
            last = self._noted.get(key)
            queue = (waiting, _moment(oldest)) if waiting is not None else last.queue if last else None
            due = last is None or not _NOTHING <= now - last.at < EVERY
            self._noted[key] = _Noted(now if last is None or due else last.at, queue)
        if due:
            try:
                self._record(caller, queue, now)
            except StoreError as error:
                _log.warning("that %s was heard is not on record: %s", caller.host, error.message)

    def plant(self) -> None:
        """What a node does when it starts: who was not heard while it was down is not silent for that."""
        self._since = self._now()
        with self._store.write() as uow:
            uow.work.poke(WATCH, _KEY, self._since)
            uow.commit()

    def watch(self, works: Sequence[Work]) -> None:
        """(3), (5). Raises LostLease, StoreError."""
        now = self._now()
        with self._store.write() as uow:
            silent = self._look(uow, now)
            uow.work.finish_many([(work, now + EVERY) for work in works])
            uow.commit()
        for one in silent:
            said = {"Last contact": one.heard_at.isoformat(), "Waiting": one.waiting}
            self._events.write(6929, Domain=one.domain, Server=one.host, **said)

    def _look(self, uow: UnitOfWork, now: datetime) -> list[Contact]:
        sources = {one.source.domain for one in uow.agents.all() if one.source and one.source.enabled}
        silent = []
        for one in uow.contacts.all():
            if is_forgotten(one, now):
                uow.contacts.remove(one)
            elif one.domain in sources and fell_silent(one, now, self._since, self._after):
                uow.contacts.put(replace(one, silent=True))
                uow.audit.append(
                    by_worker(
                        "passwords.controller-silent",
                        now,
                        subject=one.host,
                        subject_name=one.host,
                        data={
                            "domain": one.domain,
                            "last_contact": one.heard_at.isoformat(),
                            "waiting": one.waiting,
                        },
                    )
                )
                silent.append(one)
        return silent

    def _record(self, caller: Caller, queue: tuple[int, datetime | None] | None, now: datetime) -> None:
        with self._store.write() as uow:
            before = uow.contacts.get(caller.domain, caller.host)
            if queue is None:
                queue = (before.waiting, before.oldest) if before else (0, None)
            waiting, oldest = queue
            uow.contacts.put(
                Contact(domain=caller.domain, host=caller.host, heard_at=now, waiting=waiting, oldest=oldest)
            )
            back = before is not None and before.silent
            if before is not None and back:
                data = {"domain": caller.domain, "silent_since": before.heard_at.isoformat()}
                uow.audit.append(
                    by_worker(
                        "passwords.controller-heard",
                        now,
                        subject=caller.host,
                        subject_name=caller.host,
                        data=data,
                    )
                )
            uow.commit()
        if before is not None and back:  # (4)
            since = {"Silent since": before.heard_at.isoformat()}
            self._events.write(6930, Domain=caller.domain, Server=caller.host, **since)


def _moment(filetime: int) -> datetime | None:
    """None for nothing, and for what is no time."""
    try:
        return _YEAR_1601 + timedelta(microseconds=filetime // 10) if filetime else None
    except OverflowError:
        return None
