"""Whether passwords are synchronized at all. Off until a person says so, and off by itself when the database was restored from a backup.

A restored database has forgotten which changes it took in and what it delivered: it could let an old password win over a newer one. The
vault, which is not part of any backup, names an audit record that the database must have. A database without it is an older one: event 6916,
and nothing is taken in or delivered until an administrator has looked and switches it on again.

Warm standby: a second node with the same database and the same vault. In this order, nothing is lost: (1) the agents are told of the new server
(`pcnscfg modifytarget`), or its name moves; (2) the standby's service is started. It finds the pending deliveries as work rows and takes over
those of a dead node when their lease is over; what the agents could not deliver meanwhile waits on the domain controllers.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.people import Actor, Right, require, require_reader
from bastide.services.events import by_actor, by_worker
from bastide.services.pace import PASSWORD
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.ports import EventLog, Vault
from bastide.services.ports import AuditQuery, Store, UnitOfWork

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """`restored`: the database is an older one than the vault remembers."""

    enabled: bool
    restored: bool
    waiting: int


class Switchboard:
    """The use cases of the switch."""

    def __init__(
        self, *, store: Store, vault: Vault, eraser: Eraser, events: EventLog, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._vault = vault
        self._eraser = eraser
        self._events = events
        self._now = now

    def status(self, actor: Actor) -> Status:
        """Raises NotAuthorized."""
        require_reader(actor)
        mark = self._vault.mark()
        with self._store.read() as uow:
            return Status(uow.switch.enabled(), not _has(uow, mark), uow.changes.queue_length(None))

    def enable(self, actor: Actor) -> None:
        """Take in and deliver (6910); what waits is delivered now. After a restore this says that an administrator has looked. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        mark = self._vault.mark()
        with self._store.write() as uow:
            if uow.switch.enabled():
                return
            now = self._now()
            uow.switch.set(enabled=True)
            uow.work.poke_many(PASSWORD, dict.fromkeys(uow.changes.waiting(), now))
            data = {"restored": not _has(uow, mark)}
            uow.audit.append(by_actor("passwords.enabled", now, actor, data=data))
            head = uow.audit.head()
            uow.commit()
        self._vault.set_mark(*head)
        self._events.write(6910)

    def disable(self, actor: Actor) -> None:
        """Take in and deliver nothing (6911). What waits goes on waiting, here and on the domain controllers. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            if not uow.switch.enabled():
                return
            uow.switch.set(enabled=False)
            uow.audit.append(by_actor("passwords.disabled", self._now(), actor))
            uow.commit()
        self._events.write(6911)

    def plant(self) -> None:
        """What a node does when it starts: look whether the database was restored, destroy keys that nobody needs, see to the work rows."""
        if self.off_if_restored():
            return
        if swept := self._eraser.sweep():
            _log.info("%s keys of finished password changes were left over and are destroyed", swept)
        with self._store.write() as uow:
            if uow.switch.enabled():
                uow.work.poke_many(PASSWORD, dict.fromkeys(uow.changes.waiting(), self._now()))
                uow.commit()

    def off_if_restored(self) -> bool:
        """Whether the database lacks the record that the vault remembers. If so, synchronization is off from now on (6916)."""
        mark = self._vault.mark()
        with self._store.read() as uow:
            if _has(uow, mark):
                return False
        switched = False
        with self._store.write() as uow:
            if uow.switch.enabled():
                uow.switch.set(enabled=False)
                seq = mark[0] if mark else 0
                uow.audit.append(by_worker("passwords.restored", self._now(), data={"missing": seq}))
                uow.commit()
                switched = True
        if switched:
            self._events.write(6916)
        return True


def _has(uow: UnitOfWork, mark: tuple[int, str] | None) -> bool:
    """Whether the database has the marked audit record, unchanged. Without a mark nothing is missing."""
    if mark is None or mark[0] == 0:
        return True
    found = next(iter(tuple(uow.audit.read(AuditQuery(after_seq=mark[0] - 1, limit=1)))), None)
    return found is not None and (found.seq, found.hash) == mark
