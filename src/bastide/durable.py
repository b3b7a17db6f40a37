"""Files that are on the disk when a call returns: whole, under their name, and never readable by more than they are meant for.

(1) A new file has its mode from the start, whatever the umask, and follows no link. What could not be written whole is taken away again.
(2) A file that is replaced is the old one or the new one, whatever happens: the new one is on the disk before it gets the name.
(3) A name is in its folder, and that is on the disk as well.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: What a umask takes. A file that is its owner's alone needs no chmod, which a mount whose owner is fixed refuses (CIFS, vfat).
_TAKEN = 0o077


def create(path: Path, parts: Iterable[bytes], mode: int = 0o600) -> None:
    """(1) Its name is on the disk with the next `sync`. Raises FileExistsError, OSError, and what `parts` raises."""
    descriptor = os.open(path, _NEW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode & _TAKEN:
                os.fchmod(file.fileno(), mode)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def replace(path: Path, draft: Path, parts: Iterable[bytes], mode: int = 0o600) -> None:
    """(2) `draft`: a name in the same folder that is this writer's alone; what is there is of one that was killed. Raises OSError, and what `parts` raises."""
    draft.unlink(missing_ok=True)
    create(draft, parts, mode)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """(3) Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
