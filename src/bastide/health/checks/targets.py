"""Connected systems: whether each answers its management agent. Nothing is set there."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from bastide.domain.errors import BastideError
from bastide.domain.health import Category, Finding, Severity
from bastide.domain.management_agents import ManagementAgent
from bastide.health.check import Check, Need
from bastide.health.look import bad, good, refusal, unasked
from bastide.health.world import World
from bastide.services.passwords.lookup import secret_of
from bastide.services.reset.ports import Corpus
from bastide.store.breached import PREFIXES
from bastide.wiring.reset import breached_of

_PATIENCE = timedelta(minutes=3)
_LOOK = "`bastide ma show NAME` says how it is reached"
_OLD = timedelta(days=365)
_LOAD = "load the corpus anew; docs/how-to/self-service-reset.md"


def answering(world: World) -> Iterator[Finding]:
    """Each is asked who it is, with its own account."""
    with world.store().read() as uow:
        agents = uow.agents.all()
        secrets = {agent.id: secret_of(uow, world.sealer(), agent.id) for agent in agents}
    for agent in agents:
        yield _asked(world, agent, secrets[agent.id])


def _asked(world: World, agent: ManagementAgent, secret: str) -> Finding:
    try:
        labels = world.systems().identity(agent, secret)
    except BastideError as error:
        return refusal(agent.name, error, _LOOK)
    note = world.systems().note(agent.connector)
    said = ", ".join(sorted(labels)) or "it has no name of its own"
    return good(agent.name, f"{agent.connector}: it answers" if labels else f"{agent.connector}: its settings can be used", f"{said}; {note}" if note else said)  # fmt: skip


def lost_passwords(world: World) -> Iterator[Finding]:
    """Whether the list of self-service reset is there, whole, and not old. No password is looked up."""
    table = world.config.reset
    found = None if table is None else breached_of(table)
    if found is None:
        yield unasked("list", "no list of lost passwords: reset.breached is not set")
        return
    try:
        yield judge_lost(found.corpus(), world.clock.now())
    except BastideError as error:
        yield refusal("list", error, _LOAD)


def judge_lost(corpus: Corpus, now: datetime) -> Finding:
    """A prefix that is missing is an error when somebody's password falls on it."""
    if corpus.oldest is None or not corpus.whole:
        return bad("list", f"the list of lost passwords has {corpus.files:,} of {PREFIXES:,} files", _LOAD)
    days = max((now - corpus.oldest).days, 0)
    said = f"the list of lost passwords is there, {days} days old"
    if now - corpus.oldest > _OLD:
        return bad("list", said, _LOAD, severity=Severity.WARNING)
    return good("list", said)


CHECKS = (
    Check(
        id="targets.answering",
        category=Category.TARGETS,
        subject="each connected system",
        why="A system that does not answer keeps its old passwords; the changes wait for it.",
        run=answering,
        needs=(Need.NETWORK, Need.DATABASE),
        timeout=_PATIENCE,
    ),
    Check(
        id="targets.lost-passwords",
        category=Category.TARGETS,
        subject="the list of lost passwords of self-service reset",
        why="Without it a password that guessers try first is taken.",
        run=lost_passwords,
        needs=(),
        timeout=_PATIENCE,
    ),
)
