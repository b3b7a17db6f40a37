"""An approval that was signed is used once, by somebody who writes into the database and has nothing to sign with: (5) and (6) of services/signed_votes.py."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.people import Demand
from bastide.domain.requests import GIVE_UP, Request, State
from bastide.services.security_keys import CHALLENGE_LIFE
from tests.unit.test_signed_votes import Change, Signing

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> Iterator[Signing]:
    made = Signing()
    yield made
    made.close()


def over(world: Signing) -> Request:
    """Approved, used, and ended by time."""
    world.role()
    request = world.agree(world.ask())
    world.work()
    assert world.get(request).state is State.ACTIVE
    world.clock.move(hours=1, minutes=1)
    world.work()
    assert world.get(request).state is State.EXPIRED
    return request


def anew(world: Signing) -> Change:
    """The row as it was when the last vote had come in."""
    now = world.clock.now()
    return lambda r: replace(
        r,
        state=State.PROCESSING,
        processing_since=now,
        active_from=None,
        ends_at=None,
        true_end=None,
        enforcer=None,
        closed_at=None,
        outcome=None,
        reason="",
    )


def test_6_an_approval_that_was_used_opens_nothing_again(world: Signing) -> None:
    request = over(world)
    world.tamper(request, anew(world))
    world.wake()
    world.is_refused(request, "too long ago")


def test_6_a_vote_that_was_made_up_does_not_make_it_newer(world: Signing) -> None:
    request = over(world)
    (vote, _) = world.get(request).votes
    late = replace(vote, person="x", signature=None, at=world.clock.now())
    world.tamper(request, lambda r: anew(world)(replace(r, votes=(*r.votes, late))))
    world.wake()
    world.is_refused(request, "too long ago")


def test_6_nor_does_a_start_that_was_moved(world: Signing) -> None:
    """The start is part of what was signed."""
    request = over(world)
    world.tamper(request, lambda r: replace(anew(world)(r), start_at=world.clock.now()))
    world.wake()
    world.is_refused(request, "does not hold")


def test_6_where_codes_count_too_the_last_vote_is_looked_at(world: Signing) -> None:
    """Grace signs in the morning, Heidi shows a code in the afternoon: the request begins then."""
    world.role(approval_factor=Demand.ANY)
    request = world.agree(world.ask(), "grace")
    world.clock.move(hours=5)
    world.approve(request, "heidi")
    world.work()
    assert world.get(request).state is State.ACTIVE


def test_6_a_later_start_that_was_signed_is_kept(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask(start_at=world.clock.now() + 5 * HOUR))
    world.clock.move(hours=5)
    world.work()
    assert world.get(request).state is State.ACTIVE


@pytest.mark.parametrize(("late", "opens"), [(-timedelta(seconds=1), True), (timedelta(seconds=1), False)])
def test_6_what_was_held_up_is_not_made_up_for(world: Signing, late: timedelta, opens: bool) -> None:
    """The worker was away at the start."""
    world.role()
    start = world.clock.now() + HOUR
    request = world.agree(world.ask(start_at=start))
    world.clock.moment = start + GIVE_UP + late
    world.work()
    assert world.opens_share(world.user) is opens
    assert (world.get(request).state is State.ACTIVE) is opens


def test_6_votes_of_different_hours(world: Signing) -> None:
    """The newest one counts; each is as old as it says."""
    world.role()
    request = world.agree(world.ask(), "grace")
    world.clock.move(hours=6)
    request = world.agree(request, "heidi")
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert [v.signature is not None and v.signature.until - v.at for v in request.votes] == [
        CHALLENGE_LIFE
    ] * 2


def test_6_a_beginning_that_was_moved_with_the_end(world: Signing) -> None:
    """The length is right, and the whole grant stands tomorrow: it would be open from now until then."""
    world.role()
    request = world.agree(world.ask())
    tomorrow = world.clock.now() + timedelta(days=1)
    world.tamper(request, lambda r: replace(r, active_from=tomorrow, ends_at=tomorrow + r.ttl))
    world.wake()
    world.is_refused(request, "too long ago")


def test_6_an_extension_with_a_beginning_that_was_moved(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask())
    world.work()
    assert world.opens_share(world.user)
    later = world.clock.now() + timedelta(minutes=50)
    world.tamper(request, lambda r: replace(r, active_from=later, extend_to=later + r.ttl))
    world.wake()
    world.is_refused(request, "too long ago")


def test_6_a_vote_of_a_node_that_signed_no_time_opens_nothing(world: Signing) -> None:
    """Such a row is read all the same: in a rolling upgrade the node before wrote it."""
    world.role()
    request = world.agree(world.ask())
    with world.store.engine.begin() as database:
        (doc,) = database.exec_driver_sql("SELECT doc FROM requests").scalars()
        for vote in (told := json.loads(doc))["votes"]:
            del vote["signature"]["until"]
        database.exec_driver_sql("UPDATE requests SET doc = ?", (json.dumps(told),))
    world.is_refused(request, "does not hold")
