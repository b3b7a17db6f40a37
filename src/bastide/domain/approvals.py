"""Who may approve, and when it is enough. Numbered as it is audited:

(1) The request waits for approval and is still in time.
(2) The voter is not the person who asked, with neither account.
(3) The voter showed a second factor within the last five minutes; where the role demands it, an approval is signed with a security key.
(4) The voter is an approver of a stage that is not full yet (of the one that is named, if one is), and has not voted before.
(5) One rejection ends the request, and needs a reason.
(6) When every stage has its number of different people, the request goes on.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime

from bastide.domain import requests
from bastide.domain.errors import Conflict, InvalidInput, KeyNeeded, NotAuthorized
from bastide.domain.ids import Sid, parse_text
from bastide.domain.once import Once
from bastide.domain.people import USE_A_KEY, Actor, Demand, MfaProof, PamUser, Right, require_fresh_mfa
from bastide.domain.requests import Decision, Request, Signature, State, Vote
from bastide.domain.roles import Role, Stage

REASON_LIMIT = 400


def decide(
    request: Request,
    role: Role,
    *,
    requester: PamUser,
    voter: Actor,
    voter_user: PamUser | None,
    decision: Decision,
    reason: str,
    now: datetime,
    stage: str = "",
    signature: Signature | None = None,
    once: Once | None = None,
) -> Request:
    """The request with one vote more; in the named stage, or in the first that is the voter's. Raises Conflict, NotAuthorized, MfaRefused, InvalidInput."""
    requests.in_time(request, now)  # (1)
    if not role.enabled:
        raise Conflict(f"role {role.name} is switched off")
    if not requester.enabled:
        raise Conflict(f"PAM user {requester.name} is switched off")
    if requester.belongs_to(voter):  # (2)
        raise NotAuthorized(
            "nobody approves a request of their own", remedy="ask another approver of the role"
        )
    proof = _proof(role, voter, decision, signature, now)  # (3)
    person = person_of(voter, voter_user)
    mine = {voter.sid} | (voter_user.sids if voter_user is not None else frozenset())
    if any(vote.person == person or vote.voter in mine for vote in request.votes):  # (4)
        raise Conflict("you have voted on this request already")
    chosen = stage_for(request, role, voter, voter_user, stage)
    text = parse_text("reason", reason, REASON_LIMIT)
    if decision is Decision.REJECT and not text:  # (5)
        raise InvalidInput("reason", "a rejection needs a reason")
    vote = replace(_vote(voter, person, decision, text, chosen, now, proof), signature=signature)
    done = request.once if once is None else (*request.once, once)
    voted = replace(request, votes=(*request.votes, vote), once=done)
    if decision is Decision.REJECT:
        return replace(voted, state=State.REJECTED, closed_at=now, reason=f"rejected by {voter.name}: {text}")
    if complete(voted, role):  # (6)
        return requests.pass_gates(voted, now)
    return voted


def _proof(
    role: Role, voter: Actor, decision: Decision, signature: Signature | None, now: datetime
) -> MfaProof:
    """Who says no needs no key for it: nothing is given by that. Raises MfaRefused."""
    if decision is Decision.REJECT or role.approval_factor is Demand.ANY:
        return require_fresh_mfa(voter.mfa, now)
    if signature is None:
        raise KeyNeeded(f"an approval of {role.name} must be signed with a security key", remedy=USE_A_KEY)
    return require_fresh_mfa(voter.mfa, now, role.approval_factor)


def auto_approve(request: Request, role: Role, *, actor: Actor, user: PamUser, now: datetime) -> Request:
    """Where the role says so, a candidate who is also an approver counts as one approval. Off by default: self-approval in all but name."""
    if not role.owner_auto_approval or request.state is not State.PENDING_APPROVAL:
        return request
    if Right.APPROVE not in actor.rights or request.proof is None:
        return request
    stage = next((s for s in role.stages if may_approve(s, actor, user)), None)
    if stage is None:
        return request
    vote = _vote(
        actor, person_of(actor, user), Decision.APPROVE, "approver of the role", stage, now, request.proof
    )
    voted = replace(request, votes=(*request.votes, vote))
    return requests.pass_gates(voted, now) if complete(voted, role) else voted


def may_approve(stage: Stage, voter: Actor, user: PamUser | None) -> bool:
    """Whether the voter is named in the stage, by either account or by a group."""
    sids: frozenset[Sid] = voter.sids | (user.sids if user is not None else frozenset())
    return any(subject.sid in sids for subject in stage.approvers)


def missing(request: Request, role: Role) -> dict[str, int]:
    """Stage name to the number of approvals it still needs; empty when all pass."""
    have = Counter(vote.stage for vote in request.votes if vote.decision is Decision.APPROVE)
    return {s.name: s.needed - have[s.name] for s in role.stages if have[s.name] < s.needed}


def complete(request: Request, role: Role) -> bool:
    """Whether every stage has its approvals. A role that lost all its stages since completes nothing: deny by default."""
    return bool(role.stages) and not missing(request, role)


def person_of(voter: Actor, user: PamUser | None) -> str:
    """One identity per person: the PAM user where there is one, else the account."""
    return user.id if user is not None else voter.sid


def _vote(
    voter: Actor,
    person: str,
    decision: Decision,
    reason: str,
    stage: Stage,
    now: datetime,
    proof: MfaProof | None,
) -> Vote:
    return Vote(
        person=person,
        voter=voter.sid,
        name=voter.name,
        decision=decision,
        reason=reason,
        stage=stage.name,
        at=now,
        proof=proof,
    )


def stage_for(request: Request, role: Role, voter: Actor, user: PamUser | None, wanted: str) -> Stage:
    """The first stage that lists the voter and still needs someone. Raises NotAuthorized, Conflict."""
    mine = [stage for stage in role.stages if wanted in {"", stage.name} and may_approve(stage, voter, user)]
    if not mine:
        raise NotAuthorized(f"{voter.name} is not an approver of {role.name}")
    open_stages = missing(request, role)
    for stage in mine:
        if stage.name in open_stages:
            return stage
    raise Conflict("your stage has all the approvals it needs; the request waits for another one")
