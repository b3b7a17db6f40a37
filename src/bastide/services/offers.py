"""The roles that a person may ask for, each with what stands in the way now and what can be done about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bastide.domain import policy
from bastide.domain.ids import RequestId
from bastide.domain.people import Actor, Demand, PamUser
from bastide.domain.requests import OPEN, PENDING
from bastide.domain.roles import Role
from bastide.services.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class RoleOffer:
    """A role the caller is a candidate of. `why_not`: why it cannot be asked for now (empty: it can). `opens_at`: when its window opens again,
    if it is closed. `pending`: the caller's own request that must be answered first. `lacks`: what the caller must set up before a request
    can go on (empty: nothing).
    """

    role: Role
    why_not: str
    window: str
    opens_at: datetime | None = None
    pending: RequestId | None = None
    lacks: str = ""


def offers(uow: UnitOfWork, user: PamUser, actor: Actor, now: datetime) -> tuple[RoleOffer, ...]:
    """Those of the caller, who is that PAM user."""
    mine = uow.requests.of_users([user.id], OPEN)
    groups = uow.groups.all()
    waiting = {request.role: request.id for request in mine if request.state in PENDING}
    roles = [role for role in uow.roles.all() if policy.is_candidate(role, user, actor.sids)]
    methods = _methods(uow, user, actor, roles)
    return tuple(
        RoleOffer(
            role,
            policy.why_not(role=role, groups=groups, user=user, actor=actor, open_requests=mine, now=now),
            policy.describe_window(role),
            opens_at=policy.opens_again(role, now),
            pending=waiting.get(role.id),
            lacks=policy.lacks(role, user, actor, methods),
        )
        for role in roles
    )


def _methods(uow: UnitOfWork, user: PamUser, actor: Actor, roles: Iterable[Role]) -> frozenset[str]:
    """Which second factors are set up. One that was shown in this session is; then the database is asked for keys only where a role wants one."""
    shown = frozenset({actor.mfa.method}) if actor.mfa is not None else frozenset[str]()
    keys = any(role.factor is Demand.WEBAUTHN for role in roles) and policy.SECURITY_KEY not in shown
    if shown and not keys:
        return shown
    found = {factor.method for factor in uow.factors.of(user.priv.sid) if factor.confirmed}
    if uow.factors.keys_of(user.priv.sid):
        found.add(policy.SECURITY_KEY)
    return shown | found
