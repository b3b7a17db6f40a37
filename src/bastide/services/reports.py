"""Counts for auditors and operators: who used what, how long approval took, what ends soon, what went wrong, what the workers have to do."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.errors import InvalidInput
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.domain.requests import Request
from bastide.services.figures import Activations, Fault, Outcomes, Queue, Span
from bastide.services.ports import Store

USUAL = timedelta(days=30)
LONGEST = timedelta(days=366)
APPROVAL_LIMITS: tuple[timedelta, ...] = tuple(timedelta(minutes=m) for m in (5, 15, 60, 240, 1440))
ENDING_LIMITS: tuple[timedelta, ...] = tuple(timedelta(minutes=m) for m in (15, 60, 240, 1440))
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Activity:
    """Of the requests made within `span`. `approval_times`: how many below each of APPROVAL_LIMITS, and, at the end, above."""

    span: Span
    activations: tuple[Activations, ...]
    outcomes: tuple[Outcomes, ...]
    approval_times: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """How much active access ends below each of ENDING_LIMITS from now, and, at the end, later; and what ends first."""

    counts: tuple[int, ...]
    first: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class WorkReport:
    """The durable work by kind, and what went wrong the last time."""

    queues: tuple[Queue, ...]
    faults: tuple[Fault, ...]


class Reports:
    """The use cases. All raise NotAuthorized."""

    def __init__(self, *, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def span(self, since: datetime | None, until: datetime | None) -> Span:
        """As `activity` takes it. Raises InvalidInput."""
        return bounded(since, until, self._now())

    def activity(
        self, actor: Actor, *, since: datetime | None = None, until: datetime | None = None
    ) -> Activity:
        """Within a span of at most LONGEST; USUAL up to now unless it is said otherwise. Raises InvalidInput."""
        require_reader(actor)
        span = self.span(since, until)
        with self._store.read() as uow:
            return Activity(
                span,
                uow.figures.activations(span),
                uow.figures.outcomes(span),
                uow.figures.approval_times(span, APPROVAL_LIMITS),
            )

    def ending(self, actor: Actor) -> Ending:
        """What active access ends when."""
        require_reader(actor)
        with self._store.read() as uow:
            return Ending(uow.figures.ending(self._now(), ENDING_LIMITS), uow.figures.ending_next(_LISTED))

    def work(self, actor: Actor) -> WorkReport:
        """What the workers have to do."""
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            return WorkReport(uow.figures.queues(self._now()), uow.figures.faults(_LISTED))


def bounded(since: datetime | None, until: datetime | None, now: datetime) -> Span:
    """The span that was asked for, or the usual one. Raises InvalidInput."""
    end = until if until is not None else max(now, since or now)
    try:
        begin = since if since is not None else end - USUAL
    except OverflowError:
        raise InvalidInput("until", "is before any time that can be counted") from None
    if begin >= end:
        raise InvalidInput("until", "is not after the beginning", remedy="give a later end, or none")
    if end - begin > LONGEST:
        raise InvalidInput(
            "since", f"is more than {LONGEST.days} days before the end", remedy="ask for a shorter time"
        )
    return Span(begin, end)
