"""The four statements that are sent to tables, built by SQLAlchemy: it quotes names, and values are parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, TableClause, Update, bindparam, column, quoted_name, select, table, update
from sqlalchemy.types import NullType

from bastide.targets.sql_vendor import Catalogue, Vendor


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of a table or view, with names as the catalogue has them."""

    schema: str
    table: str
    names: tuple[str, ...]


def listed(catalogue: Catalogue) -> Select[str]:
    """Which columns of the table `of_table` in `of_schema` our account sees."""
    source = table(
        catalogue.table,
        *(column(name) for name in (catalogue.of_schema, catalogue.of_table, catalogue.of_column)),
        schema=catalogue.schema,
    )
    return select(source.c[catalogue.of_column]).where(
        source.c[catalogue.of_schema] == bindparam("of_schema"),
        source.c[catalogue.of_table] == bindparam("of_table"),
    )


def selecting(columns: Columns, change: str, limit: int) -> Select[Any]:
    """All rows, or those whose column `change` is not below the parameter `since`; no more than `limit`."""
    source = _source(columns)
    statement = select(*(source.c[name] for name in columns.names)).limit(limit)
    if change:
        statement = statement.where(source.c[change] >= bindparam("since", type_=NullType()))
    return statement


def updating(
    vendor: Vendor, columns: Columns, key: str, hashed: str, flags: Mapping[str, str], identity: str = ""
) -> Update:
    """One row: the parameter `hash` into the column `hashed`, if there is one, where the column `key` is the parameter `key`, and the column
    `identity`, if there is one, the parameter `identity`.
    """
    target = _source(columns)
    values = {hashed: bindparam("hash", type_=NullType())} if hashed else {}
    values |= {
        name: bindparam(f"flag{number}", value, type_=NullType())
        for number, (name, value) in enumerate(flags.items())
    }
    statement = update(target).where(vendor.same(target.c[key], "key")).values(values)
    return statement.where(vendor.same(target.c[identity], "identity")) if identity else statement


def showing(
    vendor: Vendor, columns: Columns, key: str, names: Sequence[str], identity: str = ""
) -> Select[Any]:
    """These columns of the row that `updating` would write."""
    source = _source(columns)
    statement = select(*(source.c[name] for name in names)).where(vendor.same(source.c[key], "key"))
    return statement.where(vendor.same(source.c[identity], "identity")) if identity else statement


def _source(columns: Columns) -> TableClause:
    return table(
        quoted_name(columns.table, quote=True),
        *(column(quoted_name(name, quote=True)) for name in columns.names),
        schema=quoted_name(columns.schema, quote=True),
    )
