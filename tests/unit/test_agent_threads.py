"""The threads of the targets follow the configuration."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bastide.pcns import Configuration
from bastide.wire import Answer, Notification
from bastide_agent.threads import TargetThreads
from tests.support.agent import target
from tests.support.agent_delivery import World


def until(good: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not good():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_threads_follow_the_configuration(tmp_path: Path) -> None:
    one, two = target("one", keep_alive=0), target("two", keep_alive=0)
    world = World(tmp_path, one, two)
    threads = TargetThreads(world.delivery, world.spool, world.log)
    threads.follow(Configuration(world.service, (one, two)))
    world.queue("1")
    until(lambda: world.spool.waiting() == 0)
    kept = threads.deliveries()[str(one.guid)]
    threads.follow(
        Configuration(world.service, (replace(one, name="uno", warning_level=5), replace(two, disabled=True)))
    )
    assert threads.deliveries() == {str(one.guid): kept}
    assert kept.target.warning_level == 5
    threads.follow(Configuration(world.service, (replace(one, server="other.test"),)))
    assert threads.deliveries()[str(one.guid)] is not kept
    threads.stop()
    assert world.log.numbers().count(2300) == world.log.numbers().count(2301) == 3
    assert threads.dead() is None


def test_a_thread_that_dies_is_seen(tmp_path: Path) -> None:
    world = World(tmp_path)

    def broken(_one: Notification) -> Answer:
        raise ZeroDivisionError

    world.server.decide = broken
    threads = TargetThreads(world.delivery, world.spool, world.log)
    threads.follow(Configuration(world.service, world.targets))
    world.queue("1")
    until(lambda: isinstance(threads.dead(), ZeroDivisionError))
    threads.stop()
    assert world.spool.waiting() == 1


def test_fifty_targets_get_a_thousand_changes(tmp_path: Path) -> None:
    targets = [target(f"t{number}", keep_alive=0) for number in range(50)]
    world = World(tmp_path, *targets)
    threads = TargetThreads(world.delivery, world.spool, world.log)
    threads.follow(Configuration(world.service, world.targets))
    for number in range(20):
        world.queue(str(number))
    until(lambda: world.spool.waiting() == 0)
    threads.stop()
    assert len(world.server.heard) == 1000
    assert len(world.log.of(2100)) == 20
