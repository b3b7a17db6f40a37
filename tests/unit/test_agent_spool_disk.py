"""The queue on a disk that is full or fails, and in a process that is killed: what counted is not lost."""

import errno
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bastide_agent import spool as spool_module
from bastide_agent import spool_file
from bastide_agent.failures import SpoolFull
from bastide_agent.spool import QUEUE
from tests.support.agent import MemoryLog
from tests.support.agent_spool import A, change, opened, references

ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------------------------------------------------ a full disk


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


# --------------------------------------------------------------------------------------------------------------- death


KILLED = """
import os, sys
from pathlib import Path
from bastide_agent import spool_file
from bastide_agent.spool import Spool
from tests.support.agent import MemoryLog
from tests.support.agent_spool import change
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
