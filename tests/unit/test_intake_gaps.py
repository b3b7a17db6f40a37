"""Numbers of a log's records: what jumps, goes back or comes again is a gap; and an event that comes again is the same."""

from dataclasses import replace

import pytest

from tests.support.intake_world import STRANGER, WINDOWS, IntakeWorld, nxlog

pytest_plugins = ["tests.support.intake_world"]


@pytest.fixture
def world(intake_world: IntakeWorld) -> IntakeWorld:
    return intake_world


def test_numbers_that_jump_are_a_gap(world: IntakeWorld) -> None:
    world.take(nxlog(10, 4634), nxlog(11, 4634), nxlog(14, 4634), nxlog(12, 4634), source=WINDOWS)
    (gap,) = world.audited("intake.gap")
    assert (gap["expected"], gap["came"], gap["because"]) == (12, 14, "record numbers jump")
    world.take(nxlog(15, 4634), source=WINDOWS)
    assert len(world.audited("intake.gap")) == 1


def test_a_huge_number_hides_no_gap_after_it(world: IntakeWorld) -> None:
    """(5)."""
    world.take(nxlog(10, 4634), nxlog(2**63 - 1, 4634), source=WINDOWS)
    world.take(nxlog(11, 4634), nxlog(12, 4634), source=WINDOWS)
    world.take(nxlog(500, 4634), source=WINDOWS)
    gaps = world.audited("intake.gap")
    assert [(one["expected"], one["came"]) for one in gaps] == [(11, 2**63 - 1), (2**63, 11), (13, 500)]
    assert [one["because"].rpartition(" ")[2] for one in gaps] == ["jump", "back", "jump"]


@pytest.mark.parametrize("complete", [True, False])
def test_gaps_of_a_computer_in_one_batch_are_one_record(world: IntakeWorld, complete: bool) -> None:
    """(7): numbers that are lower each time, with times that rise, are a log that begins anew with each line."""
    source = replace(WINDOWS, complete=complete, computers=frozenset())
    world.clock.move(hours=1)
    lines = [
        nxlog(5000 - number, 4634, EventTime=f"2026-11-20T09:{number:02}:00+00:00", computer=computer)
        for number in range(50)
        for computer in ("a.example", "b.example")
    ]
    world.take(*lines, source=source)
    gaps = world.audited("intake.gap")
    assert [(one["computer"], one["gaps"]) for one in gaps] == [("a.example", 49), ("b.example", 49)]
    assert (gaps[0]["expected"], gaps[0]["came"]) == (5001, 4999), "the first"


def test_of_several_gaps_that_a_log_began_anew_is_told(world: IntakeWorld) -> None:
    """(7)."""
    world.take(*(nxlog(number, 4634) for number in (10, 20, 2**40, 7, 9)), source=WINDOWS)
    (gap,) = world.audited("intake.gap")
    assert (gap["because"], gap["came"], gap["gaps"]) == ("record numbers go back", 7, 4)


def added(number: int, member: str, at: str = "09:00:01", **more: str) -> bytes:
    """By somebody, to the administrators, as NXLog tells of it."""
    said = {"EventTime": f"2026-11-20T{at}.500000+00:00", "TargetSid": "S-1-5-32-544", "MemberSid": member}
    return nxlog(number, 4732, **(said | more))


def test_a_number_that_comes_again_with_another_event_is_kept_and_a_gap(world: IntakeWorld) -> None:
    """(4), (6): a log that was made anew, a controller that was set back."""
    world.take(added(4711, STRANGER), source=WINDOWS)
    world.clock.move(minutes=5)
    world.take(added(4711, "S-1-5-21-1-2-3-6666", "09:04:00"), source=WINDOWS)
    assert {one.change.target.sid for one in world.judged()} == {STRANGER, "S-1-5-21-1-2-3-6666"}
    assert len(world.audited("intake.unexplained")) == 2
    (gap,) = world.audited("intake.gap")
    assert (gap["expected"], gap["came"], gap["because"]) == (4712, 4711, "record numbers go back")


def test_an_event_that_is_sent_again_is_the_same_however_the_forwarder_stamps_it(world: IntakeWorld) -> None:
    """(4)."""
    world.take(added(4711, STRANGER), nxlog(4712, 4634), source=WINDOWS)
    world.take(added(4711, STRANGER, EventReceivedTime="2026-11-20 10:00:00"), source=WINDOWS)
    assert len(world.judged()) == 1
    assert world.audited("intake.gap") == []


@pytest.mark.parametrize("complete", [True, False])
def test_a_log_that_begins_anew_a_few_records_back_is_a_gap(world: IntakeWorld, complete: bool) -> None:
    """(6): its first events are none of ours, and it goes on from there."""
    source = replace(WINDOWS, complete=complete)
    world.clock.move(minutes=10)
    at = {number: f"2026-11-20T09:0{number}:00+00:00" for number in range(1, 5)}
    world.take(nxlog(4711, 4634, EventTime=at[1]), nxlog(1, 1102, EventTime=at[3]), source=source)
    world.take(nxlog(2, 4634, EventTime=at[4]), nxlog(1, 1102, EventTime=at[3]), source=source)
    assert [(one["expected"], one["came"]) for one in world.audited("intake.gap")] == [(4712, 1)]


def test_a_time_far_ahead_hides_no_log_that_begins_anew(world: IntakeWorld) -> None:
    """(6)."""
    world.clock.move(minutes=10)
    world.take(nxlog(10, 4634), nxlog(11, 4634, EventTime="2030-01-01T00:00:00Z"), source=WINDOWS)
    world.take(nxlog(11, 4634, EventTime="2030-01-01T00:00:00Z"), source=WINDOWS)
    assert world.audited("intake.gap") == []
    world.take(nxlog(3, 4634, EventTime="2026-11-20T09:08:00Z"), source=WINDOWS)
    assert len(world.audited("intake.gap")) == 1


def test_records_that_come_in_disorder_are_none(world: IntakeWorld) -> None:
    times = ["09:00:01.5", "09:00:01.1", "09:00:01.9"]
    lines = [nxlog(n, 4634, EventTime=f"2026-11-20T{at}Z") for n, at in zip((10, 11, 10), times, strict=True)]
    world.take(*lines, nxlog(12, 4634, EventTime="yesterday"), nxlog(12, 4634), source=WINDOWS)
    assert world.audited("intake.gap") == []
