"""The use cases of connected systems: management agents, imports, connector space and metaverse."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.errors import CapabilityMissing
from bastide.domain.management_agents import ManagementAgent
from bastide.services.passwords.imports import Imports
from bastide.services.passwords.management_agents import ManagementAgents
from bastide.services.passwords.ports import ConnectedSystems, Connector, PasswordTarget
from bastide.services.passwords.spaces import Spaces
from bastide.services.ports import Random, Sealer, Store


@dataclass(frozen=True, slots=True)
class SpaceServices:
    """What belongs together."""

    management_agents: ManagementAgents
    imports: Imports
    spaces: Spaces


def assemble_spaces(
    *,
    store: Store,
    systems: ConnectedSystems | None,
    sealer: Sealer,
    random: Random,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
    source_domains: frozenset[str] | None = None,
) -> SpaceServices:
    """Wire them. Without `systems` everything can be looked at, and no system be reached."""
    reach = systems or NoSystems()
    return SpaceServices(
        ManagementAgents(
            store=store,
            systems=reach,
            sealer=sealer,
            random=random,
            now=now,
            source_domains=source_domains,
        ),
        Imports(store=store, systems=reach, sealer=sealer, random=random, now=now, jitter=jitter),
        Spaces(store=store, random=random, now=now),
    )


class NoSystems:
    """ConnectedSystems of a node that has none."""

    def check(self, connector: str, settings: Mapping[str, object]) -> None:  # noqa: ARG002  # the port's shape
        """Raises CapabilityMissing."""
        raise _missing()

    def note(self, connector: str) -> str:  # noqa: ARG002  # the port's shape
        """None reaches any."""
        return _missing().message

    def connector(self, agent: ManagementAgent, secret: str) -> Connector:  # noqa: ARG002  # the port's shape
        """Raises CapabilityMissing."""
        raise _missing()

    def identity(self, agent: ManagementAgent, secret: str) -> tuple[str, ...]:  # noqa: ARG002  # the port's shape
        """Raises CapabilityMissing."""
        raise _missing()

    def target(self, agent: ManagementAgent, secret: str) -> PasswordTarget:  # noqa: ARG002  # the port's shape
        """Raises CapabilityMissing."""
        raise _missing()


def _missing() -> CapabilityMissing:
    return CapabilityMissing("this server reaches no connected systems", remedy="ask a node that does")
