"""Backups in a folder: written beside their name, brought to the disk, read back, then given the name."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bastide import durable
from bastide.backup.place import Hashing, Sink, Written, is_of_node, is_part_of_node, part_of, too_old
from bastide.domain.errors import StoreUnavailable


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, fill: Callable[[Sink], None]) -> Written[Path]:
        """Raises StoreUnavailable if the folder cannot take it, or does not give back what was written; and what `fill` raises."""
        part = self.path / part_of(name)
        with _told(self.path):
            fd = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "r+b") as file:
                hashing = Hashing(file)
                with _told(self.path):
                    fcntl.flock(file, fcntl.LOCK_EX)  # see _is_abandoned
                    fill(hashing)
                    file.flush()
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    file.seek(0)
                    found = _digest(file)
            if found != hashing.digest():
                raise StoreUnavailable(
                    f"{self.path} gives back something else than what was written",
                    remedy="look at the disk and the kernel log",
                )
            with _told(self.path):
                os.link(part, self.path / name)  # not rename: one that is there already is not replaced
                durable.sync(self.path)
        finally:
            part.unlink(missing_ok=True)
        return Written(self.path / name, hashing.size, found)

    def prune(self, node: str, keep: int, *, new: str) -> tuple[Path, ...]:
        """Raises StoreUnavailable."""
        with _told(self.path):
            names = [one.name for one in self.path.iterdir()]
            old = too_old([name for name in names if is_of_node(name, node)], keep, new=new)
            for name in old:
                (self.path / name).unlink()
            for name in names:
                if is_part_of_node(name, node) and _is_abandoned(self.path / name):
                    (self.path / name).unlink(missing_ok=True)
        return tuple(self.path / name for name in old)


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


def _digest(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any file that reads


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
