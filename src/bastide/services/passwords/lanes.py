"""How many threads of a node may be in one target at a time, so that a slow or dead target cannot tie up all of them.

A target that is not known to be well gets one visitor; the others wait a moment for what comes of it, and go away. A well one gets two: one
sets while the other commits. With four workers, two slow targets, or any number of dead ones, leave the rest of the system at work.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from bastide.domain.management_agents import MaId

WORKERS = 4
_VISITORS = 2
#: Seconds. A well target opens a connection in less.
_PATIENCE = 0.5


class Lanes:
    """Shared by the workers of one node."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._moved = threading.Condition()
        self._inside: dict[MaId, int] = defaultdict(int)
        self._well: set[MaId] = set()

    @contextmanager
    def enter(self, ma: MaId) -> Iterator[bool]:
        """Whether there is room now. If not, come back later."""
        with self._moved:
            entered = self._moved.wait_for(lambda: self._room(ma), self._patience)
            if entered:
                self._inside[ma] += 1
        try:
            yield entered
        finally:
            if entered:
                with self._moved:
                    self._inside[ma] -= 1
                    self._moved.notify_all()

    def said(self, ma: MaId, *, well: bool) -> None:
        """A connection stands, or did not come about."""
        with self._moved:
            if well:
                self._well.add(ma)
            else:
                self._well.discard(ma)
            self._moved.notify_all()

    def _room(self, ma: MaId) -> bool:
        return self._inside[ma] < (_VISITORS if ma in self._well else 1)
