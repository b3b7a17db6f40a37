"""What differs from one database server to the next. sql.py does the rest, for all alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Protocol

from sqlalchemy import ColumnElement, Engine, NullPool, String, bindparam, cast, create_engine
from sqlalchemy.types import NullType

from bastide.domain.errors import NotConfigured
from bastide.domain.passwords import Code, Proof
from bastide.extras import install
from bastide.services.passwords.ports import NewPassword, Security
from bastide.targets.sql_settings import SqlSettings


@dataclass(frozen=True, slots=True)
class Account:
    """A server's own account. `host` is empty where accounts have none. `identity`: what the server numbers it by; empty: not asked."""

    name: str
    host: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a driver's error means. `gone`: the connection is over. The texts of servers are not passed on: they quote statements."""

    code: Code
    detail: str
    gone: bool = False


class AccountRefused(Exception):
    """This account is not served; the others may be."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


#: An account's power over the server, or why it is not served: there is no such account, or it is another one by now.
Powers = Mapping[Account, bool | AccountRefused]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Where the server lists the columns that our account may see."""

    schema: str
    table: str
    of_schema: str
    of_table: str
    of_column: str


STANDARD = Catalogue("information_schema", "columns", "table_schema", "table_name", "column_name")


class Vendor(Protocol):
    """One kind of server."""

    kind: ClassVar[str]
    #: SQLAlchemy's name of dialect and driver, and the driver's module and extra.
    url: ClassVar[str]
    driver: ClassVar[str]
    extra: ClassVar[str]
    #: Whether accounts of the server can be set without sending a password in clear.
    roles: ClassVar[bool]
    #: Whether we tell the driver to verify the server's name, and have seen it refuse a wrong one.
    run_by_us: ClassVar[bool]
    catalogue: ClassVar[Catalogue]

    def connect(self, settings: SqlSettings, user: str, secret: str) -> Any:
        """A connection of the driver. Raises the driver's errors."""

    def schema(self, settings: SqlSettings) -> str:
        """Where a table lies whose settings do not say."""

    def same(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Whether a column of whatever type is the value that we know as text, the parameter `name`."""

    def security(self, raw: Any, settings: SqlSettings) -> Security:
        """Of an open connection."""

    def identity(self, raw: Any) -> str:
        """What the server says it is, the same for every name it is reached by; empty: nothing. Raises the driver's errors."""

    def privileged(self, raw: Any, accounts: Sequence[Account]) -> Powers:
        """Which of these accounts have power over the server, asked on the agent's own connection, in one statement. Raises AccountRefused if it serves
        none of them, and the driver's errors.
        """

    def set_role(self, raw: Any, account: Account, new: NewPassword, form: str) -> None:
        """Raises AccountRefused and the driver's errors."""

    def unlock(self, raw: Any, account: Account) -> None:
        """Make the server forget failed sign-ins, and nothing else. Raises AccountRefused where it locks nobody, and the driver's errors."""

    def verify(self, raw: Any, settings: SqlSettings, account: Account, password: str) -> Proof:
        """At most one sign-in as the account. Raises the driver's errors of `raw` only."""

    def failure(self, error: Exception) -> Failure:
        """What the driver means."""


def engine_for(vendor: Vendor, settings: SqlSettings, secret: str) -> Engine:
    """Connects as the agent's account when used. Raises NotConfigured if the driver is not installed."""
    try:
        import_module(vendor.driver)
    except ImportError:
        raise NotConfigured(
            f"the driver of {vendor.kind} is not installed", remedy=f"`{install(vendor.extra)}`"
        ) from None
    return create_engine(
        vendor.url,
        creator=lambda: vendor.connect(settings, settings.user, secret),
        poolclass=NullPool,
        hide_parameters=True,
    )


def untyped(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """The server finds the type of the parameter: SQLAlchemy would say text, and text is no integer to PostgreSQL."""
    return column == bindparam(name, type_=NullType())


def untyped_and_alike(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """For servers to which the text "7 of 9" equals the number 7: as text they must be the same, too."""
    return untyped(column, name) & (cast(column, String) == bindparam(name, type_=NullType()))


def by_code(code: int | str | None, known: Mapping[int | str, Failure], *, gone: bool) -> Failure:
    """What is known of a code, or that the server refused, with the code."""
    if code in known and code is not None:
        return known[code]
    return Failure(
        Code.FAILED, f"the server refused with code {code}" if code else "the connection broke", gone
    )
