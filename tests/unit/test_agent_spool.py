"""The queue: durable, sealed, in order, and honest about what it lost."""

import errno
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bastide_agent import spool as spool_module
from bastide_agent import spool_file
from bastide_agent.failures import SpoolFull, Stop
from bastide_agent.spool import KEY, QUEUE, Change, Spool
from bastide_agent.spool_file import SealedFile, load_key, read
from tests.support.agent import MemoryLog

ROOT = Path(__file__).parents[2]
A, B = "target-a", "target-b"
SECRET = b"CANARY-ciphertext-9f3b"


def change(reference: str, user: str = "u1") -> Change:
    return Change(
        reference=reference,
        user_guid=user,
        user_sid="S-1-5-21-1",
        account=f"name-{user}",
        changed_at=5,
        revision=1,
        origin="dc",
        secret=SECRET,
        check=b"c" * 32,
    )


def opened(path: Path, log: MemoryLog | None = None, limit: int = 1 << 20) -> Spool:
    return Spool(path, log or MemoryLog(), limit=limit, aside=lambda: "now")


def references(spool: Spool, target: str) -> list[str]:
    found: list[str] = []
    while item := spool.next_for(target, found):
        found.append(item.change.reference)
    return found


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


# --------------------------------------------------------------------------------------------------------------- sealed


def test_nothing_can_be_read_in_the_file(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1"), [A])], 1)
    spool.close()
    for path in tmp_path.iterdir():
        raw = path.read_bytes()
        assert SECRET not in raw
        assert b"name-u1" not in raw
        assert path.stat().st_mode & 0o077 == 0


def test_the_key_is_random_and_never_a_default(tmp_path: Path) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    one.mkdir()
    other.mkdir()
    assert load_key(one / KEY) != load_key(other / KEY)
    assert load_key(one / KEY) == load_key(one / KEY)
    for bad in (b"short", bytes(32), b"x" * 33):
        (one / KEY).write_bytes(bad)
        with pytest.raises(Stop, match="no key") as stop:
            load_key(one / KEY)
        assert stop.value.number == 6022
    (other / KEY).chmod(0o640)
    with pytest.raises(Stop, match="open to others"):
        load_key(other / KEY)


def damaged(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> tuple[Spool, MemoryLog]:
    spool = opened(tmp_path)
    for number in range(3):
        spool.add([(change(str(number), f"u{number}"), [A])], 1)
    spool.close()
    path = tmp_path / QUEUE
    path.write_bytes(spoil(path.read_bytes()))
    log = MemoryLog()
    return opened(tmp_path, log), log


def entry_starts(raw: bytes) -> list[int]:
    """Where entries begin; the first holds the known references."""
    at, found = 56, []
    while at < len(raw):
        found.append(at)
        at += 4 + int.from_bytes(raw[at : at + 4], "big")
    return found


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize(
    ("spoil", "number", "left"),
    [
        (lambda raw: raw[:-5], 6011, 2),
        (lambda raw: raw + b"\0\0", 6011, 3),
        (lambda raw: b"X" + raw[1:], 6014, 0),
        (lambda _raw: b"", 6014, 0),
        (lambda raw: raw[:20], 6016, 0),
        (lambda raw: flipped(raw, 11), 6015, 0),
        (lambda raw: flipped(raw, 9), 6016, 0),
        (lambda raw: flipped(raw, 15), 6016, 0),
        (lambda raw: flipped(raw, entry_starts(raw)[2] + 40), 6017, 1),
        (lambda raw: flipped(raw, entry_starts(raw)[3]), 6017, 2),
        (lambda raw: raw[: entry_starts(raw)[2]] + raw[entry_starts(raw)[3] :], 6017, 1),
        (lambda raw: raw[: entry_starts(raw)[1]] + raw[entry_starts(raw)[2] :] * 2, 6017, 0),
    ],
    ids=[
        "torn",
        "torn-length",
        "other-file",
        "empty",
        "cut-header",
        "tag-length",
        "format",
        "identity",
        "bit",
        "length",
        "missing",
        "repeated",
    ],
)
def test_damage_is_named_set_aside_and_survived(
    tmp_path: Path, spoil: Callable[[bytes], bytes], number: int, left: int
) -> None:
    spool, log = damaged(tmp_path, spoil)
    assert log.numbers() == [number]
    assert references(spool, A) == [str(one) for one in range(left)]
    assert spool.saved_as == "queue.corrupt-now.dat"
    assert (tmp_path / spool.saved_as).exists()
    spool.add([(change("new"), [A])], 1)
    assert opened(tmp_path).waiting() == left + 1


def test_entries_of_another_queue_do_not_fit(tmp_path: Path) -> None:
    spool, log = damaged(tmp_path, lambda raw: raw)
    assert log.numbers() == []
    first = (tmp_path / QUEUE).read_bytes()
    spool.close()
    second = opened(tmp_path)
    second.close()
    raw = (tmp_path / QUEUE).read_bytes()
    (tmp_path / QUEUE).write_bytes(raw[:56] + first[56:])
    opened(tmp_path, log)
    assert log.numbers() == [6017]


def test_another_key_reads_nothing(tmp_path: Path) -> None:
    opened(tmp_path).add([(change("1"), [A])], 1)
    (tmp_path / KEY).unlink()
    log = MemoryLog()
    assert opened(tmp_path, log).waiting() == 0
    assert log.numbers() == [6016]


def test_a_file_that_cannot_be_read_stops_us_untouched(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / QUEUE).unlink()
    (tmp_path / QUEUE).mkdir()
    with pytest.raises(Stop) as stop:
        opened(tmp_path)
    assert stop.value.number == 6013


# ----------------------------------------------------------------------------------------------------------- disk, death


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A full disk as a process sees it: the write fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_takes_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1"), [A])], 1)
    size = (tmp_path / QUEUE).stat().st_size
    with largest_file(size + 100), pytest.raises(SpoolFull):
        spool.add([(change("2"), [A]), (change("3"), [A])], 1)
    assert not spool.knows("2")
    assert (tmp_path / QUEUE).stat().st_size == size
    spool.add([(change("2"), [A])], 1)
    again = opened(tmp_path)
    assert again.saved_as == ""
    assert references(again, A) == ["1"]
    assert again.waiting() == 2


def test_a_full_disk_does_not_make_a_target_hear_it_twice(tmp_path: Path) -> None:
    log = MemoryLog()
    spool = opened(tmp_path, log)
    spool.add([(change("1"), [A])], 1)
    with largest_file((tmp_path / QUEUE).stat().st_size):
        assert "1" in spool.done(A, {"1": True})
    assert log.numbers() == [6018]
    assert spool.next_for(A) is None


def test_the_largest_size_is_kept(tmp_path: Path) -> None:
    spool = opened(tmp_path, limit=2000)
    with suppress(SpoolFull):
        for number in range(50):
            spool.add([(change(str(number)), [A])], 1)
    with pytest.raises(SpoolFull, match="largest size"):
        spool.add([(change("one more"), [A])], 1)
    assert (tmp_path / QUEUE).stat().st_size <= 2000
    assert opened(tmp_path, limit=2000).waiting() == spool.waiting() > 2


def test_what_is_over_is_written_away(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(3000):
        spool.add([(change(str(number)), [A])], 1)
        spool.done(A, {str(number): True})
    spool.add([(change("last"), [A])], 1)
    assert (tmp_path / QUEUE).stat().st_size < 600_000
    again = opened(tmp_path)
    assert references(again, A) == ["last"]
    assert again.knows("2999")


class NoSecondFile:
    """A disk with room for entries, and while it is `full` none for a second file. `tried`: how often one was begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, self.tried = False, 0
        self._write_all = spool_file._write_all
        monkeypatch.setattr(spool_file, "_write_all", self._write)
        monkeypatch.setattr(spool_module, "_WASTE", 4)  # anew after two finished changes, and not a thousand

    def _write(self, descriptor: int, data: bytes) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".new":
            self.tried += 1
            if self.full:
                self._write_all(descriptor, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
        self._write_all(descriptor, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> NoSecondFile:
    return NoSecondFile(monkeypatch)


def test_no_room_for_a_new_file_harms_nothing(tmp_path: Path, disk: NoSecondFile) -> None:
    log = MemoryLog()
    spool = opened(tmp_path, log)
    spool.add([(change(str(number), f"u{number}"), [A]) for number in range(20)], 1)
    disk.full, disk.tried = True, 0
    took = {str(number): True for number in range(18)}
    assert spool.tried(A, took) == dict.fromkeys(took, 1)
    assert set(spool.done(A, took)) == set(took)
    assert disk.tried == 1
    assert [one["detail"] for one in log.of(6018)] == [
        "the queue cannot be written: No space left on device: it is not made smaller now"
    ]
    assert not (tmp_path / QUEUE).with_suffix(".new").exists()
    assert [one.reference for one in spool.add([(change("new"), [A])], 1)] == ["new"]
    disk.full = False
    assert references(opened(tmp_path), A) == ["18", "19", "new"]


def test_what_was_given_up_is_named_without_room_for_a_new_file(tmp_path: Path, disk: NoSecondFile) -> None:
    spool = opened(tmp_path)
    spool.add([(change(str(number)), [A]) for number in range(9)], 1)
    disk.full = True
    assert len(spool.expire(2)) == 9


def test_a_new_file_is_not_tried_with_every_entry_and_is_made_when_there_is_room(
    tmp_path: Path, disk: NoSecondFile
) -> None:
    spool = opened(tmp_path)
    spool.add([(change(str(number)), [A]) for number in range(50)], 1)
    disk.full, disk.tried = True, 0
    for number in range(50):
        spool.done(A, {str(number): True})
    assert 1 <= disk.tried <= 4
    disk.full, before = False, (tmp_path / QUEUE).stat().st_size
    spool.add([(change(str(number)), [A]) for number in range(50, 100)], 1)
    for number in range(50, 100):
        spool.done(A, {str(number): True})
    assert (tmp_path / QUEUE).stat().st_size < before
    assert opened(tmp_path).knows("0")


def test_a_new_file_whose_name_may_not_last_is_written_again(
    tmp_path: Path, disk: NoSecondFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename is done, and the directory cannot be synced: entries must not go on into a file that may have no name."""
    spool = opened(tmp_path)
    spool.add([(change(str(number)), [A]) for number in range(9)], 1)
    with monkeypatch.context() as patch:

        def broken(_path: Path) -> None:
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(spool_file, "sync_directory", broken)
        assert len(spool.done(A, {str(number): True for number in range(9)})) == 9
    disk.tried = 0
    spool.add([(change("new"), [A])], 1)
    assert disk.tried == 1
    assert references(opened(tmp_path), A) == ["new"]


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


KILLED = """
import os, sys
from pathlib import Path
from bastide_agent import spool_file
from bastide_agent.spool import Spool
from tests.support.agent import MemoryLog
from tests.unit.test_agent_spool import change
die_at, path = int(sys.argv[1]), Path(sys.argv[2])
count = 0
def step(real):
    def wrapped(*arguments):
        global count
        count += 1
        if count == die_at:
            os.kill(os.getpid(), 9)
        return real(*arguments)
    return wrapped
os.write, os.fsync, Path.rename = step(os.write), step(os.fsync), step(Path.rename)
spool = Spool(path, MemoryLog(), limit=1 << 20, aside=lambda: "now")
told = os.open(path / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
import ctypes
libc = ctypes.CDLL(None)
for number in range(4):
    spool.add([(change(str(number), f"u{number}"), ["target-a"])], 1)
    line = f"{number}\\n".encode()
    libc.write(told, line, len(line))
spool._compact()
print("through", count)
"""


def test_kill_9_at_every_write_loses_nothing_that_counted(tmp_path: Path) -> None:
    """Each write, fsync and rename of four changes and a compaction is the last thing a process does."""
    steps = 0
    for die_at in range(1, 200):
        path = tmp_path / str(die_at)
        path.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(die_at), str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        told = (path / "told").read_text().split() if (path / "told").exists() else []
        log = MemoryLog()
        found = references(opened(path, log), A)
        assert found[: len(told)] == told, (die_at, log.lines)
        assert len(found) <= len(told) + 1
        if done.returncode == 0:
            assert "through" in done.stdout
            break
        steps += 1
    assert steps > 15


def test_a_failed_fsync_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it the kernel may have dropped what it held (fsyncgate): the file is made anew."""
    spool = opened(tmp_path)
    spool.add([(change("1"), [A])], 1)
    inode = (tmp_path / QUEUE).stat().st_ino
    with monkeypatch.context() as patch:

        def broken(_descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr("bastide_agent.spool_file.os.fsync", broken)
        with pytest.raises(SpoolFull):
            spool.add([(change("2"), [A])], 1)
    spool.add([(change("2"), [A])], 1)
    assert (tmp_path / QUEUE).stat().st_ino != inode
    assert opened(tmp_path).waiting() == 2


def test_a_sealed_file_says_when_it_is_broken(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "q", bytes(range(32)), 1 << 20)
    assert file.broken
    with pytest.raises(SpoolFull, match="not open"):
        file.append([b"x"], sync=True)
    file.rewrite([b"a", b"b"])
    file.append([b"c"], sync=False)
    file.sync()
    found = read(tmp_path / "q", bytes(range(32)))
    assert found is not None
    assert found.entries == (b"a", b"b", b"c")


def test_repr_is_silent() -> None:
    assert "CANARY" not in repr(change("1"))
    assert "CANARY" not in repr(change("1").notification(1))
