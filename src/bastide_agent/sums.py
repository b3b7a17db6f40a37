"""One event for many: where a single cause meets thousands of accounts (a bulk import without passwords, a controller that does not encrypt), the log is not flooded, and not silent either.

The first few are written as they are, whose account each is about. More of them within the interval are counted, and the count is written when it is over, for as long as they go on.
Only the account's name is left out of the log, and nothing else depends on it: `bastide passwords coverage` asks the domain which changes nobody told of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from bastide.clock import Clock
from bastide_agent.events import EventLog, Value

#: 6005: no ciphertext of the password.
SUMMED = frozenset({6005})
FIRST = 5
#: Seconds.
INTERVAL = 60.0


@dataclass(slots=True)
class _Burst:
    """One number's events, one after the other. `written`: those written singly."""

    began: float
    written: int = 0
    more: int = 0
    last: str = ""


class SummingLog:
    """As the EventLog behind it. Any thread may use it."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._lock = Lock()
        self._bursts: dict[int, _Burst] = {}

    def write(self, number: int, /, **fields: Value) -> None:
        """Write one event, or count it."""
        if number not in SUMMED or self._is_single(number, fields):
            self._log.write(number, **fields)

    def _is_single(self, number: int, fields: Mapping[str, Value]) -> bool:
        self.tell_due()
        with self._lock:
            burst = self._bursts.setdefault(number, _Burst(self._clock.monotonic()))
            if burst.written < FIRST:
                burst.written += 1
                return True
            burst.more += 1
            burst.last = str(fields.get("detail", ""))
            return False

    def tell_due(self) -> None:
        """Write the counts whose interval is over. To be called about once a second."""
        now = self._clock.monotonic()
        with self._lock:
            due = [number for number, burst in self._bursts.items() if now - burst.began >= INTERVAL]
        self._tell(due)

    def tell_all(self) -> None:
        """Write every count: this is the end."""
        with self._lock:
            known = [*self._bursts]
        self._tell(known)

    def _tell(self, numbers: list[int]) -> None:
        for number in numbers:
            with self._lock:
                burst = self._bursts.pop(number, None)
                if burst and burst.more:  # it goes on: no new ones singly
                    self._bursts[number] = _Burst(self._clock.monotonic(), written=FIRST)
            if burst and burst.more:
                detail = f"so many more within {INTERVAL:.0f} s; `bastide passwords coverage` names accounts whose new password nobody told of. The last: {burst.last}"
                self._log.write(number, count=burst.more, detail=detail)
