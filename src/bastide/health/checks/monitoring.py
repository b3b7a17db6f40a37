"""Monitoring of the directories: whether it reads, and what stands there and nobody asked for."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from bastide.domain.drift import Finding as Drifted
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check, Need
from bastide.health.look import bad, good, unasked
from bastide.health.world import World
from bastide.services.monitor.ports import Domain

_NAMED = 5
_OFF = "no directory is monitored: bastide.toml has no section [monitoring]"


def reading(world: World) -> Iterator[Finding]:
    """How far each domain was read."""
    if world.config.monitoring is None:
        yield unasked("monitoring", _OFF)
        return
    with world.store().read() as uow:
        domains = uow.monitored.domains()
    if not domains:
        yield bad("monitoring", "no domain was read yet", "start the service: `systemctl start bastide`")
    yield from (judge_reading(one, world.clock.now()) for one in domains)


def judge_reading(one: Domain, now: datetime) -> Finding:
    """Whether a domain is read now."""
    if one.paused:
        return bad(
            one.name,
            f"monitoring of {one.name} is paused: who leaves keeps what they have",
            "`bastide monitor resume`",
            severity=Severity.WARNING,
        )
    if one.problem:
        return bad(one.name, f"{one.name} is not read: {one.problem}", "mend that; it is read on by itself")
    if one.is_late(now):
        since = "never" if one.read_at is None else f"last at {one.read_at:%Y-%m-%d %H:%M} UTC"
        return bad(one.name, f"{one.name} was read {since}", "see whether a worker runs: `bastide work list`")
    if one.lags:
        return bad(
            one.name,
            f"{one.name}: {one.lags}, and who was disabled is not back, until it has, or for a day",
            f"see whether {one.mark.controller} replicates (`samba-tool drs showrepl`, `repadmin /showrepl`)",
            severity=Severity.WARNING,
        )
    return good(one.name, f"{one.name} is read from {one.mark.controller}")


def drift(world: World) -> Iterator[Finding]:
    """What stands."""
    if world.config.monitoring is None:
        yield unasked("drift", _OFF)
        return
    with world.store().read() as uow:
        yield judge_drift(uow.monitored.findings())


def judge_drift(found: Sequence[Drifted]) -> Finding:
    """All of it in one sentence."""
    if not found:
        return good("drift", "the directories show nothing that nobody asked for")
    named = "; ".join(one.drift.reason for one in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return bad(
        "drift", f"{len(found)} drifts stand: {named}{more}", "`bastide monitor drift` says what to do"
    )


CHECKS = (
    Check(
        id="service.monitoring",
        category=Category.SERVICE,
        subject="whether each domain is read for changes",
        why="What nobody reads, nobody notices: a person who left keeps their access.",
        run=reading,
        needs=(Need.DATABASE,),
    ),
    Check(
        id="service.drift",
        category=Category.SERVICE,
        subject="what stands in the directories and nobody asked for",
        why="A member that no request explains has access without an end.",
        run=drift,
        needs=(Need.DATABASE,),
    ),
)
