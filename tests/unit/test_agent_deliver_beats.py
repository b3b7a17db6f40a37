"""Heartbeats, and the warning of a queue that grows."""

from pathlib import Path

import pytest

from bastide.wire import Answer, Verdict
from bastide_agent.failures import Refused
from tests.support.agent import target
from tests.support.agent_delivery import RETRY, World


def test_a_heartbeat_says_what_waits(tmp_path: Path) -> None:
    world = World(tmp_path, target(keep_alive=60))
    assert world.work() == pytest.approx(60)
    assert [(one.waiting, one.oldest) for one in world.server.beats] == [(0, 0)]
    world.clock.advance(60)
    world.work()
    assert len(world.server.beats) == 2


def test_a_delivery_is_as_good_as_a_heartbeat(tmp_path: Path) -> None:
    world = World(tmp_path, target(keep_alive=60))
    world.work()
    world.clock.advance(59)
    world.queue("1")
    assert world.work() == pytest.approx(60)
    assert len(world.server.beats) == 1


def test_a_server_that_does_not_answer_a_heartbeat_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, target(keep_alive=60))
    world.server.up = False
    assert world.work() == pytest.approx(RETRY)
    assert world.log.numbers() == [4004]
    assert not world.one.status.connected
    assert world.one.status.problem == "nobody listens"


def test_being_turned_away_is_said_without_any_change_too(tmp_path: Path) -> None:
    world = World(tmp_path, target(keep_alive=60))
    world.server.on_connect = Refused("not a domain controller")
    world.work()
    assert world.log.of(4004) == [{"target": "one", "detail": "not a domain controller"}]


def test_a_heartbeat_may_be_answered_with_a_delay(tmp_path: Path) -> None:
    world = World(tmp_path, target(keep_alive=60))
    world.server.on_beat = Answer(reference="", verdict=Verdict.LATER, delay=300)
    assert world.work() == pytest.approx(300)
    world.queue("1")
    assert world.work() == pytest.approx(300)
    assert world.heard() == []


# ------------------------------------------------------------------------------------------------------------- warnings


def test_the_warning_level_is_said_again_at_its_interval_and_its_end_once(tmp_path: Path) -> None:
    world = World(tmp_path, target(keep_alive=0, warning_level=2, warning_interval=5), retry_interval=3600)
    world.server.up = False
    world.queue("1")
    world.work()
    assert not world.log.of(4005)
    world.queue("2")
    assert world.work() == pytest.approx(300)
    assert [f["count"] for f in world.log.of(4005)] == [2]
    world.clock.advance(299)
    world.work()
    assert len(world.log.of(4005)) == 1
    world.clock.advance(1)
    world.work()
    assert len(world.log.of(4005)) == 2
    world.server.up = True
    world.clock.advance(3600)
    world.work()
    assert [f["count"] for f in world.log.of(2005)] == [1]
