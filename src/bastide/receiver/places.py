"""Who may be connected at the same time, so that nobody can keep the controllers out. Knows connections by their numbers only; server.py hangs up.

(1) Whoever has not been admitted as a controller is a stranger. Strangers have few places of their own, and an address few of those: a new one takes the place of
    the oldest of its address, or else of the address that has most.
(2) A controller has a few places: an agent has one connection for each of its targets, and after a break a new one while we do not know yet that the old one is dead.
    A new one takes the place of its oldest.
(3) When all places of controllers are taken, the oldest connection makes room: its agent connects again when it has something to say. So they are served in turn.
"""

from collections import Counter

STRANGERS = 32
STRANGERS_OF_ONE_ADDRESS = 8
CONTROLLERS = 80
CONNECTIONS_OF_ONE_CONTROLLER = 8


class Places:
    """Not for two threads at a time."""

    def __init__(self) -> None:
        self._strangers: dict[int, str] = {}
        self._controllers: dict[int, str] = {}

    def enter(self, number: int, address: str) -> tuple[int, ...]:
        """A stranger comes. Who has to go for it."""
        found = Counter(self._strangers.values())
        gone: tuple[int, ...] = ()
        if found[address] >= STRANGERS_OF_ONE_ADDRESS:  # (1)
            gone = (_oldest(self._strangers, address),)
        elif len(self._strangers) >= STRANGERS:
            gone = (_oldest(self._strangers, found.most_common(1)[0][0]),)
        for one in gone:
            self.leave(one)
        self._strangers[number] = address
        return gone

    def admit(self, number: int, controller: str) -> tuple[int, ...]:
        """A stranger has proven to be this controller. Who has to go for it."""
        if number not in self._strangers:
            return ()  # hung up on meanwhile
        self.leave(number)
        gone: tuple[int, ...] = ()
        if Counter(self._controllers.values())[controller] >= CONNECTIONS_OF_ONE_CONTROLLER:  # (2)
            gone = (_oldest(self._controllers, controller),)
        elif len(self._controllers) >= CONTROLLERS:  # (3)
            gone = (next(iter(self._controllers)),)
        for one in gone:
            self.leave(one)
        self._controllers[number] = controller
        return gone

    def leave(self, number: int) -> None:
        """Its place is free."""
        self._strangers.pop(number, None)
        self._controllers.pop(number, None)


def _oldest(held: dict[int, str], whose: str) -> int:
    return next(number for number, one in held.items() if one == whose)
