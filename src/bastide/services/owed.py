"""What a controller that was silent when access ended may still hold: the account in its groups, closed by its own clock. In order:

(1) Access that ends while a controller is silent leaves its groups owed, with the PAM user: that controller may list the account in them, and gives them back with
    the next grant of another role, or to the other controllers, when it is back.
(2) What is owed, and no other grant holds, is taken away before anything is opened, and again after a while, until every controller answers and none shows it.
(3) What is owed is no standing right: it is in nobody's way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain.audit import Event
from bastide.domain.ids import GroupId
from bastide.domain.people import PamUser
from bastide.domain.requests import Request, State
from bastide.domain.roles import PamGroup
from bastide.services.cases import Case
from bastide.services.events import by_worker
from bastide.services.readback import Seen

_OVER = frozenset({State.CLOSED, State.EXPIRED, State.FAILED})
#: While the account has access, and while it is closed everywhere.
_SOON, _LATER = timedelta(minutes=1), timedelta(minutes=10)


def after(
    case: Case, ended: Iterable[Request], groups: Mapping[GroupId, PamGroup], seen: Seen | None
) -> PamUser:
    """The PAM user with what is owed now. `ended`: the requests that this run moved on."""
    owed = set(case.user.owed)
    if seen is None or not seen.states:
        return case.user
    if seen.silent:  # (1)
        owed |= {g for r in ended if r.state in _OVER and r.ends_at is not None for g in r.privileges}
    elif owed:  # (2)
        shown = frozenset[str]().union(
            *(one.groups for one in seen.of(case.user.priv.sid) if one is not None)
        )
        owed = {g for g in owed if g in groups and groups[g].priv.guid in shown}
    return replace(case.user, owed=tuple(sorted(owed)))


def cleared(before: PamUser, now_: PamUser, groups: Mapping[GroupId, PamGroup], now: datetime) -> list[Event]:
    """That every controller answered and showed none of it."""
    gone = [groups[g].name for g in before.owed if g not in now_.owed and g in groups]
    if not gone:
        return []
    data = {"groups": gone}
    return [by_worker("pam-user.cleared", now, subject=before.priv.sid, subject_name=before.name, data=data)]


def due(case: Case, now: datetime) -> list[datetime]:
    """When to look again."""
    if not case.user.owed:
        return []
    return [now + (_SOON if any(r.state is State.ACTIVE for r in case.requests) else _LATER)]
