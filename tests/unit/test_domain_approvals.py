"""Who may approve: one test or more for each number of approvals.py."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain import approvals
from bastide.domain.errors import Conflict, InvalidInput, MfaRefused, NotAuthorized
from bastide.domain.people import Actor, Forest, PamUser, Right
from bastide.domain.requests import Decision, Request, State
from bastide.domain.roles import Role
from tests.support import build
from tests.support.build import NOW

ROLE = build.role(stages=(build.stage(),))
PENDING = build.request(State.PENDING_APPROVAL, needs_approval=True)


def grace(rid: int = 1201, **changes: Any) -> Actor:
    return build.actor("grace", rid, mfa=build.proof(), **changes)


def decide(
    request: Request = PENDING, role: Role = ROLE, voter: Actor | None = None, **changes: Any
) -> Request:
    fields: dict[str, Any] = {
        "requester": build.user(),
        "voter": voter or grace(),
        "voter_user": None,
        "decision": Decision.APPROVE,
        "reason": "",
        "now": NOW,
    }
    return approvals.decide(request, role, **fields | changes)


@pytest.mark.parametrize("state", [s for s in State if s is not State.PENDING_APPROVAL])
def test_1_only_what_waits_for_approval_is_decided(state: State) -> None:
    with pytest.raises(Conflict):
        decide(replace(PENDING, state=state))


def test_1_approve_after_expiry_is_refused_before_any_worker_noticed() -> None:
    with pytest.raises(Conflict, match="in time"):
        decide(replace(PENDING, pending_until=NOW))


@pytest.mark.parametrize("forest", list(Forest))
def test_2_nobody_approves_their_own_request_with_either_account(forest: Forest) -> None:
    own = build.role(stages=(build.stage(rids=(1101,)),))
    voter = build.actor("alice", 1101, forest, mfa=build.proof())
    with pytest.raises(NotAuthorized, match="own"):
        decide(role=own, voter=voter, voter_user=build.user())


@pytest.mark.parametrize("at", [None, NOW - timedelta(minutes=6), NOW + timedelta(seconds=1)])
def test_3_a_vote_needs_a_fresh_second_factor(at: Any) -> None:
    voter = replace(grace(), mfa=None if at is None else build.proof(at))
    with pytest.raises(MfaRefused):
        decide(voter=voter)


def test_4_a_stranger_does_not_vote() -> None:
    with pytest.raises(NotAuthorized, match="not an approver"):
        decide(voter=grace(1999))


def test_4_a_vote_counts_in_the_stage_that_was_named_and_in_no_other() -> None:
    two = build.role(
        stages=(build.stage(), replace(build.stage(), name="security"), build.stage("others", rids=(1999,)))
    )
    assert decide(role=two).votes[-1].stage == two.stages[0].name
    assert decide(role=two, stage="security").votes[-1].stage == "security"
    with pytest.raises(NotAuthorized, match="not an approver"):
        decide(role=two, stage="others")


def test_4_a_group_of_the_voter_counts() -> None:
    team = build.role(
        stages=(replace(build.stage(), approvers=(build.subject("Team", 3001, Forest.PRIV, is_group=True),)),)
    )
    voter = grace(1999, groups=frozenset({build.sid(3001)}))
    assert decide(role=team, voter=voter).state is State.PROCESSING


def test_4_nobody_votes_twice_not_even_with_their_other_account() -> None:
    two = build.role(stages=(build.stage(needed=2, rids=(1201, 1202)),))
    heidi = build.user("heidi", 1202)
    first = decide(role=two, voter=grace(1202), voter_user=heidi)
    assert first.state is State.PENDING_APPROVAL
    with pytest.raises(Conflict, match="voted"):
        decide(first, two, voter=build.actor("heidi", 1202, Forest.CORP, mfa=build.proof()), voter_user=heidi)


def test_5_one_rejection_ends_it_and_needs_a_reason() -> None:
    with pytest.raises(InvalidInput, match="reason"):
        decide(decision=Decision.REJECT)
    rejected = decide(decision=Decision.REJECT, reason="not tonight")
    assert rejected.state is State.REJECTED
    assert "not tonight" in rejected.reason
    with pytest.raises(Conflict):
        decide(rejected, voter=grace(1202))


def test_6_all_stages_must_pass_by_different_people() -> None:
    teams = build.role(stages=(build.stage("file team"), build.stage("security", 1, (1201, 1301))))
    first = decide(role=teams)
    assert approvals.missing(first, teams) == {"security": 1}
    with pytest.raises(Conflict, match="voted"):
        decide(first, teams)
    second = decide(first, teams, voter=grace(1301))
    assert second.state is State.PROCESSING


def test_6_n_of_m() -> None:
    two = build.role(stages=(build.stage(needed=2, rids=(1201, 1202, 1203)),))
    first = decide(role=two)
    assert first.state is State.PENDING_APPROVAL
    assert decide(first, two, voter=grace(1203)).state is State.PROCESSING


def test_6_a_full_stage_takes_no_more_votes() -> None:
    teams = build.role(stages=(build.stage("file team"), build.stage("security", 1, (1301,))))
    first = decide(role=teams)
    with pytest.raises(Conflict, match="all the approvals"):
        decide(first, teams, voter=grace(1202))


def test_a_role_that_lost_its_stages_approves_nothing() -> None:
    assert not approvals.complete(PENDING, build.role(stages=()))


def _candidate_who_owns() -> tuple[Actor, PamUser]:
    return build.actor(), build.user()


def test_owners_are_not_approved_automatically_by_default() -> None:
    actor, user = _candidate_who_owns()
    own = build.role(stages=(build.stage(rids=(1101,)),))
    assert approvals.auto_approve(PENDING, own, actor=actor, user=user, now=NOW) == PENDING
    allowed = replace(own, owner_auto_approval=True)
    proved = replace(PENDING, proof=build.proof())
    assert approvals.auto_approve(proved, allowed, actor=actor, user=user, now=NOW).state is State.PROCESSING
    assert approvals.auto_approve(PENDING, allowed, actor=actor, user=user, now=NOW) == PENDING, (
        "no second factor"
    )
    may_not = replace(actor, rights=frozenset({Right.USE}))
    assert approvals.auto_approve(proved, allowed, actor=may_not, user=user, now=NOW) == proved
    stranger = replace(build.role(stages=(build.stage(),)), owner_auto_approval=True)
    assert approvals.auto_approve(PENDING, stranger, actor=actor, user=user, now=NOW) == PENDING


def test_4_nobody_votes_again_after_becoming_a_pam_user() -> None:
    two = build.role(stages=(build.stage(needed=2, rids=(1201, 1202)),))
    first = decide(role=two, voter=grace(1202))
    with pytest.raises(Conflict, match="voted"):
        decide(first, two, voter=grace(1202), voter_user=build.user("heidi", 1202))
