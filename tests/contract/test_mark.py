"""The mark outside of the database: the file and its twin in memory alike."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bastide.domain.audit import GENESIS
from bastide.services.recovery import Mark
from bastide.store.mark import DAMAGED, FileMark, MemoryMark

Open = Callable[[], Mark]


@pytest.fixture(params=["file", "memory"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """The same mark, as the next process of this host sees it; memory has one process only."""
    memory = MemoryMark()
    return (lambda: FileMark(tmp_path / "mark")) if request.param == "file" else (lambda: memory)


def test_before_anything_was_noted_there_is_nothing(reopened: Open) -> None:
    assert reopened().read() is None


@pytest.mark.parametrize("place", [(0, GENESIS), (1, "a" * 64), (10**18 - 1, "f" * 64)])
def test_what_was_noted_is_there(reopened: Open, place: tuple[int, str]) -> None:
    reopened().write((7, "0" * 64))
    reopened().write(place)
    assert reopened().read() == place


def test_it_goes_back_too(reopened: Open) -> None:
    """A database that was compared is the right one from then on, however old it is."""
    reopened().write((7, "0" * 64))
    reopened().write((3, "1" * 64))
    assert reopened().read() == (3, "1" * 64)


def test_the_file_is_its_owners_and_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    FileMark(file).write((7, "0" * 64))
    FileMark(file).write((8, "0" * 64))
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["mark"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"12",
        b"12 \n",
        b"x y\n",
        b"12 abc",
        b"-1 abc\n",
        b"\xff\xfe\n",
        b"9" * 500,
        b"9" * 100 + b" abc\n",
    ],
)
def test_a_file_that_says_nothing_is_damaged(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mark"
    file.write_bytes(content)
    assert FileMark(file).read() == DAMAGED


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        FileMark(tmp_path).read()
    with pytest.raises(OSError, match="No such file"):
        FileMark(tmp_path / "no" / "mark").write((1, "0" * 64))
