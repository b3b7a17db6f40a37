"""Whether an order that waited may still be delivered. The person was in reach when it was given; a system that did not answer, or a switch that was off, leaves time to become an
administrator in. As services/passwords/ports.py, OrderRules. It asks

  (1) what the help desk and a reset ask of a person at the beginning, by what is known now (tier.py),
  (2) of an order by self-service reset, also whether the person may reset now (services/reset/people.py).
"""

from collections.abc import Callable

from bastide.domain.ids import Sid
from bastide.domain.management_agents import MvId
from bastide.services.help_desk.tier import Tier
from bastide.services.ports import Store
from bastide.services.reset.everywhere import ORDERED_BY

#: Why somebody may not reset; empty: may, or is nobody that a reset knows. Raises NotFound, Conflict, DirectoryUnavailable.
Excluded = Callable[[Sid], str]


class StillInReach:
    """The adapter of OrderRules. `excluded` None: there is no self-service reset."""

    def __init__(self, *, store: Store, tier: Tier, excluded: Excluded | None) -> None:
        self._store = store
        self._tier = tier
        self._excluded = excluded

    def refusal(self, reference: str) -> str:
        """As the port."""
        with self._store.read() as uow:
            order = uow.changes.get(reference)
        person = MvId(order.mv)
        why = self._tier.above(None, person)  # (1)
        if why or order.by != ORDERED_BY.name or self._excluded is None:
            return why
        return next(filter(None, map(self._excluded, self._tier.members(person))), "")  # (2)
