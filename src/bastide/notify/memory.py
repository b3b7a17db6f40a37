"""The notifier's twin in memory: keeps what it was given, and fails where a test says so."""

from collections.abc import Sequence

from bastide.services.notifications.ports import Fate, Message, Outcome

_REFUSALS = 3


class MemoryNotifier:
    """`down`: channels of which nothing is taken, with what they say. `refuses`: mail addresses that are no one's."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Message]] = []
        self.down: dict[str, str] = {}
        self.refuses: set[str] = set()

    def send(self, channel: str, messages: Sequence[Message]) -> tuple[Outcome, ...]:
        """As the real one: after three refusals in a row the rest is not tried."""
        outcomes: list[Outcome] = []
        for message in messages:
            if len(outcomes) >= _REFUSALS and all(
                one.fate is not Fate.TAKEN for one in outcomes[-_REFUSALS:]
            ):
                outcomes.append(Outcome(Fate.UNTRIED))
            elif channel in self.down:
                outcomes.append(Outcome(Fate.REFUSED, self.down[channel]))
            elif message.to in self.refuses:
                outcomes.append(Outcome(Fate.REFUSED, f"recipient {message.to} was refused"))
            else:
                self.taken.append((channel, message))
                outcomes.append(Outcome(Fate.TAKEN))
        return tuple(outcomes)

    def problem(self, channel: str) -> str:
        """What `down` says of it."""
        return self.down.get(channel, "")
