"""How often somebody may be wrong, and how many messages may be sent. Every count is in the database: all nodes share it, and a restart forgets nothing.

  (1) A name at an address: three wrong answers, then that address waits a quarter of an hour for that name, and twice as long each further time, up to a day.
  (2) A name from everywhere, but for addresses that somebody registered from: twenty wrong answers, then those addresses wait as in (1). So a guesser with many
      addresses comes to an end, and the way of people who are registered stays open. At those addresses a count of its own, of the same size, ends a guesser who is
      one of them. Whose address it is does not matter: if only the person's own stayed open, others there would learn who is registered.
  (3) An address, to all names: thirty wrong answers in a quarter of an hour.
  (4) One reset: eight wrong answers (flow.py).
  (5) Messages: to a name at an address, to a name, to a destination, and of a kind at all. One fifth of the last three is kept for addresses that are known.
  (6) `permanent_after` > 0: after so many locks of (2) the name is locked until an administrator unlocks it, at known addresses as well. That is its price: whoever has
      enough addresses can lock a person out. It is off unless the settings say so.

An attempt counts as wrong from its start, and is taken back when it was right: a burst of guesses is counted like a row of them.
"""

import hashlib
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

LONGEST = timedelta(hours=24)
_DOUBLINGS = 8
_NEVER = datetime.max.replace(tzinfo=UTC)
#: Of what messages may be sent, the part that unknown addresses may use up: four fifths.
_PARTS, _OF = 4, 5


class Kind(StrEnum):
    """What is counted."""

    PAIR = "pair"
    NAME = "name"
    #: Of a name, at addresses that somebody registered from.
    NEAR = "near"
    ADDRESS = "address"
    START = "start"
    SEND_PAIR = "send-pair"
    SEND_NAME = "send-name"
    SEND_DESTINATION = "send-destination"
    SEND_ALL = "send-all"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many within `span`, then a lock of `lock`."""

    most: int
    span: timedelta
    lock: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """`kind` and `key` name it; `key` is a digest. `name`: of the person, for administrators; empty: nobody's. `locks`: how often it was locked since it was last right or forgotten."""

    kind: Kind
    key: str
    began: datetime
    number: int = 0
    until: datetime | None = None
    locks: int = 0
    for_good: bool = False
    name: str = ""

    def locked_at(self, now: datetime) -> bool:
        """Whether nothing may be tried."""
        return self.for_good or (self.until is not None and now < self.until)

    def forgotten_at(self) -> datetime:
        """When nothing of it counts any more."""
        return _NEVER if self.for_good else max(self.began, self.until or self.began) + LONGEST


QUARTER = timedelta(minutes=15)
PAIR = Limit(3, QUARTER, QUARTER)
NAME = Limit(20, LONGEST, QUARTER)
ADDRESS = Limit(30, QUARTER, QUARTER)
#: Resets that are begun at an address.
START = Limit(60, QUARTER, QUARTER)
SEND_PAIR = Limit(3, timedelta(hours=1), timedelta(0))
SEND_NAME = Limit(10, LONGEST, timedelta(0))
SEND_DESTINATION = Limit(10, LONGEST, timedelta(0))


def key_of(kind: Kind, *parts: str) -> str:
    """What is stored in the place of a name or a destination: people type passwords where a name belongs."""
    return hashlib.sha256("\0".join((kind.value, *parts)).encode()).hexdigest()


def folded(name: str) -> str:
    """As a directory compares names, and more loosely: a guesser's spelling is no name of its own."""
    apart = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in apart if unicodedata.category(c)[0] not in "MCZ").casefold()


def counted(count: Count, limit: Limit, now: datetime, *, permanent_after: int = 0) -> Count:
    """With one attempt more, which may be the one that locks it. Ask `locked_at` first."""
    if now - count.began > limit.span:
        count = replace(count, began=now, number=0)
    number = count.number + 1
    if number < limit.most:
        return replace(count, number=number)
    locks = count.locks + 1
    lock = min(limit.lock * 2 ** min(count.locks, _DOUBLINGS), LONGEST)
    for_good = bool(permanent_after) and locks >= permanent_after
    return replace(count, began=now, number=0, locks=locks, until=now + lock, for_good=for_good)


def undone(before: Count, after: Count, stored: Count) -> Count:
    """The attempt that turned `before` into `after` was right. `stored`: what others made of it since."""
    return before if stored == after else replace(stored, number=max(0, stored.number - 1))


def spent(count: Count, limit: Limit, now: datetime, *, known: bool) -> Count | None:
    """(5) With one message more; None: there are none left for this caller."""
    if now - count.began > limit.span:
        count = replace(count, began=now, number=0)
    most = limit.most if known else max(1, limit.most * _PARTS // _OF)
    return replace(count, number=count.number + 1) if count.number < most else None
