"""The life of a request: every move that is allowed, every one that is not."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bastide.domain import requests
from bastide.domain.errors import Conflict
from bastide.domain.requests import LIVE, PENDING, Request, State
from bastide.domain.roles import Enforcer
from tests.support import build
from tests.support.build import NOW

HOUR = timedelta(hours=1)
CAP = timedelta(minutes=15)

MOVES: dict[str, tuple[Callable[[Request], Request], frozenset[State]]] = {
    "prove": (lambda r: requests.prove(r, build.proof(), NOW), frozenset({State.PENDING_MFA})),
    "plan": (lambda r: requests.plan(r, NOW, access_began=False), frozenset({State.PROCESSING})),
    "confirm": (
        lambda r: requests.confirm(r, enforcer=Enforcer.DORMANT_ACCOUNT, cap=CAP, directory_end=None),
        frozenset({State.PROCESSING}),
    ),
    "extend": (lambda r: requests.extend(r, HOUR, 8 * HOUR, NOW), frozenset({State.ACTIVE})),
    "fail": (lambda r: requests.fail(r, "why", NOW), frozenset({State.PROCESSING})),
    "finish": (lambda r: requests.finish(r, NOW, CAP), frozenset({State.CLOSING})),
    "close": (
        lambda r: requests.close(r, "why", NOW),
        PENDING | {State.SCHEDULED, State.PROCESSING, State.ACTIVE},
    ),
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("move", MOVES)
def test_a_move_that_the_state_does_not_allow_raises(move: str, state: State) -> None:  # rule (1)
    act, allowed = MOVES[move]
    request = build.request(state, active_from=NOW, ends_at=NOW + HOUR)
    if state in allowed:
        assert act(request) != request
    else:
        with pytest.raises(Conflict):
            act(request)


def test_the_clock_starts_when_access_starts() -> None:  # rule (2)
    asked = build.request(State.PROCESSING, created_at=NOW - 5 * HOUR)
    planned = requests.plan(asked, NOW, access_began=False)
    assert (planned.active_from, planned.ends_at) == (NOW, NOW + HOUR)


def test_a_retry_replans_only_while_access_has_not_begun() -> None:  # rule (2)
    planned = requests.plan(build.request(), NOW, access_began=False)
    later = NOW + timedelta(minutes=10)
    assert requests.plan(planned, later, access_began=False).ends_at == later + HOUR
    assert requests.plan(planned, later, access_began=True).ends_at == NOW + HOUR


def test_the_end_of_access_is_never_claimed_before_the_tickets_allow() -> None:  # rule (4)
    planned = requests.plan(build.request(), NOW, access_began=False)
    active = requests.confirm(planned, enforcer=Enforcer.DORMANT_ACCOUNT, cap=CAP, directory_end=None)
    assert active.true_end == NOW + HOUR + CAP
    closing = requests.close(active, "done", NOW + timedelta(minutes=5))
    closed = requests.finish(closing, NOW + timedelta(minutes=6), CAP)
    assert closed.true_end == NOW + timedelta(minutes=21)
    assert closed.ends_at == NOW + timedelta(minutes=6)


def test_a_controller_that_is_behind_sells_tickets_until_the_removal() -> None:  # rule (4)
    planned = requests.plan(build.request(), NOW, access_began=False)
    active = requests.confirm(planned, enforcer=Enforcer.DORMANT_ACCOUNT, cap=CAP, directory_end=None)
    over = requests.advance(active, NOW + HOUR)
    late = NOW + HOUR + timedelta(seconds=3)
    assert requests.finish(over, late, CAP).true_end == late + CAP


def test_where_only_a_removal_ends_it_no_end_is_announced() -> None:  # rule (4)
    planned = requests.plan(build.request(), NOW, access_began=False)
    active = requests.confirm(planned, enforcer=Enforcer.REMOVAL, cap=CAP, directory_end=None)
    assert active.true_end is None
    longer = requests.confirm_extension(requests.extend(active, HOUR, 3 * HOUR, NOW), CAP, None)
    assert longer.true_end is None
    over = requests.advance(longer, NOW + 2 * HOUR)
    late = NOW + 2 * HOUR + timedelta(seconds=3)
    assert requests.finish(over, late, CAP).true_end == late + CAP


def test_what_was_never_planned_cannot_be_confirmed() -> None:
    with pytest.raises(Conflict, match="never planned"):
        requests.confirm(build.request(), enforcer=Enforcer.REMOVAL, cap=CAP, directory_end=None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (build.request(State.PENDING_MFA, pending_until=NOW), State.EXPIRED),
        (build.request(State.PENDING_APPROVAL, pending_until=NOW), State.EXPIRED),
        (build.request(State.SCHEDULED, start_at=NOW), State.PROCESSING),
        (build.request(State.ACTIVE, ends_at=NOW), State.CLOSING),
        (build.request(State.PENDING_MFA, pending_until=NOW + HOUR), State.PENDING_MFA),
        (build.request(State.SCHEDULED, start_at=NOW + HOUR), State.SCHEDULED),
        (build.request(State.ACTIVE, ends_at=NOW + HOUR), State.ACTIVE),
        (build.request(State.CLOSED), State.CLOSED),
    ],
)
def test_what_time_alone_does(before: Request, after: State) -> None:
    assert requests.advance(before, NOW).state is after


def test_an_end_by_time_and_an_end_by_hand_are_told_apart() -> None:
    active = build.request(State.ACTIVE, active_from=NOW, ends_at=NOW + HOUR)
    over = requests.advance(active, NOW + HOUR)
    assert requests.finish(over, NOW + HOUR, CAP).state is State.EXPIRED
    by_hand = requests.close(active, "done", NOW)
    assert requests.finish(by_hand, NOW, CAP).state is State.CLOSED
    failed = requests.fail(requests.plan(build.request(), NOW, access_began=False), "denied", NOW)
    assert requests.finish(failed, NOW, CAP).state is State.FAILED


def test_what_was_never_planned_fails_at_once_because_nothing_was_written() -> None:  # rule (3)
    failed = requests.fail(build.request(), "the person has left", NOW)
    assert (failed.state, failed.closed_at, failed.true_end) == (State.FAILED, NOW, None)


def test_gates_are_passed_in_order() -> None:
    asked = build.request(State.PENDING_MFA, needs_mfa=True, needs_approval=True, start_at=NOW + HOUR)
    proved = requests.prove(asked, build.proof(), NOW)
    assert proved.state is State.PENDING_APPROVAL
    assert requests.pass_gates(proved, NOW).state is State.SCHEDULED
    assert requests.pass_gates(proved, NOW + 2 * HOUR).state is State.PROCESSING


def test_a_code_that_comes_too_late_does_not_revive_a_request() -> None:
    asked = build.request(State.PENDING_MFA, needs_mfa=True, pending_until=NOW)
    with pytest.raises(Conflict, match="in time"):
        requests.prove(asked, build.proof(), NOW)


def test_an_extension_stays_within_the_longest_time_and_moves_the_end_only_when_confirmed() -> None:
    active = build.request(State.ACTIVE, active_from=NOW, ends_at=NOW + HOUR)
    asked = requests.extend(active, HOUR, 2 * HOUR, NOW)
    assert asked.ends_at == NOW + HOUR
    assert requests.confirm_extension(asked, CAP, None).ends_at == NOW + 2 * HOUR
    with pytest.raises(Conflict, match="in all"):
        requests.extend(asked, timedelta(seconds=1), 2 * HOUR, NOW)
    with pytest.raises(Conflict, match="over"):
        requests.extend(active, HOUR, 8 * HOUR, NOW + HOUR)
    with pytest.raises(Conflict, match="no extension"):
        requests.confirm_extension(active, CAP, None)


def test_only_live_requests_may_have_left_something_in_the_directory() -> None:
    assert frozenset({State.PROCESSING, State.ACTIVE, State.CLOSING}) == LIVE
