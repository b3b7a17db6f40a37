"""Statements that several repositories build in the same way."""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, Self

from sqlalchemy import ARRAY, Boolean, ColumnElement, Dialect, Executable, Text, bindparam
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class _Texts(TypeDecorator[Collection[str]]):
    """Any number of texts in one parameter: an array on PostgreSQL, JSON on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """What the driver is told."""
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Collection[str] | None, dialect: Dialect) -> Any:
        """What the driver gets."""
        texts = [*value] if value else []
        return texts if dialect.name == "postgresql" else json.dumps(texts)


class _OneOf(FunctionElement[bool]):
    name = "one_of"
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: object = None) -> Self:  # noqa: ARG002  # as SQLAlchemy calls it
        """Itself. Beside another condition SQLAlchemy would write `... = 1` on SQLite, which then reads the whole table instead of looking into an index."""
        return self


@compiles(_OneOf, "sqlite")
def _on_sqlite(element: _OneOf, compiler: Any, **options: Any) -> str:
    column, texts = (compiler.process(one, **options) for one in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608  # of compiled parts


@compiles(_OneOf, "postgresql")
def _on_postgresql(element: _OneOf, compiler: Any, **options: Any) -> str:
    column, texts = (compiler.process(one, **options) for one in element.clauses)
    return f"{column} = ANY({texts})"


def one_of(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether the column is one of the texts that come as the parameter `name`. It is one parameter, however many they are: a list of placeholders is built and parsed
    anew each time, and has a limit.
    """
    return _OneOf(column, bindparam(name, type_=_Texts()))


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
