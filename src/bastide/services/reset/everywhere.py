"""The new password goes where every change goes: to all systems that the person has an account in (services/passwords/person.py).

Whether the password was changed since a reset began, rule (7) of domain/reset/flow.py, is known by the latest of
  (1) what a domain controller told: of changes that are on their way to systems;
  (2) what a reset or the help desk ordered here: the directory may not have it yet;
  (3) what the directory itself says, on every controller within reach: of who is in no inclusion group, whose controller has a silent agent, or whose change did not replicate yet.
"""

from collections.abc import Sequence
from datetime import datetime

from bastide.domain.errors import Conflict
from bastide.domain.ids import ObjectRef
from bastide.domain.management_agents import CsId, MvId
from bastide.domain.passwords import Code, State
from bastide.services.passwords.at_once import AtOnce
from bastide.services.passwords.person import Account, By, PersonPasswords, accounts_of
from bastide.services.ports import Store
from bastide.services.reset.people import owner_of
from bastide.services.reset.ports import PasswordTimes, SystemState, Within

#: Who orders, as the order has it.
ORDERED_BY = By("bastide", "self-service reset")
_REASON = "self-service reset"
_UNLOCKED = "the account is not locked any more, and has its old password"
_HELP = "ask your help desk; `bastide passwords explain` tells it why"


class JoinedAccounts:
    """As the port Everywhere. A person of the directory is found by the objectGUID in the connector space of the domain's agent."""

    def __init__(
        self,
        *,
        store: Store,
        person: PersonPasswords,
        at_once: AtOnce,
        times: PasswordTimes,
        domain: str,
    ) -> None:
        self._store = store
        self._person = person
        self._at_once = at_once
        self._times = times
        self._domain = domain.casefold()

    def changed_at(self, person: ObjectRef) -> datetime | None:
        with self._store.read() as uow:
            agent = uow.agents.by_domain(self._domain)
            told = {} if agent is None else uow.changes.newest(agent.id, [person.guid])  # (1)
            owner = owner_of(uow, self._domain, person)
        # Outside of the unit of work: `history` opens one.
        ordered = [] if owner is None else [one.at for one in self._person.history(owner, limit=1)]  # (2)
        held = self._times.set_at(person.sid)  # (3)
        return max([*told.values(), *ordered, *([] if held is None else [held])], default=None)

    def set(self, person: ObjectRef, password: str, within: Within) -> str:
        owner, accounts = self._owned(person)
        chosen = [one.object.id for one in accounts if not one.hindrance]
        _require_some(chosen, "whose password can be set here")
        return self._person.set_for(
            owner,
            chosen,
            password,
            must_change=False,
            unlock=True,
            by=ORDERED_BY,
            reason=_REASON,
            within=within,
        )

    def unlock(self, person: ObjectRef, within: Within) -> Sequence[SystemState]:
        owner, accounts = self._owned(person)
        chosen = [one.object.id for one in accounts if not one.unlock_hindrance]
        _require_some(chosen, "that can be unlocked here")
        answers = self._at_once.unlock(owner, chosen, by=ORDERED_BY, reason=_REASON, within=within)
        return tuple(
            SystemState(
                one.agent,
                _UNLOCKED if one.result.code is Code.SUCCESS else one.result.detail or one.result.code.value,
                one.result.code is Code.SUCCESS,
                settled=True,
            )
            for one in answers
        )

    def states(self, reference: str) -> Sequence[SystemState]:
        ordered = self._person.operation(reference)
        return tuple(
            SystemState(one.agent, one.words, one.state is State.DELIVERED, one.state is not State.PENDING)
            for one in ordered.outcomes
        )

    def _owned(self, person: ObjectRef) -> tuple[MvId, tuple[Account, ...]]:
        with self._store.read() as uow:
            owner = owner_of(uow, self._domain, person)
            if owner is not None:
                return owner, accounts_of(uow, owner)
        raise Conflict("no connected system has an account of yours that Bastide knows", remedy=_HELP)


def _require_some(chosen: Sequence[CsId], words: str) -> None:
    if not chosen:
        raise Conflict(f"no connected system has an account of yours {words}", remedy=_HELP)
