"""What a connected system says it is, whatever name or address it is reached by: labels that systems have in common tie their agents together in the
proof that no password comes back to its source (domain/sync_graph.py).

Read when an agent is made, when its settings change, when it is switched on, and by full imports. While the settings are the same, what a system has
said of itself stays true of it, whatever it says later: a directory that shows less than before is still the same directory.
"""

import hashlib
import logging
from collections.abc import Iterable
from itertools import islice

from bastide.domain.errors import BastideError, InvalidInput
from bastide.domain.management_agents import ManagementAgent
from bastide.domain.spelling import spellings, spells, told
from bastide.domain.sync_graph import DOMAIN_LABEL, domain_label
from bastide.services.passwords.ports import ConnectedSystems

_log = logging.getLogger(__name__)
#: Of one system: labels, characters of one, and how many are looked at.
_LABELS = 32
_LENGTH = 200
_LOOKED_AT = 1000


def asked(systems: ConnectedSystems, agent: ManagementAgent, secret: str) -> tuple[str, ...] | None:
    """The labels of its system as it says them now; None: they cannot be read. Raises nothing of the system's."""
    try:
        return _fit(systems.identity(agent, secret), secret)
    except BastideError as error:
        _log.info(
            "what the system of %s is cannot be read now: %s", agent.name, told(error.message, [secret])
        )
    except Exception as error:  # noqa: BLE001  # a system that answers oddly, or a connector of a third party: its message may hold anything
        _log.error("what the system of %s is cannot be read: %s", agent.name, type(error).__name__)
    return None


def together(said: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """What is said now and what was known before. Where that is too much, what is said now goes first."""
    kept = [*said, *(one for one in known if one not in said)]
    return tuple(sorted(kept[:_LABELS]))


def require_right_domain(agent: ManagementAgent, said: tuple[str, ...]) -> None:
    """A source reads the domain that it names; `said`: what its system says. Raises InvalidInput."""
    domains = [one for one in said if one.startswith(DOMAIN_LABEL)]
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


def _fit(said: Iterable[str], secret: str) -> tuple[str, ...]:
    """Labels that can be kept and shown, whoever said them. A long one is told from others by its digest."""
    forms = spellings([secret])
    plain = (one for one in islice(said, _LOOKED_AT) if one and one.isprintable() and not spells(one, forms))
    return tuple(sorted(set(map(_short, plain)))[:_LABELS])


def _short(label: str) -> str:
    if len(label) <= _LENGTH:
        return label
    return f"{label[: _LENGTH // 2]} sha256 {hashlib.sha256(label.encode()).hexdigest()}"
