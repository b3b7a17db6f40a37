"""What a file is made of for us: records with a line number. And how text is read so that no line is longer than it may be."""

import codecs
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from bastide.domain.errors import BadSource

#: Longest first: UTF-32 little endian begins as UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """One object. `line`: where it begins in the file; 0: in none yet. `dn` only where the format has one."""

    line: int
    values: Mapping[str, Sequence[str]]
    dn: str = ""

    def __repr__(self) -> str:
        return f"Record(line {self.line})"


class Unwritable(Exception):
    """The format cannot hold this record. The message holds nothing of it."""


class Format(Protocol):
    """One way to write records into a file."""

    def read(self, source: BinaryIO) -> Iterator[Record]:
        """Raises BadSource with the line, and without what stands there."""

    def check(self, record: Record) -> None:
        """Raises Unwritable."""

    def write(self, records: Iterable[Record]) -> Iterator[bytes]:
        """The whole file, in parts. Every record has passed `check`."""


def bad(line: int, what: str) -> BadSource:
    """A fault in a file."""
    return BadSource(f"line {line}: {what}", remedy="correct the file; nothing of it was taken")


def text_of(raw: bytes) -> str:
    """A value as text; what is no UTF-8 (a GUID, a picture) is shown in hexadecimal."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.hex()


def encoding_of(source: BinaryIO, encoding: str) -> str:
    """That of the byte order mark, or the one that the settings say. The file is at its beginning again."""
    start = source.read(4)
    source.seek(0)
    return next((name for mark, name in _MARKS if start.startswith(mark)), encoding)


class Lines:
    """Lines of a text, with their numbers and ends. `limit`: characters since `begin` was called last."""

    def __init__(self, source: BinaryIO, encoding: str, limit: int, newline: str) -> None:
        self._text = io.TextIOWrapper(source, encoding_of(source, encoding), "strict", newline=newline)
        self._limit = limit
        self._left = limit
        #: Of the line that came last.
        self.number = 0

    def begin(self) -> None:
        """A new record begins."""
        self._left = self._limit

    def __iter__(self) -> Iterator[str]:
        while line := self._next():
            yield line

    def _next(self) -> str:
        try:
            line = self._text.readline(self._left + 3)
        except UnicodeError:
            raise bad(self.number + 1, "or one soon after it is not in the encoding of the file") from None
        self.number += 1
        self._left -= len(line.rstrip("\r\n"))
        if self._left < 0:
            raise bad(self.number, f"a record has more than {self._limit} characters")
        return line

    def close(self) -> None:
        """Leaves the file open: whoever opened it closes it."""
        self._text.detach()
