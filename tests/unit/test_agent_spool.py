"""The queue: each change once, in order, for each target, and within its limits."""

from contextlib import suppress
from pathlib import Path

import pytest

from bastide_agent.failures import SpoolFull
from bastide_agent.spool import QUEUE
from tests.support.agent import MemoryLog
from tests.support.agent_spool import A, B, change, opened, references


def test_what_was_added_is_there_after_a_crash(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    assert spool.loaded is None
    assert [c.reference for c in spool.add([(change("1"), [A, B])], 7)] == ["1"]
    again = opened(tmp_path)
    assert again.loaded == 1
    item = again.next_for(B)
    assert item is not None
    assert (item.change, item.queued_at, item.attempts) == (change("1"), 7, {A: 0, B: 0})


def test_a_reference_is_taken_once_for_ever(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1"), [A])], 1)
    assert spool.add([(change("1"), [A])], 2) == []
    spool.done(A, {"1": True})
    assert spool.add([(change("1"), [A])], 3) == []
    assert opened(tmp_path).add([(change("1"), [A])], 4) == []
    assert (
        opened(tmp_path).add([(change("1"), [A]), (change("2"), [A]), (change("2"), [A])], 4)[0].reference
        == "2"
    )


def test_each_target_has_it_until_it_took_it(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1"), [A, B])], 1)
    assert spool.tried(A, ["1"]) == {"1": 1}
    assert spool.tried(A, ["1", "gone"]) == {"1": 2}
    assert spool.done(A, {"1": True}) == {}
    assert spool.next_for(A) is None
    assert spool.tried(A, ["1"]) == {}
    again = opened(tmp_path)
    finished = again.done(B, {"1": False, "gone": True})["1"]
    assert finished is not None
    assert (finished.delivered, finished.failed) == ([A], [B])
    assert again.waiting() == 0


def test_attempts_survive(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1"), [A])], 1)
    spool.tried(A, ["1"])
    assert opened(tmp_path).tried(A, ["1"]) == {"1": 2}


def test_the_order_of_a_user_is_kept_and_others_pass(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1", "u1"), [A]), (change("2", "u1"), [A]), (change("3", "u2"), [A])], 1)
    assert spool.next_for(A).change.reference == "1"  # type: ignore[union-attr]
    assert spool.next_for(A, {"1"}).change.reference == "3"  # type: ignore[union-attr]
    assert spool.next_for(A, {"1", "3"}) is None


# --------------------------------------------------------------------------------------------------------------- limits


def test_a_full_queue_keeps_the_newest_change_of_each_user(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    users = ["u1", "u2", "u1", "u1", "u3"]
    spool.add([(change(str(number), user), [A]) for number, user in enumerate(users)], 1)
    assert [one.change.reference for one in spool.trim(4)] == ["0"]
    assert [one.change.reference for one in spool.trim(1)] == ["2"]
    assert references(opened(tmp_path), A) == ["1", "3", "4"]
    assert spool.trim(1) == []


def test_a_change_is_superseded_only_where_the_newer_one_goes_too(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("old"), [A, B]), (change("new"), [A])], 1)
    assert spool.trim(1) == []
    spool.done(B, {"old": True})
    assert [one.change.reference for one in spool.trim(1)] == ["old"]


def test_age_counts_for_all(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1"), [A])], 10)
    spool.add([(change("2"), [A])], 20)
    assert [one.change.reference for one in spool.expire(20)] == ["1"]
    assert references(opened(tmp_path), A) == ["2"]


def test_targets_that_are_gone_wait_for_nothing(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1"), [A]), (change("2"), [A, B])], 1)
    assert [one.change.reference for one in spool.forget_targets({B})] == ["1"]
    again = opened(tmp_path)
    assert references(again, A) == []
    assert references(again, B) == ["2"]


def test_the_largest_size_is_kept(tmp_path: Path) -> None:
    spool = opened(tmp_path, limit=2000)
    with suppress(SpoolFull):
        for number in range(50):
            spool.add([(change(str(number)), [A])], 1)
    with pytest.raises(SpoolFull, match="largest size"):
        spool.add([(change("one more"), [A])], 1)
    assert (tmp_path / QUEUE).stat().st_size <= 2000
    assert opened(tmp_path, limit=2000).waiting() == spool.waiting() > 2


def test_a_queue_that_was_full_to_the_last_byte_takes_changes_again(tmp_path: Path) -> None:
    """What its targets took could not be noted either; there was nothing in the file that was over."""
    spool = opened(tmp_path, limit=2000)
    with suppress(SpoolFull):
        for number in range(50):
            spool.add([(change(str(number), f"u{number}"), [A])], 1)
    everything = references(spool, A)
    spool.done(A, dict.fromkeys(everything, True))
    assert spool.waiting() == 0
    assert [one.reference for one in spool.add([(change("new"), [A])], 1)] == ["new"]
    assert references(opened(tmp_path, limit=2000), A) == ["new"]


# --------------------------------------------------------------------------------------------------------------- end


def test_after_its_end_nothing_is_written_whoever_asks(tmp_path: Path) -> None:
    """A target's thread, or the filter's, may come back from a long wait when another agent has the file."""
    log = MemoryLog()
    spool = opened(tmp_path, log)
    spool.add([(change("1"), [A]), (change("2"), [A])], 1)
    spool.close()
    before = (tmp_path / QUEUE).read_bytes()
    with pytest.raises(SpoolFull, match="closed"):
        spool.add([(change("3"), [A])], 1)
    spool.done(A, {"1": True})
    with pytest.raises(SpoolFull, match="closed"):
        spool.expire(2)
    assert (tmp_path / QUEUE).read_bytes() == before
    assert log.numbers() == [6018]


def test_repr_is_silent() -> None:
    assert "CANARY" not in repr(change("1"))
    assert "CANARY" not in repr(change("1").notification(1))
