"""How often one operator may do what, so that a stolen sign-in neither lists everybody nor sets everybody's password. In memory of one node, as the throttle of sign-ins."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum

from bastide.domain.errors import TooManyTries
from bastide.domain.ids import Sid

_OPERATORS = 1000


class Act(Enum):
    """How many, and within how long."""

    LOOK = (60, timedelta(minutes=1))
    WRITE = (20, timedelta(minutes=10))
    VERIFY = (15, timedelta(minutes=10))


class Pace:
    """Counts what is asked, whatever becomes of it."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[Act, Sid], deque[datetime]] = OrderedDict()

    def count(self, act: Act, operator: Sid) -> None:
        """Raises TooManyTries."""
        most, span = act.value
        now = self._now()
        with self._lock:
            seen = self._seen.pop((act, operator), deque())
            while seen and seen[0] <= now - span:
                seen.popleft()
            self._seen[act, operator] = seen
            while len(self._seen) > _OPERATORS:
                self._seen.popitem(last=False)
            if len(seen) >= most:
                raise TooManyTries(
                    f"more than {most} within {span // timedelta(minutes=1)} min are more than one operator does",
                    remedy="wait a little; a list of accounts is an administrator's work",
                )
            seen.append(now)
