"""Writes that came too late: a worker that stalled for longer than its lease (a paused machine) writes an older password over a newer one that
another worker has set meanwhile.

  (1) A row that was not given back by who had it is being taken over: what it delivers is held. Its sealed password and its key stay for HOLD,
      also after it was delivered.
  (2) A worker that finds its row lost after it has written says so: what is newer, and still held or pending, is set again, and the audit
      tells. If the newer key is gone, the audit tells that too: a person must change the password once more.
  (3) Where both come together, the commit of the taker sees the report of the late one, or the late one sees that commit.

A late worker that cannot reach the database says it as soon as it can; one that is killed between its write and its report says nothing.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain.errors import NotFound, StoreError
from bastide.domain.management_agents import CsId, ManagementAgent
from bastide.domain.passwords import Delivery, State
from bastide.services.pace import PASSWORD
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.outcomes import announce_overwritten, overwritten
from bastide.services.passwords.ports import EventLog
from bastide.services.ports import Store, UnitOfWork, Work

_log = logging.getLogger(__name__)
#: How long a stalled worker is waited for.
HOLD = timedelta(hours=1)


class LateWrites:
    """Shared by the workers of one node."""

    def __init__(self, *, store: Store, eraser: Eraser, events: EventLog) -> None:
        self._store = store
        self._eraser = eraser
        self._events = events
        self._unsaid: list[tuple[Delivery, ManagementAgent | None]] = []
        self._saying = threading.Lock()

    def expect(self, works: Sequence[Work], now: datetime) -> None:
        """(1). In a commit of its own, and only if rows are being taken over: giving them back forgets that they were. Raises StoreError."""
        taken = [CsId(work.key) for work in works if work.attempts]
        if not taken:
            return
        with self._store.write() as uow:
            uow.changes.save([replace(one, held_until=now + HOLD) for one in uow.changes.pending(taken)])
            uow.commit()

    def wrote(self, delivery: Delivery, agent: ManagementAgent | None, now: datetime) -> None:
        """(2). Raises nothing that a database may raise: it is said later then."""
        with self._saying:
            self._unsaid.append((delivery, agent))
        self.say(now)

    def say(self, now: datetime) -> None:
        """What is still to be said."""
        with self._saying:
            while self._unsaid:
                delivery, agent = self._unsaid[-1]
                try:
                    self._report(delivery, agent, now)
                except StoreError as error:
                    _log.error(
                        "a late write of %s is not recorded yet: %s", delivery.reference, error.message
                    )
                    return
                self._unsaid.pop()

    def _report(self, delivery: Delivery, agent: ManagementAgent | None, now: datetime) -> None:
        with self._store.write() as uow:
            newer = [
                one for one in uow.changes.kept([delivery.object]) if one.stamp.newer_than(delivery.stamp)
            ]
            applied = uow.changes.applied([delivery.object]).get(delivery.object)
            if not newer and (applied is None or not applied.newer_than(delivery.stamp)):
                return
            uow.changes.save(
                [
                    replace(one, state=State.PENDING, due=None, late_writes=one.late_writes + 1)
                    for one in newer
                ]
            )
            uow.work.poke(PASSWORD, delivery.object, now)
            uow.audit.append(overwritten(delivery, agent, again=bool(newer), at=now))
            head = uow.audit.head()
            uow.commit()
        self._eraser.destroy((), head)
        announce_overwritten(self._events, delivery, agent, again=bool(newer))

    @staticmethod
    def seen(uow: UnitOfWork, delivery: Delivery) -> Delivery:
        """(3). A delivery that is about to be saved as delivered: due again if a late write was reported meanwhile. `sealed` must be kept."""
        if delivery.state is not State.DELIVERED or delivery.held_until is None:
            return delivery
        try:
            now = uow.changes.delivery(delivery.id)
        except NotFound:
            return delivery
        if now.state is not State.PENDING or now.late_writes == delivery.late_writes:
            return delivery
        return replace(
            delivery, state=State.PENDING, due=None, late_writes=now.late_writes, sealed=now.sealed
        )


def set_again(delivery: Delivery) -> bool:
    """Whether it may be set although the object has taken it already."""
    return delivery.late_writes > 0


def held(delivery: Delivery, now: datetime) -> bool:
    """Whether a delivered one keeps what is sealed."""
    return delivery.state is State.DELIVERED and delivery.held_until is not None and delivery.held_until > now
