"""What a connected system says it is, whatever name or address it is reached by: labels that systems have in common tie their agents together in the
proof that no password comes back to its source (domain/sync_graph.py).

Read when an agent is made, when its settings change, when it is switched on, and by full imports. A system that cannot be read now has what it had.
"""

import logging

from bastide.domain.errors import BastideError, InvalidInput
from bastide.domain.management_agents import ManagementAgent
from bastide.domain.sync_graph import DOMAIN_LABEL, domain_label
from bastide.services.passwords.ports import ConnectedSystems

_log = logging.getLogger(__name__)


def identified(systems: ConnectedSystems, agent: ManagementAgent, secret: str) -> tuple[str, ...]:
    """The labels of its system; what was known before, if they cannot be read. Raises nothing of the system's."""
    try:
        found = systems.identity(agent, secret)
    except BastideError as error:
        _log.info("what the system of %s is cannot be read now: %s", agent.name, error.message)
        return agent.system
    return tuple(sorted(found)) or agent.system


def require_right_domain(agent: ManagementAgent) -> None:
    """A source reads the domain that it names. Raises InvalidInput."""
    domains = [one for one in agent.system if one.startswith(DOMAIN_LABEL)]
    if agent.source is None or not domains or domain_label(agent.source.domain) in domains:
        return
    raise InvalidInput(
        "source.domain",
        f"is {agent.source.domain}, but the settings lead to the {', '.join(domains)}",
        remedy="correct `controllers` and `domain` of the settings, or the domain of the source",
    )


def leads_elsewhere(before: ManagementAgent, after: ManagementAgent) -> bool:
    """Whether it may be another system."""
    return (before.connector, before.settings) != (after.connector, after.settings)
