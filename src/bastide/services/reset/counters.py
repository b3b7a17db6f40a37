"""Counts of one unit of work: what a caller may still try, and what messages may still be sent (domain/reset/lockout.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain.errors import TooManyTries
from bastide.domain.reset import lockout
from bastide.domain.reset.lockout import Count, Kind, Limit, key_of
from bastide.services.ports import UnitOfWork

_SAID = "too many wrong answers, so this waits"
_REMEDY = "wait a quarter of an hour, then begin a new reset; your help desk can help at once"
DAY = timedelta(days=1)
#: Of the limits of messages, those that come first: of a name.
_OF_A_NAME = 2
#: (2) of lockout.py.
_SPREAD = (Kind.NAME, Kind.NEAR)


@dataclass(frozen=True, slots=True)
class Caller:
    """`key`: what the name counts as. `name`: of a person that is known; empty: nobody's. `known`: an address that the person registered from: it counts for messages alone,
    of which nobody sees whether they were sent. `spread`: which count of the name, beyond this address, holds here; None: none.
    """

    key: str
    address: str
    name: str = ""
    known: bool = False
    spread: Kind | None = Kind.NAME


@dataclass(frozen=True, slots=True)
class Attempt:
    """Counts before and after an attempt. `locks`: one of them is locked by it."""

    changes: tuple[tuple[Count, Count], ...]

    @property
    def locks(self) -> bool:
        """Whether this attempt, if it is wrong, was the last one for a while."""
        return any(after.locks > before.locks for before, after in self.changes)


def require_free(uow: UnitOfWork, caller: Caller, now: datetime) -> None:
    """Raises TooManyTries."""
    for kind, key, _ in _kinds(caller):
        if _of(uow, kind, key, caller.name, now).locked_at(now):
            raise TooManyTries(_SAID, remedy=_REMEDY)
    for kind in _SPREAD:
        if _of(uow, kind, key_of(kind, caller.key), caller.name, now).for_good:
            raise TooManyTries(_SAID, remedy="an administrator has to unlock this: ask your help desk")


def count(uow: UnitOfWork, caller: Caller, permanent_after: int, now: datetime) -> Attempt:
    """One attempt more, as if it were wrong. Raises TooManyTries."""
    require_free(uow, caller, now)
    changes = []
    for kind, key, limit in _kinds(caller):
        before = _of(uow, kind, key, caller.name, now)
        after = lockout.counted(before, limit, now, permanent_after=permanent_after if kind in _SPREAD else 0)
        uow.resets.put_count(after)
        changes.append((before, after))
    return Attempt(tuple(changes))


def take_back(uow: UnitOfWork, attempt: Attempt) -> None:
    """It was right."""
    for before, after in attempt.changes:
        stored = uow.resets.count(after.kind, after.key)
        if stored is not None:
            uow.resets.put_count(lockout.undone(before, after, stored))


def clear(uow: UnitOfWork, caller: Caller) -> None:
    """The whole way was gone: the wrong answers of this name at this address are forgotten."""
    uow.resets.remove_count(Kind.PAIR, key_of(Kind.PAIR, caller.key, caller.address))


def adopt(uow: UnitOfWork, key: str, address: str, name: str) -> None:
    """What was counted against a name while it was nobody's is that person's from the registration on: an administrator sees it, and can take it away."""
    for kind, one in (
        (Kind.NAME, key_of(Kind.NAME, key)),
        (Kind.NEAR, key_of(Kind.NEAR, key)),
        (Kind.SEND_NAME, key_of(Kind.SEND_NAME, key)),
        (Kind.PAIR, key_of(Kind.PAIR, key, address)),
    ):
        held = uow.resets.count(kind, one)
        if held is not None and not held.name:
            uow.resets.put_count(replace(held, name=name))


def forget(uow: UnitOfWork, key: str, name: str) -> int:
    """All counts of a name, also one that was counted while it was nobody's; how many."""
    removed = uow.resets.remove_counts(name)
    for kind in (*_SPREAD, Kind.SEND_NAME):
        if uow.resets.count(kind, key_of(kind, key)) is not None:
            uow.resets.remove_count(kind, key_of(kind, key))
            removed += 1
    return removed


def begin(uow: UnitOfWork, address: str, now: datetime) -> None:
    """A reset more that is begun at an address. Raises TooManyTries."""
    held = _of(uow, Kind.START, key_of(Kind.START, address), "", now)
    if held.locked_at(now):
        raise TooManyTries(_SAID, remedy=_REMEDY)
    uow.resets.put_count(lockout.counted(held, lockout.START, now))


def spend(uow: UnitOfWork, caller: Caller, destination: str, gate: str, per_day: int, now: datetime) -> bool:
    """Whether one message more may go to a destination; it is counted then. Nothing is counted otherwise. `destination` empty: nobody's. Nothing is sent there, so what all share
    is not spent: invented names would use up everybody's messages.
    """
    wanted: Sequence[tuple[Kind, str, Limit]] = (
        (Kind.SEND_PAIR, key_of(Kind.SEND_PAIR, caller.key, caller.address), lockout.SEND_PAIR),
        (Kind.SEND_NAME, key_of(Kind.SEND_NAME, caller.key), lockout.SEND_NAME),
        (Kind.SEND_DESTINATION, key_of(Kind.SEND_DESTINATION, destination), lockout.SEND_DESTINATION),
        (Kind.SEND_ALL, key_of(Kind.SEND_ALL, gate), Limit(per_day, DAY, timedelta(0))),
    )
    counts = []
    for kind, key, limit in wanted if destination else wanted[:_OF_A_NAME]:
        known = caller.known or kind is Kind.SEND_PAIR
        more = lockout.spent(_of(uow, kind, key, caller.name, now), limit, now, known=known)
        if more is None:
            return False
        counts.append(more)
    for one in counts:
        uow.resets.put_count(one)
    return True


def _kinds(caller: Caller) -> tuple[tuple[Kind, str, Limit], ...]:
    pair = (Kind.PAIR, key_of(Kind.PAIR, caller.key, caller.address), lockout.PAIR)
    address = (Kind.ADDRESS, key_of(Kind.ADDRESS, caller.address), lockout.ADDRESS)
    if caller.spread is None:
        return pair, address
    return pair, (caller.spread, key_of(caller.spread, caller.key), lockout.NAME), address


def _of(uow: UnitOfWork, kind: Kind, key: str, name: str, now: datetime) -> Count:
    """What is counted, or nothing yet. A count of an address is nobody's."""
    found = uow.resets.count(kind, key)
    if found is not None and now < found.forgotten_at():
        return found
    of_a_person = kind in {Kind.PAIR, *_SPREAD, Kind.SEND_PAIR, Kind.SEND_NAME}
    return Count(kind=kind, key=key, began=now, name=name if of_a_person else "")
