"""States that no record tells of: each is measured every so often, and what is found, or is right again, becomes alerts.

A measure that cannot be made (a directory that does not answer) finds nothing and settles nothing: it is tried again, and `bastide validate` says why.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from bastide.domain.alerts import MEASURED, Policy, Rule, Sighting, Signal
from bastide.domain.errors import BastideError, LostLease, StoreError
from bastide.services.alerts.book import Book
from bastide.services.pace import ALERT_LOOK, delay
from bastide.services.ports import Store, Work

_log = logging.getLogger(__name__)
#: Gives what is wrong now, judged by a rule. Raises BastideError.
Measure = Callable[[Rule, datetime], Sequence[Sighting]]


class Looker:
    """The recurring job. `measures`: by signal; one that this node cannot make is not there."""

    def __init__(
        self,
        *,
        store: Store,
        policy: Policy,
        book: Book,
        measures: Mapping[Signal, Measure],
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._policy = policy
        self._book = book
        self._measures = measures
        self._now = now
        self._jitter = jitter

    def plant(self) -> None:
        """See to it that the rows exist; a node does this when it starts."""
        with self._store.write() as uow:
            for signal in self._measures:
                uow.work.poke(ALERT_LOOK, signal.value, self._now())
            uow.commit()

    def run(self, works: Sequence[Work]) -> None:
        """Raises LostLease, StoreError."""
        for work in works:
            self._look(work, Signal(work.key))

    def _look(self, work: Work, signal: Signal) -> None:
        measure, now = self._measures.get(signal), self._now()
        if measure is None:
            with self._store.write() as uow:
                uow.work.remove_many([work])
                uow.commit()
            return
        try:
            found = [(rule, one) for rule in self._policy.of(signal) for one in measure(rule, now)]
        except (LostLease, StoreError):
            raise
        except BastideError as error:
            _log.warning("%s is not measured: %s", signal.value, error.message)
            with self._store.write() as uow:
                uow.work.retry(work, now + delay(self._jitter, work.attempts), error.message)
                uow.commit()
            return
        with self._store.write() as uow:
            for rule, sighting in found:
                self._book.found(uow, rule, sighting, now)
            wrong = {(rule.name, one.key) for rule, one in found}
            for alert in uow.alerts.watched(signal):
                if (alert.rule, alert.key) not in wrong:
                    self._book.over(uow, alert, "it was measured again, and is right", now)
            uow.work.finish(work, now + MEASURED[signal])
            uow.commit()
