"""What the domain controllers must show before a grant is called active, or ended."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bastide.domain.ids import GroupId, Sid
from bastide.domain.people import PamUser
from bastide.domain.requests import GRANTING, LIVE, Request
from bastide.domain.roles import Link, PamGroup
from bastide.services.ports import AccountState

#: accountExpires counts in 100 ns; a second covers its rounding.
TOLERANCE = timedelta(seconds=1)
#: AD tells a partner of a change after 15 s, and within a site no controller is more than three steps away.
WITHIN_A_SITE = timedelta(minutes=1)
#: What Kerberos lets the clocks of two machines differ: a controller that is silent may be that much behind.
SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Seen:
    """What each reachable controller showed, and which ones did not answer."""

    states: Mapping[str, Mapping[Sid, AccountState]]
    silent: tuple[str, ...]
    #: By GUID of a group: the controllers that have not heard of it yet.
    without: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def of(self, account: Sid) -> list[AccountState | None]:
        """The account on each controller that answered; None where it is not there."""
        return [accounts.get(account) for accounts in self.states.values()]


def confirmed(
    user: PamUser,
    groups: Iterable[PamGroup],
    seen: Seen,
    gate: datetime | None,
    now: datetime,
    waited: timedelta = timedelta(0),
) -> bool:
    """Whether access was read back.

    (1) Every controller that answered shows the account in all groups, and open until it should end.
    (2) But not one that does not know the account or a group yet, once it was `waited` for as long as replication within a site takes: between sites that is hours,
        and it gives nobody that access meanwhile. One controller at least shows all of it.
    (3) CORP holds the links.
    """
    groups = list(groups)
    guids = {group.priv.guid for group in groups}
    if waited < WITHIN_A_SITE:
        seen = replace(seen, without={})
        if not all(user.priv.sid in accounts for accounts in seen.states.values()):
            return False
    shown = [
        (name, accounts[user.priv.sid]) for name, accounts in seen.states.items() if user.priv.sid in accounts
    ]
    return (
        any(guids <= state.groups for _, state in shown)  # (2)
        and all(not group.needs_link or group.link is Link.PRESENT for group in groups)  # (3)
        and all(
            all(guid in state.groups or name in seen.without.get(guid, ()) for guid in guids)
            and _opens(state, user, gate, now)
            for name, state in shown
        )
    )


def _opens(state: AccountState, user: PamUser, gate: datetime | None, now: datetime) -> bool:
    if not state.open_at(now):
        return False
    if gate is None or (user.kept_alive and (state.expires is None or state.expires > gate)):
        return True
    return state.expires is not None and abs(state.expires - gate) <= TOLERANCE


def gone(
    request: Request,
    user: PamUser,
    all_requests: Iterable[Request],
    groups: Mapping[GroupId, PamGroup],
    idle_links: AbstractSet[GroupId],
    seen: Seen,
    now: datetime,
) -> bool:
    """Whether absence was read back.

    (1) Every controller that answered shows none of the groups that only this request wanted.
    (2) None shows the account open past what other grants want.
    (3) CORP holds no link any more that no grant uses (`idle_links`).
    (4) A controller that does not answer may still sell tickets: then the end counts only once its own clock closed the account.
    """
    all_requests = list(all_requests)
    others = [
        r
        for r in all_requests
        if r.id != request.id and r.state in GRANTING and r.ends_at is not None and r.ends_at > now
    ]
    kept = {g for r in others for g in r.privileges}
    guids = {groups[g].priv.guid for g in request.privileges if g in groups and g not in kept}
    shown = [state for state in seen.of(user.priv.sid) if state is not None]
    if not seen.states or any(state.groups & guids for state in shown):  # (1)
        return False
    gate = max((r.last_end() for r in others), default=now)
    if not user.kept_alive and any(open_past(state, gate, now) for state in shown):  # (2)
        return False
    if idle_links & set(request.privileges):  # (3)
        return False
    return not seen.silent or _closed_by_clock(user, all_requests, now)  # (4)


def limited(shown: Mapping[str, timedelta | None], left: timedelta) -> bool:
    """Every controller that has the link shows a TTL of at most `left`: an ordinary add would be permanent (F16)."""
    return bool(shown) and all(ttl is not None and ttl <= left + TOLERANCE for ttl in shown.values())


def open_past(state: AccountState, gate: datetime, now: datetime) -> bool:
    """Whether a ticket can be bought now, and after `gate` as well."""
    return state.open_at(now) and (state.expires is None or state.expires > gate + TOLERANCE)


def _closed_by_clock(user: PamUser, all_requests: Iterable[Request], now: datetime) -> bool:
    ends = [r.last_end() for r in all_requests if r.state in LIVE and r.ends_at is not None]
    return not user.kept_alive and all(end + SKEW <= now for end in ends)
