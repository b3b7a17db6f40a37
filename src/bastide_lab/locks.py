"""File locks that do not outlive their use: two `up` of one lab do not race, and no file stays behind."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bastide_lab.plan import LOCK_ROOT


@contextmanager
def exclusive(name: str, root: Path = LOCK_ROOT) -> Iterator[None]:
    """Hold the lock called `name`; waits for whoever holds it. The kernel frees it when the holder dies."""
    path = root / f"{name}.lock"
    descriptor = _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other locks are in it
            root.rmdir()
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """The lock counts only if the file locked is still the one that the name leads to: a holder unlinks it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # its directory was taken away in between
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)
