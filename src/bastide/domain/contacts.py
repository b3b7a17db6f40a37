"""Domain controllers that have spoken to us, and when one has fallen silent. Read: `now`, times in UTC."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

#: What was heard is written down at most once in this time, so what is on record may be that old.
EVERY = timedelta(minutes=1)
#: Whoever receives says so once in EVERY; if nobody did for longer than this, nobody could hear.
GAP = 2 * EVERY
#: As far as the clocks of two nodes may be apart: Kerberos takes no more.
SKEW = timedelta(minutes=5)
#: One that was not heard for so long is forgotten, as far back as coverage looks by itself.
KEPT = timedelta(days=30)
#: What `passwords.silence_minutes` is if nobody says otherwise.
SILENCE_MINUTES = 15
#: Of one domain, reported one by one; the others of the same moment are a number.
SINGLY = 50
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """The agent of one controller, known by its account. `host`: its DNS name, to be shown. `waiting`, `oldest`: notifications in its queue, and since
    when, as its last heartbeat said at `beat_at` (None: it sent none). `silent`: that it fell silent was said, and it was not heard since.
    """

    domain: str
    account: str
    host: str
    heard_at: datetime
    waiting: int = 0
    oldest: datetime | None = None
    beat_at: datetime | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Hearing:
    """The time in which somebody could have heard a controller, without a gap: a process that receives, with a database to write to."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """One controller; or, with `more`, so many of one domain together: the last contact of all, and what waits at all."""

    domain: str
    host: str
    heard_at: datetime
    waiting: int
    more: int = 0


class Fate(Enum):
    """What is to be done about a controller."""

    KEEP = auto()
    REPORT = auto()
    FORGET = auto()


def is_ahead(moment: datetime, now: datetime) -> bool:
    """It was written down by a clock that was wrong."""
    return moment > now + SKEW


def heard_on(before: Hearing | None, now: datetime) -> Hearing:
    """What to write down while somebody receives. Begins anew after an outage, a suspended machine, a step of the clock."""
    if before is None or is_ahead(before.until, now) or now - before.until > GAP:
        return Hearing(now, now)
    return Hearing(before.since, max(before.until, now))


def fate(contact: Contact, hearing: Hearing, after: timedelta) -> Fate:
    """At the end of the hearing. `after`: zero or less: nobody asks whether it is silent. Where somebody does, it is reported before it is forgotten."""
    if after > timedelta(0) and not contact.silent:
        silence = hearing.until - max(contact.heard_at, hearing.since)
        return Fate.REPORT if silence > after + EVERY else Fate.KEEP
    return Fate.FORGET if hearing.until - contact.heard_at > KEPT else Fate.KEEP


def not_later(contact: Contact, now: datetime) -> Contact:
    """With now for what was written down by a clock that was ahead. Left as it is, its silence would begin when that time has come."""
    if contact.beat_at is not None and is_ahead(contact.beat_at, now):
        contact = replace(contact, beat_at=now)
    return replace(contact, heard_at=now) if is_ahead(contact.heard_at, now) else contact


def newest(before: Contact, heard: Contact) -> Contact:
    """Of one controller, perhaps heard by two nodes: the newer of each thing. It is not silent."""
    last = before if before.heard_at > heard.heard_at else heard
    beat = before if (before.beat_at or _NEVER) > (heard.beat_at or _NEVER) else heard
    return replace(last, waiting=beat.waiting, oldest=beat.oldest, beat_at=beat.beat_at, silent=False)


def reports(contacts: Sequence[Contact]) -> tuple[Report, ...]:
    """One for each, up to SINGLY of a domain, and one for the rest of it."""
    by_domain: dict[str, list[Contact]] = {}
    for one in contacts:
        by_domain.setdefault(one.domain, []).append(one)
    found: list[Report] = []
    for domain, several in by_domain.items():
        found += [Report(domain, one.host, one.heard_at, one.waiting) for one in several[:SINGLY]]
        if rest := several[SINGLY:]:
            last, waiting = max(one.heard_at for one in rest), sum(one.waiting for one in rest)
            found.append(Report(domain, f"{len(rest)} more", last, waiting, len(rest)))
    return tuple(found)
