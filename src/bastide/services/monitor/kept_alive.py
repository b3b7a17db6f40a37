"""Accounts that are kept alive follow their person, who is in another domain: that one moves when the domain of the account stands still.

Met by a breaker: the person had been disabled for eight seconds, and the account was open still.
"""

from collections.abc import Mapping
from datetime import datetime

from bastide.domain import drift
from bastide.domain.monitored import Moment, Pam, Watched
from bastide.domain.people import Forest
from bastide.services.pace import MONITOR
from bastide.services.ports import UnitOfWork


def wake(
    uow: UnitOfWork, before: Mapping[str, Watched], after: Mapping[str, Watched], pam: Pam, now: datetime
) -> None:
    """In the commit that saw a person come or leave: the domain of the accounts is looked at now. Who expires by time alone is found by the next look."""
    kept = (user.corp.guid for user in pam.users if user.kept_alive)
    if any(_state(before.get(guid)) != _state(after.get(guid)) for guid in kept):
        uow.work.poke(MONITOR[Forest.PRIV], Forest.PRIV.value, now)


def owes(
    uow: UnitOfWork, watched: Mapping[str, Watched], people: Mapping[str, Watched], pam: Pam, now: datetime
) -> bool:
    """Whether the domain of the accounts must be looked at though nothing moved there: a person did."""
    found = drift.of_kept_accounts(watched, people, Moment(pam, pam, now))
    return bool(found) and not found <= {one.key for one in uow.monitored.findings()}


def _state(one: Watched | None) -> tuple[object, ...]:
    return () if one is None else (one.now.enabled, one.now.expires, one.gone_at is None)
