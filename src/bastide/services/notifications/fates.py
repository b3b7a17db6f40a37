"""What becomes of the rows behind what a channel was given, for all that goes out by channels: what was taken is over, what was refused is tried again after a pause, and what it
did not come to, in a second.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from bastide.domain.notifications import pause
from bastide.services.notifications.ports import Fate, Outcome
from bastide.services.ports import Work, WorkRows

T = TypeVar("T")
_SOON = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Sent(Generic[T]):
    """What a channel was given, by what became of it; of what was refused, why."""

    taken: tuple[T, ...]
    refused: tuple[tuple[T, str], ...]
    untried: tuple[T, ...]

    @property
    def failing(self) -> bool:
        """It took nothing of what was tried."""
        return bool(self.refused) and not self.taken


def by_fate(given: Sequence[T], outcomes: Sequence[Outcome]) -> Sent[T]:
    """One outcome for each. Raises ValueError if there are more or fewer."""
    pairs = tuple(zip(given, outcomes, strict=True))
    return Sent(
        taken=tuple(one for one, outcome in pairs if outcome.fate is Fate.TAKEN),
        refused=tuple((one, outcome.problem) for one, outcome in pairs if outcome.fate is Fate.REFUSED),
        untried=tuple(one for one, outcome in pairs if outcome.fate is Fate.UNTRIED),
    )


class Settling(Generic[T]):
    """Writes that down. `rows_of`: the rows that one is about."""

    def __init__(self, rows_of: Callable[[T], Iterable[Work]], jitter: Callable[[], float]) -> None:
        self._rows_of = rows_of
        self._jitter = jitter

    def settle(self, work: WorkRows, sent: Sent[T], now: datetime, over: Iterable[Work] = ()) -> None:
        """`over`: settled without a message. Raises LostLease."""
        work.remove_many([*over, *self._rows(sent.taken)])
        work.finish_many([(row, now + _SOON) for row in self._rows(sent.untried)])
        for one, why in sent.refused:
            for row in self._rows_of(one):
                self.again(work, row, now, why)

    def again(self, work: WorkRows, row: Work, now: datetime, why: str) -> None:
        """Raises LostLease."""
        work.retry(row, now + pause(self._jitter(), row.attempts), why)

    def _rows(self, several: Iterable[T]) -> Iterable[Work]:
        return (row for one in several for row in self._rows_of(one))
