"""Of what the help desk did a person is told, and when: an operator who works against people is seen by them. Pure.

(1) Told is what a system took, and not before: an order that waited is told when it was carried out.
(2) At once when no system is waited for. Else SOON after the order of those that took it, with the names of those that did not answer yet; what they take later is told when
    all of them are done, or AGAIN after the last word.
(3) Nothing is told twice, and nothing where no system took anything.
(4) Where the answer was lost, because a node died while it asked, it is told after LOST that nobody knows.
(5) What waits is looked at again, the less often the longer ago the order was.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SOON, AGAIN, LOST = timedelta(minutes=1), timedelta(hours=1), timedelta(minutes=15)
#: From when a letter can be sent. No channel took it by then: it is given up.
LIFE = timedelta(days=1)
_FIRST, _LONGEST = timedelta(seconds=1), timedelta(minutes=5)
_SHARE = 4


class Deed(StrEnum):
    """What was ordered. The value is in the audit, and in the key of a work row."""

    SET = "set"
    CHANGE = "change"
    UNLOCK = "unlock"


#: In the key of a work row: a code goes elsewhere than the last one did.
ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Part:
    """One account of an order. `key`: agent and DN. `at`: when its system took it. `over`: nothing more comes."""

    key: str
    system: str
    good: bool
    over: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is known of an order. `answered` False: all systems were asked, and what they said is not there yet. `said`: keys that a word was about; `last`: when the last one was."""

    ordered_at: datetime
    parts: Sequence[Part] = ()
    answered: bool = True
    said: Collection[str] = ()
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """To be said now. `parts` empty: nobody knows what became of it (4). `waiting`: systems that did not answer yet."""

    at: datetime
    parts: tuple[Part, ...] = ()
    waiting: tuple[str, ...] = ()

    @property
    def systems(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(sorted({one.system for one in self.parts}))


@dataclass(frozen=True, slots=True)
class Step:
    """`look_at` None: the order is over, and nothing comes after the word."""

    word: Word | None
    look_at: datetime | None


def step(order: Progress, now: datetime) -> Step:
    """What is to be said now, and when to look again."""
    if not order.answered:  # (4)
        lost_at = order.ordered_at + LOST
        return Step(Word(lost_at), None) if now >= lost_at else Step(None, look_at(order.ordered_at, now))
    fresh = tuple(one for one in order.parts if one.good and one.key not in order.said)  # (1), (3)
    waiting = tuple(sorted({one.system for one in order.parts if not one.over}))
    again = look_at(order.ordered_at, now) if waiting else None
    from_when = order.ordered_at + SOON if order.last is None else order.last + AGAIN  # (2)
    if not fresh or (waiting and now < from_when):
        return Step(None, again)
    return Step(Word(max(one.at for one in fresh), fresh, waiting), again)


def look_at(ordered_at: datetime, now: datetime) -> datetime:
    """(5)"""
    return now + min(max((now - ordered_at) / _SHARE, _FIRST), _LONGEST)
