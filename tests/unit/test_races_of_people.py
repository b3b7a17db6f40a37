"""Several people, or one who clicks twice, at the same moment: one of them is first, and the others are told."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.domain.errors import BastideError, Conflict, NotFound
from bastide.domain.people import Actor
from bastide.domain.requests import GRANTING, Decision, State
from bastide.services.roles import RoleDraft, StageDraft
from bastide.wiring import assemble
from tests.support.stores import with_schema
from tests.support.world import World

TIMES = 6


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """On a file: several calls have several connections, as on a server."""
    url = with_schema(tmp_path / "bastide.db")
    made = World(url=url)
    made.ready()
    yield made
    made.close()


def at_once(*calls: Callable[[], object]) -> list[object]:
    """What came of each: an answer or an error."""

    def tried(call: Callable[[], object]) -> object:
        try:
            return call()
        except BastideError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(tried, calls))


def refused(outcomes: list[object]) -> list[BastideError]:
    return [one for one in outcomes if isinstance(one, BastideError)]


def voter(world: World, name: str) -> Actor:
    return world.sign_in(name, mfa=True)


def test_a_vote_that_is_sent_twice_counts_once(world: World) -> None:
    world.add_role("Two", stages=(StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi"), 2),))
    request, grace = world.ask("Two"), voter(world, "grace")
    vote = lambda: world.services.requests.decide(grace, request.id, Decision.APPROVE)  # noqa: E731
    outcomes = at_once(*[vote] * TIMES)
    assert [type(one) for one in refused(outcomes)] == [Conflict] * (TIMES - 1)
    assert (len(world.get(request).votes), world.get(request).state) == (1, State.PENDING_APPROVAL)


def test_yes_and_no_at_once_is_one_of_them(world: World) -> None:
    world.add_role("One", stages=(StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi")),))
    request, decide = world.ask("One"), world.services.requests.decide
    grace, heidi = voter(world, "grace"), voter(world, "heidi")
    outcomes = at_once(
        lambda: decide(grace, request.id, Decision.APPROVE),
        lambda: decide(heidi, request.id, Decision.REJECT, "no"),
    )
    assert len(refused(outcomes)) == 1
    (vote,) = world.get(request).votes
    assert (vote.decision is Decision.REJECT) is (world.get(request).state is State.REJECTED)
    world.work()
    assert (world.get(request).state is State.ACTIVE) is (vote.decision is Decision.APPROVE)


def test_asking_twice_is_one_request(world: World) -> None:
    world.add_role("One", stages=(StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi")),))
    outcomes = at_once(*[lambda: world.ask("One")] * TIMES)
    assert [type(one) for one in refused(outcomes)] == [Conflict] * (TIMES - 1)


def test_ending_and_extending_at_once_ends(world: World) -> None:
    request, alice = world.ask(), world.alice()
    world.work()
    assert world.get(request).state is State.ACTIVE
    use = world.services.requests
    outcomes = at_once(
        lambda: use.close(alice, request.id),
        *[lambda: use.extend(alice, request.id, timedelta(minutes=10))] * TIMES,
    )
    assert not isinstance(outcomes[0], BastideError)
    world.work()
    assert world.get(request).state is State.CLOSED
    assert not world.opens_share(world.services.accounts.user(world.dave, "priv.alice"))


def test_the_kill_switch_beside_an_approval_leaves_nothing_open(world: World) -> None:
    world.add_role("One", stages=(StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi")),))
    request, use, grace = world.ask("One"), world.services.requests, voter(world, "grace")
    at_once(
        lambda: use.decide(grace, request.id, Decision.APPROVE),
        lambda: use.kill(world.dave, "drill", everything=True),
        world.runner.run_due,
    )
    world.work()
    assert world.get(request).state not in GRANTING
    assert not world.opens_share(world.services.accounts.user(world.dave, "priv.alice"))


def test_a_proposal_that_two_approve_is_done_once(world: World) -> None:
    for name in ("ivan", "heidi"):
        world.services.forests[world.dave.forest].add_members(
            world.teams["Administrators"].ref, [world.sign_in(name).sid], None
        )
    roles = assemble(world.adapters, world._preparation(), four_eyes=True).roles
    before = roles.show(world.dave, "File administrators")
    draft = RoleDraft(replace(before, extension=False), ("PAM-FileAdmins",), ("CORP\\alice",))
    proposal = roles.edit(world.dave, before.name, draft).proposal
    assert proposal is not None
    calls = [
        lambda who=who: roles.approve(who, proposal.id) for who in map(world.sign_in, ("ivan", "heidi") * 3)
    ]
    outcomes = at_once(*calls, lambda: roles.reject(world.dave, proposal.id))
    assert len(refused(outcomes)) == TIMES
    assert {type(one) for one in refused(outcomes)} == {NotFound}
    assert len(world.events("role.changed")) + len(world.events("role.proposal-withdrawn")) == 1
    assert roles.show(world.dave, before.name).version == before.version + len(world.events("role.changed"))


def test_one_session_is_ended_once(world: World) -> None:
    token = world.services.authn.open_session(world.dave)
    (open_session,) = world.services.sessions.mine(world.dave)
    outcomes = at_once(*[lambda: world.services.sessions.end(world.dave, open_session.id)] * TIMES)
    assert {type(one) for one in refused(outcomes)} == {NotFound}
    assert len(refused(outcomes)) == TIMES - 1
    assert not world.services.sessions.is_open(token)
    assert world.events("session.closed") == ["session.closed"]
