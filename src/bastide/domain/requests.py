"""The life of a PAM request, as pure moves from one state to the next.

    submit -> PendingMFA -> PendingApproval -> Scheduled -> Processing -> Active -> Closing -> Closed | Expired | Failed
              (each gate only where it applies)             |
              PendingMFA, PendingApproval -> Expired (not answered in time) | Rejected | Cancelled
              Scheduled -> Cancelled                         | Failed (nothing was planned, so nothing was written)

The rules this module keeps:
  (1) A move that the state does not allow raises Conflict.
  (2) The clock of a grant starts when access starts: `plan` fixes start and end just before the directory is written, and a retry keeps
      them as soon as access may have begun, so that no crash lengthens a grant.
  (3) Active is said by `confirm` alone, after a read-back. Closed, Expired and Failed after an activation was planned are said by
      `finish` alone, after absence was read back.
  (4) The end of access is never claimed earlier than the tickets allow: `true_end` = end + ticket cap, where the directory ends the grant by itself.
      Where only a removal does, it is not known before the removal was read back.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from bastide.domain.errors import Conflict
from bastide.domain.ids import GroupId, RequestId, RoleId, Sid, UserId
from bastide.domain.once import Once
from bastide.domain.people import Demand, MfaProof
from bastide.domain.roles import Enforcer, length


class State(StrEnum):
    PENDING_MFA = "PendingMFA"
    PENDING_APPROVAL = "PendingApproval"
    SCHEDULED = "Scheduled"
    PROCESSING = "Processing"
    ACTIVE = "Active"
    CLOSING = "Closing"
    CLOSED = "Closed"
    EXPIRED = "Expired"
    REJECTED = "Rejected"
    CANCELLED = "Cancelled"
    FAILED = "Failed"


PENDING = frozenset({State.PENDING_MFA, State.PENDING_APPROVAL})
#: Something of this request may be in the directory.
LIVE = frozenset({State.PROCESSING, State.ACTIVE, State.CLOSING})
#: The request wants its privileges to be in the directory.
GRANTING = frozenset({State.PROCESSING, State.ACTIVE})
#: An activation that did not come about by then fails: nobody expects power that arrives hours after it was asked.
GIVE_UP = timedelta(minutes=15)
_FINISHED = frozenset({State.CLOSED, State.EXPIRED, State.FAILED})
OPEN = PENDING | LIVE | {State.SCHEDULED}
_NEVER = datetime.min.replace(tzinfo=UTC)
#: How the reason of what the kill switch ended begins. Nobody else's does.
KILLED = "kill switch: "


class Decision(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a security key signed for a vote: kept whole, so that the worker can look at it again (domain/signatures.py). `key_sealed` is the
    public key and whose accounts it is, sealed when it was registered as `key`. `until`: when its challenge was over, so the vote was given before.
    """

    key: str
    key_sealed: bytes
    nonce: bytes
    credential: bytes
    authenticator_data: bytes
    client_data: bytes
    signature: bytes
    #: What a node wrote that signed no such time opens nothing.
    until: datetime = _NEVER


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's decision. `person` is one identity for both accounts of a PAM user, so that nobody counts twice."""

    person: str
    voter: Sid
    name: str
    decision: Decision
    reason: str
    stage: str
    at: datetime
    proof: MfaProof | None
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One elevation. `privileges` are those of the role when it was asked: what was approved is what is given."""

    id: RequestId
    role: RoleId
    role_name: str
    user: UserId
    user_name: str
    requester: Sid
    privileges: tuple[GroupId, ...]
    state: State
    created_at: datetime
    pending_until: datetime
    ttl: timedelta
    start_at: datetime | None = None
    justification: str = ""
    ticket: str = ""
    method: str = "api"
    needs_mfa: bool = False
    #: Which second factor it takes.
    factor: Demand = Demand.ANY
    needs_approval: bool = False
    proof: MfaProof | None = None
    votes: tuple[Vote, ...] = ()
    floor: Enforcer = Enforcer.DORMANT_ACCOUNT
    enforcer: Enforcer | None = None
    #: When the last gate was passed: an activation that cannot be done is given up in time (GIVE_UP).
    processing_since: datetime | None = None
    active_from: datetime | None = None
    ends_at: datetime | None = None
    #: A later end that was asked for and is not in the directory yet.
    extend_to: datetime | None = None
    true_end: datetime | None = None
    #: When the directory ends it alone if Bastide is down; None: it would stay (enforcer `removal`).
    directory_end: datetime | None = None
    outcome: State | None = None
    reason: str = ""
    closed_at: datetime | None = None
    attempts: int = 0
    version: int = 0
    #: The calls with a key that have had their effect in it.
    once: tuple[Once, ...] = ()

    def last_end(self) -> datetime:
        """The latest end that may have been written for this request. Raises Conflict if none was planned."""
        if self.ends_at is None:
            raise Conflict(f"request {self.id} was never planned")
        return self.ends_at if self.extend_to is None else max(self.ends_at, self.extend_to)

    def next_due(self) -> datetime | None:
        """When time alone moves this request on; None if only an event does."""
        match self.state:
            case State.PENDING_MFA | State.PENDING_APPROVAL:
                return self.pending_until
            case State.SCHEDULED:
                return self.start_at
            case State.ACTIVE:
                return self.ends_at
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of the history ended. Several requests can be made in one moment, so the moment alone would skip some; without an id
    it stands before all of them.
    """

    at: datetime
    id: str = ""


def admit(request: Request, now: datetime) -> Request:
    """Put the request before the first gate it has not passed."""
    if request.needs_mfa and request.proof is None:
        return replace(request, state=State.PENDING_MFA)
    if request.needs_approval:
        return replace(request, state=State.PENDING_APPROVAL)
    return pass_gates(request, now)


def pass_gates(request: Request, now: datetime) -> Request:
    """All gates are passed: wait for the start, or go. A start that passed while people decided is now."""
    if request.start_at is not None and request.start_at > now:
        return replace(request, state=State.SCHEDULED)
    return replace(request, state=State.PROCESSING, processing_since=now)


def prove(request: Request, proof: MfaProof, now: datetime) -> Request:
    """PendingMFA with its proof. Raises Conflict."""
    _in(request, State.PENDING_MFA, doing="take a second factor")
    _still_pending(request, now)
    return admit(replace(request, proof=proof), now)


def advance(request: Request, now: datetime) -> Request:
    """What time alone does: expire what was not answered, start what is scheduled, end what is over."""
    due = request.next_due()
    if due is None or due > now:
        return request
    match request.state:
        case State.PENDING_MFA | State.PENDING_APPROVAL:
            return replace(request, state=State.EXPIRED, closed_at=now, reason="not answered in time")
        case State.SCHEDULED:
            return replace(request, state=State.PROCESSING, processing_since=now)
        case _:
            return replace(request, state=State.CLOSING, outcome=State.EXPIRED, reason="its time is over")


def plan(request: Request, now: datetime, *, access_began: bool) -> Request:
    """Fix start and end of the grant just before it is written: rule (2). Raises Conflict."""
    _in(request, State.PROCESSING, doing="plan a grant")
    if access_began and request.ends_at is not None:
        return replace(request, attempts=request.attempts + 1)
    return replace(request, active_from=now, ends_at=now + request.ttl, attempts=request.attempts + 1)


def confirm(
    request: Request, *, enforcer: Enforcer, cap: timedelta, directory_end: datetime | None
) -> Request:
    """Processing to Active, after every part of the grant was read back: rule (3). `cap` is the life of a ticket. Raises Conflict."""
    _in(request, State.PROCESSING, doing="be confirmed")
    if request.ends_at is None:
        raise Conflict(f"request {request.id} was never planned")
    return replace(
        request,
        state=State.ACTIVE,
        enforcer=enforcer,
        true_end=_announced(enforcer, request.ends_at, cap),
        directory_end=directory_end,
        attempts=0,
    )


def extend(request: Request, by: timedelta, longest: timedelta, now: datetime) -> Request:
    """Active and wanting a later end, at most `longest` after its start. The end moves when it was read back. Raises Conflict."""
    _in(request, State.ACTIVE, doing="be extended")
    if request.ends_at is None or request.active_from is None or request.ends_at <= now:
        raise Conflict("this access is over", remedy="ask for the role again")
    end = request.last_end() + by
    if end - request.active_from > longest:
        left = max(timedelta(0), request.active_from + longest - request.last_end())
        at_most = f"extend by at most {length(left)}, or " if left else ""
        raise Conflict(
            f"the role allows {length(longest)} in all",
            remedy=f"{at_most}ask for the role again: grants overlap without a gap",
        )
    return replace(request, extend_to=end)


def confirm_extension(request: Request, cap: timedelta, directory_end: datetime | None) -> Request:
    """The later end was read back: rule (3). Raises Conflict."""
    _in(request, State.ACTIVE, doing="be extended")
    if request.extend_to is None:
        raise Conflict("no extension was asked for")
    return replace(
        request,
        ends_at=request.extend_to,
        extend_to=None,
        true_end=_announced(request.enforcer, request.extend_to, cap),
        directory_end=directory_end,
    )


def close(request: Request, reason: str, now: datetime) -> Request:
    """End early. What is not in the directory yet is cancelled; what may be goes through Closing. Raises Conflict."""
    if request.state in PENDING or request.state is State.SCHEDULED:
        return replace(request, state=State.CANCELLED, reason=reason, closed_at=now)
    if request.state in GRANTING:
        return replace(request, state=State.CLOSING, outcome=State.CLOSED, reason=reason)
    raise Conflict(f"the request is {request.state.value} already")


def has_begun(request: Request) -> bool:
    """Whether something of it may be in the directory, or was."""
    return request.ends_at is not None or request.state not in {*PENDING, State.SCHEDULED, State.PROCESSING}


def withdraw(request: Request, reason: str, now: datetime) -> Request:
    """End what has not begun: nothing of it is in the directory. Raises Conflict."""
    if has_begun(request):
        raise Conflict("the access has begun: it is ended, not withdrawn")
    return fail(request, reason, now) if request.state is State.PROCESSING else close(request, reason, now)


def fail(request: Request, reason: str, now: datetime) -> Request:
    """Give up an activation: what may have been written is taken back through Closing. Raises Conflict.

    The plan is committed before the directory is touched, so without one nothing was written: what stands there is somebody else's.
    """
    _in(request, State.PROCESSING, doing="fail")
    if request.ends_at is None:
        return replace(request, state=State.FAILED, outcome=State.FAILED, reason=reason, closed_at=now)
    return replace(request, state=State.CLOSING, outcome=State.FAILED, reason=reason)


def disown(request: Request, reason: str, now: datetime) -> Request:
    """Failed, because it is not what was approved: also when it is Active and is to end later. Raises Conflict."""
    if request.state is State.ACTIVE:
        return replace(request, state=State.CLOSING, outcome=State.FAILED, reason=reason)
    return fail(request, reason, now)


def finish(request: Request, now: datetime, cap: timedelta) -> Request:
    """Closing to its outcome, after absence was read back: rule (3). Tickets bought before `now` live up to `cap` longer: rule (4). Also where the directory
    ends it by itself: a controller whose clock is behind sells them for longer than was announced (found by the simulation).
    """
    _in(request, State.CLOSING, doing="be finished")
    end = min(request.ends_at or now, now)
    latest = now + cap if request.active_from is not None else None
    return replace(
        request,
        state=request.outcome or State.CLOSED,
        ends_at=end,
        true_end=latest,
        closed_at=now,
        attempts=0,
    )


def once_more(request: Request) -> Request:
    """After a write of a node that had lost its claim (services/late.py): what is over is taken away again, what is active is written and read back again.
    All else is worked on anyway.
    """
    if request.state in _FINISHED and request.active_from is not None:
        return replace(request, state=State.CLOSING, outcome=request.state, closed_at=None)
    if request.state is State.ACTIVE and request.extend_to is None:
        return replace(request, extend_to=request.ends_at)
    return request


def _announced(enforcer: Enforcer | None, end: datetime, cap: timedelta) -> datetime | None:
    """When the last ticket is over; None: it is not known yet."""
    return end + cap if enforcer in {Enforcer.LINK_TTL, Enforcer.DORMANT_ACCOUNT} else None


def _in(request: Request, wanted: State, *, doing: str) -> None:
    if request.state is not wanted:
        raise Conflict(
            f"a request that is {request.state.value} cannot {doing}; it would have to be {wanted.value}"
        )


def _still_pending(request: Request, now: datetime) -> None:
    if request.pending_until <= now:
        raise Conflict("the request was not answered in time and is over", remedy="ask for the role again")


def in_time(request: Request, now: datetime) -> None:
    """Raise Conflict if a pending request is over, even when no worker has said so yet."""
    _in(request, State.PENDING_APPROVAL, doing="be decided")
    _still_pending(request, now)
