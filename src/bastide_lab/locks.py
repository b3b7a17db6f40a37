"""File locks that do not outlive their use: two `up` of one lab do not race, and no file stays behind; and an end that comes in between."""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

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


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends `up` the way Ctrl-C does: through its cleaning up. And what we create, others may traverse."""
    umask = os.umask(0o022)
    in_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, _interrupt) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, previous)
        os.umask(umask)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {number}")
