"""Log files of a node and their twin in memory: the same records for the same span, the newest when there are too many. And what only files can do."""

import errno
import io
import json
import logging
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from bastide.domain.journal import MOST, TRACE, Level, Span
from bastide.journal.files import BoundedFiles, FileJournal, open_files
from bastide.journal.memory import MemoryJournal
from bastide.services.journal import Journal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Kept(Protocol):
    journal: Journal

    def write(self, at: datetime, level: int, text: str, logger: str = "bastide.x") -> None: ...


class Files:
    """As two processes of a node write them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal: Journal = FileJournal(folder, "n/1")
        self.handlers = [open_files(folder, "n/1", role, 1) for role in ("serve", "worker")]
        self._turn = 0

    def write(self, at: datetime, level: int, text: str, logger: str = "bastide.x") -> None:
        record = logging.LogRecord(logger, level, "f", 1, text, (), None)
        record.created = at.timestamp()
        self._turn += 1
        handler = self.handlers[self._turn % 2]
        assert handler is not None
        handler.handle(record)

    def close(self) -> None:
        for handler in self.handlers:
            if handler is not None:
                handler.close()


class Twin:
    def __init__(self) -> None:
        self.memory = MemoryJournal()
        self.journal: Journal = self.memory

    def write(self, at: datetime, level: int, text: str, logger: str = "bastide.x") -> None:
        name = logging.getLevelName(level).lower()
        line = json.dumps({"at": at.isoformat(), "level": name, "logger": logger, "message": text})
        self.memory.records.append((at, name, logger, line))


@pytest.fixture(params=["files", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "memory":
        yield Twin()
        return
    files = Files(tmp_path / "logs")
    yield files
    files.close()


def messages(kept: Kept, span: Span, most: int = MOST) -> list[str]:
    return [json.loads(line)["message"] for _, line in kept.journal.read(span, most).lines]


def test_a_span_has_its_beginning_and_not_its_end(kept: Kept) -> None:
    for number in range(4):
        kept.write(NOON + number * MINUTE, logging.INFO, f"{number}")
    assert messages(kept, Span(NOON + MINUTE, NOON + 3 * MINUTE)) == ["1", "2"]


def test_a_level_holds_those_below_it(kept: Kept) -> None:
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, 15, logging.DEBUG):
        kept.write(NOON, level, f"{level}")
    for level, wanted in enumerate(([], ["50", "40"], ["30"], ["20"], ["15"], ["10"])):
        below = messages(kept, Span(NOON, NOON + MINUTE, Level(level)))
        assert set(wanted) <= set(below)
        assert len(below) == (0, 2, 3, 4, 5, 6)[level]


def test_traces_can_be_asked_for_alone(kept: Kept) -> None:
    kept.write(NOON, 15, "a step", TRACE)
    kept.write(NOON, logging.ERROR, "else")
    assert messages(kept, Span(NOON, NOON + MINUTE, Level.VERBOSE, traces=True)) == ["a step"]


def test_the_newest_are_kept_and_it_is_said_from_when_on(kept: Kept) -> None:
    for number in range(10):
        kept.write(NOON + number * MINUTE, logging.INFO, f"{number}" + " x" * 50)
    span = Span(NOON, NOON + 20 * MINUTE)
    assert kept.journal.read(span, MOST).whole_from is None
    read = kept.journal.read(span, 700)
    assert len(read.lines) == 3
    assert read.whole_from == NOON + 7 * MINUTE
    nothing = kept.journal.read(span, 10)
    assert (nothing.lines, nothing.whole_from) == ((), NOON + 20 * MINUTE)


# ------------------------------------------------------------------------------------------------------------- files alone


def test_files_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    files = Files(tmp_path / "logs")
    for number in range(40_000):
        files.write(NOON + number * timedelta(seconds=1), logging.INFO, f"{number:06} {'x' * 40}")
    files.close()
    sizes = [path.stat().st_size for path in files.folder.iterdir()]
    assert sum(sizes) <= 2 * 1024 * 1024 + 16 * 400, "a megabyte for each process"
    assert len(sizes) == 16
    found = files.journal.read(Span(NOON, NOON + timedelta(days=1)), MOST).lines
    assert json.loads(found[-1][1])["message"].startswith("039999")
    assert len(found) < 40_000
    assert [at for at, _ in found] == sorted(at for at, _ in found)


def test_they_are_for_their_owner_alone_and_stay_in_their_folder(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = Files(tmp_path / "logs")
    finally:
        os.umask(before)
    files.close()
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert {path.name for path in files.folder.iterdir()} == {"n%2F1.serve.jsonl", "n%2F1.worker.jsonl"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.folder.iterdir()} == {0o600}


def test_a_line_that_was_torn_is_counted_and_not_believed(tmp_path: Path) -> None:
    files = Files(tmp_path / "logs")
    files.write(NOON, logging.INFO, "whole")
    files.close()
    path = next(files.folder.glob("*.worker.jsonl"))
    with path.open("ab") as file:
        file.write(b'{"at": "2026-03-01T12:00:01+00:00", "level": "info", "logg\n\xff\xfe\n{"at": 5}\n[[[[\n')
        file.write(
            b'{"at": "2026-03-01T12:00:02", "level": "info", "logger": "no zone: nobody knows when"}\n'
        )
    read = files.journal.read(Span(NOON, NOON + MINUTE), MOST)
    assert (len(read.lines), read.torn) == (1, 5)


def test_a_file_that_is_full_while_it_is_read_is_neither_missed_nor_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = open_files(tmp_path, "n", "serve", 1)
    assert isinstance(handler, BoundedFiles)
    for number in range(3):
        record = logging.LogRecord("bastide.x", logging.INFO, "f", 1, str(number), (), None)
        record.created = (NOON + number * timedelta(seconds=1)).timestamp()
        handler.handle(record)
        if not number:
            handler.doRollover()
    opened, full = Path.open, [handler.doRollover]

    def full_now(path: Path, *given: Any, **named: Any) -> Any:
        file = opened(path, *given, **named)
        while full:
            full.pop()()
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full_now)
        read = FileJournal(tmp_path, "n").read(Span(NOON, NOON + MINUTE), MOST)
    handler.close()
    assert [json.loads(line)["message"] for _, line in read.lines] == ["0", "1", "2"]


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert open_files(tmp_path / "missing" / "logs", "n", "serve", 1) is None
    assert "log records go to standard error alone" in caplog.text
    assert not (tmp_path / "missing").exists()


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, f"no space for {len(text)} characters")


def test_a_full_disk_stops_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """And prints no record raw, as logging does of itself."""
    handler = open_files(tmp_path, "n", "serve", 1)
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(FullDisk())
    assert before is not None
    before.close()
    handler.handle(logging.LogRecord("bastide.x", logging.INFO, "f", 1, "Sesame-4711", (), None))
    assert capfd.readouterr() == ("", "")


def test_a_link_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "n.serve.jsonl").symlink_to(tmp_path / "elsewhere")
    assert open_files(folder, "n", "serve", 1) is None
    assert not (tmp_path / "elsewhere").exists()
