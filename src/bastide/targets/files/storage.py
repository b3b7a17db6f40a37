"""The file system: files are replaced as a whole or not at all, by one writer at a time, and their owner and mode are looked at."""

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bastide import durable
from bastide.domain.errors import BadSource, TargetDenied, TargetUnavailable
from bastide.services.passwords.ports import Security

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LOCK_TRIES, _LOCK_WAIT = 200, 0.05
#: File systems whose bytes are on this machine. Of others we do not know who sees what goes over the wire.
_LOCAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "bcachefs"}
)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A regular file. Raises TargetUnavailable, TargetDenied, BadSource."""
    with _named(path):
        # Without O_NONBLOCK a pipe in the place of the file would hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadSource(f"{path} is not a file")
    with os.fdopen(descriptor, "rb") as source:
        yield source


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with the file, across threads and processes of this machine. Raises TargetUnavailable, TargetDenied."""
    # The file itself is replaced: a lock on it would be on what it was.
    beside = path.with_name(f".{path.name}.lock")
    with _named(beside):
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _wait(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, parts: Iterable[bytes]) -> None:
    """Under the lock: the new content, or what was there before, whatever happens. Raises TargetUnavailable, TargetDenied."""
    with _named(path):
        _sweep(path)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        durable.replace(path, draft, parts)


def security(path: Path) -> Security:
    """SECURE if only we and root can read the file and put another in its place, and it is on this machine."""
    kind = _file_system(path.parent)
    if kind not in _LOCAL:
        return Security.UNKNOWN
    ours = (0, os.geteuid())
    for folder in path.parent.resolve().parents:
        found = folder.stat()
        if found.st_uid not in ours or (found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX):
            return Security.NOT_SECURE
    own = path.parent.stat()
    if own.st_uid not in ours or own.st_mode & _OTHERS_WRITE:
        return Security.NOT_SECURE
    try:
        there = path.lstat()
    except FileNotFoundError:
        return Security.SECURE
    private = stat.S_ISREG(there.st_mode) and there.st_uid in ours and not there.st_mode & 0o077
    return Security.SECURE if private else Security.NOT_SECURE


def check_folder(path: Path) -> None:
    """That files can be made beside it. Raises TargetUnavailable, TargetDenied."""
    if not path.parent.is_dir():
        raise TargetUnavailable(f"there is no folder {path.parent}", remedy="make it, or mount it")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise TargetDenied(f"we may not write in {path.parent}", remedy="make it ours, with mode 0700")


def _wait(descriptor: int, path: Path) -> None:
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_WAIT)
        else:
            return
    raise TargetUnavailable(f"somebody else is writing {path}, for longer than we wait")


def _sweep(path: Path) -> None:
    """What a writer left that was killed."""
    prefix = f".{path.name}."
    for other in path.parent.iterdir():
        if other.name.startswith(prefix) and other.name.endswith(".tmp"):
            other.unlink(missing_ok=True)


def _file_system(folder: Path) -> str:
    """Its kind, of the mount that holds it: proc_pid_mountinfo(5)."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == number:
            return rest.split()[0]
    return ""


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise TargetDenied(f"{path}: {error.strerror}", remedy="look at its owner and mode") from None
    except OSError as error:
        raise TargetUnavailable(f"{path}: {error.strerror}") from None
