"""Whether an order that waited may still be delivered. The person was in reach when it was given; a system that did not answer, or a switch that was off, leaves time to become an
administrator in. As services/passwords/ports.py, OrderRules. It asks

  (1) what the help desk and a reset ask of a person at the beginning, by what is known now on each reachable controller (tier.py),
  (2) of an order by self-service reset, also whether the person may reset now (services/reset/people.py): no account is excluded, and the one that was reset is there and
      open on all of them, whatever others the person has. Where the audit does not say which it was, one that a reset could begin with is. Who was disabled meanwhile gets nothing: it is
      the first thing that is done about a thief.
"""

from collections.abc import Callable

from bastide.domain.ids import Sid
from bastide.domain.management_agents import MvId
from bastide.services.help_desk.tier import Tier
from bastide.services.ports import AuditQuery, Store
from bastide.services.reset.everywhere import ORDERED_BY

#: Why somebody may not reset; empty: may. None: the account is none of the domain of resets, or disabled, expired or gone. Raises NotFound, Conflict, DirectoryUnavailable.
Excluded = Callable[[Sid], str | None]
_CLOSED = "the account that was reset is disabled, expired or gone"


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
            done = next(
                iter(list(uow.audit.read(AuditQuery(request=reference, kind="reset.done", limit=1)))), None
            )
        person = MvId(order.mv)
        why = self._tier.above(None, person)  # (1)
        if why or order.by != ORDERED_BY.name or self._excluded is None:
            return why
        said = {account: self._excluded(account) for account in self._tier.members(person)}  # (2)
        is_open = "" in said.values() if done is None else said.get(Sid(done.subject)) is not None
        return next(filter(None, said.values()), "" if is_open else _CLOSED)
