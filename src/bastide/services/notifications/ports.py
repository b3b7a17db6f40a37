"""What notifications need from the outside."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from typing import Protocol

from bastide.domain.notifications import Occasion
from bastide.domain.wording import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A way out, as the settings name it. `people`: each person's own mail address takes the place of the recipients that its address names."""

    name: str
    people: bool = False
    occasions: frozenset[Occasion] = frozenset(Occasion)
    #: Names of roles, in lower case; empty: all.
    roles: frozenset[str] = frozenset()

    def takes(self, occasion: Occasion, role: str) -> bool:
        """Whether it is told of that. What belongs to no role goes to channels of no role."""
        return occasion in self.occasions and (not self.roles or role.casefold() in self.roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`home`: the address of the portal, without a slash at its end. `lead`: how long before its end a person is told."""

    channels: tuple[Channel, ...]
    home: str
    lead: timedelta
    language: Language = Language.ENGLISH

    @property
    def approvals(self) -> str:
        return f"{self.home}/approvals"

    def request(self, id_: str) -> str:
        """The page of a request. Opening it changes nothing."""
        return f"{self.home}/requests/{id_}"


@dataclass(frozen=True, slots=True)
class Message:
    """`id` is the same for each repetition. `to`: a mail address; empty: whom the channel's own address names. Plain text. `secrets`: what of it nobody else may read, so that no
    problem repeats it: filters quote what they refuse.

    Raises ValueError where one line is not one: whatever sends it, no header can come of it.
    """

    id: str
    to: str
    subject: str
    body: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for line in (self.id, self.to, self.subject):
            if not line.isprintable():
                raise ValueError("what stands in a header has no line breaks and no control characters")


class Fate(Enum):
    """What became of a message."""

    TAKEN = auto()
    REFUSED = auto()
    #: It was not its turn any more: nothing was sent.
    UNTRIED = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problem`: why it was refused, in words that hold no secret of the channel's or the message's."""

    fate: Fate
    problem: str = field(default="")


class Notifier(Protocol):
    """Sends messages. Raises nothing but what a defect raises: a channel that does not work is an outcome."""

    def send(self, channel: str, messages: Sequence[Message]) -> tuple[Outcome, ...]:
        """One outcome for each, in their order, within a minute. A message may have arrived although its outcome is not TAKEN."""

    def problem(self, channel: str) -> str:
        """Why a channel cannot work, as far as that shows without a connection; empty: nothing is wrong."""
