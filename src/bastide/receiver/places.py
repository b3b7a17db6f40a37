"""How many connections controllers may have at the same time. Knows them by their numbers only; server.py hangs up. For strangers: listener.py.

(1) A controller has a few places: an agent has one connection for each of its targets, and after a break a new one while we do not know yet that the old one is dead.
    A new one takes the place of its oldest.
(2) When all places of controllers are taken, the oldest connection makes room: its agent connects again when it has something to say. So they are served in turn.
"""

from collections import Counter

CONTROLLERS = 80
CONNECTIONS_OF_ONE_CONTROLLER = 8


class Places:
    """Not for two threads at a time."""

    def __init__(self) -> None:
        self._held: dict[int, str] = {}

    def admit(self, number: int, controller: str) -> tuple[int, ...]:
        """A connection has proven to be this controller's. Who has to go for it."""
        gone: tuple[int, ...] = ()
        if Counter(self._held.values())[controller] >= CONNECTIONS_OF_ONE_CONTROLLER:  # (1)
            gone = (next(one for one, whose in self._held.items() if whose == controller),)
        elif len(self._held) >= CONTROLLERS:  # (2)
            gone = (next(iter(self._held)),)
        for one in gone:
            self.leave(one)
        self._held[number] = controller
        return gone

    def leave(self, number: int) -> None:
        """Its place is free."""
        self._held.pop(number, None)
