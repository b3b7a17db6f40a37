"""Where backups lie: whole, or not at all under their name. Written beside it, brought to the disk, read back, then renamed."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from bastide.domain.errors import StoreUnavailable

SUFFIX = ".bastide.age"
_PART = ".part"
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Written:
    """A backup that lies there, as it was read back."""

    path: Path
    size: int
    sha256: str


def name_of(node: str, made_at: datetime) -> str:
    """Names sort by time, for each node."""
    plain = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in node)
    return f"{plain}-{made_at.astimezone(UTC).strftime(_STAMP)}{SUFFIX}"


class Sink(Protocol):
    """What a backup is written to."""

    def write(self, data: bytes) -> int: ...
    def flush(self) -> None: ...


def write(folder: Path, name: str, fill: Callable[[Sink], None]) -> Written:
    """Raises StoreUnavailable if the folder cannot take it, or does not give back what was written; and what `fill` raises."""
    part = folder / f".{name}{_PART}"
    with _told(folder):
        fd = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "r+b") as file:
            hashing = _Hashing(file)
            with _told(folder):
                fcntl.flock(file, fcntl.LOCK_EX)  # see _is_abandoned
                fill(hashing)
                file.flush()
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                file.seek(0)
                found = _digest(file)
        if found != hashing.digest():
            raise StoreUnavailable(
                f"{folder} gives back something else than what was written",
                remedy="look at the disk and the kernel log",
            )
        with _told(folder):
            os.link(part, folder / name)  # not rename: one that is there already is not replaced
            _sync(folder)
    finally:
        part.unlink(missing_ok=True)
    return Written(folder / name, hashing.size, found)


def prune(folder: Path, node: str, keep: int, *, new: Path) -> tuple[Path, ...]:
    """Remove the oldest of this node's beyond `keep`, and what is left of backups that were killed. `new`: the one that was made just now; it stays, for a clock
    that was set back gives it a name that passes for an old one. What was removed. Raises StoreUnavailable.
    """
    with _told(folder):
        others = sorted(one for one in _of_node(folder, node, SUFFIX) if one != new)
        old = tuple(others[: max(len(others) - keep + 1, 0)])
        for one in old:
            one.unlink()
        for part in _of_node(folder, node, SUFFIX + _PART, hidden="."):
            if _is_abandoned(part):
                part.unlink(missing_ok=True)
    return old


def _of_node(folder: Path, node: str, suffix: str, hidden: str = "") -> Iterator[Path]:
    """Files that have its name and a time in theirs, and nothing else."""
    stem = hidden + name_of(node, datetime(2000, 1, 1, tzinfo=UTC)).removesuffix(SUFFIX)
    prefix = stem.removesuffix(f"-{datetime(2000, 1, 1, tzinfo=UTC).strftime(_STAMP)}")
    found = folder.glob(f"{prefix}-*{suffix}")
    return (one for one in found if len(one.name) == len(stem) + len(suffix))


def _is_abandoned(part: Path) -> bool:
    """Whoever writes holds the lock, to the end. What cannot be opened, or is no file, is somebody else's."""
    try:
        fd = os.open(part, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


class _Hashing:
    """Writes, and remembers what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._digest.hexdigest()


def _digest(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any file that reads


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise StoreUnavailable(
            f"{error.filename} is there already",
            remedy="another backup runs, or was killed: look, and remove it",
        ) from None
    except OSError as error:
        raise StoreUnavailable(
            f"the backup cannot be written to {folder}: {error.strerror or error}",
            remedy="look at the folder: is it there, is there room, may this user write?",
        ) from None
