"""Several changes on their way at a time: how many, of whom, and what a break in between costs."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from bastide.wire import Answer, Notification, Verdict
from bastide_agent.deliver import WINDOW
from bastide_agent.failures import SpoolFull
from bastide_agent.spool_file import SealedFile
from tests.support.agent_delivery import RETRY, T0, World, say
from tests.support.agent_spool import change


def test_up_to_a_window_are_on_their_way_once_the_target_takes_them(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.queue(*(f"{number:03}" for number in range(2 * WINDOW + 20)))
    world.work()
    assert world.server.windows == [1, WINDOW, WINDOW, 19]
    assert world.heard() == [(f"{number:03}", 1) for number in range(2 * WINDOW + 20)]


def test_after_an_idle_connection_died_its_window_is_said_again_whole_and_no_further_one(
    tmp_path: Path,
) -> None:
    """The target was started anew, and takes nothing for now."""
    world = World(tmp_path)
    world.queue("first")
    world.work()
    world.server.restart()
    world.server.decide = say(Verdict.LATER, delay=60)
    world.server.on_beat = Answer(reference="", verdict=Verdict.LATER, delay=60)
    world.queue(*(f"{number:03}" for number in range(2 * WINDOW)))
    assert world.work() == pytest.approx(60)
    assert world.server.windows == [1, WINDOW]
    assert world.heard()[1:] == [(f"{number:03}", 1) for number in range(WINDOW)]
    world.clock.advance(60)
    world.work()
    assert world.server.windows == [1, WINDOW, 1]


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


def test_a_window_costs_two_writes_of_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One before it is sent, one after the answers."""
    world = World(tmp_path)
    world.queue(*(f"{number:03}" for number in range(101)))
    world.one.deliver(world.spool.next_few(str(world.targets[0].guid), {}, 1))
    written: list[int] = []
    append = SealedFile.append

    def counted(self: SealedFile, entries: Sequence[bytes], *, sync: bool) -> None:
        written.append(len(entries))
        append(self, entries, sync=sync)

    monkeypatch.setattr(SealedFile, "append", counted)
    world.work()
    assert written == [100, 100]
    assert World(tmp_path, *world.targets).spool.waiting() == 0


def test_a_full_disk_during_a_window_is_said_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the targets took is remembered as long as the agent runs; after a crash they are told again, under the same references."""
    world = World(tmp_path)
    world.queue(*"0123456789")

    def full(*_: object, **__: object) -> None:
        raise SpoolFull("the queue cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SealedFile, "append", full)
        patch.setattr(SealedFile, "rewrite", full)
        world.work()
    assert world.server.windows == [1, 9]
    assert len(world.log.of(6018)) == 4, "one for each write, not for each change"
    assert len(world.log.of(2100)) == 10
    assert world.spool.waiting() == 0
    again = World(tmp_path, *world.targets)
    again.work()
    assert [one for one, _ in again.heard()] == list("0123456789")
