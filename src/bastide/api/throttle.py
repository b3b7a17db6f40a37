"""Slows down guessing of passwords, per pair of account and address: nobody can lock another person out from elsewhere.

In memory of one node: after a restart the count starts anew, and the KDC's own lockout stands behind it.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from bastide.api.problems import TooManyAttempts

ATTEMPTS = 5
SPAN = timedelta(minutes=15)
#: Pairs remembered; the one unused for longest is forgotten first.
_PAIRS = 10_000


class Throttle:
    """At most ATTEMPTS failures per pair within SPAN."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], deque[datetime]] = OrderedDict()

    @contextmanager
    def attempt(self, account: str, address: str) -> Iterator[None]:
        """Counts as a failure from the start, so that a burst is counted too; leaving without an error takes all failures back.

        Raises TooManyAttempts.
        """
        key = (account.strip().casefold(), address)
        self._count(key)
        yield
        with self._lock:
            self._failures.pop(key, None)

    def _count(self, key: tuple[str, str]) -> None:
        now = self._now()
        with self._lock:
            failures = self._failures.setdefault(key, deque())
            self._failures.move_to_end(key)
            while failures and failures[0] <= now - SPAN:
                failures.popleft()
            if len(failures) >= ATTEMPTS:
                raise TooManyAttempts(
                    "too many failed sign-ins to this account from this address",
                    remedy="wait a quarter of an hour, or sign in with a Kerberos ticket",
                )
            failures.append(now)
            if len(self._failures) > _PAIRS:
                self._failures.popitem(last=False)
