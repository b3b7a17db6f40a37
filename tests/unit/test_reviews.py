"""Access reviews: a test for each rule, the whole course from planning to the signed result, and what attackers and accidents do to it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bastide.cli.exits import Exit
from bastide.directory.memory_census import MemoryCensus
from bastide.domain import reviews
from bastide.domain.errors import AuditBroken, Conflict, InvalidInput, MfaRefused, NotAuthorized
from bastide.domain.people import Actor, Forest
from bastide.domain.reviews import Every, Line, Outcome, Review, State, Verdict
from bastide.domain.roles import Subject
from bastide.services.ports import AuditQuery
from bastide.services.reviews.campaigns import Draft
from bastide.wiring import assemble
from tests.support.world import World
from tests.unit.test_cli_app import Desk, desk  # noqa: F401  # a fixture

DAY = timedelta(days=1)


class House:
    """Alice and Bob are candidates; Alice's manager is Mallory; Grace is the fallback."""

    def __init__(self) -> None:
        self.world = World()
        self.world.prepare("alice", "bob")
        self.world.prepare_group()
        self.world.add_role(candidates=("CORP\\alice", "CORP\\bob"))
        self.corp = self.world.services.forests[Forest.CORP]
        census = self.world.adapters.oversight.censuses[self.world.corp.dns_name]
        assert isinstance(census, MemoryCensus)
        self.census = census
        self.census.managers[self.sid("alice")] = self.sid("mallory")
        self.use = self.world.services.oversight.reviews

    def with_four_eyes(self) -> None:
        """As after a restart with that setting; roles are there."""
        self.world.services = assemble(self.world.adapters, self.world._preparation(), four_eyes=True)
        self.world.runner = self.world.new_runner()
        self.use = self.world.services.oversight.reviews

    def sid(self, name: str) -> Any:
        return self.corp.find_person(name).ref.sid

    def plan(self, **options: Any) -> Review:
        wanted: dict[str, Any] = {
            "name": "Winter",
            "fallback": "PRIV\\grace",
            "silence": Verdict.KEEP,
            **options,
        }
        review = self.use.create(self.world.dave, Draft(**wanted))
        self.world.runner.run_due()
        return review

    def lines(self, review: Review) -> dict[str, Line]:
        return {line.person: line for line in self.use.show(self.world.frank, review.id)[1]}

    def state(self, review: Review) -> Review:
        return self.use.show(self.world.frank, review.id)[0]

    def decide(self, review: Review, who: str, person: str, verdict: Verdict, reason: str = "left") -> Line:
        actor = self.actor(who)
        return self.use.decide(actor, review.id, self.lines(review)[person].id, verdict, reason)

    def actor(self, who: str) -> Actor:
        forest = Forest.CORP if who in {"alice", "bob", "mallory"} else Forest.PRIV
        return self.world.sign_in(who, forest, mfa=True)

    def days(self, count: int) -> None:
        """With the service running."""
        for _ in range(count):
            self.world.clock.move(days=1)
            self.world.runner.run_due()

    def end(self, review: Review) -> dict[str, Line]:
        """At its time."""
        while (closes_at := self.state(review).closes_at) > self.world.clock.now():
            self.world.clock.move(seconds=min(DAY, closes_at - self.world.clock.now()).total_seconds())
            self.world.runner.run_due()
        for _ in range(3):
            self.world.runner.run_due()
        return self.lines(review)

    def candidates(self) -> set[str]:
        role = self.world.services.roles.show(self.world.dave, "File administrators")
        return {one.name for one in role.candidates}

    def told(self, kind: str) -> list[dict[str, Any]]:
        with self.world.store.read() as uow:
            return [
                {**json.loads(one.data), "subject": one.subject}
                for one in uow.audit.read(AuditQuery(kind=kind, limit=0))
            ]


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


# ------------------------------------------------------------------------------------------------------ who reviews whom


def test_each_is_reviewed_by_the_own_manager_and_who_has_none_by_the_fallback(house: House) -> None:
    """(2)."""
    lines = house.lines(house.plan())
    assert lines["priv.alice"].reviewer == Subject(house.sid("mallory"), "mallory")
    assert lines["priv.bob"].reviewer is not None
    assert lines["priv.bob"].reviewer.name == "PRIV\\grace"
    assert "has no manager" in lines["priv.bob"].why_reviewer


def test_a_manager_who_cannot_sign_in_is_replaced(house: House) -> None:
    gone = house.world.corp.add_person("gone", enabled=False)
    house.census.managers[house.sid("bob")] = gone.ref.sid
    line = house.lines(house.plan())["priv.bob"]
    assert line.reviewer is not None
    assert (line.reviewer.name, "cannot sign in" in line.why_reviewer) == ("PRIV\\grace", True)


def test_a_directory_that_does_not_answer_makes_it_the_fallback_and_says_so(house: House) -> None:
    house.world.prepare("mallory")
    role = house.world.add_role("Of PRIV", candidates=("PRIV\\dave",))
    house.world.corp.cut("corpdc")
    review = house.plan(roles=("Of PRIV", "File administrators"))
    assert [line.role for line in house.use.show(house.world.frank, review.id)[1]] == [role.id]
    assert "could not be found out" in house.state(review).notes[0]


def test_nobody_reviews_himself_with_neither_account(house: House) -> None:
    """(1): as reviewer, as manager of his own, as the fallback, and with the other account."""
    house.census.managers[house.sid("alice")] = house.sid("alice")
    lines = house.lines(house.plan(fallback="CORP\\alice"))
    assert lines["priv.alice"].reviewer is None, "any administrator but herself"
    assert "an administrator reviews" in lines["priv.alice"].why_reviewer
    with_other = house.lines(house.plan(reviewer="CORP\\bob"))["priv.bob"]
    assert with_other.reviewer is not None
    assert with_other.reviewer.name == "PRIV\\grace"


def test_a_member_of_the_reviewing_group_does_not_decide_on_himself(house: House) -> None:
    group = house.world.corp.add_group("Leads", members=[house.sid("alice"), house.sid("mallory")])
    review = house.plan(reviewer="CORP\\Leads")
    with pytest.raises(NotAuthorized):
        house.decide(review, "alice", "priv.alice", Verdict.KEEP)
    house.decide(review, "alice", "priv.bob", Verdict.KEEP)
    house.decide(review, "mallory", "priv.alice", Verdict.KEEP)
    waiting = dict(house.use.waiting(house.actor("alice")))
    (lines,) = waiting.values()
    assert [one.person for one in lines] == ["priv.bob"]
    assert group.ref.sid == lines[0].reviewer.sid if lines[0].reviewer else False


def test_an_administrator_decides_what_nobody_else_may_and_nothing_else(house: House) -> None:
    house.census.managers[house.sid("alice")] = house.sid("alice")
    review = house.plan(fallback="CORP\\alice")
    house.decide(review, "dave", "priv.alice", Verdict.KEEP)
    with pytest.raises(NotAuthorized):
        house.decide(review, "dave", "priv.bob", Verdict.KEEP)


# ----------------------------------------------------------------------------------------------------------- deciding


def test_a_decision_needs_a_fresh_second_factor_and_a_removal_a_reason(house: House) -> None:
    """(3)."""
    review = house.plan()
    line = house.lines(review)["priv.alice"]
    without = house.world.sign_in("mallory", Forest.CORP)
    with pytest.raises(MfaRefused):
        house.use.decide(without, review.id, line.id, Verdict.KEEP)
    old = house.actor("mallory")
    house.world.clock.move(minutes=6)
    with pytest.raises(MfaRefused):
        house.use.decide(old, review.id, line.id, Verdict.KEEP)
    with pytest.raises(InvalidInput):
        house.decide(review, "mallory", "priv.alice", Verdict.REMOVE, "")
    house.decide(review, "mallory", "priv.alice", Verdict.KEEP, "")


def test_only_the_reviewer_decides(house: House) -> None:
    review = house.plan()
    for who in ("bob", "heidi", "frank", "dave"):
        with pytest.raises(NotAuthorized):
            house.decide(review, who, "priv.alice", Verdict.KEEP)
    assert house.use.waiting(house.actor("heidi")) == ()


def test_a_decision_can_be_changed_until_the_end_and_each_is_recorded(house: House) -> None:
    """(4)."""
    review = house.plan()
    house.decide(review, "mallory", "priv.alice", Verdict.REMOVE)
    house.decide(review, "mallory", "priv.alice", Verdict.KEEP, "still on the team")
    assert [one["verdict"] for one in house.told("review.decided")] == ["remove", "keep"]
    assert house.end(review)["priv.alice"].outcome is Outcome.KEPT
    with pytest.raises(Conflict):
        house.decide(review, "mallory", "priv.alice", Verdict.REMOVE)


def test_no_decision_counts_between_the_end_and_the_worker(house: House) -> None:
    review = house.plan()
    house.world.clock.move(days=14)
    with pytest.raises(Conflict):
        house.decide(review, "mallory", "priv.alice", Verdict.REMOVE)
    assert house.use.waiting(house.actor("mallory")) == ()


# ------------------------------------------------------------------------------------------------------- what is done


def test_what_was_removed_is_gone_from_the_role_and_the_rest_stays(house: House) -> None:
    """(6)."""
    review = house.plan()
    house.decide(review, "mallory", "priv.alice", Verdict.REMOVE)
    assert house.candidates() == {"CORP\\alice", "CORP\\bob"}, "nothing before the end"
    lines = house.end(review)
    assert (lines["priv.alice"].outcome, lines["priv.bob"].outcome) == (Outcome.REMOVED, Outcome.KEPT)
    assert house.candidates() == {"CORP\\bob"}
    (change,) = house.told("role.changed")
    assert (change["review"], change["line"]) == (review.id, lines["priv.alice"].id)
    assert house.state(review).state is State.CLOSED


def test_silence_does_what_the_review_said(house: House) -> None:
    """(5)."""
    review = house.plan(silence=Verdict.REMOVE)
    house.decide(review, "mallory", "priv.alice", Verdict.KEEP)
    lines = house.end(review)
    assert (lines["priv.alice"].outcome, lines["priv.bob"].outcome) == (Outcome.KEPT, Outcome.REMOVED)
    assert house.candidates() == {"CORP\\alice"}


def test_who_comes_through_a_group_is_not_said_to_be_removed(house: House) -> None:
    """(6)."""
    house.world.corp.add_group("Operators", members=[house.sid("alice")])
    house.world.add_role("Second", candidates=("CORP\\Operators", "CORP\\alice"))
    review = house.plan(roles=("Second",), silence=Verdict.REMOVE)
    line = house.end(review)["priv.alice"]
    assert line.outcome is Outcome.BY_HAND
    assert "through CORP\\Operators: take priv.alice out of that group" in line.said
    left = house.world.services.roles.show(house.world.dave, "Second").candidates
    assert [one.name for one in left] == ["CORP\\Operators"]


def test_the_last_candidate_switches_the_role_off(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    lines = house.end(review)
    assert sorted(one.outcome or "" for one in lines.values()) == [Outcome.BY_HAND, Outcome.REMOVED]
    role = house.world.services.roles.show(house.world.dave, "File administrators")
    assert (role.enabled, len(role.candidates)) == (False, 1)
    with pytest.raises(Conflict):
        house.world.ask(actor=house.actor("bob"))


def test_a_role_that_is_gone_meanwhile_is_said_to_be(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    house.world.services.roles.remove(house.world.dave, "File administrators")
    assert {one.outcome for one in house.end(review).values()} == {Outcome.GONE}


def test_what_stopped_half_way_goes_on_there(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """(4) of the worker: no line is done twice."""
    review = house.plan(silence=Verdict.REMOVE)
    house.world.add_role("Third", candidates=("CORP\\alice", "CORP\\bob"))
    work = house.world.services.oversight.review_work
    kind = work.__class__
    real, calls = kind._settled, []

    def once(self: Any, uow: Any, of: Review, line: Line, found: Any) -> Line:
        calls.append(line.id)
        if len(calls) == 2:
            raise Conflict("the machine went away")
        return real(self, uow, of, line, found)

    monkeypatch.setattr(kind, "_settled", once)
    with pytest.raises(Conflict, match="went away"):
        house.end(review)
    assert house.state(review).state is State.CLOSING
    house.world.clock.move(minutes=5)
    for _ in range(3):
        house.world.runner.run_due()
    assert house.state(review).state is State.CLOSED
    assert len(house.told("review.applied")) == 2


def test_evidence_is_that_of_the_beginning(house: House) -> None:
    house.world.ask(justification="patch the server")
    house.world.work()
    line = house.lines(house.plan())["priv.alice"]
    assert (line.usage.used, line.usage.reasons) == (1, ("patch the server",))
    assert line.usage.last is not None


# --------------------------------------------------------------------------------------------- reminders, ends, again


def test_reviewers_are_told_at_the_beginning_and_reminded_while_lines_wait(house: House) -> None:
    review = house.plan(remind=3 * DAY)
    assert {one["subject"] for one in house.told("review.asked")} == {
        house.sid("mallory"),
        house.world.services.forests[Forest.PRIV].find_person("grace").ref.sid,
    }
    house.decide(review, "mallory", "priv.alice", Verdict.KEEP)
    house.world.clock.move(days=3, seconds=1)
    house.world.runner.run_due()
    reminded = house.told("review.reminded")
    assert [one["lines"] for one in reminded] == [1], "not who has decided all"
    house.world.runner.run_due()
    assert len(house.told("review.reminded")) == 1


def test_an_administrator_ends_it_early_and_nobody_else(house: House) -> None:
    review = house.plan(silence=Verdict.REMOVE)
    with pytest.raises(NotAuthorized):
        house.use.close(house.actor("mallory"), review.id)
    house.use.close(house.world.dave, review.id)
    with pytest.raises(Conflict):
        house.use.close(house.world.dave, review.id)
    for _ in range(2):
        house.world.runner.run_due()
    assert house.state(review).state is State.CLOSED


def test_one_that_comes_back_is_planned_with_its_end(house: House) -> None:
    house.plan(every=Every(months=6))
    house.end(house.use.all(house.world.dave)[0])
    after, before = house.use.all(house.world.dave)
    assert (after.state, before.state) == (State.PLANNED, State.CLOSED)
    assert after.opens_at == before.opens_at.replace(year=2027, month=5)
    assert house.told("review.planned")[0]["after"] == before.id
    with house.world.store.read() as uow:
        rows = [row for row in uow.work.listing() if row["key"] == after.id]
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("every", "after"),
    [
        (Every(months=1), datetime(2027, 2, 28, tzinfo=UTC)),
        (Every(months=13), datetime(2028, 2, 29, tzinfo=UTC)),
        (Every(days=30), datetime(2027, 3, 2, tzinfo=UTC)),
    ],
)
def test_months_have_ends(every: Every, after: datetime) -> None:
    assert every.after(datetime(2027, 1, 31, tzinfo=UTC)) == after


def test_after_a_long_outage_no_review_of_the_past_is_planned(house: House) -> None:
    review = house.state(house.plan(every=Every(days=30)))
    late = review.opens_at + timedelta(days=100)
    after = reviews.following(review, "next", late)
    assert after is not None
    assert after.opens_at <= late < after.closes_at or after.opens_at > late


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"lasts": timedelta(minutes=5)},
        {"remind": timedelta(0)},
        {"lookback": timedelta(days=4000)},
        {"every": Every(days=3)},
        {"every": Every(days=30, months=1)},
        {"opens_at": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_can_never_work_is_refused(house: House, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        house.plan(**options)


def test_only_administrators_plan_and_only_readers_see_all(house: House) -> None:
    draft = Draft(name="Mine", fallback="PRIV\\grace", silence=Verdict.KEEP)
    with pytest.raises(NotAuthorized):
        house.use.create(house.actor("mallory"), draft)
    with pytest.raises(NotAuthorized):
        house.use.all(house.actor("mallory"))
    review = house.plan()
    with pytest.raises(NotAuthorized):
        house.use.show(house.actor("mallory"), review.id)


# ------------------------------------------------------------------------------------------------------ signed result


def test_the_result_is_signed_and_no_line_can_be_changed_afterwards(house: House) -> None:
    review = house.plan()
    house.decide(review, "mallory", "priv.alice", Verdict.REMOVE)
    with pytest.raises(Conflict):
        house.use.result(house.world.frank, review.id)
    house.end(review)
    signed = house.use.result(house.world.frank, review.id)
    said = {line["person"]: line for line in json.loads(signed.text)["lines"]}
    assert (said["priv.alice"]["outcome"], said["priv.alice"]["by_name"]) == ("removed", "CORP\\mallory")
    changed = replace(house.lines(review)["priv.alice"], outcome=Outcome.KEPT)
    with house.world.store.write() as uow:
        uow.reviews.save_line(changed)
        uow.commit()
    with pytest.raises(AuditBroken):
        house.use.result(house.world.frank, review.id)


def test_a_digest_that_fits_a_changed_line_is_not_signed(house: House) -> None:
    review = house.plan()
    house.end(review)
    with house.world.store.write() as uow:
        closed = uow.reviews.get(review.id)
        line = replace(uow.reviews.lines(review.id)[0], said="nothing to see")
        uow.reviews.save_line(line)
        text = reviews.canonical(closed, uow.reviews.lines(review.id))
        uow.reviews.save(replace(closed, digest=reviews.digest_of(text)))
        uow.commit()
    with pytest.raises(AuditBroken):
        house.use.result(house.world.frank, review.id)


# ------------------------------------------------------------------------------------------------------ command line


def test_the_whole_course_by_commands(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    world = desk.world
    world.prepare("alice", "bob")
    world.prepare_group()
    world.add_role(candidates=("CORP\\alice", "CORP\\bob"))
    made = json.loads(
        desk.run(
            "PRIV\\dave", "review", "create", "Winter", "--reviewer", "PRIV\\grace", "--fallback", "PRIV\\heidi",
            "--silence", "remove", "--every-months", "6", "--json",
        ).stdout
    )  # fmt: skip
    world.runner.run_due()
    desk.set_up_factor("PRIV\\grace")
    todo = json.loads(desk.run("PRIV\\grace", "review", "list", "--mine", "--json").stdout)["items"]
    lines = {line["person"]: line["id"] for line in todo[0]["lines"]}
    assert "Where nobody decides: remove." in desk.run("PRIV\\grace", "review", "list", "--mine").stdout
    desk.run("PRIV\\grace", "review", "decide", made["id"], lines["priv.alice"], "keep")
    refused = desk.run(
        "PRIV\\heidi", "review", "decide", made["id"], lines["priv.bob"], "keep", wanted=Exit.REFUSED
    )
    assert "not the reviewer" in refused.stderr
    desk.run("PRIV\\frank", "review", "export", made["id"], wanted=Exit.REFUSED)
    desk.run("PRIV\\dave", "review", "close", made["id"], "--yes")
    for _ in range(2):
        world.runner.run_due()
    assert "removed" in desk.run("PRIV\\frank", "review", "show", made["id"]).stdout
    assert "closed" in desk.run("PRIV\\frank", "review", "list").stdout
    out = tmp_path / "winter.json"
    desk.run("PRIV\\frank", "review", "export", made["id"], "--out", str(out))
    result = json.loads(out.read_text())
    assert {line["person"]: line["outcome"] for line in json.loads(result["text"])["lines"]} == {
        "priv.alice": "kept",
        "priv.bob": "removed",
    }
