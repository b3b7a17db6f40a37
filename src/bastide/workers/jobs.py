"""The table of jobs: which durable work there is, who does it, how much at a time, under which lease."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bastide.services.pace import ACCOUNT, CHECKPOINT, EXPORT, LINK
from bastide.services.ports import Work
from bastide.wiring import Services

LEASE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Job:
    """`run` gets claimed rows and gives all of them back at its end. The runner renews the lease meanwhile, so the lease only says how soon
    another node takes over from one that died.
    """

    kinds: tuple[str, ...]
    run: Callable[[Sequence[Work]], None]
    batch: int
    lease: timedelta


def table(services: Services) -> tuple[Job, ...]:
    """All jobs. Each has a thread of its own, so that a slow CORP side does not hold up the end of a grant."""
    return (
        Job((ACCOUNT,), services.grants.run_accounts, 200, LEASE),
        Job((LINK,), services.links.run, 1, LEASE),
        Job((CHECKPOINT, EXPORT), services.upkeep.run, 1, LEASE),
    )
