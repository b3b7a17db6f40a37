"""Rule (8) of domain/reviews.py: what did not begin can be cancelled, and comes back no more."""

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.cli.exits import Exit
from bastide.domain.errors import Conflict, DirectoryUnavailable, NotAuthorized, StoreBusy
from bastide.domain.ids import Sid
from bastide.domain.people import Actor, Forest
from bastide.domain.reviews import Every, Review, State
from bastide.domain.roles import Subject
from bastide.services.reviews.ways import Ways
from tests.unit.test_cli_app import Desk, desk  # noqa: F401  # a fixture
from tests.unit.test_reviews import House
from tests.unit.test_reviews_four_eyes import add_candidate


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


def planned(house: House) -> Review:
    """The next one of a review that comes back."""
    house.end(house.plan(every=Every(months=6)))
    return next(one for one in house.use.all(house.world.dave) if one.state is State.PLANNED)


def test_8_what_is_planned_is_cancelled_and_neither_begins_nor_comes_back(house: House) -> None:
    review = planned(house)
    assert house.use.cancel(house.world.dave, review.id).state is State.CANCELLED
    house.world.clock.move(days=400)
    house.world.runner.run_due()
    assert {one.state for one in house.use.all(house.world.dave)} == {State.CLOSED, State.CANCELLED}
    assert [one["review"] for one in house.told("review.cancelled")] == [review.id]
    with house.world.store.read() as uow:
        assert [row["due"] for row in uow.work.listing() if row["key"] == review.id] == [None]


@pytest.mark.parametrize("begun", [False, True])
def test_to_ask_whether_one_may_takes_no_writers_place_and_asks_no_directory(
    house: House, monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    """A page asks first whether it may."""

    def taken(_: object) -> None:
        raise StoreBusy("another writes")

    review = house.plan() if begun else planned(house)
    before = house.state(review)
    frank = house.world.frank
    house.world.corp.cut("corpdc")
    house.world.priv.cut("privdc")
    monkeypatch.setattr(type(house.world.store), "write", taken)
    house.use.require_may_end(house.world.dave, review.id)
    with pytest.raises(NotAuthorized):
        house.use.require_may_end(frank, review.id)
    assert house.state(review) == before


def test_to_ask_whether_one_may_end_what_is_over_is_refused(house: House) -> None:
    review = planned(house)
    house.use.cancel(house.world.dave, review.id)
    with pytest.raises(Conflict, match="it is cancelled"):
        house.use.require_may_end(house.world.dave, review.id)


def test_8_what_began_or_is_over_is_not_cancelled(house: House) -> None:
    review = house.plan()
    with pytest.raises(Conflict, match="it is open") as caught:
        house.use.cancel(house.world.dave, review.id)
    assert "bastide review close" in caught.value.remedy
    house.end(review)
    with pytest.raises(Conflict, match="it is closed"):
        house.use.cancel(house.world.dave, review.id)


def test_8_what_is_planned_is_not_ended_and_the_remedy_is_said(house: House) -> None:
    with pytest.raises(Conflict) as caught:
        house.use.close(house.world.dave, planned(house).id)
    assert "bastide review cancel" in caught.value.remedy


def test_8_who_would_be_under_review_does_not_cancel_it(house: House) -> None:
    review = planned(house)
    add_candidate(house, Subject(house.world.dave.sid, "PRIV\\dave"))
    with pytest.raises(NotAuthorized, match="would be under review"):
        house.use.cancel(house.world.dave, review.id)
    with pytest.raises(NotAuthorized):
        house.use.cancel(house.actor("mallory"), review.id)
    another = replace(house.actor("grace"), rights=house.world.dave.rights)
    assert house.use.cancel(another, review.id).state is State.CANCELLED


def as_bob(house: House, forest: Forest) -> Actor:
    """Bob, who administers too, with one of his accounts, and the groups of that one alone."""
    with house.world.store.read() as uow:
        user = uow.users.by_sid(house.sid("bob"))
    assert user is not None
    account = user.priv if forest is Forest.PRIV else user.corp
    groups = house.world.services.forests[forest].find_caller(account.sid)[1]
    signed_in = house.world.sign_in("bob", mfa=True, forest=Forest.CORP)
    return replace(signed_in, sid=account.sid, forest=forest, groups=groups, rights=house.world.dave.rights)


def through_a_group(house: House) -> Review:
    """Bob's CORP account is in a group that is a candidate."""
    group = house.world.corp.add_group("Ops", members=[house.sid("bob")]).ref
    house.world.add_role("Second", candidates=("CORP\\Ops",))
    assert group.sid not in as_bob(house, Forest.PRIV).groups
    return house.plan(roles=("Second",), opens_at=house.world.clock.now() + timedelta(days=30))


@pytest.mark.parametrize("forest", Forest)
def test_8_nor_who_would_be_by_a_group_of_the_other_account(house: House, forest: Forest) -> None:
    review = through_a_group(house)
    with pytest.raises(NotAuthorized, match="would be under review"):
        house.use.cancel(as_bob(house, forest), review.id)
    assert house.use.cancel(house.world.dave, review.id).state is State.CANCELLED


def test_8_while_a_directory_does_not_answer_nobody_cancels_what_names_a_group(house: House) -> None:
    """Whether somebody would be under review is not known then."""
    review = through_a_group(house)
    house.world.corp.cut("corpdc")
    with pytest.raises(DirectoryUnavailable):
        house.use.cancel(house.world.dave, review.id)
    assert house.state(review).state is State.PLANNED


def test_8_a_group_that_becomes_a_candidate_meanwhile_was_not_looked_at(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = house.world.corp.add_group("Ops", members=[house.sid("bob")]).ref
    review = planned(house)
    real = Ways.leading

    def leading(self: Ways, groups: frozenset[Sid], accounts: Collection[Sid]) -> frozenset[Sid]:
        add_candidate(house, Subject(group.sid, "CORP\\Ops", is_group=True))
        return real(self, groups, accounts)

    monkeypatch.setattr(Ways, "leading", leading)
    with pytest.raises(Conflict, match="at this moment"):
        house.use.cancel(as_bob(house, Forest.PRIV), review.id)


def test_8_with_four_eyes_who_planned_it_does_not_cancel_it(house: House) -> None:
    house.with_four_eyes()
    review = house.plan(opens_at=house.world.clock.now() + timedelta(days=30))
    with pytest.raises(NotAuthorized, match="you planned this review"):
        house.use.cancel(house.world.dave, review.id)
    another = replace(house.actor("grace"), rights=house.world.dave.rights)
    assert house.use.cancel(another, review.id).state is State.CANCELLED


def test_8_by_command(desk: Desk) -> None:  # noqa: F811
    desk.world.prepare("alice")
    desk.world.prepare_group()
    desk.world.add_role(candidates=("CORP\\alice",))
    made = json.loads(
        desk.run(
            "PRIV\\dave", "review", "create", "Winter", "--fallback", "PRIV\\grace", "--silence", "keep",
            "--from", "2100-01-01T00:00:00Z", "--json",
        ).stdout
    )  # fmt: skip
    refused = desk.run("PRIV\\dave", "review", "close", made["id"], "--yes", wanted=Exit.REFUSED)
    assert "bastide review cancel" in refused.stderr
    desk.run("PRIV\\dave", "review", "cancel", made["id"], "--yes")
    assert "cancelled" in desk.run("PRIV\\dave", "review", "list").stdout
