"""What the directory should hold for one PAM user, out of all the requests of that user.

Grants are counted per (account, group): a group is wanted as long as one request wants it, so the first of two overlapping grants to end
takes nothing from the second. Everything here is a desired state; writing it twice does no harm.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.ids import GroupId
from bastide.domain.people import PamUser
from bastide.domain.requests import GRANTING, Request, State
from bastide.domain.roles import Enforcer

#: Below this Samba's KDC ignores msDS-UserTGTLifetime (measured: usable only above 120 s).
LEAST_TICKET_CAP = timedelta(seconds=125)
DEFAULT_TICKET_CAP = timedelta(minutes=15)
#: Protected Users without a policy that works: 4 hours ([MS-KILE] 3.3.5.1, and measured on Samba).
PROTECTED_USERS_TICKET = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Desired:
    """`present`: group to the end of the last grant that wants it. `absent`: groups to take away. `opens_until`: the account's end;
    None leaves the account as it is (kept alive by policy and open for long enough, or no grant to open or close).
    """

    present: Mapping[GroupId, datetime]
    absent: frozenset[GroupId]
    opens_until: datetime | None
    closes_now: bool


def desired(
    user: PamUser, requests: Iterable[Request], now: datetime, shown: Collection[datetime | None] = ()
) -> Desired:
    """Out of the user's live requests. A Closing request wants its groups gone unless another grant holds them.

    `shown`: of an account that is kept alive, its end on each controller. Monitoring closes one whose person left; a grant opens it again as it opens
    a dormant one, until its own end and no longer. Where one controller shows it open for long enough, somebody opened it, and the others will hear of it.
    """
    present: dict[GroupId, datetime] = {}
    leaving: set[GroupId] = set()
    for request in requests:
        if request.state in GRANTING and request.ends_at is not None and request.ends_at > now:
            for group in request.privileges:
                present[group] = max(request.last_end(), present.get(group, request.ends_at))
        elif request.state is State.CLOSING:
            leaving.update(request.privileges)
    end = max(present.values(), default=None)
    return Desired(
        present=present,
        absent=frozenset((leaving | set(user.owed)) - present.keys()),
        opens_until=None if user.kept_alive and not _ends_before(end, shown) else end,
        closes_now=not user.kept_alive and end is None and bool(leaving),
    )


def _ends_before(end: datetime | None, shown: Collection[datetime | None]) -> bool:
    return end is not None and bool(shown) and all(one is not None and one < end for one in shown)


def enforcer_for(user: PamUser, *, link_ttl: bool) -> Enforcer:
    """The strongest enforcer that the directory proved to have for this account."""
    if link_ttl:
        return Enforcer.LINK_TTL
    return Enforcer.REMOVAL if user.kept_alive else Enforcer.DORMANT_ACCOUNT


def directory_end(
    enforcer: Enforcer, ends_at: datetime, account_end: datetime | None, cap: timedelta
) -> datetime | None:
    """When access is over if Bastide stops now. `dormant-account` ends with the account, so with its latest grant; None: it stays."""
    match enforcer:
        case Enforcer.LINK_TTL:
            return ends_at + cap
        case Enforcer.DORMANT_ACCOUNT:
            return max(ends_at, account_end or ends_at) + cap
        case Enforcer.REMOVAL:
            return None
