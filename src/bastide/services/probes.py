"""Test the directories before they are needed: what Test-PAMTrust and Test-PAMDomainConfiguration check, with reasons."""

from collections.abc import Callable

from bastide.domain.errors import CapabilityMissing
from bastide.domain.people import Actor, Forest, Right, require
from bastide.services.ports import Finding, Prober, Samples, Store


class Probes:
    """The use cases of directory tests. They change nothing."""

    def __init__(self, *, prober: Prober | None) -> None:
        self._prober = prober

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
