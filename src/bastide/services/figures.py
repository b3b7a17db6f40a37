"""What auditors and operators count, as a port of its own: the database counts, so that no history is taken into memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from bastide.domain.ids import GroupId, RoleId
from bastide.domain.observed import Verdict
from bastide.domain.requests import Place, Request, State
from bastide.domain.reset.flow import Stage

#: What was asked for longer than this before a span, and is over, is taken to have ended before it: a start is at most 90 days away, an
#: answer and an activation take at most 30 days each.
REACH = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` on, up to and without `until`."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Called:
    """What has this id, or was called that when access was asked for: a person or a role that is gone has a name only there."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class HeldQuery:
    """Filters over who had access; None does not filter. Without `since` it is everything there is."""

    user: Called | None = None
    role: Called | None = None
    group: GroupId | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Activations:
    """How often access by a role began in an hour of the day (0 to 23, UTC)."""

    role: RoleId
    role_name: str
    hour: int
    count: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many requests for a role are in a state."""

    role: RoleId
    role_name: str
    state: State
    count: int


@dataclass(frozen=True, slots=True)
class Queue:
    """The durable work of a kind. `due`: waits for nobody but a worker; `oldest`: since when the first of them; `failing`: went wrong the last time."""

    kind: str
    rows: int
    due: int
    claimed: int
    failing: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Fault:
    """A piece of work that went wrong the last time, and when it is tried again (None: when poked)."""

    kind: str
    key: str
    attempts: int
    due: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has work in hand (domain/nodes.owner), and until when its longest lease is."""

    owner: str
    claimed: int
    until: datetime


class Figures(Protocol):
    """Counts and excerpts. All are bounded by a span or a limit."""

    def held(self, query: HeldQuery, *, limit: int, before: Place | None) -> tuple[Request, ...]:
        """Requests that gave access within the span (to the second), newest first, from `before` on. See REACH."""

    def activations(self, span: Span) -> tuple[Activations, ...]:
        """Of the requests that were made within the span."""

    def outcomes(self, span: Span) -> tuple[Outcomes, ...]:
        """Of the requests that were made within the span."""

    def approval_times(self, span: Span, limits: Sequence[timedelta]) -> tuple[int, ...]:
        """How many of the requests made within the span had their last approval below each of the limits, and, at the end, above all."""

    def open_requests(self) -> Mapping[State, int]:
        """Those that are not over, by state."""

    def ending(self, now: datetime, limits: Sequence[timedelta]) -> tuple[int, ...]:
        """How many of the active requests end below each of the limits from `now`, and, at the end, later."""

    def ending_next(self, limit: int) -> tuple[Request, ...]:
        """The active requests that end first."""

    def queues(self, now: datetime) -> tuple[Queue, ...]:
        """The durable work by kind."""

    def faults(self, limit: int) -> tuple[Fault, ...]:
        """What went wrong the last time, most attempts first."""

    def holders(self) -> tuple[Holder, ...]:
        """Who has work in hand."""

    def recorded(self, kinds: Collection[str], since: datetime) -> Mapping[str, int]:
        """Records of the audit since then, by kind; none of a kind: it is not there."""

    def observed(self, since: datetime) -> Mapping[Verdict, int]:
        """Privileged changes that happened since then, by verdict."""

    def resets(self, now: datetime) -> tuple[Mapping[Stage, int], int]:
        """Resets of people that go on, by stage; and those of nobody."""
