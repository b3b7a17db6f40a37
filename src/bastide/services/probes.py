"""Test the directories before they are needed: what Test-PAMTrust and Test-PAMDomainConfiguration check, with reasons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bastide.domain.errors import CapabilityMissing, DirectoryError
from bastide.domain.health import Finding
from bastide.domain.people import Actor, Forest, Right, require
from bastide.services.ports import Capabilities, Controller, Directory, Prober, Samples, Store


@dataclass(frozen=True, slots=True)
class Seen:
    """A forest as it was found. `capabilities` None: it could not be asked, and `problem` says why."""

    forest: Forest
    capabilities: Capabilities | None
    controllers: tuple[Controller, ...]
    problem: DirectoryError | None = None


class Probes:
    """The use cases of directory tests. They change nothing."""

    def __init__(self, *, prober: Prober | None, forests: Mapping[Forest, Directory]) -> None:
        self._prober = prober
        self._forests = forests

    def seen(self, actor: Actor) -> tuple[Seen, ...]:
        """Every forest: what it can do, and its domain controllers. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        return tuple(_look(forest, directory) for forest, directory in self._forests.items())

    def trust(self, actor: Actor) -> tuple[Finding, ...]:
        """The trust as both sides show it. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        return self._need().test_trust()

    def domain(self, actor: Actor, forest: Forest) -> tuple[Finding, ...]:
        """DNS, ports, sign-in, clocks, capabilities and rights of one forest. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        return self._need().test_domain(forest)

    def _need(self) -> Prober:
        if self._prober is None:
            raise CapabilityMissing("there is no real directory here to test")
        return self._prober


def _look(forest: Forest, directory: Directory) -> Seen:
    """One forest that is down does not hide the other."""
    try:
        return Seen(forest, directory.capabilities(), directory.controllers())
    except DirectoryError as error:
        return Seen(forest, None, (), error)


def samples_of(store: Store) -> Callable[[], Samples]:
    """One prepared object of each kind, to look at the service account's rights on."""

    def look() -> Samples:
        with store.read() as uow:
            users, groups = uow.users.all(), uow.groups.all()
        linked = next((group for group in groups if group.needs_link), None)
        return Samples(
            priv_user=users[0].priv.dn if users else "",
            priv_group=groups[0].priv.dn if groups else "",
            corp_group=linked.corp.dn if linked else "",
        )

    return look
