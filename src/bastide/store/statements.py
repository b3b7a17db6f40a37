"""Statements that several repositories build in the same way."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Executable, bindparam
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

#: Of parameters in one statement: SQLite's oldest limit is 999.
PIECE = 500
T = TypeVar("T")


def pieces(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """So that a set of any size stays below what a statement may have of parameters."""
    for start in range(0, len(rows), PIECE):
        yield rows[start : start + PIECE]


def upserts(
    table: Any, keys: Sequence[str], only_if: Callable[[Any], ColumnElement[bool]] | None = None
) -> dict[str, Executable]:
    """By dialect: insert, or replace all but the keys. `only_if`: made of the new row, says when to replace."""
    made: dict[str, Executable] = {}
    for dialect, make in (("sqlite", sqlite_insert), ("postgresql", postgres_insert)):
        statement = make(table).values({c.name: bindparam(c.name) for c in table.columns})
        others = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
        made[dialect] = statement.on_conflict_do_update(
            index_elements=list(keys), set_=others, where=only_if and only_if(statement.excluded)
        )
    return made
