"""A controller that is read in the place of another may not have heard yet what that one showed: from what it does not know nothing follows. Pure.

At its first look all that is watched is compared with what the other one showed. Where it knows less, what is known stays as it was, and is marked (`kept`):

  (1) who or what it does not find is not gone;
  (2) a person who was gone stays gone; one who was disabled or has an end stays so: nobody is back because an old state is shown;
  (3) who was accepted in a group stays accepted, though not shown in it.

Everything else is seen, and counts: who is disabled there, who is a member there, a PRIV account that is open there.

  (4) Nothing is kept any more of what it shows as it was known. What it showed so, and then shows otherwise, has changed: that is no lag.
  (5) It has heard everything when its up-to-dateness vector has the database of each controller that was read before, up to where that was left. A vector is
      passed on with all that it stands for ([MS-DRSR] 5.166), so it does not matter who told it. Then what it shows is so.
  (6) After PATIENCE it is believed all the same: the vector may be hidden from us, and what only the other one knew be lost with it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain import monitored
from bastide.domain.monitored import Kind, Seen, Watched

#: Replication between sites is hours apart. Who leaves just when the controller changes keeps their access so long at most.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Awaited:
    """A controller that was read until `since`. `usn`: nothing that was seen there is newer; `invocation`: of that database."""

    controller: str
    invocation: str
    usn: int
    since: datetime


def unheard(awaited: Iterable[Awaited], heard: Mapping[str, int], now: datetime) -> tuple[Awaited, ...]:
    """(5), (6): those that the controller that is read has not heard all of. `heard`: up to which USN, by invocationId, its own among them."""
    return tuple(
        one for one in awaited if heard.get(one.invocation, -1) < one.usn and now - one.since < PATIENCE
    )


def again(
    old: Watched, seen: Seen | None, now: datetime, places: Collection[Watched], *, late: bool, person: bool
) -> Watched:
    """(1) to (4), the object after another look. `late`: at a first look, or while something of the object is kept; else it is as in monitored.again.
    `person`: what is a person here is somebody's own account. Of a PRIV account it is never overlooked that it is open.
    """
    person = person and old.now.kind is Kind.PERSON
    if not late:
        return replace(monitored.again(old, seen, now, places), kept=False)
    if seen is None:
        return replace(old, kept=old.gone_at is None)  # (1), (4)
    if person and old.gone_at is not None:
        return replace(old, kept=True)  # (2)
    known = _narrower(old.now, seen) if person else seen  # (2)
    missing = set(old.accepted.members) - set(seen.members)  # (3)
    return replace(old, now=known, gone_at=None, let_go=False, kept=known != seen or bool(missing))  # (4)


def _narrower(old: Seen, seen: Seen) -> Seen:
    """(2): a person may sign in as far as both say so. Where it is not shown, nothing is."""
    if seen.enabled is None:
        return seen
    ends = [end for end in (old.expires, seen.expires) if end is not None]
    return replace(seen, enabled=seen.enabled and old.enabled is not False, expires=min(ends, default=None))
