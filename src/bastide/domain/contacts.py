"""Domain controllers that have spoken to us, and when one has fallen silent. Read: `now`, times in UTC."""

from dataclasses import dataclass
from datetime import datetime, timedelta

#: A contact is written down at most once in this time, so what is on record may be that old.
EVERY = timedelta(minutes=1)
#: One that was not heard for so long is forgotten, as far back as coverage looks by itself.
KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """The agent of one controller. `waiting`, `oldest`: notifications in its queue, and since when, as its last heartbeat said. `silent`: that it
    fell silent was said, and it was not heard since.
    """

    domain: str
    host: str
    heard_at: datetime
    waiting: int = 0
    oldest: datetime | None = None
    silent: bool = False


def fell_silent(contact: Contact, now: datetime, since: datetime, after: timedelta) -> bool:
    """Whether that is news. `since`: from then on we could have heard it. `after`: zero or less: silence is never news."""
    if contact.silent or after <= timedelta(0):
        return False
    return now - max(contact.heard_at, since) > after + EVERY


def is_forgotten(contact: Contact, now: datetime) -> bool:
    """Nobody waits for it any more: the controller is gone."""
    return now - contact.heard_at > KEPT
