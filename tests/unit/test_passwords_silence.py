"""Controllers that are heard, that fall silent and that come back: each step of silence.py."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.contacts import EVERY, KEPT, SINGLY
from bastide.services.pace import WATCH
from bastide.services.passwords.callers import Caller
from tests.support.silence import KNOWN, MINUTE, NOW, Node, many
from tests.support.sync_world import SyncWorld, filetime


@pytest.fixture
def world() -> Iterator[SyncWorld]:
    made = SyncWorld()
    made.ready("alice")
    made.passwords.silence.plant()
    yield made
    made.close()


@pytest.fixture
def node(world: SyncWorld) -> Node:
    return Node(world)


# --------------------------------------------------------------------------------------------------------- (1) it is noted


def test_1_what_is_said_waits_for_nothing_and_is_written_once_a_minute(world: SyncWorld, node: Node) -> None:
    silence, caller = node.silence, world.caller()
    start = world.clock.now()
    oldest = start - timedelta(hours=2)
    silence.heard(caller, 3, filetime(oldest))
    assert node.store.writes == 0, "whoever speaks does not wait for a commit"
    silence.write_down()
    first = replace(KNOWN, heard_at=start, waiting=3, oldest=oldest, beat_at=start)
    assert node.contacts() == [first], "for the first time: at once"
    for _ in range(11):
        world.clock.move(seconds=5)
        silence.heard(caller, 4, filetime(oldest))
        silence.heard(caller)
        silence.write_down()
    assert node.store.writes == 1
    assert node.contacts() == [first]
    world.clock.move(seconds=5)
    silence.heard(caller)
    silence.write_down()
    assert node.store.writes == 2
    beat_at = start + timedelta(seconds=55)
    again = replace(first, heard_at=start + EVERY, waiting=4, beat_at=beat_at)
    assert node.contacts() == [again], "of its queue, as the last heartbeat said"
    silence.heard(world.caller("lab"))
    silence.write_down()
    assert node.store.writes == 3, "whom it hears for the first time does not wait for the minute"


def test_1_a_notification_keeps_what_the_heartbeat_said(world: SyncWorld, node: Node) -> None:
    node.silence.heard(world.caller(), 7, filetime(NOW))
    node.receive()
    world.clock.move(minutes=2)
    other = Node(world, world.assemble().silence)
    other.silence.heard(world.caller())
    other.receive()
    (found,) = node.contacts()
    assert (found.waiting, found.oldest, found.heard_at) == (7, NOW, world.clock.now())


def test_1_what_is_no_time_is_none(world: SyncWorld, node: Node) -> None:
    node.silence.heard(world.caller(), 1, 2**63 - 1)
    node.receive()
    assert node.contacts()[0].oldest is None


def test_1_one_account_is_one_controller_whatever_it_calls_itself(node: Node) -> None:
    for account, host in (("DC1$", "dc1.corp.test"), ("dc1$", "renamed.corp.test")):
        node.silence.heard(Caller("corp.test", account, host))
        node.run(1)
    assert [(one.account, one.host) for one in node.contacts()] == [("dc1$", "renamed.corp.test")]


def test_1_a_name_that_no_column_holds_keeps_nobody_else_off_the_record(world: SyncWorld, node: Node) -> None:
    node.silence.heard(Caller("corp.test", "DC2$", "a\0" + "b" * 5000))
    node.silence.heard(world.caller())
    node.receive()
    assert {one.account: len(one.host) for one in node.contacts()} == {"dc1$": 13, "dc2$": 255}
    assert not any("\0" in one.host for one in node.contacts())


# ------------------------------------------------------------------------------------------------- (2) is written down


def test_2_what_cannot_be_written_is_kept(world: SyncWorld, node: Node) -> None:
    node.store.away = True
    node.silence.heard(world.caller(), 1)
    node.receive()
    node.silence.heard(world.caller("lab"), 2)
    node.receive()
    node.store.away = False
    node.receive()
    assert [(one.domain, one.waiting) for one in node.contacts()] == [("corp.test", 1), ("lab.test", 2)]


def test_2_who_speaks_during_the_commit_is_in_the_next_one(
    world: SyncWorld, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.silence.heard(world.caller(), 1)
    begin = node.store.write

    def write() -> Any:
        node.silence.heard(world.caller(), 2)
        return begin()

    monkeypatch.setattr(node.store, "write", write)
    node.receive()
    monkeypatch.undo()
    assert [one.waiting for one in node.contacts()] == [1]
    world.clock.move(minutes=1)
    node.receive()
    assert [one.waiting for one in node.contacts()] == [2]


def test_2_of_two_nodes_the_newer_stays(world: SyncWorld, node: Node) -> None:
    """Also where the one that knows less writes last, and where the other has heard a notification since."""
    other, caller = Node(world, world.assemble().silence), world.caller()
    node.silence.heard(caller, 5)
    node.receive()
    world.clock.move(seconds=10)
    node.silence.heard(caller, 4)
    world.clock.move(seconds=10)
    other.silence.heard(caller)
    other.receive()
    newer = world.clock.now()
    world.clock.move(seconds=45)
    node.receive()
    (found,) = node.contacts()
    assert (found.waiting, found.heard_at) == (4, newer)
    other.silence.heard(caller, 0)
    world.clock.move(seconds=5)
    node.silence.heard(caller)
    world.clock.move(minutes=1)
    other.receive()
    node.receive()
    assert [one.waiting for one in node.contacts()] == [0]


# ------------------------------------------------------------------------------------------------------- (3) it is watched


def test_3_silence_is_said_once(world: SyncWorld, node: Node) -> None:
    node.silence.heard(world.caller(), 5)
    node.silence.heard(world.caller("lab"), 1)
    node.receive()
    heard_at = world.clock.now()
    node.run(16)
    assert not node.said(6929)
    node.run(1)
    (event,) = node.said(6929)
    assert event == {
        "Domain": "corp.test",
        "Server": "dc1.corp.test",
        "Last contact": heard_at.isoformat(),
        "Waiting": 5,
    }
    (record,) = node.audited("silent")
    assert record == {"domain": "corp.test", "last_contact": heard_at.isoformat(), "waiting": 5}
    node.run(60)
    assert len(node.said(6929)) == len(node.audited("silent")) == 1
    assert [one.silent for one in node.contacts()] == [True, False], "lab is no source"


def test_3_who_says_something_every_minute_is_never_silent(world: SyncWorld, node: Node) -> None:
    world.adapters = replace(world.adapters, silence=MINUTE)
    strict = Node(world, world.assemble().silence)
    strict.run(120, world.caller())
    assert not node.said(6929)


def test_3_a_source_that_is_disabled_may_be_silent(world: SyncWorld, node: Node) -> None:
    node.silence.heard(world.caller())

    def off(agent: Any) -> Any:
        return replace(agent, source=replace(agent.source, enabled=False))

    world.change_agent("corp", off)
    node.run(60)
    assert not node.said(6929)


def test_3_zero_turns_it_off(world: SyncWorld, node: Node) -> None:
    world.adapters = replace(world.adapters, silence=timedelta(0))
    off = Node(world, world.assemble().silence)
    off.run(1, world.caller())
    off.run(60)
    assert not node.said(6929)


def outage_of_the_service(world: SyncWorld, node: Node) -> Node:
    world.clock.move(hours=8)
    again = world.assemble()
    again.silence.plant()
    return Node(world, again.silence)


def outage_of_the_database(world: SyncWorld, node: Node) -> Node:
    """Conversations go on meanwhile, and are noted."""
    node.store.away = True
    node.run(20, *many(60))
    node.store.away = False
    world.clock.move(seconds=30)
    return node


def outage_of_the_receivers(world: SyncWorld, node: Node) -> Node:
    """A worker lives on, on another machine."""
    for _ in range(60):
        world.clock.move(minutes=1)
        node.watch()
    return node


def a_suspended_machine(world: SyncWorld, node: Node) -> Node:
    world.clock.move(hours=8)
    return node


@pytest.mark.parametrize(
    "outage",
    [outage_of_the_service, outage_of_the_database, outage_of_the_receivers, a_suspended_machine],
)
@pytest.mark.parametrize("first", ["watch", "receive"])
def test_3_an_outage_of_our_own_makes_nobody_silent(
    world: SyncWorld, node: Node, outage: Callable[[SyncWorld, Node], Node], first: str
) -> None:
    """But who does not come back after it is."""
    node.run(3, *many(60))
    back = outage(world, node)
    for step in (first, "receive", "watch"):
        getattr(back, step)()
    back.run(14)  # agents come back within their retry interval
    back.run(30, *many(59))
    assert [fields["Server"] for fields in back.said(6929)] == ["dc059.corp.test"]
    assert not back.said(6930)


def test_3_a_worker_without_a_receiver_anywhere_knows_of_no_silence(world: SyncWorld, node: Node) -> None:
    for _ in range(60):
        world.clock.move(minutes=1)
        node.watch()
    with world.store.read() as uow:
        assert uow.contacts.hearing() is None
        (row,) = [one for one in uow.work.listing() if one["kind"] == WATCH]
    assert (row["attempts"], row["error"]) == (0, "")


def test_3_a_receiver_without_a_worker_leaves_the_watch_to_a_worker_that_comes(
    world: SyncWorld, node: Node
) -> None:
    for minute in range(30):
        world.clock.move(minutes=1)
        if not minute:
            node.silence.heard(world.caller())
        node.receive()
    assert not node.said(6929)
    worker = Node(world, world.assemble().silence)
    worker.watch()
    assert len(node.said(6929)) == 1, "it was silent while somebody listened"


@pytest.mark.parametrize("apart", [-3, 3])
def test_3_nodes_whose_clocks_are_apart_still_notice(world: SyncWorld, node: Node, apart: int) -> None:
    """By less than Kerberos takes: a difference must not put the watch off for ever."""
    other = Node(world, world.assemble().silence)
    node.silence.heard(world.caller())
    for _ in range(25):
        world.clock.move(minutes=1)
        node.receive()
        world.clock.move(minutes=apart)
        other.receive()
        other.watch()
        world.clock.move(minutes=-apart)
    assert len(node.said(6929)) == 1


# ---------------------------------------------------------------------------------------------------- (4) is heard again


def test_4_who_comes_back_is_said_and_may_fall_silent_again(world: SyncWorld, node: Node) -> None:
    node.silence.heard(world.caller(), 5)
    node.receive()
    heard_at = world.clock.now()
    node.run(20)
    node.run(1, world.caller())
    (event,) = node.said(6930)
    assert event == {"Domain": "corp.test", "Server": "dc1.corp.test", "Silent since": heard_at.isoformat()}
    assert node.audited("heard") == [{"domain": "corp.test", "silent_since": heard_at.isoformat()}]
    node.run(1, world.caller())
    assert len(node.said(6930)) == 1
    node.run(20)
    assert len(node.said(6929)) == 2


# ------------------------------------------------------------------------------------------------------ (5) it is forgotten


def test_5_who_is_silent_for_long_is_forgotten(world: SyncWorld, node: Node) -> None:
    node.run(1, world.caller())
    heard_at = world.clock.now()
    node.run(20)
    world.clock.moment += KEPT
    node.run(2)
    assert node.contacts() == []
    assert node.audited("forgotten") == [{"domain": "corp.test", "last_contact": heard_at.isoformat()}]
    node.run(1, world.caller())
    assert not node.said(6930), "nobody remembers that it was silent"


def test_5_it_is_reported_before_it_is_forgotten(world: SyncWorld, node: Node) -> None:
    """A service that was down for longer than contacts are kept."""
    node.run(1, world.caller())
    world.clock.moment += KEPT + timedelta(days=1)
    node.run(2)
    assert len(node.contacts()) == 1
    node.run(17)
    assert [len(node.audited(kind)) for kind in ("silent", "forgotten")] == [1, 1]
    assert node.contacts() == []


def test_5_who_belongs_to_no_source_is_forgotten_without_a_report(world: SyncWorld, node: Node) -> None:
    node.run(1, world.caller("lab"))
    world.clock.moment += KEPT + timedelta(days=1)
    node.run(2)
    assert (node.contacts(), node.said(6929), len(node.audited("forgotten"))) == ([], [], 1)


# -------------------------------------------------------------------------------------------------- (6) and is counted


def test_6_of_very_many_the_others_are_a_number(world: SyncWorld, node: Node) -> None:
    for caller in many(SINGLY + 7):
        node.silence.heard(caller, 2)
    node.run(20)
    for number, kind, data in (
        (6929, "silent", {"waiting": 14}),
        (6930, "heard", {}),
    ):
        said, audited = node.said(number), node.audited(kind)
        assert len(said) == len(audited) == SINGLY + 1
        assert (said[0]["Server"], said[-1]["Server"]) == ("dc000.corp.test", "7 more")
        assert "more" not in audited[0]
        assert audited[-1].items() >= {"more": 7, **data}.items()
        node.run(1, *many(SINGLY + 7))
    world.clock.moment += KEPT + timedelta(days=1)
    node.run(20)
    assert [one.get("more") for one in node.audited("forgotten")] == [None] * SINGLY + [7]


def test_6_each_domain_has_its_own_number(node: Node) -> None:
    for caller in (*many(SINGLY), *many(SINGLY + 1, "lab.test")):
        node.silence.heard(caller)
    node.receive()
    node.world.clock.moment += KEPT + timedelta(days=1)
    node.run(20)
    assert [(one["domain"], one["more"]) for one in node.audited("forgotten") if "more" in one] == [
        ("lab.test", 1)
    ]


# ------------------------------------------------------------------------------------------------------ (7) the clock


def test_7_a_step_forward_and_back_makes_nobody_silent_and_hides_nobody(world: SyncWorld, node: Node) -> None:
    caller = world.caller()
    node.run(3, caller)
    world.clock.move(days=1)
    node.watch()
    node.run(3, caller)
    world.clock.move(days=-1)
    node.watch()
    node.run(3, caller)
    assert not node.said(6929)
    node.run(18)
    assert len(node.said(6929)) == 1, "reported when it fell silent, not a day later"


def test_7_a_node_that_started_while_the_clock_was_ahead_watches_when_it_is_right(
    world: SyncWorld, node: Node
) -> None:
    """The work's row is due in ten years, and so is what is on record."""
    world.clock.move(days=3650)
    node.run(2, world.caller())
    world.clock.move(days=-3650)
    again = Node(world, world.assemble().silence)
    again.silence.plant()
    again.run(20)
    assert len(again.said(6929)) == 1


def test_7_what_somebody_heard_while_the_clock_was_ahead_is_not_judged(world: SyncWorld, node: Node) -> None:
    """The worker looks first. All controllers would seem to have said nothing in that time."""
    world.clock.move(days=3650)
    node.run(20, world.caller())
    world.clock.move(days=-3650)
    Node(world, world.assemble().silence).silence.plant()
    node.watch()
    assert not node.said(6929)
    node.run(20, world.caller())
    assert not node.said(6929)


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("again", [True, False])
def test_7_what_was_noted_by_a_clock_that_was_ahead_counts_as_now(
    world: SyncWorld, node: Node, written: bool, again: bool
) -> None:
    world.clock.move(days=1)
    node.silence.heard(world.caller(), 9)
    if written:
        node.receive()
    world.clock.move(days=-1)
    if again:
        node.silence.heard(world.caller(), 3)
    node.receive()
    if written and not again:
        node.watch()
    (found,) = node.contacts()
    assert (found.heard_at, found.beat_at) == (world.clock.now(), world.clock.now())
    assert found.waiting == (3 if again else 9)
