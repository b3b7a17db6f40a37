"""The mark outside of the database (services/recovery.py): a file of one line, or memory for as long as the process runs."""

import os
from pathlib import Path

from bastide import durable
from bastide.services.recovery import Place

#: What no database has: the chain begins with record 1.
DAMAGED: Place = (0, "")
_LINE = "{} {}\n"
_LONGEST = 200
#: Of a number that a database can hold.
_DIGITS = 18


class FileMark:
    """In a file of mode 0600. It is replaced as a whole, and on the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Place | None:
        """None: there is no such file."""
        try:
            with self._path.open("rb") as file:
                text = file.read(_LONGEST)
        except FileNotFoundError:
            return None
        seq, _, rest = text.partition(b" ")
        if not seq.isdigit() or len(seq) > _DIGITS or len(rest) < 2 or not rest.endswith(b"\n"):  # noqa: PLR2004  # a hash and the end of the line
            return DAMAGED
        return int(seq), rest[:-1].decode("ascii", "replace")

    def write(self, place: Place) -> None:
        """By a file beside it, so that no crash leaves half a line."""
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        durable.replace(self._path, beside, [_LINE.format(*place).encode()])


class MemoryMark:
    """The same in memory: what came back while the process ran is noticed, and nothing else."""

    def __init__(self) -> None:
        self._place: Place | None = None

    def read(self) -> Place | None:
        return self._place

    def write(self, place: Place) -> None:
        self._place = place
