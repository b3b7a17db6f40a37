"""Rule (6) of domain/reviews.py against what changed meanwhile: `removed` is signed of nobody who may still ask, nor where that is not known."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.ids import Sid
from bastide.domain.reviews import Line, Outcome, Review, Verdict
from bastide.domain.roles import Role, Subject
from bastide.services.reviews.run import ReviewWork
from bastide.services.reviews.ways import Found
from tests.unit.test_reviews import House


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


def reviewed(house: House, *candidates: str) -> Review:
    house.world.add_role("Second", candidates=candidates)
    return house.plan(roles=("Second",), silence=Verdict.REMOVE)


def rewrite(house: House, change: Callable[[Role], tuple[Subject, ...]]) -> None:
    """Other candidates in the role, as an administrator saves it."""
    with house.world.store.write() as uow:
        role = next(one for one in uow.roles.all() if one.name == "Second")
        uow.roles.save(replace(role, candidates=change(role)))
        uow.commit()


def operators(house: House) -> Subject:
    members = [house.sid("alice")]
    return Subject(
        house.world.corp.add_group("Operators", members=members).ref.sid, "CORP\\Operators", is_group=True
    )


def take_out(house: House, group: Sid, who: str) -> None:
    found = house.corp.find_group(group).ref
    MemoryDirectory(house.world.corp).remove_members(found, [house.sid(who)])


def disable(house: House, who: str) -> None:
    world, sid = house.world.corp, house.sid(who)
    account = world.account(sid)
    world.change(replace(account, person=replace(account.person, enabled=False)), world.expires(sid))


def test_6_a_group_that_is_named_otherwise_by_now_is_the_same_group(house: House) -> None:
    operators(house)
    review = reviewed(house, "CORP\\Operators", "CORP\\alice", "CORP\\bob")
    rewrite(
        house,
        lambda role: tuple(
            replace(one, name="CORP\\Ops2") if one.is_group else one for one in role.candidates
        ),
    )
    line = house.end(review)["priv.alice"]
    assert (line.outcome, "still a candidate through CORP\\Ops2" in line.said) == (Outcome.BY_HAND, True)


def test_6_a_group_that_became_a_candidate_meanwhile_leads_too(house: House) -> None:
    review = reviewed(house, "CORP\\alice", "CORP\\bob")
    group = operators(house)
    rewrite(house, lambda role: (*role.candidates, group))
    lines = house.end(review)
    assert lines["priv.alice"].outcome is Outcome.BY_HAND
    assert "take priv.alice out of that group" in lines["priv.alice"].said
    assert lines["priv.bob"].outcome is Outcome.REMOVED, "he is in no group"


def test_6_who_was_taken_out_of_the_group_is_not_said_to_be_in_it(house: House) -> None:
    group = operators(house)
    review = reviewed(house, "CORP\\Operators", "CORP\\bob")
    take_out(house, group.sid, "alice")
    line = house.end(review)["priv.alice"]
    assert (line.outcome, line.said) == (Outcome.GONE, "no group among the candidates leads to them any more")


def test_6_who_is_disabled_is_in_the_group_all_the_same(house: House) -> None:
    operators(house)
    review = reviewed(house, "CORP\\Operators", "CORP\\bob")
    disable(house, "alice")
    assert house.end(review)["priv.alice"].outcome is Outcome.BY_HAND


def test_6_a_directory_that_does_not_answer_says_removed_of_nobody(house: House) -> None:
    operators(house)
    review = reviewed(house, "CORP\\Operators", "CORP\\alice", "CORP\\bob")
    house.world.corp.cut("corpdc")
    lines = house.end(review)
    assert {one.outcome for one in lines.values()} == {Outcome.BY_HAND}
    assert "could not be found out" in lines["priv.bob"].said
    role = house.world.services.roles.show(house.world.dave, "Second")
    assert [one.name for one in role.candidates] == ["CORP\\Operators"], "what Bastide could do is done"


def test_6_where_no_group_is_a_candidate_no_directory_is_needed(house: House) -> None:
    review = reviewed(house, "CORP\\alice", "CORP\\bob", "PRIV\\grace")
    house.world.corp.cut("corpdc")
    assert house.end(review)["priv.alice"].outcome is Outcome.REMOVED


def test_6_a_group_that_comes_in_after_the_look_was_not_looked_at(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction compares the groups with those that were asked about."""
    review = reviewed(house, "CORP\\alice", "CORP\\bob")
    group = operators(house)
    real = ReviewWork._looked

    def looked(self: ReviewWork, ways: object, of: Review, line: Line) -> Found:
        found = real(self, ways, of, line)  # type: ignore[arg-type]
        rewrite(house, lambda role: (*(one for one in role.candidates if not one.is_group), group))
        return found

    monkeypatch.setattr(ReviewWork, "_looked", looked)
    line = house.end(review)["priv.alice"]
    assert (line.outcome, "became a candidate just now" in line.said) == (Outcome.BY_HAND, True)


def test_6_another_account_of_the_person_is_said_to_stay(house: House) -> None:
    """Who was prepared after the review began has a PRIV account that their line does not have."""
    house.world.corp.add_person("erin")
    review = reviewed(house, "CORP\\erin", "CORP\\bob")
    (user,) = house.world.prepare("erin")
    rewrite(house, lambda role: (*role.candidates, Subject(user.priv.sid, "PRIV\\priv.erin")))
    line = next(one for one in house.end(review).values() if "erin" in one.person)
    assert (line.outcome, "as PRIV\\priv.erin" in line.said) == (Outcome.BY_HAND, True)
