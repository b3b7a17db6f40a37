"""Delivery to a target: order, retries, delays, heartbeats, warnings, and what each answer means."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bastide import wire
from bastide.pcns import Configuration, ServiceSettings, Target
from bastide.wire import Answer, FromServer, Notification, Verdict, Welcome
from bastide_agent.channel import address_of, principal_of
from bastide_agent.deliver import WINDOW, Delivery
from bastide_agent.failures import Refused, SealBroken, Unusable
from bastide_agent.spool import Spool
from bastide_agent.threads import TargetThreads
from tests.support.agent import ManualClock, MemoryLog, MemoryServer, target
from tests.unit.test_agent_spool import change

RETRY = 30
T0 = 1_000


class World:
    """A queue, one target or two, and the servers behind."""

    def __init__(self, path: Path, *targets: Target, **service: int) -> None:
        self.clock, self.log, self.server = ManualClock(), MemoryLog(), MemoryServer()
        self.spool = Spool(path, self.log, limit=1 << 22, aside=lambda: "now")
        self.targets = targets or (target(keep_alive=0),)
        self.service = ServiceSettings(**{"retry_interval": RETRY, **service})
        self.deliveries = [self.delivery(one, self.service) for one in self.targets]
        self.one = self.deliveries[0]

    def delivery(self, chosen: Target, service: ServiceSettings) -> Delivery:
        return Delivery(
            chosen,
            service,
            spool=self.spool,
            connector=self.server,
            log=self.log,
            clock=self.clock,
            ticks=lambda: T0,
            names=lambda: {str(one.guid): one.name for one in self.targets},
        )

    def queue(self, *references: str, user: str = "") -> None:
        guids = [str(one.guid) for one in self.targets]
        self.spool.add([(change(one, user or f"user-of-{one}"), guids) for one in references], T0)

    def work(self, delivery: Delivery | None = None) -> float:
        """All that is due now. Seconds until something is."""
        chosen = delivery or self.one
        for _ in range(1000):
            job = chosen.next_job()
            if isinstance(job, float):
                return job
            job()
        raise AssertionError("there is no end")

    def heard(self) -> list[tuple[str, int]]:
        return [(one.reference, one.attempt) for one in self.server.heard]


def say(verdict: Verdict, **more: int | str) -> Callable[[Notification], Answer]:
    return lambda one: Answer(reference=one.reference, verdict=verdict, **more)  # type: ignore[arg-type]


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


# --------------------------------------------------------------------------------------------------------------- window


def test_up_to_fifty_are_on_their_way_once_the_target_takes_them(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.queue(*(f"{number:03}" for number in range(120)))
    world.work()
    assert world.server.windows == [1, WINDOW, WINDOW, 19]
    assert world.heard() == [(f"{number:03}", 1) for number in range(120)]


def test_of_one_user_one_is_on_its_way(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.queue("0")
    world.queue("1", "2", "3", user="ann")
    world.queue("4", user="bob")
    world.work()
    assert [one for one, _ in world.heard()] == ["0", "1", "4", "2", "3"]
    assert world.server.windows == [1, 2, 1, 1]


def test_answers_are_known_by_their_reference(tmp_path: Path) -> None:
    world = World(tmp_path)
    swapped = {"1": "2", "2": "1"}
    world.server.decide = lambda one: Answer(
        reference=swapped.get(one.reference, one.reference),
        verdict=Verdict.DISCARD if one.reference == "1" else Verdict.ACCEPTED,
    )
    world.queue("0", "1", "2")
    world.work()
    assert [fields["tracking_id"] for fields in world.log.of(4100)] == ["2"]
    assert [fields["tracking_id"] for fields in world.log.of(2100)] == ["0", "1"]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("after", range(7))
def test_a_break_within_a_window_loses_nothing(tmp_path: Path, after: int, known: bool) -> None:
    """What the target took without an answer comes again, under the same reference."""
    world = World(tmp_path)
    if known:
        world.queue("first")
        world.work()
    world.server.breaks_after = after
    references = [str(number) for number in range(6)]
    world.queue(*references)
    world.work()
    world.clock.advance(RETRY)
    world.work()
    heard = [one for one, _ in world.heard() if one != "first"]
    assert list(dict.fromkeys(heard)) == references
    again = [one for one in references if heard.count(one) > 1]
    assert again == ([references[after]] if after < 6 else [])
    assert world.spool.waiting() == 0
    assert [fields["tracking_id"] for fields in world.log.of(2100)][-6:] == references


def test_a_kill_within_a_window_loses_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    references = [str(number) for number in range(8)]
    world.queue(*references)

    def killed(one: Notification) -> Answer:
        if one.reference == "4":
            raise KeyboardInterrupt
        return say(Verdict.ACCEPTED)(one)

    world.server.decide = killed
    with pytest.raises(KeyboardInterrupt):
        world.work()
    again = World(tmp_path, *world.targets)
    assert again.spool.waiting() == 4
    again.work()
    assert again.heard() == [(one, 2) for one in references[4:]]


def test_delays_within_a_window_are_kept_one_by_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.server.decide = lambda one: (
        say(Verdict.LATER, delay=7 * int(one.reference))(one)
        if one.reference in {"2", "3"}
        else say(Verdict.ACCEPTED)(one)
    )
    world.queue("0", "1", "2", "3", "4")
    assert world.work() == pytest.approx(14)
    assert [fields["count"] for fields in world.log.of(2202)] == [14, 21]
    world.server.decide = say(Verdict.ACCEPTED)
    world.clock.advance(14)
    assert world.work() == pytest.approx(7)
    world.clock.advance(7)
    world.work()
    assert world.heard()[5:] == [("2", 2), ("3", 2)]
    assert world.server.windows == [1, 4, 1, 1]


def test_what_is_on_its_way_is_bounded_in_bytes(tmp_path: Path) -> None:
    world = World(tmp_path)
    guids = [str(one.guid) for one in world.targets]
    large = [
        msgspec.structs.replace(change(str(number), f"user-{number}"), secret=bytes(50_000))
        for number in range(6)
    ]
    world.spool.add([(one, guids) for one in large], T0)
    world.work()
    assert world.server.windows == [1, 2, 2, 1]


# ----------------------------------------------------------------------------------------------------------- heartbeats


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


# ---------------------------------------------------------------------------------------------------------- wrong answers


def answering(wrong: FromServer) -> Callable[[Notification], FromServer]:
    return lambda _one: wrong


def test_a_target_that_speaks_nonsense_gets_it_again_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    for wrong in (Welcome(version=1, node="x"), Answer(reference="other", verdict=Verdict.ACCEPTED)):
        world.server.decide = answering(wrong)
        world.queue("1")
        assert world.work() == pytest.approx(RETRY)
        world.clock.advance(RETRY)
    assert len(world.log.of(6025)) == 2
    assert world.spool.waiting() == 1


@pytest.mark.parametrize(
    ("error", "number"),
    [(SealBroken("changed"), 6022), (Refused("not a controller"), 4301), (Refused("soon", 7), 2202)],
)
def test_a_handshake_that_fails_keeps_the_change(tmp_path: Path, error: Exception, number: int) -> None:
    world = World(tmp_path)
    world.server.on_connect = error
    world.queue("1")
    assert world.work() == pytest.approx(7 if number == 2202 else RETRY)
    assert number in world.log.numbers()
    assert world.spool.waiting() == 1


def test_a_target_that_cannot_be_used_waits_for_its_configuration(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.server.on_connect = Unusable("no such principal")
    world.queue("1")
    world.work()
    world.clock.advance(7200)
    world.work()
    assert world.log.of(6027) == [{"target": "one", "detail": "no such principal"}]
    assert world.spool.waiting() == 1


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("srv.test", ("srv.test", wire.PORT)),
        ("srv.test:99", ("srv.test", 99)),
        (" srv.test ", ("srv.test", wire.PORT)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
    ],
)
def test_addresses(server: str, expected: tuple[str, int]) -> None:
    assert address_of(target(server=server)) == expected


@pytest.mark.parametrize(
    "server", ["", ":8446", "srv:", "srv:x", "srv:0", "srv:65536", "a:b:1", "srv:-1", "srv:١"]
)
def test_addresses_that_are_none(server: str) -> None:
    with pytest.raises(Unusable):
        address_of(target(server=server))


def test_principals() -> None:
    assert principal_of(target(spn="PCNSCLNT/srv.test"), "CORP.TEST") == "PCNSCLNT/srv.test@CORP.TEST"
    assert (
        principal_of(target(spn="PCNSCLNT/srv.test@PRIV.TEST"), "CORP.TEST") == "PCNSCLNT/srv.test@PRIV.TEST"
    )
    for wrong in ("", "srv.test", "HTTP/srv.test", "PCNSCLNT/", "PCNSCLNT/a/b", "PCNSCLNT@X"):
        with pytest.raises(Unusable):
            principal_of(target(spn=wrong), "CORP.TEST")
    with pytest.raises(Unusable, match="authentication service 10"):
        principal_of(target(authentication_service=10), "CORP.TEST")


# -------------------------------------------------------------------------------------------------------------- threads


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
