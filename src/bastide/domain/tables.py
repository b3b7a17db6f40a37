"""A report as a table that says what it is about, what it covers and what it could not see. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Cell = str | int | datetime | None


class Subject(StrEnum):
    """What there are reports on."""

    ELIGIBLE = "eligible"
    ACTIVATIONS = "activations"
    UNUSED = "unused"
    STANDING = "standing"
    APPROVALS = "approvals"


@dataclass(frozen=True, slots=True)
class Table:
    """`since`: what happened before does not count (None: it shows a state). `notes`: what was not seen, each a sentence: a table that leaves something out
    must not look whole.
    """

    subject: Subject
    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    made_at: datetime
    since: datetime | None = None
    notes: tuple[str, ...] = ()


def in_order(rows: Iterable[tuple[Cell, ...]]) -> tuple[tuple[Cell, ...], ...]:
    """By their cells from the left, as people read; nothing goes before something."""
    return tuple(sorted(rows, key=lambda row: [_rank(cell) for cell in row]))


def _rank(cell: Cell) -> tuple[int, str]:
    if cell is None:
        return 0, ""
    if isinstance(cell, datetime):
        return 1, cell.isoformat()
    if isinstance(cell, int):
        return 1, f"{cell:020}"
    return 1, cell.casefold()
