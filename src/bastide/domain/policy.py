"""May this person ask for this role, now, in these words? Every rule that says no says why.

`submit` is the procedure; `why_not` runs the same rules to tell a person beforehand. Steps:
  (1) The role and the PAM user are enabled, and no privilege is missing or switched off.
  (2) The caller is the person, and a candidate of the role.
  (3) Time to live within bounds; a start neither past nor far away; the window open at the start.
  (4) Justification and ticket as the role asks.
  (5) Not too many open requests; none pending for this role.
  (6) A sign-in with the everyday account shows a second factor, whatever the role says: it alone never activates anything.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.errors import Conflict, InvalidInput, NotAuthorized, Refused
from bastide.domain.ids import RequestId, Sid, parse_text
from bastide.domain.once import Once
from bastide.domain.people import Actor, Demand, PamUser
from bastide.domain.requests import OPEN, PENDING, Request, State, admit
from bastide.domain.roles import PamGroup, Role, length

JUSTIFICATION_LIMIT = 400
TICKET_LIMIT = 100
FARTHEST_START = timedelta(days=90)
#: A start this little in the past is "now" said by a clock that is a bit behind.
PAST_TOLERANCE = timedelta(minutes=5)
OPEN_LIMIT = 20
#: The method of a security key, as its proofs name it.
SECURITY_KEY = Demand.WEBAUTHN.value


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person asks for. It has no field for state, approver or votes: those are never taken from a caller."""

    ttl: timedelta | None = None
    start_at: datetime | None = None
    justification: str = ""
    ticket: str = ""
    method: str = "api"
    #: Of the call, so that it makes one request however often it arrives (domain/once.py); empty: it has none.
    key: str = ""


def submit(
    draft: Draft,
    *,
    id: RequestId,  # noqa: A002  # it is the request's id
    role: Role,
    groups: Collection[PamGroup],
    user: PamUser,
    actor: Actor,
    open_requests: Iterable[Request],
    now: datetime,
    once: Once | None = None,
) -> Request:
    """A request before its first gate. Raises NotAuthorized, InvalidInput, Conflict."""
    _usable(role, groups, user)  # (1)
    _candidate(role, user, actor)  # (2)
    ttl = _ttl(role, draft.ttl)  # (3)
    start = _start(role, draft.start_at, now)
    justification, ticket = _words(role, draft)  # (4)
    _not_too_many(role, open_requests)  # (5)
    request = Request(
        id=id,
        role=role.id,
        role_name=role.name,
        user=user.id,
        user_name=user.name,
        requester=actor.sid,
        privileges=role.privileges,
        state=State.PENDING_MFA,
        created_at=now,
        pending_until=now + role.pending_life,
        ttl=ttl,
        start_at=start,
        justification=justification,
        ticket=ticket,
        method=draft.method,
        needs_mfa=_needs_mfa(role, user, actor),  # (6)
        factor=role.factor,
        needs_approval=bool(role.stages),
        proof=None,
        floor=role.floor,
        once=() if once is None else (once,),
    )
    return admit(request, now)


def why_not(
    *,
    role: Role,
    groups: Collection[PamGroup],
    user: PamUser,
    actor: Actor,
    open_requests: Iterable[Request],
    now: datetime,
) -> str:
    """The reason why the person cannot ask for the role now, as a sentence; empty if they can."""
    try:
        _usable(role, groups, user)
        _candidate(role, user, actor)
        _start(role, None, now)
        _not_too_many(role, open_requests)
    except Refused as refusal:
        return refusal.message
    return ""


def is_candidate(role: Role, user: PamUser, sids: Collection[Sid]) -> bool:
    """Whether one of the person's accounts, or a group of theirs, is a candidate of the role."""
    return any(subject.sid in user.sids or subject.sid in sids for subject in role.candidates)


def _usable(role: Role, groups: Collection[PamGroup], user: PamUser) -> None:
    if not role.enabled:
        raise Conflict(f"role {role.name} is switched off")
    if not user.enabled:
        raise Conflict(f"PAM user {user.name} is switched off")
    by_id = {group.id: group for group in groups}
    for privilege in role.privileges:
        if privilege not in by_id:
            raise Conflict(
                f"role {role.name} gives a PAM group that no longer exists",
                remedy="ask an administrator to mend the role",
            )
        if not by_id[privilege].enabled:
            raise Conflict(f"PAM group {by_id[privilege].name} is switched off")


def _candidate(role: Role, user: PamUser, actor: Actor) -> None:
    if not user.belongs_to(actor):
        raise NotAuthorized("only the person signed in can be the subject of a request")
    if not is_candidate(role, user, actor.sids):
        raise NotAuthorized(f"{user.name} is not a candidate of {role.name}")


def _ttl(role: Role, asked: timedelta | None) -> timedelta:
    ttl = role.ttl.default if asked is None else asked
    if not role.ttl.minimum <= ttl <= role.ttl.maximum:
        low, high = length(role.ttl.minimum), length(role.ttl.maximum)
        raise InvalidInput("ttl", f"{length(ttl)} is not possible; {role.name} allows {low} to {high}")
    return ttl


def _start(role: Role, asked: datetime | None, now: datetime) -> datetime | None:
    if asked is not None and asked < now - PAST_TOLERANCE:
        raise InvalidInput("start_at", f"{asked.isoformat()} is in the past")
    if asked is not None and asked > now + FARTHEST_START:
        raise InvalidInput("start_at", f"is more than {FARTHEST_START.days} days away")
    start = asked if asked is not None and asked > now else None
    if role.window is not None and not role.window.contains(start or now):
        raise Conflict(f"role {role.name} is not available at that time", remedy=describe_window(role))
    return start


def opens_again(role: Role, now: datetime) -> datetime | None:
    """When the window of a role opens, if it is closed now; None: it is open, or there is none."""
    if role.window is None or role.window.contains(now):
        return None
    return role.window.next_opening(now)


def lacks(role: Role, user: PamUser, actor: Actor, methods: Collection[str]) -> str:
    """What the person has to set up first, as a sentence, where step (6) will ask for it; empty: nothing. `methods`: what is set up."""
    if not _needs_mfa(role, user, actor):
        return ""
    if role.factor is Demand.WEBAUTHN and SECURITY_KEY not in methods:
        return "it is activated with a security key, and you have registered none"
    return "" if methods else "it is activated with a second factor, and you have set up none"


def _needs_mfa(role: Role, user: PamUser, actor: Actor) -> bool:
    return role.mfa or actor.sid != user.priv.sid


def describe_window(role: Role) -> str:
    """The window of a role as a sentence; empty if it is always open."""
    if role.window is None:
        return ""
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    days = ", ".join(names[day] for day in sorted(role.window.days))
    over = " the next day" if role.window.closes < role.window.opens else ""
    return f"it may start on {days} from {role.window.opens:%H:%M} to {role.window.closes:%H:%M}{over} ({role.window.zone})"


def _words(role: Role, draft: Draft) -> tuple[str, str]:
    justification = parse_text("justification", draft.justification, JUSTIFICATION_LIMIT)
    ticket = parse_text("ticket", draft.ticket, TICKET_LIMIT)
    if role.justification and not justification:
        raise InvalidInput("justification", f"{role.name} needs one: say what you are going to do")
    if role.ticket_pattern and not re.fullmatch(role.ticket_pattern, ticket):
        raise InvalidInput("ticket", f"does not look like {role.ticket_pattern}")
    return justification, ticket


def _not_too_many(role: Role, open_requests: Iterable[Request]) -> None:
    mine = [request for request in open_requests if request.state in OPEN]
    for request in mine:
        if request.role == role.id and request.state in PENDING:
            raise Conflict(
                f"a request of yours for {role.name} is pending already", remedy=_of_pending(request)
            )
    if len(mine) >= OPEN_LIMIT:
        raise Conflict(f"you have {len(mine)} open requests; the limit is {OPEN_LIMIT}")


def _of_pending(request: Request) -> str:
    withdraw = f"`bastide request close {request.id}` withdraws it"
    if request.state is State.PENDING_MFA:
        return f"it waits for your second factor: `bastide request prove {request.id}` shows it, {withdraw}"
    return f"wait for its answer; {withdraw}"
