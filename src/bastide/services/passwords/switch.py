"""Whether passwords are synchronized at all. Off until a person says so, and off by itself when the database was restored from a backup.

A restored database has forgotten which changes it took in and what it delivered: it could let an old password win over a newer one. The
vault, which is not part of any backup, names an audit record that the database must have, and the database names the vault that it was switched
on with. A database without that record is an older one; one of another vault is an older one too, or a node has a vault of its own by mistake,
in which it would find no key. Both: event 6916, and nothing is taken in or delivered until an administrator has looked and switches it on again.

Warm standby: a second node with the same database and the same vault. In this order, nothing is lost: (1) the agents are told of the new server
(`pcnscfg modifytarget`), or its name moves; (2) the standby's service is started. It finds the pending deliveries as work rows and takes over
those of a dead node when their lease is over; what the agents could not deliver meanwhile waits on the domain controllers.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.services.events import by_actor, by_worker
from bastide.services.pace import PASSWORD
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.ports import EventLog, Vault
from bastide.services.ports import Store, UnitOfWork, Work
from bastide.services.recovery import knows

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """`restored`: the database is an older one than the vault remembers, or belongs to another vault."""

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
        seen = self._look()
        with self._store.read() as uow:
            return Status(uow.switch.enabled(), seen.restored(uow), uow.changes.queue_length(None))

    def enable(self, actor: Actor) -> None:
        """Take in and deliver (6910); what waits is delivered now. After a restore this says that an administrator has looked. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        seen = self._look()
        with self._store.write() as uow:
            if uow.switch.enabled():
                return
            now = self._now()
            uow.switch.set(enabled=True)
            uow.work.poke_many(PASSWORD, dict.fromkeys(uow.changes.waiting(), now))
            data = {"restored": seen.restored(uow)}
            uow.switch.belong(seen.vault)
            uow.audit.append(by_actor("passwords.enabled", now, actor, data=data))
            head = uow.audit.head()
            uow.commit()
        self._vault.reset_mark(*head)
        self._events.write(6910)

    def disable(self, actor: Actor) -> None:
        """Take in and deliver nothing (6911). What waits goes on waiting, here and on the domain controllers. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            if not uow.switch.enabled():
                return
            uow.switch.set(enabled=False)
            uow.audit.append(by_actor("passwords.disabled", self._now(), actor))
            head = uow.audit.head()
            uow.commit()
        try:
            self._advance(head)
        except StoreError as error:  # off is off: a vault that is away must not make that look like a failure
            _log.warning("the vault does not know yet that synchronization is off: %s", error.message)
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

    def follow(self, works: Sequence[Work]) -> None:
        """Move the mark to the end of the audit, so that no configuration, join or other record is lost by a restore unnoticed. A database that
        was restored already leaves the mark where it is. Raises LostLease, StoreError.
        """
        if not self.off_if_restored():
            with self._store.read() as uow:
                head = uow.audit.head() if uow.switch.vault() else None
            if head is not None:
                self._vault.set_mark(*head)
        with self._store.write() as uow:
            uow.work.finish_many([(work, None) for work in works])
            uow.commit()

    def off_if_restored(self) -> bool:
        """Whether the database lacks the record that the vault remembers, or belongs to another vault. If so, synchronization is off from now
        on (6916).
        """
        seen = self._look()
        with self._store.read() as uow:
            if not seen.restored(uow):
                return False
        switched = other = False
        with self._store.write() as uow:
            if uow.switch.enabled():
                uow.switch.set(enabled=False)
                other = seen.other(uow)
                data = {"missing": seen.mark[0] if seen.mark else 0, "other_vault": other}
                uow.audit.append(by_worker("passwords.restored", self._now(), data=data))
                uow.commit()
                switched = True
        if switched:
            self._events.write(6916)
            if other:
                _log.warning(
                    "the database was used with another vault, which is not here: what was sealed with that one cannot be opened any more"
                )
        return True

    def _advance(self, head: tuple[int, str]) -> None:
        """Unless this is a restored database: its numbers may have passed the mark's by now, and the mark is what tells."""
        seen = self._look()
        with self._store.read() as uow:
            restored = seen.restored(uow)
        if not restored:
            self._vault.set_mark(*head)

    def _look(self) -> "_Seen":
        return _Seen(self._vault.mark(), self._vault.identity())


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the vault says."""

    mark: tuple[int, str] | None
    vault: str

    def restored(self, uow: UnitOfWork) -> bool:
        """Whether this database, as the vault knows it, is not the one it should be."""
        return self.other(uow) or not _has(uow, self.mark)

    def other(self, uow: UnitOfWork) -> bool:
        """Whether the database belongs to another vault, or is on without any."""
        known = uow.switch.vault()
        return known != self.vault if known else uow.switch.enabled()


def _has(uow: UnitOfWork, mark: tuple[int, str] | None) -> bool:
    """Whether the database has the marked audit record, unchanged. Without a mark it must be off: switching on sets one."""
    if mark is None:
        return not uow.switch.enabled()
    return knows(uow, mark)


def require_own_vault(uow: UnitOfWork, vault: Vault) -> None:
    """Before a key is put into it: other nodes would not find it in another one. Raises StoreUnavailable."""
    if uow.switch.vault() != vault.identity():
        raise StoreUnavailable(
            "the vault of this node is not the one of this database",
            remedy="all nodes share one vault: see passwords.vault, and `bastide passwords status`",
        )
