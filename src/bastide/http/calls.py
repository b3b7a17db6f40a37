"""How many calls a node has answered, and how fast, since it started. Counted where answers leave, in the thread of the event loop."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Upper bounds in seconds; a slower answer is above all of them.
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: A caller may make up methods without end.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"


@dataclass(slots=True)
class Times:
    """Answers of one dialect: how many within each of BOUNDS, and, at the end, above; and the seconds they took in all."""

    within: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0


class Calls:
    """One per application."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._times: dict[str, Times] = {}

    def count(self, dialect: str, method: str, status: int, seconds: float) -> None:
        """An answer that leaves."""
        self._answers[dialect, method if method in METHODS else _OTHER, status] += 1
        times = self._times.setdefault(dialect, Times())
        times.within[bisect_left(BOUNDS, seconds)] += 1
        times.seconds += seconds

    def answers(self) -> Mapping[tuple[str, str, int], int]:
        """By dialect, method and status."""
        return dict(self._answers)

    def times(self) -> Mapping[str, Times]:
        """By dialect."""
        return {
            dialect: Times([*times.within], times.seconds) for dialect, times in list(self._times.items())
        }
