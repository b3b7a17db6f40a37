"""Work that follows the audit: sign the end of the chain, feed the sinks. The store plans it when records are committed (`followers`)."""

from collections.abc import Callable, Sequence
from datetime import datetime

from bastide.services.audit import Audit
from bastide.services.pace import CHECKPOINT, EXPORT, delay
from bastide.services.ports import AuditSink, Store, Work

KEY = "audit"


class Upkeep:
    """The recurring jobs."""

    def __init__(
        self,
        *,
        store: Store,
        audit: Audit,
        sinks: Sequence[AuditSink],
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._audit = audit
        self._sinks = sinks
        self._now = now
        self._jitter = jitter

    def plant(self) -> None:
        """See to it that the rows exist; a node does this when it starts."""
        with self._store.write() as uow:
            now = self._now()
            uow.work.poke(CHECKPOINT, KEY, now)
            if self._sinks:
                uow.work.poke(EXPORT, KEY, now)
            uow.commit()

    def run(self, works: Sequence[Work]) -> None:
        """Do the work and plan it again. A sink that is down is tried again; the records wait in the database."""
        for work in works:
            problem, more = "", False
            try:
                if work.kind == CHECKPOINT:
                    self._audit.checkpoint()
                else:
                    more = self._audit.feed(self._sinks)
            except OSError as error:
                problem = str(error)
            self._hand_back(work, problem, more=more)

    def _hand_back(self, work: Work, problem: str, *, more: bool) -> None:
        with self._store.write() as uow:
            now = self._now()
            if problem:
                uow.work.retry(work, now + delay(self._jitter, work.attempts), problem)
            else:
                uow.work.finish(work, now if more else None)
            uow.commit()
