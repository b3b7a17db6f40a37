"""What is looked at again when access begins, because it may have changed since it was asked for. One read of each forest for all accounts.

(1) The PRIV account is there, and in none of the groups already (cases.standing). The PAM user is not switched off.
(2) The CORP person is there, neither disabled nor expired: whoever left does not get what was asked for before.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from bastide.domain import requests
from bastide.domain.errors import DirectoryError, DirectoryUnavailable
from bastide.domain.ids import Sid
from bastide.domain.requests import State
from bastide.services.cases import Case
from bastide.services.pace import DENIED_LIMIT
from bastide.services.ports import AccountState, Directory

_States = Mapping[str, Mapping[Sid, AccountState]]


def beginning(cases: Sequence[Case], now: datetime) -> list[Case]:
    """The accounts for which something is to begin that was never planned."""
    return [
        case
        for case in cases
        if any(
            r.ends_at is None and requests.advance(r, now).state is State.PROCESSING for r in case.requests
        )
    ]


def look_at_priv(cases: Sequence[Case], states: _States) -> None:
    """(1), out of what the PRIV controllers showed."""
    for case in cases:
        shown = of(case.user.priv.sid, states)
        case.looked_at = True
        case.shown = frozenset().union(*(state.groups for state in shown))
        if not shown:
            case.barred = f"the PRIV account of {case.user.name} is gone"
        elif not case.user.enabled:
            case.barred = f"{case.user.name} is switched off"


def look_at_corp(corp: Directory, cases: Sequence[Case], now: datetime, *, alone: bool) -> None:
    """(2). Raises DirectoryError for a batch in which one account cannot be read.

    With CORP out of reach nothing begins: it is tried again and given up like one that PRIV does not answer for. Silence is no; and while
    no controller of CORP answers, none sells a ticket for CORP either, so the wait costs nobody anything. What is over ends all the same.
    """
    wanted = {case.user.corp.sid for case in cases if case.user.corp.sid != case.user.priv.sid}
    try:
        states = corp.observe(wanted) if wanted else {}
    except DirectoryError as error:
        if not alone and not isinstance(error, DirectoryUnavailable):
            raise
        for case in cases:
            case.problem = error
            case.hopeless = not isinstance(error, DirectoryUnavailable) and case.work.attempts >= DENIED_LIMIT
        return
    for case in cases:
        if case.user.corp.sid in wanted:
            case.barred = case.barred or _left(case, of(case.user.corp.sid, states), now)


def _left(case: Case, shown: Collection[AccountState], now: datetime) -> str:
    """Disabled on one controller is disabled: the others have not heard of it yet."""
    if not shown:
        return f"the CORP account {case.user.corp.name} is gone"
    if not all(state.open_at(now) for state in shown):
        return f"the CORP account {case.user.corp.name} is disabled or expired"
    return ""


def of(account: Sid, states: _States) -> list[AccountState]:
    """The account on each controller that shows it."""
    return [accounts[account] for accounts in states.values() if account in accounts]
