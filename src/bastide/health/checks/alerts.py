"""Alerts: whether each destination took what it was told lately, and whether anybody looks at those that are open."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from bastide.domain.alerts import Alert, State
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check, Need
from bastide.health.look import bad, good, unasked
from bastide.health.world import World

#: An alert that wakes people and that nobody took in hand for so long is one that nobody saw.
_UNSEEN = timedelta(hours=24)
_MOST = 500


def destinations(world: World) -> Iterator[Finding]:
    """By the audit: what was told, and what failed since."""
    table = world.config.alerts
    if table is None:
        yield unasked("alerts", "no alerts are raised: bastide.toml has no section [alerts]")
        return
    with world.store().read() as uow:
        for one in table.destinations:
            told, failing = uow.audit.last("alert.told", one.name), uow.audit.last("alert.failing", one.name)
            if failing is not None and (told is None or told.seq < failing.seq):
                yield bad(
                    one.name,
                    f"{one.name} has taken nothing since {failing.at:%Y-%m-%d %H:%M} UTC",
                    f"`bastide alert test {one.name}` says what is wrong; docs/how-to/alerts.md",
                )
            elif told is None:
                yield bad(
                    one.name,
                    f"{one.name} was never told anything, so nobody knows whether it works",
                    f"`bastide alert test {one.name}`",
                    severity=Severity.WARNING,
                )
            else:
                yield good(one.name, f"{one.name} took an alert at {told.at:%Y-%m-%d %H:%M} UTC")


def unseen(world: World) -> Iterator[Finding]:
    """Open ones that wake people."""
    if world.config.alerts is None:
        yield unasked("alerts", "no alerts are raised: bastide.toml has no section [alerts]")
        return
    with world.store().read() as uow:
        yield judge_unseen(uow.alerts.newest([State.OPEN], _MOST), world.clock.now())


def judge_unseen(alerts: tuple[Alert, ...], now: datetime) -> Finding:
    """`alerts`: those that are open."""
    old = [one for one in alerts if one.severity.wakes and now - one.raised_at > _UNSEEN]
    if not old:
        return good("open", f"{len(alerts)} alerts are open, none of them high and older than a day")
    return bad(
        "open",
        f"{len(old)} alerts of high or critical severity have waited for more than a day, the newest: {old[0].title}",
        "`bastide alert list`, and acknowledge what somebody has in hand",
    )


CHECKS = (
    Check(
        id="alerts.destinations",
        category=Category.ALERTS,
        subject="whether each destination took something",
        why="A destination that is down is noticed when the alert matters most.",
        run=destinations,
        needs=(Need.DATABASE,),
    ),
    Check(
        id="alerts.unseen",
        category=Category.ALERTS,
        subject="alerts that nobody has in hand",
        why="An alert that nobody looks at is worth as much as none.",
        run=unseen,
        needs=(Need.DATABASE,),
    ),
)
