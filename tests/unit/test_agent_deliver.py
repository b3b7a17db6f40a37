"""Delivery to a target: order, retries, delays, and what each answer means."""

from pathlib import Path

import pytest

from bastide import wire
from bastide.wire import Answer, Verdict
from tests.support.agent import target
from tests.support.agent_delivery import RETRY, World, say
from tests.support.agent_spool import change


def test_changes_arrive_in_order_over_one_connection(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.queue("1", "2", "3")
    world.work()
    assert world.heard() == [("1", 1), ("2", 1), ("3", 1)]
    assert world.server.connections == 1
    assert world.log.numbers() == [2302, 2100, 2302, 2302, 2100, 2100]
    assert world.log.of(2100)[0] == {
        "tracking_id": "1",
        "user_guid": "user-of-1",
        "user": "name-user-of-1",
        "targets": ["one"],
    }
    assert world.spool.waiting() == 0


def test_the_message_is_the_change(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.queue("1")
    world.work()
    assert world.server.heard == [change("1", "user-of-1").notification(1)]


def test_a_server_that_is_down_is_tried_again_after_the_interval(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.server.up = False
    world.queue("1", "2")
    assert world.work() == pytest.approx(RETRY)
    assert [f["delivery_attempts"] for f in world.log.of(4003)] == [1]
    world.clock.advance(RETRY - 1)
    assert world.work() == pytest.approx(1)
    world.server.up = True
    world.clock.advance(1)
    world.work()
    assert world.heard() == [("1", 2), ("2", 1)]


def test_a_connection_that_died_unnoticed_costs_no_attempt(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.queue("1")
    world.work()
    world.server.restart()
    world.queue("2")
    world.work()
    assert world.heard() == [("1", 1), ("2", 1)]
    assert world.server.connections == 2
    assert not world.log.of(4003)


def test_refused_waits_and_holds_back_nobody(tmp_path: Path) -> None:
    """An old change that nobody can read must not keep the newest password from the target."""
    world = World(tmp_path)
    world.server.decide = lambda one: (
        say(Verdict.REFUSED, reason="not now")(one) if one.reference == "1" else say(Verdict.ACCEPTED)(one)
    )
    world.queue("1", "2", user="ann")
    world.queue("3")
    assert world.work() == pytest.approx(RETRY)
    assert world.heard() == [("1", 1), ("2", 1), ("3", 1)]
    assert world.log.of(4301)[0]["detail"] == "not now"
    world.clock.advance(RETRY)
    world.queue("4", user="ann")
    world.work()
    assert world.heard()[3:] == [("1", 2), ("4", 1)]
    world.server.decide = say(Verdict.ACCEPTED)
    world.clock.advance(RETRY)
    world.work()
    assert world.heard()[5:] == [("1", 3)]


def test_later_holds_back_its_user_only(tmp_path: Path) -> None:
    """One change that the server cannot take yet, for hours, is no reason that nobody's password arrives."""
    world = World(tmp_path, target(keep_alive=0))
    world.server.decide = lambda one: (
        say(Verdict.LATER, delay=2)(one) if one.reference == "1" else say(Verdict.ACCEPTED)(one)
    )
    world.queue("1", "2", user="ann")
    world.queue("3", "4")
    assert world.work() == pytest.approx(2)
    assert world.heard() == [("1", 1), ("3", 1), ("4", 1)]
    assert len(world.server.beats) == 1, "whether it means all of us was asked once"
    world.clock.advance(2)
    assert world.work() == pytest.approx(2)
    world.server.decide = say(Verdict.ACCEPTED)
    world.clock.advance(2)
    world.work()
    assert world.heard()[3:] == [("1", 2), ("1", 3), ("2", 1)]


def test_later_to_the_heartbeat_pauses_the_target(tmp_path: Path) -> None:
    """So a server that is switched off is not asked about each of ten thousand changes."""
    world = World(tmp_path)
    world.server.decide = say(Verdict.LATER, delay=2)
    world.server.on_beat = Answer(reference="", verdict=Verdict.LATER, delay=60)
    world.queue(*(str(number) for number in range(100)))
    assert world.work() == pytest.approx(60)
    assert world.heard() == [("0", 1)]
    world.clock.advance(59)
    assert world.work() == pytest.approx(1)
    assert (len(world.server.heard), len(world.server.beats)) == (1, 1)


def test_discard_is_never_sent_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.server.decide = say(Verdict.DISCARD, reason="too old")
    world.queue("1")
    world.work()
    world.clock.advance(10 * RETRY)
    world.work()
    assert world.heard() == [("1", 1)]
    assert world.log.of(4100)[0]["failed_targets"] == ["one"]
    assert "too old" in str(world.log.of(4301)[0]["detail"])


@pytest.mark.parametrize(
    ("asked", "waited", "number"),
    [
        (1, 1, 2202),
        (wire.DELAY_LIMIT, wire.DELAY_LIMIT, 2202),
        (wire.DELAY_LIMIT + 1, wire.DELAY_LIMIT, 4206),
        (1 << 40, wire.DELAY_LIMIT, 4206),
        (0, 1, 4206),
        (-1, RETRY, 4207),
    ],
)
def test_a_delay_is_obeyed_within_bounds(tmp_path: Path, asked: int, waited: int, number: int) -> None:
    world = World(tmp_path)
    world.server.decide = say(Verdict.LATER, delay=asked)
    world.queue("1", "2", user="ann")
    assert world.work() == pytest.approx(waited)
    assert [one for one in world.log.numbers() if one != 2302] == [number]
    world.server.decide = say(Verdict.ACCEPTED)
    world.clock.advance(waited)
    world.work()
    assert world.heard() == [("1", 1), ("1", 2), ("2", 1)]


@pytest.mark.parametrize(("asked", "waited"), [(9, 9), (1 << 40, wire.DELAY_LIMIT), (-1, RETRY)])
def test_a_pause_of_the_target_is_obeyed_within_bounds(tmp_path: Path, asked: int, waited: int) -> None:
    world = World(tmp_path, target(keep_alive=60))
    world.server.on_beat = Answer(reference="", verdict=Verdict.LATER, delay=asked)
    assert world.work() == pytest.approx(waited)
    world.queue("1")
    assert world.work() == pytest.approx(waited)
    world.clock.advance(waited)
    world.work()
    assert world.heard() == [("1", 1)]


def test_the_retry_limit_ends_it(tmp_path: Path) -> None:
    world = World(tmp_path, max_notification_retries=2)
    world.server.decide = say(Verdict.REFUSED)
    world.queue("1")
    for _ in range(5):
        world.work()
        world.clock.advance(RETRY)
    assert [attempt for _, attempt in world.heard()] == [1, 2, 3]
    assert world.log.of(4200)[0]["target"] == "one"
    assert world.log.of(4100)
    assert world.spool.waiting() == 0


def test_without_a_limit_it_is_tried_for_ever_and_delays_do_not_count(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.server.decide = say(Verdict.REFUSED)
    world.queue("1")
    for _ in range(200):
        world.work()
        world.clock.advance(RETRY)
    assert len(world.heard()) == 200
    assert world.spool.waiting() == 1


def test_all_targets_have_it_before_it_is_delivered(tmp_path: Path) -> None:
    world = World(tmp_path, target("one", keep_alive=0), target("two", keep_alive=0))
    world.queue("1")
    world.work(world.deliveries[0])
    assert not world.log.of(2100)
    world.work(world.deliveries[1])
    assert world.log.of(2100)[0]["targets"] == ["one", "two"]


def test_one_target_that_fails_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, target("one", keep_alive=0), target("two", keep_alive=0))
    world.queue("1")
    world.work(world.deliveries[0])
    world.server.decide = say(Verdict.DISCARD)
    world.work(world.deliveries[1])
    (fields,) = world.log.of(4100)
    assert (fields["successful_targets"], fields["failed_targets"]) == (["one"], ["two"])
