"""Where backups lie, as all who make and read them see it: a folder (folder.py) or a share (share.py). Whole, or not at all under their name."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Generic, Literal, Protocol, TypeVar

SUFFIX = ".bastide.age"
PART = ".part"
_STAMP = "%Y%m%dT%H%M%SZ"
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class Backup(Protocol):
    """A backup that can be read. A path is one."""

    @property
    def name(self) -> str: ...
    def open(self, mode: Literal["rb"]) -> IO[bytes]: ...


B = TypeVar("B", bound=Backup)
B_co = TypeVar("B_co", bound=Backup, covariant=True)


class Sink(Protocol):
    """What a backup is written to."""

    def write(self, data: bytes) -> int: ...
    def flush(self) -> None: ...


class Hashing:
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


@dataclass(frozen=True, slots=True)
class Written(Generic[B_co]):
    """A backup that lies there, as it was read back. `size`: in bytes; `lost`: why, each time that the connection was lost meanwhile."""

    path: B_co
    size: int
    sha256: str
    lost: tuple[str, ...] = ()


class Place(Protocol[B_co]):
    """A folder or a share."""

    def write(self, name: str, fill: Callable[[Sink], None]) -> "Written[B_co]":
        """Raises StoreUnavailable if it cannot be taken, or is not given back as it was written; and what `fill` raises."""

    def prune(self, node: str, keep: int, *, new: str) -> "tuple[B_co, ...]":
        """Remove the oldest of this node's beyond `keep`, and what is left of backups that were killed. `new`: the one that was made just now; it stays, for a
        clock that was set back gives it a name that passes for an old one. What was removed. Raises StoreUnavailable.
        """


def name_of(node: str, made_at: datetime) -> str:
    """Names sort by time, for each node."""
    plain = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in node)
    return f"{plain}-{made_at.astimezone(UTC).strftime(_STAMP)}{SUFFIX}"


def part_of(name: str) -> str:
    """What it is called until it is whole."""
    return f".{name}{PART}"


def is_of_node(name: str, node: str) -> bool:
    """Whether a backup of this node could have that name: its name and a time, and nothing else."""
    stem = name_of(node, _SOME_TIME).removesuffix(_SOME_TIME.strftime(_STAMP) + SUFFIX)
    if not (name.startswith(stem) and name.endswith(SUFFIX)):
        return False
    stamp = name.removeprefix(stem).removesuffix(SUFFIX)
    try:
        return datetime.strptime(stamp, _STAMP).strftime(_STAMP) == stamp  # noqa: DTZ007  # the Z is in the stamp
    except ValueError:
        return False


def is_part_of_node(name: str, node: str) -> bool:
    """The same of one that is not whole."""
    return name.startswith(".") and name.endswith(PART) and is_of_node(name[1:].removesuffix(PART), node)


def too_old(names: list[str], keep: int, *, new: str) -> list[str]:
    """Of the finished backups of one node, those that go."""
    others = sorted(name for name in names if name != new)
    return others[: max(len(others) - keep + 1, 0)]
