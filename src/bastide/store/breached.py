"""Passwords that others lost, on this server: the range files of the public corpus (Pwned Passwords), as its downloader writes them. Nothing is asked over a network.

Either a folder with a file for each of the 1,048,576 prefixes of five hexadecimal digits (`5BAA6` or `5BAA6.txt`, lines `SUFFIX:COUNT` with the other 35 digits), or one file
with lines `HASH:COUNT`, sorted by hash. A look-up reads one small file, or a few blocks of the large one: memory is the same for any size.

(1) Only SHA-1 in hexadecimal, as the corpus has it, names of files too in upper or in lower case; it finds what is in the list, and protects nothing.
(2) What cannot be read is an error, never "not found": a file that is empty or has a line that is none of the corpus, as one that was cut off or a page of a proxy.
(3) So is what is missing. The whole corpus has hundreds of hashes for each prefix: in one file a neighbour of each hash begins as it does, or that part is not there. And so
    is a file that is not sorted by hash: the corpus is published by count as well, and nothing is found there.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from bastide.domain.errors import NotConfigured
from bastide.services.reset.ports import Corpus

PREFIX = 5
PREFIXES = 16**PREFIX
_HASH = 40
#: Of one file so many places are looked at to say whether it is whole, and its end; what is missing between them is an error when a password falls on it.
_SAMPLES = 64
#: Stands behind every hash.
_END = b"G"
#: A prefix of the whole corpus has about a thousand lines, 40 KB; more than this is no such file.
_MOST = 4 * 1024 * 1024
_LINE = 256
_DIGITS = ("0123456789ABCDEF", "0123456789abcdef")
_REMEDY = "docs/how-to/self-service-reset.md says which files it takes"


class RangeFiles:
    """As the port Breached."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __repr__(self) -> str:
        return f"RangeFiles({str(self._place)!r})"

    def times(self, password: str) -> int:
        digest = hashlib.sha1(password.encode(errors="surrogatepass"), usedforsecurity=False)
        wanted = digest.hexdigest().upper().encode()  # (1)
        with _translated(self._place):
            if self._place.is_dir():
                return _in_range(self._range(wanted[:PREFIX].decode()), wanted[PREFIX:])
            return _in_sorted(self._place, wanted)

    def corpus(self) -> Corpus:
        with _translated(self._place):
            if not self._place.is_dir():
                for number in (*range(0, PREFIXES, max(PREFIXES // _SAMPLES, 1)), PREFIXES - 1):
                    _in_sorted(self._place, f"{number:0{PREFIX}X}".encode().ljust(_HASH, b"8"))
                return Corpus(1, datetime.fromtimestamp(self._place.stat().st_mtime, UTC), whole=True)
            there, oldest = bytearray(PREFIXES), float("inf")
            with os.scandir(self._place) as entries:
                for entry in entries:
                    if _is_prefix(entry.name):
                        there[int(entry.name[:PREFIX], 16)] = 1
                        oldest = min(oldest, entry.stat().st_mtime)
            number = sum(there)
            written = datetime.fromtimestamp(oldest, UTC) if number else None
            return Corpus(number, written, whole=number == PREFIXES)

    def _range(self, prefix: str) -> Path:
        """(2) Which one is missing is not said: it is the beginning of the hash of somebody's password."""
        for name in (prefix, f"{prefix}.txt", prefix.lower(), f"{prefix.lower()}.txt"):
            if (self._place / name).exists():
                return self._place / name
        raise _unusable(self._place, f"is not whole: it lacks some of its {PREFIXES} files")


@contextmanager
def _translated(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotConfigured(
            f"the list of lost passwords {place} cannot be read: {error.strerror}", remedy=_REMEDY
        ) from None
    except ValueError:
        raise NotConfigured(
            f"the list of lost passwords {place} is not of the form HASH:COUNT", remedy=_REMEDY
        ) from None


def _is_prefix(name: str) -> bool:
    stem = name.removesuffix(".txt")
    return len(stem) == PREFIX and any(set(stem) <= set(digits) for digits in _DIGITS)


def _in_range(path: Path, suffix: bytes) -> int:
    """(2) All lines are looked at: what stands behind the one that fits, or was cut off before it, says whether it is the whole file."""
    with path.open("rb") as file:
        if not 0 < os.fstat(file.fileno()).st_size <= _MOST:
            raise ValueError
        times = [(line[: len(suffix)].upper(), _count_of(line, len(suffix))) for line in file]
    return next((count for found, count in times if found == suffix), 0)


def _in_sorted(path: Path, wanted: bytes) -> int:
    """The first line that is not before the wanted one, by halving the file. (3) `before`, `after`: the nearest hashes on both sides that were seen; in the end they are the
    neighbours.
    """
    with path.open("rb") as file:
        low, high = 0, os.fstat(file.fileno()).st_size
        if not high:
            raise ValueError
        before, after = b"", _END
        while low < high:
            middle = (low + high) // 2
            key = _key(_line_from(file, middle))
            if not before <= key <= after:
                raise _unusable(path, "is not sorted by hash; the corpus is published by count as well")
            if key < wanted:
                low, before = middle + 1, key
            else:
                high, after = middle, key
        if after == wanted:
            return _count_of(_line_from(file, low), _HASH)
        if wanted[:PREFIX] not in {before[:PREFIX], after[:PREFIX]}:
            raise _unusable(path, "is not whole: it was cut off, or a part of it is missing")
        return 0


def _unusable(path: Path, why: str) -> NotConfigured:
    return NotConfigured(f"the list of lost passwords {path} {why}", remedy=_REMEDY)


def _line_from(file: BinaryIO, at: int) -> bytes:
    """The first line that begins at or after a place. Raises ValueError for one that is longer than any of the corpus."""
    file.seek(max(at - 1, 0))
    if at and len(file.readline(_LINE)) == _LINE:
        raise ValueError

    return file.readline(_LINE)


def _key(line: bytes) -> bytes:
    """Behind the last line: the end."""
    if not line:
        return _END
    _count_of(line, _HASH)
    return line[:_HASH].upper()


def _count_of(line: bytes, digits: int) -> int:
    """Raises ValueError for a line that is none of the corpus."""
    if len(line) < digits + 2 or line[digits : digits + 1] != b":":
        raise ValueError
    int(line[:digits], 16)
    return int(line[digits + 1 :])
