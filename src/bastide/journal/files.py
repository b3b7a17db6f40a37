"""Log files of a node: bounded, for the service's user alone, and read back for a span.

A process writes into a file of its own, `NODE.ROLE.jsonl`, which is renamed when it is full, `.1` being the newest of the full ones; the oldest goes. All nodes of a
machine may share a folder.
"""

import logging
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from heapq import merge
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Annotated, TextIO
from urllib.parse import quote

import msgspec

from bastide.domain.journal import Span
from bastide.journal.lines import JsonLines
from bastide.services.journal import Journal, Read

#: Full files beside the one in use.
_FULL = 7
_ROLES = ("serve", "worker")
_SUFFIX = ".jsonl"
_NUMBER = re.compile(r"\.[1-9][0-9]*\Z")
_MIB = 1024 * 1024
_log = logging.getLogger(__name__)


class _Head(msgspec.Struct, frozen=True):
    """What is looked at of a record."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]
    level: str
    logger: str


_HEADS = msgspec.json.Decoder(_Head)


class BoundedFiles(RotatingFileHandler):
    """Eight files of an eighth of the size, mode 0600."""

    def __init__(self, path: Path, megabytes: int) -> None:
        """Raises OSError."""
        super().__init__(path, maxBytes=megabytes * _MIB // (_FULL + 1), backupCount=_FULL, encoding="utf-8")
        self.setFormatter(JsonLines())

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.fdopen(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging calls it so
        """A full disk must not stop the service, nor print a record raw: standard error has it already."""


def open_files(folder: Path, node: str, role: str, megabytes: int) -> logging.Handler | None:
    """Everything of ours up to the steps of traces and debug records goes there. None, and a warning: the folder cannot be made or written to. Its parent is never made."""
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        return BoundedFiles(folder / _name(node, role), megabytes)
    except OSError as error:
        _log.warning("log records go to standard error alone: %s: %s", folder, error.strerror)
        return None


def stock(folder: Path) -> dict[str, list[Path]]:
    """All log files there, of whichever node and process, by the name of the one in use. Raises OSError."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        current = _NUMBER.sub("", path.name)
        if current.endswith(_SUFFIX):
            found.setdefault(current, []).append(path)
    return found


class FileJournal(Journal):
    """The files of one node in a folder."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node

    def read(self, span: Span, most: int) -> Read:
        """At most so many characters, the newest. Raises OSError."""
        self._folder.stat()
        kept: deque[tuple[datetime, str]] = deque()
        torn, size, whole_from = _Count(), 0, None
        with ExitStack() as stack:
            files = [_files(self._folder / _name(self._node, role), span, stack) for role in _ROLES]
            for at, line in merge(*(_records(each, span, torn) for each in files), key=lambda one: one[0]):
                kept.append((at, line))
                size += len(line)
                while size > most:
                    whole_from, dropped = kept.popleft()
                    size -= len(dropped)
        if whole_from is not None:
            whole_from = kept[0][0] if kept else span.until
        return Read(tuple(kept), whole_from, torn.number)


class _Count:
    """Lines that could not be read."""

    def __init__(self) -> None:
        self.number = 0


def _files(current: Path, span: Span, stack: ExitStack) -> list[TextIO]:
    """Of one process, oldest first. Opened from the newest on, before any is read: one that is renamed meanwhile is met twice, and never missed."""
    found: dict[tuple[int, int], TextIO] = {}
    for path in (current, *(current.with_name(f"{current.name}.{n}") for n in range(1, _FULL + 1))):
        with suppress(FileNotFoundError):  # there are not so many
            file = stack.enter_context(path.open(encoding="utf-8", errors="replace", newline="\n"))
            stat = os.fstat(file.fileno())
            if datetime.fromtimestamp(stat.st_mtime, UTC) >= span.since:
                found.setdefault((stat.st_dev, stat.st_ino), file)
    return [*reversed(found.values())]


def _records(files: list[TextIO], span: Span, torn: _Count) -> Iterator[tuple[datetime, str]]:
    """Of one process, oldest first."""
    for file in files:
        for line in file:
            try:
                head = _HEADS.decode(line)
            except (msgspec.MsgspecError, ValueError):
                torn.number += 1
                continue
            if span.has(head.at, head.level, head.logger):
                yield head.at, line.rstrip("\n")


def _name(node: str, role: str) -> str:
    """No name of a node leads out of the folder."""
    return f"{quote(node, safe='')}.{role}{_SUFFIX}"
