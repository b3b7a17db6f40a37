"""Emergency accounts: whether their envelopes are good, and whether their accounts would let somebody in."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from bastide.domain.break_glass import Envelope
from bastide.domain.errors import DirectoryError
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, refusal, unasked
from bastide.health.world import World
from bastide.services.break_glass import checks


def envelopes(world: World) -> Iterator[Finding]:
    """What the database says of each."""
    known = _known(world)
    if not known:
        yield bad(
            "break-glass",
            "no emergency account is sealed: with Bastide, its database or the second factors down, nobody can administer anything",
            "seal one of each forest: docs/how-to/break-glass.md",
            severity=Severity.WARNING,
        )
    after = timedelta(days=world.config.policy.drill_days)
    for one in known:
        yield from _about(one, checks.envelope(one, world.clock.now(), after))


def accounts(world: World) -> Iterator[Finding]:
    """What the controllers say of each."""
    known = _known(world)
    if not known:
        yield unasked("break-glass", "no emergency account is sealed")
    for one in known:
        yield from _about(one, _account(world, one))


def _account(world: World, one: Envelope) -> Iterator[Finding]:
    reader = world.emergency().get(one.domain)
    if reader is None:
        yield bad(
            "break-glass.watch",
            f"the settings name no domain {one.domain}, so nobody watches it",
            "look at it on another node",
        )
        return
    try:
        seen = reader.traces(one.account)
    except DirectoryError as error:
        yield refusal("break-glass.watch", error)
        return
    yield from checks.account(one.name, seen, world.clock.now())
    yield from checks.hidden(one.name, "", seen)
    shown = {where: trace for where, trace in seen.items() if not isinstance(trace, str)}
    yield from checks.used(one, shown)


def _known(world: World) -> Sequence[Envelope]:
    with world.store().read() as uow:
        return uow.envelopes.current()


def _about(one: Envelope, found: Iterator[Finding]) -> Iterator[Finding]:
    """Each with a subject of its own, so that two reports compare."""
    for finding in found:
        yield replace(finding, subject=f"{one.principal} {finding.key.partition('.')[2]}")


CHECKS = (
    Check(
        id="recovery.break-glass",
        category=Category.RECOVERY,
        subject="credentials for the day on which Bastide is down",
        why="Without them an outage of Bastide is an outage of administration.",
        run=envelopes,
        needs=(Need.DATABASE,),
    ),
    Check(
        id="recovery.break-glass-accounts",
        category=Category.RECOVERY,
        subject="whether emergency accounts can sign in, and whether one did",
        why="An envelope is worth what its account is; and nobody may use it unseen.",
        run=accounts,
        needs=(Need.DATABASE, Need.DIRECTORY),
        timeout=PATIENT,
    ),
)
