"""Connected systems: whether each answers its management agent. Nothing is set there."""

from collections.abc import Iterator
from datetime import timedelta

from bastide.domain.errors import BastideError
from bastide.domain.health import Category, Finding
from bastide.domain.management_agents import ManagementAgent
from bastide.health.check import Check, Need
from bastide.health.look import good, refusal
from bastide.health.world import World
from bastide.services.passwords.lookup import secret_of

_PATIENCE = timedelta(minutes=3)
_LOOK = "`bastide ma show NAME` says how it is reached"


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
)
