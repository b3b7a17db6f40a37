"""Rule (2) of domain/reviews.py: a line is never nobody's, when a review begins and until it ends."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.authn import NamedRights
from bastide.domain.people import Forest
from bastide.domain.reviews import SILENT, Line, Outcome, Review, State, Verdict
from bastide.services.reviews.reviewers import Reviewers
from tests.unit.test_reviews import House


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


def disable(house: House, who: str, forest: Forest = Forest.CORP, *, enabled: bool = False) -> None:
    world = house.world.corp if forest is Forest.CORP else house.world.priv
    sid = house.world.services.forests[forest].find_person(who).ref.sid
    account = world.account(sid)
    world.change(replace(account, person=replace(account.person, enabled=enabled)), world.expires(sid))


def reviewer(line: Line) -> str:
    return line.reviewer.name if line.reviewer else "any administrator"


# ------------------------------------------------------------------------------------------------------ when it begins


@pytest.mark.parametrize("inside", [(), ("bob",)])
def test_2_a_group_in_which_nobody_else_is_leaves_it_to_the_fallback(
    house: House, inside: tuple[str, ...]
) -> None:
    house.world.corp.add_group("Leads", members=[house.sid(who) for who in inside])
    line = house.lines(house.plan(reviewer="CORP\\Leads"))["priv.bob"]
    assert (reviewer(line), line.why_reviewer) == (
        "PRIV\\grace", "nobody else can decide as CORP\\Leads: the fallback reviews",
    )  # fmt: skip


def test_2_and_for_others_the_group_stays(house: House) -> None:
    house.world.corp.add_group("Leads", members=[house.sid("bob")])
    assert reviewer(house.lines(house.plan(reviewer="CORP\\Leads"))["priv.alice"]) == "CORP\\Leads"


def test_2_a_reviewer_who_is_disabled_is_none(house: House) -> None:
    disable(house, "mallory")
    line = house.lines(house.plan(reviewer="CORP\\mallory"))["priv.bob"]
    assert (reviewer(line), "nobody else can decide" in line.why_reviewer) == ("PRIV\\grace", True)


@pytest.mark.parametrize("four_eyes", [False, True])
@pytest.mark.parametrize("field", ["reviewer", "fallback"])
def test_2_a_dormant_account_is_a_person_who_decides_with_the_other(
    house: House, field: str, *, four_eyes: bool
) -> None:
    """The PRIV account of a PAM user is closed between grants."""
    house.world.prepare("mallory")
    house.census.managers.clear()
    if four_eyes:
        house.with_four_eyes()
    review = house.plan(silence=Verdict.REMOVE, **{"fallback": "PRIV\\grace", field: "PRIV\\priv.mallory"})
    assert {reviewer(line) for line in house.lines(review).values()} == {"PRIV\\priv.mallory"}
    house.decide(review, "mallory", "priv.alice", Verdict.KEEP)
    disable(house, "mallory")
    house.days(3)
    instead = "PRIV\\grace" if field == "reviewer" else "any administrator"
    assert reviewer(house.lines(review)["priv.bob"]) == instead, "neither account can sign in"


def test_2_and_of_who_is_reviewed_neither_account_decides(house: House) -> None:
    lines = house.lines(house.plan(reviewer="PRIV\\priv.bob"))
    assert {who: reviewer(line) for who, line in lines.items()} == {
        "priv.alice": "PRIV\\priv.bob", "priv.bob": "PRIV\\grace",
    }  # fmt: skip


def test_2_where_the_fallback_is_nobody_too_the_administrators_are_told(house: House) -> None:
    """Only who administers now: an auditor does not, nor a disabled administrator."""
    house.world.corp.add_group("Nobody")
    priv = house.world.services.forests[Forest.PRIV]
    review = house.plan(reviewer="CORP\\Nobody", fallback="CORP\\Nobody")
    assert {reviewer(line) for line in house.lines(review).values()} == {"any administrator"}
    told = {(one["subject"], one["lines"]) for one in house.told("review.asked")}
    assert told == {(priv.find_person("dave").ref.sid, 2)}
    house.decide(review, "dave", "priv.alice", Verdict.KEEP)
    disable(house, "dave", Forest.PRIV)
    house.days(3)
    assert house.told("review.reminded") == []


def test_2_administrators_are_found_by_the_names_of_the_settings(house: House) -> None:
    """One that is not there, or whose forest is down, is left out."""
    forests = house.world.services.forests
    house.world.corp.cut("corpdc")
    rights = NamedRights(
        forests,
        administrators=("Administrators", "Missing", "CORP\\Anybody"),
        auditors=("Auditors",),
        approvers=(),
    )
    assert rights.administering() == {forests[Forest.PRIV].find_group("Administrators").ref.sid}


def test_2_a_directory_that_is_silent_takes_a_line_from_nobody(house: House) -> None:
    house.world.corp.add_group("Leads", members=[house.sid("mallory")])
    review = house.plan(reviewer="CORP\\Leads")
    house.world.corp.cut("corpdc")
    house.days(3)
    assert reviewer(house.lines(review)["priv.alice"]) == "CORP\\Leads"
    assert (house.told("review.handed-on"), house.told("review.reminded")) == ([], [])


def test_2_administrators_who_cannot_be_found_out_are_told_next_time(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.world.corp.add_group("Nobody")
    house.plan(reviewer="CORP\\Nobody", fallback="CORP\\Nobody")
    house.world.priv.cut("privdc")
    with caplog.at_level(logging.WARNING):
        house.days(3)
    assert "administrators who are to review are not told" in caplog.text
    house.world.priv.heal("privdc")
    house.days(3)
    assert [one["lines"] for one in house.told("review.reminded")] == [2]


# --------------------------------------------------------------------------------------------------------- afterwards


def test_2_the_line_of_who_left_is_handed_on_with_the_next_reminder(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    before = house.state(review).closes_at
    disable(house, "mallory")
    house.days(3)
    line = house.lines(review)["priv.alice"]
    assert (reviewer(line), "cannot sign in" in line.why_reviewer) == ("PRIV\\grace", True)
    (moved,) = house.told("review.handed-on")
    grace = house.actor("grace")
    assert (moved["line"], moved["from"], moved["to"]) == (line.id, "mallory", "PRIV\\grace")
    assert [(one["subject"], one["lines"]) for one in house.told("review.reminded")] == [(grace.sid, 2)]
    assert house.state(review).closes_at == before, "eleven days are left"
    house.decide(review, "grace", "priv.alice", Verdict.KEEP)


def test_2_who_gets_a_line_late_has_a_week(house: House) -> None:
    """(9)."""
    review = house.plan(silence=Verdict.REMOVE)
    house.days(10)
    disable(house, "mallory")
    house.days(2)
    assert house.state(review).closes_at == house.world.clock.now() + SILENT
    assert len(house.told("review.prolonged")) == 1


def test_9_reviewers_who_come_and_go_put_the_end_off_twice_at_most(house: House) -> None:
    """Over all, and then silence decides."""
    review = house.plan(silence=Verdict.REMOVE, reviewer="CORP\\mallory", fallback="PRIV\\grace")
    state = house.state(review)
    assert state.began_at is not None
    latest = state.began_at + state.lasts + 2 * SILENT
    for turn in range(12):
        disable(house, "mallory", enabled=turn % 2 == 1)
        disable(house, "grace", Forest.PRIV, enabled=turn % 2 == 0)
        house.days(3)
    assert house.world.clock.now() > latest
    assert len(house.told("review.handed-on")) > 6
    assert max(one["until"] for one in house.told("review.prolonged")) == latest.isoformat()
    assert house.state(review).state is State.CLOSED
    assert house.lines(review)["priv.alice"].outcome is Outcome.REMOVED


def test_2_it_does_not_end_over_a_line_that_is_nobodys(house: House) -> None:
    """He left after the last reminder."""
    review = house.plan(silence=Verdict.REMOVE)
    house.days(13)
    disable(house, "mallory")
    house.days(1)
    assert (house.state(review).state, house.candidates()) == (State.OPEN, {"CORP\\alice", "CORP\\bob"})
    house.decide(review, "grace", "priv.alice", Verdict.KEEP)
    lines = house.end(review)
    assert (lines["priv.alice"].outcome, lines["priv.bob"].outcome) == (Outcome.KEPT, Outcome.REMOVED)
    assert len(house.told("review.handed-on")) == 1


def test_2_a_line_that_is_decided_stays_with_who_decided(house: House) -> None:
    review = house.plan()
    house.decide(review, "mallory", "priv.alice", Verdict.REMOVE)
    disable(house, "mallory")
    house.days(3)
    line = house.lines(review)["priv.alice"]
    assert (reviewer(line), line.decision is not None) == ("mallory", True)


def test_2_what_is_decided_while_directories_are_asked_stays_decided(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = house.plan()
    house.world.clock.move(days=3)
    real, left = Reviewers.handed_on, [True]

    def handed_on(self: Reviewers, line: Line) -> Line:
        if line.person == "priv.alice" and left:
            left.pop()
            house.decide(review, "mallory", "priv.alice", Verdict.KEEP)
            disable(house, "mallory")
        return real(self, line)

    monkeypatch.setattr(Reviewers, "handed_on", handed_on)
    house.world.runner.run_due()
    line = house.lines(review)["priv.alice"]
    assert (reviewer(line), line.decision is not None) == ("mallory", True)
    assert house.told("review.handed-on") == []


def test_1_who_was_prepared_meanwhile_does_not_get_the_own_line_with_the_other_account(house: House) -> None:
    """Erin had one account when it began; the fallback is her PRIV account, made since."""
    erin = house.world.corp.add_person("erin")
    house.census.managers[erin.ref.sid] = house.sid("mallory")
    house.world.add_role("Second", candidates=("CORP\\erin",))
    review = house.plan(roles=("Second",), fallback="PRIV\\grace")
    (user,) = house.world.prepare("erin")
    with house.world.store.write() as uow:
        open_ = uow.reviews.get(review.id)
        uow.reviews.save(replace(open_, fallback=replace(open_.fallback, sid=user.priv.sid)))
        uow.commit()
    disable(house, "mallory")
    house.days(3)
    (line,) = house.lines(review).values()
    assert reviewer(line) == "any administrator"


def test_2_a_review_of_an_hour_gives_another_hour(house: House) -> None:
    review: Review = house.plan(lasts=timedelta(hours=1))
    disable(house, "mallory")
    house.world.clock.move(hours=1)
    house.world.runner.run_due()
    assert house.state(review).closes_at == house.world.clock.now() + timedelta(hours=1)
