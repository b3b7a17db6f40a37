"""File locks that do not outlive their use: two `up` of one lab do not race, and no file stays behind."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bastide_lab.plan import LOCK_ROOT


@contextmanager
def exclusive(name: str, root: Path = LOCK_ROOT, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock called `name`. The kernel frees it when its holder dies; without `wait`, BlockingIOError if there is one."""
    path = root / f"{name}.lock"
    descriptor = _acquire(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other locks are in it
            root.rmdir()
        os.close(descriptor)


def _acquire(path: Path, how: int) -> int:
    """The lock counts only if the file locked is still the one that the name leads to: a holder unlinks it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # its directory was taken away in between
            continue
        try:
            fcntl.flock(descriptor, how)
        except BaseException:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)
