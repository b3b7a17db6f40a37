"""The table of jobs: which durable work there is, who does it, how much at a time, under which lease."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bastide.services.pace import ACCOUNT, CHECKPOINT, EXPORT, LINK
from bastide.services.ports import Work
from bastide.wiring import Services


@dataclass(frozen=True, slots=True)
class Job:
    """`run` gets claimed rows and gives each one back. Its lease is longer than its slowest run, so that nobody overtakes it."""

    kinds: tuple[str, ...]
    run: Callable[[Sequence[Work]], None]
    batch: int
    lease: timedelta


def table(services: Services) -> tuple[Job, ...]:
    """All jobs. Each has a thread of its own, so that a slow CORP side does not hold up the end of a grant."""
    return (
        Job((ACCOUNT,), services.grants.run_accounts, 200, timedelta(seconds=60)),
        Job((LINK,), services.links.run, 8, timedelta(seconds=60)),
        Job((CHECKPOINT, EXPORT), services.upkeep.run, 2, timedelta(seconds=120)),
    )
