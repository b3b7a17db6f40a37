"""Why a request is not what somebody expects: each state, each turn, each row of work, each controller."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.health import Severity, first_cause
from bastide.domain.people import Forest
from bastide.domain.requests import Request, State
from bastide.health import activation
from bastide.health.activation import steps_of
from bastide.health.checks.work import Row
from bastide.health.diagnose import Seen, walk
from bastide.services.pace import ACCOUNT, LINK
from bastide.services.ports import AccountState
from bastide.services.roles import StageDraft
from tests.support.health import looking_at
from tests.support.world import START, World

NOW = START + timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def world() -> Iterator[World]:
    made = World(priv_controllers=("privdc", "privdc2"))
    yield made
    made.close()


def seen(world: World, request: Request) -> list[Seen]:
    looking = looking_at(store=world.store, forests=world.services.forests, clock=world.clock)
    title, steps = steps_of(looking, request.id)
    assert request.id in title
    return list(walk(steps))


def cause(found: list[Seen]) -> tuple[str, str]:
    one = first_cause([each.finding for each in found])
    return next(((each.title, each.finding.text) for each in found if each.finding is one), ("", ""))


def test_access_that_is_active_has_no_cause(world: World) -> None:
    world.ready()
    request = world.ask()
    world.work()
    found = seen(world, request)
    assert [one.title for one in found] == [
        "state", "whose turn", "work", "PRIV controllers", "CORP controllers", "tickets",
    ]  # fmt: skip
    assert cause(found) == ("", ""), found
    by_step = {one.title: one.finding for one in found}
    assert "privdc: open until" in by_step["PRIV controllers"].evidence
    assert "privdc2: open until" in by_step["PRIV controllers"].evidence
    assert by_step["CORP controllers"].evidence == "PAM-FileAdmins: corpdc yes"
    assert "the last ticket ends at" in by_step["tickets"].text


def test_who_must_approve_is_named(world: World) -> None:
    world.ready(stages=(StageDraft("first", ("PRIV\\Approvers",), 2),))
    request = world.ask()
    world.approve(request, "grace")
    walk_ = seen(world, request)
    assert cause(walk_) == ("", ""), "that it waits is its normal state"
    turn = next(one.finding for one in walk_ if one.title == "whose turn")
    assert turn.text == "it waits for approval: 1 more of PRIV\\Approvers (first)"
    assert turn.evidence.startswith("voted: ")
    assert "`bastide approval list`" in turn.remedy
    assert turn.text in activation.normal(walk_)
    assert "it is PendingApproval" in activation.normal(walk_)


def test_before_the_first_vote_nobody_voted(world: World) -> None:
    world.ready(stages=(StageDraft("first", ("PRIV\\Approvers",), 2),))
    turn = next(one.finding for one in seen(world, world.ask()) if one.title == "whose turn")
    assert turn.evidence == "nobody voted yet"


def test_a_worker_that_does_not_run(world: World) -> None:
    world.ready()
    request = world.ask()
    world.clock.move(minutes=5)
    assert cause(seen(world, request)) == ("work", "the work on it is overdue")


def test_what_the_worker_was_told(world: World) -> None:
    world.ready()
    request = world.ask()
    row = Row(ACCOUNT, request.user, NOW, 4, "", None, "no domain controller answers")
    found = activation.judge_work(world.get(request), {ACCOUNT: {request.user: "PRIV.alice"}}, [row], NOW)
    assert found.text == "the worker tried 4 times, and was told: no domain controller answers"
    assert found.evidence == "account PRIV.alice"


def test_a_membership_that_somebody_took_away(world: World) -> None:
    (user,) = world.prepare("alice")
    world.prepare_group()
    world.add_role()
    request = world.ask()
    world.work()
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    world.services.forests[Forest.PRIV].remove_members(group.priv, [user.priv.sid])
    at, text = cause(seen(world, request))
    assert at == "PRIV controllers"
    assert "does not show the access that is active" in text


def test_a_link_that_somebody_took_away(world: World) -> None:
    world.ready()
    request = world.ask()
    world.work()
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    world.services.forests[Forest.CORP].remove_members(group.corp, [group.priv.sid])
    assert cause(seen(world, request))[0] == "CORP controllers"


def test_tickets_outlive_the_end(world: World) -> None:
    world.ready()
    request = world.ask()
    world.work()
    world.services.requests.close(world.alice(), request.id)
    world.work()
    walk_ = seen(world, request)
    assert cause(walk_) == ("", ""), "it ended properly"
    assert walk_[-1].title == "tickets"
    assert "work until" in walk_[-1].finding.text
    shown = next(one.finding for one in walk_ if one.title == "PRIV controllers")
    assert "dormant since" in shown.evidence
    assert "until" not in shown.evidence


def test_a_request_that_nobody_made(world: World) -> None:
    looking = looking_at(store=world.store, clock=world.clock)
    with pytest.raises(NotFound):
        steps_of(looking, "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
    with pytest.raises(InvalidInput):
        steps_of(looking, "../x")


@pytest.fixture
def request_made(world: World) -> Request:
    world.ready()
    return world.ask()


@pytest.mark.parametrize(
    ("changes", "severity", "said"),
    [
        ({"state": State.PENDING_APPROVAL, "pending_until": NOW + MINUTE}, Severity.OK, "it is PendingApproval; until"),
        ({"state": State.PENDING_APPROVAL, "pending_until": NOW - 5 * MINUTE}, Severity.ERROR, "should have moved on"),
        ({"state": State.ACTIVE, "ends_at": NOW - 5 * MINUTE}, Severity.ERROR, "should have moved on"),
        ({"state": State.FAILED, "reason": "no right"}, Severity.ERROR, "it failed: no right"),
        ({"state": State.REJECTED, "reason": "rejected by grace: no"}, Severity.OK, "rejected by grace"),
    ],
)  # fmt: skip
def test_the_state(request_made: Request, changes: dict[str, Any], severity: Severity, said: str) -> None:
    found = activation.judge_state(replace(request_made, **changes), NOW)
    assert (found.severity, said in found.text) == (severity, True), found.text


@pytest.mark.parametrize(
    ("state", "severity", "said"),
    [
        (State.PENDING_MFA, Severity.OK, "waits for the second factor"),
        (State.PENDING_APPROVAL, Severity.ERROR, "its role is gone"),
        (State.SCHEDULED, Severity.OK, "starts at"),
        (State.PROCESSING, Severity.OK, "the worker's turn"),
        (State.EXPIRED, Severity.OK, "nobody's turn"),
    ],
)
def test_whose_turn_it_is(request_made: Request, state: State, severity: Severity, said: str) -> None:
    found = activation.judge_turn(replace(request_made, state=state, start_at=NOW), None)
    assert (found.severity, said in found.text) == (severity, True), found.text


ROW = Row(ACCOUNT, "u", NOW, 0, "", None, "")


@pytest.mark.parametrize(
    ("state", "rows", "severity", "said"),
    [
        (State.PROCESSING, [ROW], Severity.OK, "about to"),
        (State.PROCESSING, [], Severity.ERROR, "no work is planned"),
        (State.PROCESSING, [replace(ROW, due=NOW - 5 * MINUTE)], Severity.ERROR, "overdue"),
        (State.PROCESSING, [replace(ROW, due=None, owner="n1", lease=NOW - 5 * MINUTE)], Severity.ERROR, "overdue"),
        (State.PROCESSING, [ROW, replace(ROW, kind=LINK, key="g", due=NOW - 5 * MINUTE)], Severity.ERROR, "overdue"),
        (State.PROCESSING, [ROW, replace(ROW, key="other", error="no")], Severity.OK, "about to"),
        (State.ACTIVE, [replace(ROW, due=NOW + MINUTE)], Severity.OK, "its end is planned"),
        (State.ACTIVE, [], Severity.ERROR, "no work is planned"),
        (State.CLOSED, [], Severity.OK, "no work is needed"),
    ],
)  # fmt: skip
def test_the_work(
    request_made: Request, state: State, rows: list[Row], severity: Severity, said: str
) -> None:
    keys = {ACCOUNT: {"u": "alice"}, LINK: {"g": "PAM-G"}}
    found = activation.judge_work(replace(request_made, state=state), keys, rows, NOW)
    assert (found.severity, said in found.text) == (severity, True), found.text


OPEN = AccountState(enabled=True, expires=NOW + MINUTE, groups=frozenset({"g"}))


@pytest.mark.parametrize(
    ("state", "shown", "severity"),
    [
        (State.ACTIVE, OPEN, Severity.OK),
        (State.ACTIVE, None, Severity.ERROR),
        (State.ACTIVE, replace(OPEN, groups=frozenset()), Severity.ERROR),
        (State.ACTIVE, replace(OPEN, expires=NOW - MINUTE), Severity.ERROR),
        (State.PROCESSING, None, Severity.OK),
        (State.CLOSED, OPEN, Severity.WARNING),
        (State.CLOSED, replace(OPEN, expires=NOW - MINUTE), Severity.OK),
    ],
)
def test_what_a_controller_shows(
    request_made: Request, state: State, shown: AccountState | None, severity: Severity
) -> None:
    request = replace(request_made, state=state)
    found = activation.judge_priv(
        request, {"g": "PAM-G"}, {"dc1": OPEN, "dc2": shown} if state is State.ACTIVE else {"dc2": shown}, NOW
    )
    assert found.severity is severity, found.text
    if severity is Severity.ERROR:
        assert found.text.startswith("dc2 ")


def test_ids_of_links_are_those_of_groups_that_need_one(world: World) -> None:
    group = world.prepare_group()
    assert activation.linked([group]) == {group.id: "PAM-FileAdmins"}
