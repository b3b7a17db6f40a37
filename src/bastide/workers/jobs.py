"""The table of jobs: which durable work there is, who does it, how much at a time, under which lease."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bastide.services.alerts.deliver import BATCH as ALERTS
from bastide.services.help_desk.letters import BATCH as WORDS
from bastide.services.notifications.deliver import BATCH as MESSAGES
from bastide.services.pace import (
    ACCOUNT,
    ALERT,
    ALERT_LATE,
    ALERT_LOOK,
    BREAK_GLASS,
    CHECKPOINT,
    EXPORT,
    HELP_DESK,
    HELP_DESK_TEXT,
    IMPORT,
    INTAKE,
    LINK,
    MARK,
    MONITOR,
    NOTIFY,
    PASSWORD,
    RECONCILE,
    RESET,
    RESET_TEXT,
    REVIEW,
    WATCH,
)
from bastide.services.passwords.deliver import BATCH
from bastide.services.passwords.lanes import WORKERS
from bastide.services.ports import Lease, Work
from bastide.services.reset.courier import BATCH as LETTERS
from bastide.wiring import Services

LEASE = timedelta(seconds=10)
#: A domain's row is held as long as nothing is wrong: a longer lease costs fewer renewals, and a second node begins later.
MONITOR_LEASE = timedelta(seconds=20)
#: Claimed at once, so that ends of the same moment are taken away in one go (grants.py cuts the rest into smaller parts).
ACCOUNTS = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """`run` gets claimed rows, with their lease, and gives all of them back at its end. The runner renews the lease meanwhile, so the lease only says how soon
    another node takes over from one that died.
    """

    kinds: tuple[str, ...]
    run: Callable[[Sequence[Work], Lease], None]
    batch: int
    lease: timedelta
    #: Once, before the first claim. What goes wrong there goes wrong again, and is said, when there is work.
    warm_up: Callable[[], None] | None = None


def table(services: Services) -> tuple[Job, ...]:
    """All jobs. Each has a thread of its own, so that a slow CORP side does not hold up the end of a grant."""
    return (
        Job((ACCOUNT,), _fenced(services.grants.run_accounts), ACCOUNTS, LEASE, services.grants.warm_up),
        Job((LINK,), _fenced(services.links.run), 1, LEASE),
        Job((RECONCILE,), _fenced(services.reconcile.run), 1, LEASE),
        Job((CHECKPOINT, EXPORT), _fenced(services.upkeep.run), 1, LEASE),
        Job((BREAK_GLASS,), _fenced(services.break_glass.watch.run), 1, LEASE),
        Job((IMPORT,), _fenced(services.imports.run), 1, LEASE),
        Job((REVIEW,), services.oversight.review_work.run, 1, LEASE),
        *_deliveries(services),
        *_messages(services),
        *_alerts(services),
        *(() if services.intake is None else (Job((INTAKE,), _fenced(services.intake.judge.run), 1, LEASE),)),
        *_resets(services),
        *_help_desk(services),
        *_monitoring(services),
    )


def _fenced(run: Callable[[Sequence[Work]], None]) -> Callable[[Sequence[Work], Lease], None]:
    """A job whose writes do no harm when they come late: the fence at its end is enough."""

    def ignoring_the_lease(works: Sequence[Work], _: Lease) -> None:
        run(works)

    return ignoring_the_lease


def _messages(services: Services) -> tuple[Job, ...]:
    """One worker for each channel, so that a mail server that does not answer holds up neither access nor another channel."""
    if services.notifications is None:
        return ()
    return (
        Job((NOTIFY,), _fenced(services.notifications.plan.run), 1, LEASE),
        *(Job((one.kind,), one.run, MESSAGES, LEASE) for one in services.notifications.deliveries),
    )


def _monitoring(services: Services) -> tuple[Job, ...]:
    """One worker for each domain, so that one that does not answer does not hold up the other."""
    if services.monitoring is None:
        return ()
    watch = services.monitoring.watch
    return tuple(Job((MONITOR[side],), watch.run, 1, MONITOR_LEASE) for side in watch.feeds)


def _alerts(services: Services) -> tuple[Job, ...]:
    """One worker for each destination; and what is measured waits for directories, so it has its own."""
    if services.alerts is None:
        return ()
    return (
        Job((ALERT,), _fenced(services.alerts.reader.run), 1, LEASE),
        Job((ALERT_LATE,), _fenced(services.alerts.reader.late), ALERTS, LEASE),
        Job((ALERT_LOOK,), _fenced(services.alerts.looker.run), 1, LEASE),
        *(Job((one.kind,), one.run, ALERTS, LEASE) for one in services.alerts.deliveries),
    )


def _resets(services: Services) -> tuple[Job, ...]:
    if services.reset is None:
        return ()
    return tuple(Job((kind,), services.reset.courier.run, LETTERS, LEASE) for kind in (RESET, RESET_TEXT))


def _help_desk(services: Services) -> tuple[Job, ...]:
    if services.help_desk is None:
        return ()
    kinds = (HELP_DESK, HELP_DESK_TEXT)
    return tuple(Job((kind,), services.help_desk.letters.run, WORDS, LEASE) for kind in kinds)


def _deliveries(services: Services) -> tuple[Job, ...]:
    """Several workers, so that a target that hangs does not hold up the others (services/passwords/lanes.py)."""
    if services.passwords is None:
        return ()
    return (
        Job((MARK,), _fenced(services.passwords.switchboard.follow), 1, LEASE),
        Job((WATCH,), _fenced(services.passwords.silence.watch), 1, LEASE),
        *(Job((PASSWORD,), services.passwords.deliver.run, BATCH, LEASE),) * WORKERS,
    )
