"""What is sent to databases: statements, as text, for servers that are not run by us too; and how their errors are told apart."""

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql
from sqlalchemy.engine.interfaces import Dialect

from bastide.domain.errors import InvalidInput, NotConfigured
from bastide.domain.passwords import Code, Proof
from bastide.extras import install
from bastide.services.passwords.ports import Security
from bastide.targets.kinds import read_settings
from bastide.targets.registry import kind
from bastide.targets.sql_db2 import Db2, Db2Dialect, db2_source
from bastide.targets.sql_mariadb import MariaDB
from bastide.targets.sql_mssql import SqlServer
from bastide.targets.sql_oracle import Oracle
from bastide.targets.sql_postgres import PostgreSQL
from bastide.targets.sql_settings import SqlSettings
from bastide.targets.sql_statements import Columns, listed, selecting, updating
from bastide.targets.sql_vendor import Vendor

#: A name that would end its quotes and begin a statement of its own, in each way of quoting.
EVIL = 'x"; DROP TABLE y; --`]'
COLUMNS = Columns("app", EVIL, ("id", EVIL, "Mixed"))
WHERE = {"host": "db.example", "database": "d", "user": "u"}

OTHERS: Mapping[str, Vendor] = {"mssql": SqlServer(), "oracle": Oracle(), "db2": Db2()}


def _made(dialect: Any) -> Dialect:
    """SQLAlchemy's own have no types."""
    found: Dialect = dialect()
    return found


UPDATES: Mapping[str, tuple[Vendor, Dialect, str]] = {
    "postgresql": (
        PostgreSQL(), _made(postgresql.dialect),
        ('UPDATE "app"."x""; DROP TABLE y; --`]" SET "x""; DROP TABLE y; --`]"=%(hash)s, "Mixed"=%(flag0)s '
        'WHERE "app"."x""; DROP TABLE y; --`]"."id" = %(key)s'),
    ),
    "mariadb": (
        MariaDB(), _made(mysql.dialect),
        ('UPDATE `app`.`x"; DROP TABLE y; --``]` SET `x"; DROP TABLE y; --``]`=%s, `Mixed`=%s '
        'WHERE `app`.`x"; DROP TABLE y; --``]`.`id` = %s AND CAST(`app`.`x"; DROP TABLE y; --``]`.`id` AS CHAR) = %s'),
    ),
    "mssql": (
        SqlServer(), _made(mssql.dialect),
        ('UPDATE [app].[x"; DROP TABLE y; --`]]] SET [x"; DROP TABLE y; --`]]]=:hash, [Mixed]=:flag0 '
        'WHERE [app].[x"; DROP TABLE y; --`]]].[id] = :key'),
    ),
    "oracle": (
        Oracle(), _made(oracle.dialect),
        ('UPDATE "app"."x""; DROP TABLE y; --`]" SET "x""; DROP TABLE y; --`]"=:hash, "Mixed"=:flag0 '
        'WHERE "app"."x""; DROP TABLE y; --`]"."id" = :key'),
    ),
    "db2": (
        Db2(), Db2Dialect(paramstyle="qmark"),
        ('UPDATE "app"."x""; DROP TABLE y; --`]" SET "x""; DROP TABLE y; --`]"=?, "Mixed"=? '
        'WHERE "app"."x""; DROP TABLE y; --`]"."id" = ?'),
    ),
}  # fmt: skip


def _flat(compiled: Any) -> str:
    return " ".join(str(compiled).split())


@pytest.mark.parametrize("name", UPDATES)
def test_a_table_is_written_with_quoted_names_and_parameters(name: str) -> None:
    vendor, dialect, wanted = UPDATES[name]
    statement = updating(vendor, COLUMNS, "id", EVIL, {"Mixed": "1"})
    compiled = statement.compile(dialect=dialect)
    assert _flat(compiled) == wanted
    assert compiled.params == {"hash": None, "flag0": "1", "key": None}


@pytest.mark.parametrize("name", UPDATES)
def test_an_identity_is_asked_in_the_same_statement(name: str) -> None:
    vendor, dialect, wanted = UPDATES[name]
    compiled = updating(vendor, COLUMNS, "id", EVIL, {"Mixed": "1"}, "Mixed").compile(dialect=dialect)
    condition = _flat(compiled).removeprefix(wanted)
    assert condition.startswith(" AND ")
    assert "Mixed" in condition
    assert compiled.params == {"hash": None, "flag0": "1", "key": None, "identity": None}


@pytest.mark.parametrize(
    ("name", "dialect", "wanted"),
    [
        ("mssql", _made(mssql.dialect), "SELECT TOP __[POSTCOMPILE_param_1] [app].[t].[id] FROM [app].[t] WHERE [app].[t].[id] >= :since"),
        ("oracle", _made(oracle.dialect), 'SELECT "app"."t"."id" FROM "app"."t" WHERE "app"."t"."id" >= :since FETCH FIRST'),
        ("db2", Db2Dialect(paramstyle="qmark"), 'SELECT "app"."t"."id" FROM "app"."t" WHERE "app"."t"."id" >= ? LIMIT ?'),
    ],
)  # fmt: skip
def test_a_table_is_read_with_a_limit(name: str, dialect: Dialect, wanted: str) -> None:
    statement = selecting(Columns("app", "t", ("id",)), "id", 10)
    assert _flat(statement.compile(dialect=dialect)).startswith(wanted), name


@pytest.mark.parametrize(
    ("vendor", "dialect", "wanted"),
    [
        (SqlServer(), _made(mssql.dialect),
         ("SELECT [INFORMATION_SCHEMA].[COLUMNS].[COLUMN_NAME] FROM [INFORMATION_SCHEMA].[COLUMNS] "
         "WHERE [INFORMATION_SCHEMA].[COLUMNS].[TABLE_SCHEMA] = :of_schema AND [INFORMATION_SCHEMA].[COLUMNS].[TABLE_NAME] = :of_table")),
        (Oracle(), _made(oracle.dialect),
         ('SELECT "SYS"."ALL_TAB_COLUMNS"."COLUMN_NAME" FROM "SYS"."ALL_TAB_COLUMNS" '
         'WHERE "SYS"."ALL_TAB_COLUMNS"."OWNER" = :of_schema AND "SYS"."ALL_TAB_COLUMNS"."TABLE_NAME" = :of_table')),
        (Db2(), Db2Dialect(paramstyle="qmark"),
         ('SELECT "SYSCAT"."COLUMNS"."COLNAME" FROM "SYSCAT"."COLUMNS" '
         'WHERE "SYSCAT"."COLUMNS"."TABSCHEMA" = ? AND "SYSCAT"."COLUMNS"."TABNAME" = ?')),
    ],
)  # fmt: skip
def test_the_catalogue_is_asked(vendor: Vendor, dialect: Dialect, wanted: str) -> None:
    assert _flat(listed(vendor.catalogue).compile(dialect=dialect)) == wanted


@pytest.mark.parametrize("name", ["mssql", "oracle", "db2"])
def test_what_is_not_run_by_us_says_so_and_is_not_called_secure(name: str) -> None:
    found = kind(name)
    assert "not run by us" in found.note
    settings = read_settings(found.settings, {**WHERE, "tls": "verify"})
    vendor = OTHERS[name]
    assert vendor.security(None, settings) is Security.UNKNOWN
    with pytest.raises(InvalidInput, match="in clear only"):
        read_settings(found.settings, {**WHERE, "passwords": {"kind": "role"}})
    assert vendor.schema(settings) == {"mssql": "dbo"}.get(name, "U")


@pytest.mark.parametrize("name", ["mssql", "oracle", "db2"])
def test_a_driver_that_is_not_installed_is_named(name: str) -> None:
    from bastide.targets.sql_vendor import engine_for

    vendor = OTHERS[name]
    settings = read_settings(kind(name).settings, WHERE)
    with pytest.raises(NotConfigured) as caught:
        engine_for(_Missing(vendor), settings, "")  # type: ignore[arg-type]
    assert caught.value.remedy == f"`{install(name)}`"


class _Missing:
    """A vendor whose driver is nowhere, whatever is installed here."""

    driver = "no_such_driver_here"

    def __init__(self, vendor: Vendor) -> None:
        self.kind, self.extra = vendor.kind, vendor.extra


@pytest.mark.parametrize(("name", "note"), [("postgresql", ""), ("mariadb", "")])
def test_what_is_run_by_us_has_no_note(name: str, note: str) -> None:
    assert kind(name).note == note


@pytest.mark.parametrize("secret", ["a;SECURITY=", "{x}", "nul\0"])
def test_a_db2_connection_string_takes_no_password_that_would_end_it(secret: str) -> None:
    settings = SqlSettings(**WHERE)  # type: ignore[arg-type]
    with pytest.raises(NotConfigured) as caught:
        db2_source(settings, "u", secret)
    assert secret not in caught.value.message
    assert "SECURITY=SSL;" in db2_source(settings, "u", "plain")


@pytest.mark.parametrize(
    ("vendor", "arguments", "code", "gone"),
    [
        (SqlServer(), (18456, b"Login failed"), Code.CREDENTIALS, False),
        (SqlServer(), (229, b"denied"), Code.DENIED, False),
        (SqlServer(), (20009, b"unreachable"), Code.UNAVAILABLE, True),
        (SqlServer(), (50000, b"secret"), Code.FAILED, False),
        (Db2(), (), Code.FAILED, True),
        (MariaDB(), (2013, "Lost connection"), Code.UNAVAILABLE, True),
        (MariaDB(), (1133, "x"), Code.OBJECT_MISSING, False),
        (MariaDB(), (1064, "near 'secret'"), Code.FAILED, False),
    ],
)
def test_errors_are_told_apart_without_their_texts(
    vendor: Vendor, arguments: tuple[Any, ...], code: Code, gone: bool
) -> None:
    failure = vendor.failure(Exception(*arguments))
    assert (failure.code, failure.gone) == (code, gone)
    assert "secret" not in failure.detail


def test_oracle_numbers_its_errors_in_an_object() -> None:
    class Said:
        code = 1017

    assert Oracle().failure(Exception(Said())).code is Code.CREDENTIALS
    assert Oracle().verify(None, None, None, "") is Proof.NOT_TRIED  # type: ignore[arg-type]


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sql-and-file-targets.md"
KINDS = (
    "postgresql",
    "mariadb",
    "mssql",
    "oracle",
    "db2",
    "attribute-value-pairs",
    "delimited",
    "fixed-width",
    "ldif",
    "dsml",
)


def _names(model: Any) -> set[str]:
    """Of settings and of the parts in them."""
    found: set[str] = set()
    for field in msgspec.structs.fields(model):
        found.add(field.name)
        parts = typing.get_args(field.type) or (field.type,)
        for part in parts:
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                found |= _names(part)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_every_setting_is_described(name: str) -> None:
    page = PAGE.read_text()
    assert f"| `{name}` |" in page
    missing = {one for one in _names(kind(name).settings) if f"`{one}`" not in page}
    assert not missing
    row = page.partition(f"| `{name}` |")[2].partition("\n")[0]
    assert row.endswith("| **not run by us** |") is bool(kind(name).note)
