"""Files that are on the disk when a call returns (durable.py), each number, on a real disk and up to a kill at each of its steps."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bastide import durable

#: Writes, and dies at the step that it was told, or says how many steps there were.
DYING = """
import os, sys
from pathlib import Path
from bastide import durable
path, last, steps = Path(sys.argv[1]), int(sys.argv[2]), 0

def step(real):
    def done(*given, **named):
        global steps
        steps += 1
        if steps == last:
            os._exit(9)
        return real(*given, **named)
    return done

os.open, os.fsync, Path.replace = step(os.open), step(os.fsync), step(Path.replace)
durable.replace(path, path.with_name("draft"), [b"new ", b"content"])
print(steps)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process gets longer than a page."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("mode", "umask"), [(0o600, 0), (0o644, 0o077)])
def test_1_a_new_file_has_its_mode_whatever_the_umask(file: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        durable.create(file, [b"a", b"b"], mode)
    finally:
        os.umask(before)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"ab", mode)


def test_1_a_file_of_its_owner_alone_is_written_where_no_mode_can_be_set(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a mount of CIFS or vfat whose owner is fixed."""

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchmod", refused)
    durable.replace(file, file.with_name("draft"), [b"a"])
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"a", 0o600)


def test_1_what_is_there_stays_and_no_link_is_followed(file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    for path in (file, link):
        with pytest.raises(FileExistsError):
            durable.create(path, [b"new"])
    assert file.read_bytes() == b"old"
    assert {one.name for one in tmp_path.iterdir()} == {"file", "link"}


def test_1_what_cannot_be_written_whole_is_taken_away(file: Path) -> None:
    with full_disk(), pytest.raises(OSError, match="too large"):
        durable.create(file, [b"x" * 3000, b"y" * 3000])
    assert not file.exists()


def test_2_what_cannot_be_written_leaves_the_old_one_and_nothing_beside(file: Path) -> None:
    file.write_bytes(b"old")

    def breaks() -> Iterator[bytes]:
        yield b"new"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        durable.replace(file, file.with_name("draft"), breaks())
    with full_disk(), pytest.raises(OSError, match="too large"):
        durable.replace(file, file.with_name("draft"), [b"x" * 5000])
    assert file.read_bytes() == b"old"
    assert [one.name for one in file.parent.iterdir()] == ["file"]


def test_2_what_cannot_get_the_name_leaves_nothing_beside(file: Path) -> None:
    file.mkdir()
    with pytest.raises(OSError, match="directory"):
        durable.replace(file, file.with_name("draft"), [b"new"])
    assert [one.name for one in file.parent.iterdir()] == ["file"]


def test_2_3_killed_at_any_step_it_is_the_old_one_or_the_new_one(file: Path) -> None:
    """The steps: open and sync the draft, give it the name, open and sync the folder. After the name it is the new one, and never before the draft is on the disk."""
    found = []
    for last in range(1, 6):
        file.write_bytes(b"old")
        done = subprocess.run([sys.executable, "-c", DYING, file, str(last)], check=False)
        assert done.returncode == 9  # as it was told
        found.append(file.read_bytes())
    assert found == [b"old", b"old", b"old", b"new content", b"new content"]
    whole = subprocess.run(
        [sys.executable, "-c", DYING, file, "0"], check=True, capture_output=True, text=True
    )
    assert whole.stdout == "5\n", "what a killed writer left was in nobody's way"
    assert (file.read_bytes(), [one.name for one in file.parent.iterdir()]) == (b"new content", ["file"])
