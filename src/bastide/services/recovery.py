"""A database that came back from the past: noticed, and nothing is granted until the directory was compared with it.

A mark outside of the database names the newest audit record that this node saw. A database that lacks that record is an older one: it was put back
from a backup, or a failover lost commits. In order:

  (1) The mark follows the audit with each heartbeat, and before a grant is written to the directory: what the directory may hold that this
      database does not know is noticed.
  (2) A database that lacks the marked record, one that `bastide restore` filled, and one that an administrator doubts, is compared: `recovery.began`
      stands in the audit, in one commit with the work that compares (reconcile.py). The state is that record, so no node can miss it. Who would write it looks
      again under the writers' lock: a primary that lost its place and does not know it yet lacks records, and refuses no reader. Each node that misses a
      record says so, also during a comparison: what was compared before its record is compared again.
  (3) Until `recovery.ended` follows it, nothing is asked for, approved, proved or extended (`require_open`), and no worker opens anything (`held`). Ends, the kill
      switch and rejections go on.
  (4) A mark that was damaged is one that the database lacks. One that cannot be written stays behind: it goes on telling of all that is older. This process
      remembers meanwhile what it would have written, so that what was compared is not found missing again with each heartbeat.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Protocol

from bastide.domain.audit import GENESIS, Record
from bastide.domain.errors import Conflict
from bastide.services.events import by_worker
from bastide.services.pace import RECONCILE
from bastide.services.ports import AuditQuery, Store, UnitOfWork

_log = logging.getLogger(__name__)
#: What these records are about, and the key of the work.
DATABASE = "database"
BEGAN, ENDED = "recovery.began", "recovery.ended"
#: A record of the audit: its number and its hash.
Place = tuple[int, str]


class Mark(Protocol):
    """Remembers one audit record, where a restored database does not reach."""

    def read(self) -> Place | None:
        """None: nothing was ever noted. One that no database has: what was noted is damaged. Raises OSError."""

    def write(self, place: Place) -> None:
        """Whatever there was. Raises OSError."""


def knows(uow: UnitOfWork, place: Place) -> bool:
    """Whether the audit has that very record."""
    if place == (0, GENESIS):
        return True
    found = next(iter(tuple(uow.audit.read(AuditQuery(after_seq=place[0] - 1, limit=1)))), None)
    return found is not None and (found.seq, found.hash) == place


def reconciling(uow: UnitOfWork) -> Record | None:
    """The record with which the comparison began that is not over; None: all is as it should be."""
    began, ended = uow.audit.last(BEGAN, DATABASE), uow.audit.last(ENDED, DATABASE)
    return began if began is not None and (ended is None or ended.seq < began.seq) else None


def refusal() -> Conflict:
    """The answer to whoever wants access meanwhile."""
    return Conflict(
        "the database came back from an earlier time, and is being compared with the directory: nothing is granted until that is done",
        remedy="wait; if it lasts, `bastide work list` and `bastide validate --recovery` say what holds it up. Ending access works as ever",
    )


def require_open(uow: UnitOfWork) -> None:
    """(3). Raises Conflict."""
    if reconciling(uow) is not None:
        raise refusal()


def begin(uow: UnitOfWork, now: datetime, *, cause: str, missing: int = 0) -> None:
    """(2), in the caller's commit. `missing`: the number of the record that the database lacks."""
    data: dict[str, object] = {"cause": cause} | ({"missing": missing} if missing else {})
    uow.audit.append(by_worker("recovery.began", now, subject=DATABASE, data=data))
    uow.work.poke(RECONCILE, DATABASE, now)


class Recovery:
    """What a node does about it."""

    def __init__(self, *, store: Store, mark: Mark, now: Callable[[], datetime]) -> None:
        self._store = store
        self._mark = mark
        self._now = now
        self._one_at_a_time = Lock()
        self._unwritten: Place | None = None
        self._complained = False

    def plant(self) -> None:
        """What a node does when it starts: look, and see to the work. Raises StoreError."""
        self.follow()
        with self._store.write() as uow:
            if reconciling(uow) is not None:
                _log.warning("%s", refusal().message)
                uow.work.poke(RECONCILE, DATABASE, self._now())
                uow.commit()

    def held(self) -> Conflict | None:
        """Asked before anything is opened; None: it may be. Raises StoreError."""
        self.follow()
        return self.closed()

    def closed(self) -> Conflict | None:
        """Why nothing is granted now; None: it is. For pages and people. Raises StoreError."""
        with self._store.read() as uow:
            return refusal() if reconciling(uow) is not None else None

    def follow(self) -> None:
        """(1), (2). Raises StoreError."""
        with self._one_at_a_time:
            try:
                self._follow()
            except OSError as error:  # (4); once, for there is a heartbeat every few seconds
                if not self._complained:
                    _log.warning("the mark outside of the database stays behind: %s", error)
                self._complained = True
            else:
                self._complained = False

    def _follow(self) -> None:
        mark = self._unwritten or self._mark.read()
        with self._store.read() as uow:
            head = uow.audit.head()
            lacks = mark is not None and mark != head and not knows(uow, mark)
        if mark is not None and lacks:
            head = self._restored(mark)
        if head != mark or self._unwritten is not None:
            self._unwritten = head
            self._mark.write(head)
            self._unwritten = None

    def _restored(self, mark: Place) -> Place:
        """The mark moves only after this commit: who dies in between notices it again."""
        with self._store.write() as uow:
            if knows(uow, mark):
                return uow.audit.head()
            _log.error("the database lacks audit record %s, which this node saw: it is an older one", mark[0])
            begin(uow, self._now(), cause="an older database", missing=mark[0])
            head = uow.audit.head()
            uow.commit()
        return head
