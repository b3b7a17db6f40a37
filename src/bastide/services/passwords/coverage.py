"""The proof that no change was missed: what the domain says of every user's password, beside what we were told of.

A user whose password was set without a notification is uncovered: the agent of that controller is down, missing, or lost it.
  (1) The time is that of the password, not of a pwdLastSet that moved without one (directory/password_set.py): nobody is told of that.
  (2) What another domain's controllers said of a user counts for nothing.
  (3) A change that is younger than `passwords.coverage_minutes` may be on its way. Which controller is read, and on which the agents are, is nobody's choice here: a change has to
      replicate to one with an agent first, and the controller that is read may have it long before.
Beside it: when each controller was last heard, and what waits there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.contacts import Contact
from bastide.domain.errors import CapabilityMissing, Conflict
from bastide.domain.management_agents import MaId
from bastide.domain.people import Actor, require_reader
from bastide.services.passwords.ports import PasswordDate, PasswordDates
from bastide.services.ports import Store

#: What `passwords.coverage_minutes` is if nobody says otherwise: within a site.
FRESH = timedelta(minutes=2)
#: pwdLastSet and the time of a notification are the same number; a controller that lacked it used the time of the replication metadata.
SAME = timedelta(seconds=2)
_PIECE = 500


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of one domain, since a moment. `by_controller`: how many uncovered users each controller took the change of."""

    domain: str
    since: datetime
    users: int
    covered: int
    fresh: int
    uncovered: tuple[PasswordDate, ...]
    by_controller: tuple[tuple[str, int], ...]
    #: Every controller that was ever heard (silence.py).
    contacts: tuple[Contact, ...]


class CoverageProof:
    """The use case of `bastide passwords coverage`."""

    def __init__(
        self,
        *,
        store: Store,
        dates: PasswordDates | None,
        now: Callable[[], datetime],
        fresh: timedelta = FRESH,
    ) -> None:
        self._store = store
        self._dates = dates
        self._now = now
        self._fresh = fresh

    def measure(self, actor: Actor, domain: str = "", since: datetime | None = None) -> tuple[Coverage, ...]:
        """Of one source domain, or of all; since 30 days ago if nothing is said. Raises NotAuthorized, Conflict, CapabilityMissing, DirectoryError."""
        require_reader(actor)
        return self.prove(domain, since)

    def prove(self, domain: str = "", since: datetime | None = None) -> tuple[Coverage, ...]:
        """The same for the operator on the server itself, who owns the database anyway. Raises Conflict, CapabilityMissing, DirectoryError."""
        if self._dates is None:
            raise CapabilityMissing("no domain can be read from here")
        now = self._now()
        with self._store.read() as uow:
            domains = {
                agent.source.domain: agent.id for agent in uow.agents.all() if agent.source is not None
            }
        wanted = [one for one in sorted(domains) if not domain or one.casefold() == domain.casefold()]
        if not wanted:
            raise Conflict(
                f"{domain or 'no domain'} is not a source",
                remedy="`bastide ma` makes a management agent a source of its domain",
            )
        begin = since or now - timedelta(days=30)
        return tuple(self._measure(one, domains[one], begin, now, self._dates) for one in wanted)

    def _measure(
        self, domain: str, ma: MaId, since: datetime, now: datetime, dates: PasswordDates
    ) -> Coverage:
        users = fresh = 0
        uncovered: list[PasswordDate] = []
        for piece in _pieces(dates.since(domain, since)):
            with self._store.read() as uow:
                told = uow.changes.newest(ma, [one.user_guid for one in piece])
            users += len(piece)
            for one in piece:
                last = told.get(one.user_guid)
                if last is not None and last >= one.changed_at - SAME:  # (1), (2)
                    continue
                if one.changed_at > now - self._fresh:  # (3)
                    fresh += 1
                else:
                    uncovered.append(one)
        counted = Counter(one.controller for one in uncovered)
        ordered = tuple(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))
        covered = users - fresh - len(uncovered)
        with self._store.read() as uow:
            contacts = tuple(one for one in uow.contacts.all() if one.domain == domain)
        return Coverage(domain, since, users, covered, fresh, tuple(uncovered), ordered, contacts)


def _pieces(dates: Iterable[PasswordDate]) -> Iterator[list[PasswordDate]]:
    piece: list[PasswordDate] = []
    for one in dates:
        piece.append(one)
        if len(piece) == _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece
