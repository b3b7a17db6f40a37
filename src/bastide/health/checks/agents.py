"""The agents on domain controllers: who is silent, and whether any changed password was missed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from bastide.domain.contacts import Contact, Hearing
from bastide.domain.errors import Conflict
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, good, unasked
from bastide.health.world import World
from bastide.services.passwords.coverage import FRESH, Coverage, CoverageProof

#: As far back as a change can have been missed and still be made good by hand.
_BACK = timedelta(days=7)
_NAMED = 10


def heard(world: World) -> Iterator[Finding]:
    """Every controller that ever spoke to us."""
    with world.store().read() as uow:
        contacts, hearing = uow.contacts.all(), uow.contacts.hearing()
    if not contacts:
        yield unasked("agents", "no agent has spoken yet: `bastide-agent` is installed on every controller")
    for one in contacts:
        yield judge(one, hearing, world.clock.now())


def judge(contact: Contact, hearing: Hearing | None, now: datetime) -> Finding:
    """One controller. `hearing` None: nobody listened yet."""
    about = f"{contact.host} ({contact.domain})"
    evidence = f"last heard {contact.heard_at:%Y-%m-%d %H:%M} UTC; {contact.waiting} waiting there"
    if contact.silent:
        return bad(
            about, f"the agent of {contact.host} is silent since {contact.heard_at:%Y-%m-%d %H:%M} UTC",
            f"on {contact.host}: systemctl status bastide-agent; then `bastide diagnose {contact.host}` here", evidence,
        )  # fmt: skip
    if contact.waiting and contact.oldest is not None and now - contact.oldest > timedelta(minutes=15):
        return bad(
            about, f"{contact.waiting} changed passwords wait on {contact.host}, the oldest since {contact.oldest:%Y-%m-%d %H:%M} UTC",
            f"on {contact.host}: the agent's log says what keeps them", evidence, severity=Severity.WARNING,
        )  # fmt: skip
    return good(about, f"the agent of {contact.host} is heard", evidence if hearing else "")


def coverage(world: World) -> Iterator[Finding]:
    """What each source domain says of its users' passwords, beside what we were told of."""
    now = world.clock.now()
    fresh = FRESH if world.config.passwords is None else timedelta(minutes=world.config.passwords.coverage_minutes)  # fmt: skip
    proof = CoverageProof(store=world.store(), dates=world.dates(), now=lambda: now, fresh=fresh)
    try:
        measured = proof.prove(since=now - _BACK)
    except Conflict as error:
        yield unasked("sources", error.message)
        return
    yield from map(covered, measured)


def covered(one: Coverage) -> Finding:
    """Of one domain."""
    missed = len(one.uncovered)
    evidence = (
        f"of {one.users} changed in {_BACK.days} days {one.covered} were told of, {one.fresh} are fresh"
    )
    if not missed:
        return good(one.domain, f"no changed password of {one.domain} was missed", evidence)
    worst = "; ".join(f"{name}: {number}" for name, number in one.by_controller[:_NAMED])
    return bad(
        one.domain,
        f"{missed} changed passwords of {one.domain} were never told of",
        f"look at the agents of these controllers; `bastide passwords coverage --domain {one.domain}` names the people",
        f"{evidence}; {worst}",
    )


CHECKS = (
    Check(
        id="agents.heard",
        category=Category.AGENTS,
        subject="the agent of each controller",
        why="A password that is changed on a controller without its agent reaches no other system.",
        run=heard,
        needs=(Need.PASSWORDS, Need.DATABASE),
    ),
    Check(
        id="agents.coverage",
        category=Category.AGENTS,
        subject="changed passwords that were missed",
        why="It is the proof that no change was lost: by the domain's own dates.",
        run=coverage,
        needs=(Need.PASSWORDS, Need.NETWORK, Need.DATABASE, Need.DIRECTORY),
        timeout=PATIENT,
    ),
)
