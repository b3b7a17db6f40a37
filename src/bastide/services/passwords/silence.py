"""When each controller was last heard, and those that fell silent. In order:

  (1) Whatever an admitted controller says is a contact: a notification, a heartbeat. It is noted in memory, so what was said never waits for it.
      The row is that of its account: an account that gets another host name is the same controller.
  (2) A process that receives writes down what it heard, in one commit, once a minute; whom it hears for the first time, within seconds. It writes that it
      listened, as well. What cannot be written is kept, and the next commit has it. Of what two nodes heard the newer stays.
  (3) Once a minute one worker looks who is silent for longer than `passwords.silence_minutes`: a warning (6929) and an audit record, once for each silence.
      Only controllers of an enabled source count; and only time in which somebody could have heard them (2): no outage, no suspended machine, no step of the
      clock, and nobody's restart makes a controller silent.
  (4) Who comes back is said as well (6930), with an audit record.
  (5) Who is silent for 30 days is forgotten, with an audit record. One whose silence is to be reported was reported before.
  (6) Of one domain and moment SINGLY controllers are named, and the others counted.
  (7) A time later than now, by more than SKEW, was written by a clock that was wrong, and counts as now. Who receives also brings (3) forward if
      it was put off by such a clock.

A controller that was never heard cannot fall silent: whether there is an agent on each of them is what coverage shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Lock

from bastide.domain.contacts import (
    EVERY,
    Contact,
    Fate,
    Report,
    fate,
    heard_on,
    is_ahead,
    newest,
    not_later,
    reports,
)
from bastide.services.events import by_worker
from bastide.services.pace import WATCH
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.ports import EventLog
from bastide.services.ports import Store, UnitOfWork, Work

_KEY = "controllers"
_YEAR_1601 = datetime(1601, 1, 1, tzinfo=UTC)
_NOTHING = timedelta(0)
#: One commit holds what all controllers said: no host name may be one that no column holds.
_LONGEST_HOST = 255
_Key = tuple[str, str]


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
        self._lock = Lock()
        self._noted: dict[_Key, Contact] = {}
        self._on_record: set[_Key] = set()
        self._written_at: datetime | None = None

    def heard(self, caller: Caller, waiting: int | None = None, oldest: int = 0) -> None:
        """(1). Of a heartbeat: how many notifications wait, and since when the oldest (100 ns since 1601; 0: none). Waits for nothing."""
        now, key = self._now(), (caller.domain, caller.account.lower())
        host = caller.host[:_LONGEST_HOST].replace("\0", "\ufffd")
        said = Contact(domain=key[0], account=key[1], host=host, heard_at=now)
        if waiting is not None:
            said = replace(said, waiting=waiting, oldest=_moment(oldest), beat_at=now)
        with self._lock:
            last = self._noted.get(key)
            self._noted[key] = said if last is None else newest(not_later(last, now), said)

    def plant(self) -> None:
        """What a node with a worker does when it starts."""
        with self._store.write() as uow:
            uow.work.poke(WATCH, _KEY, self._now())
            uow.commit()

    def write_down(self) -> None:
        """(2), (4), (7). To be called every few seconds by one thread of a process that receives; most calls do nothing. Raises StoreError."""
        now = self._now()
        with self._lock:
            noted = dict(self._noted)
        last = self._written_at
        if last is not None and _NOTHING <= now - last < EVERY and noted.keys() <= self._on_record:
            return
        with self._store.write() as uow:
            uow.contacts.hear(heard_on(uow.contacts.hearing(), now))
            before = [_record(uow, noted[key], now) for key in sorted(noted)]
            told = reports([one for one in before if one is not None and one.silent])
            for one in told:
                _audit("passwords.controller-heard", uow, now, one, silent_since=one.heard_at.isoformat())
            uow.work.poke(WATCH, _KEY, now + EVERY)
            uow.commit()
        self._written_at = now
        self._on_record |= noted.keys()
        with self._lock:
            for key, contact in noted.items():
                if self._noted[key] is contact:
                    del self._noted[key]
        for one in told:
            since = {"Silent since": one.heard_at.isoformat()}
            self._events.write(6930, Domain=one.domain, Server=one.host, **since)

    def watch(self, works: Sequence[Work]) -> None:
        """(3), (5), (6), (7). Raises LostLease, StoreError."""
        now = self._now()
        with self._store.write() as uow:
            found = self._look(uow, now)
            silent, gone = (reports(found[what]) for what in (Fate.REPORT, Fate.FORGET))
            for one in silent:
                last = one.heard_at.isoformat()
                _audit("passwords.controller-silent", uow, now, one, last_contact=last, waiting=one.waiting)
            for one in gone:
                _audit("passwords.controller-forgotten", uow, now, one, last_contact=one.heard_at.isoformat())
            uow.work.finish_many([(work, now + EVERY) for work in works])
            uow.commit()
        for one in silent:
            said = {"Last contact": one.heard_at.isoformat(), "Waiting": one.waiting}
            self._events.write(6929, Domain=one.domain, Server=one.host, **said)

    def _look(self, uow: UnitOfWork, now: datetime) -> dict[Fate, list[Contact]]:
        """Sorts all, and writes down what is new. As of when somebody listened last: what came after, nobody could hear."""
        found: dict[Fate, list[Contact]] = {each: [] for each in Fate}
        hearing = uow.contacts.hearing()
        if hearing is None or is_ahead(hearing.until, now):  # (7): who receives mends it
            return found
        sources = {one.source.domain for one in uow.agents.all() if one.source and one.source.enabled}
        for known in uow.contacts.all():
            one = not_later(known, now)
            what = fate(one, hearing, self._after if one.domain in sources else _NOTHING)
            found[what].append(one)
            if what is Fate.FORGET:
                uow.contacts.remove(one)
            elif what is Fate.REPORT or one is not known:
                uow.contacts.put(replace(one, silent=one.silent or what is Fate.REPORT))
        return found


def _record(uow: UnitOfWork, heard: Contact, now: datetime) -> Contact | None:
    """Write one down; what was known of it."""
    heard = not_later(heard, now)
    known = uow.contacts.get(heard.domain, heard.account)
    before = None if known is None else not_later(known, now)
    uow.contacts.put(heard if before is None else newest(before, heard))
    return before


def _audit(kind: str, uow: UnitOfWork, now: datetime, told: Report, **said: object) -> None:
    more = {"more": told.more} if told.more else {}
    data = {"domain": told.domain, **said, **more}
    uow.audit.append(by_worker(kind, now, subject=told.host, subject_name=told.host, data=data))


def _moment(filetime: int) -> datetime | None:
    """None for nothing, and for what is no time."""
    try:
        return _YEAR_1601 + timedelta(microseconds=filetime // 10) if filetime else None
    except OverflowError:
        return None
