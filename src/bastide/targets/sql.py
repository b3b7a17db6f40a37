"""Databases as connected systems: one adapter for all of them. What differs is a Vendor (sql_vendor.py), one file for each.

A statement is built from parts: names from the settings are looked up in the server's catalogue and quoted, values are parameters.
"""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import Connection, exc

from bastide.domain.errors import (
    BadSource,
    BastideError,
    CapabilityMissing,
    NotConfigured,
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.management_agents import CsObject
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Imported, NewPassword, Page, Result, Security
from bastide.targets.hashing import Unhashable, salted_hash
from bastide.targets.kinds import Kind, Opening
from bastide.targets.spelling import told, unfit
from bastide.targets.sql_settings import (
    Reading,
    RolePasswords,
    SqlSettings,
    TablePasswords,
    passwords_of,
    value_of,
)
from bastide.targets.sql_statements import Columns, listed, selecting, updating
from bastide.targets.sql_vendor import Account, AccountRefused, Failure, Vendor, engine_for

_PAGE = 500
_REFUSED = frozenset({Code.CREDENTIALS, Code.DENIED})
NOT_RUN = "not run by us: statements are tested as text, the driver and the server are not"


def kind_for(vendor: Vendor, settings: type[SqlSettings]) -> Kind:
    """The kind of a vendor, for registry.py."""
    return Kind(
        settings,
        lambda chosen, opening: SqlConnector(vendor, chosen, opening),
        lambda chosen, opening: SqlTarget(vendor, chosen, opening),
        note="" if vendor.run_by_us else NOT_RUN,
    )


# -------------------------------------------------------------------------------------------------------------- errors


@contextmanager
def _translated(vendor: Vendor, *secrets: str) -> Iterator[None]:
    """The one door for errors of drivers; none tells what it has of the secrets. Raises TargetUnavailable, TargetDenied."""
    try:
        yield
    except BastideError:
        raise
    except Exception as error:  # noqa: BLE001  # _failure raises what is not the driver's
        raise _raised(vendor, _failure(vendor, error), secrets) from None


def _failure(vendor: Vendor, error: Exception) -> Failure:
    cause = error.orig if isinstance(error, exc.DBAPIError) and isinstance(error.orig, Exception) else error
    module = type(cause).__module__.partition(".")[0]
    if not isinstance(cause, OSError) and module not in {vendor.driver, "psycopg_binary", "sqlalchemy"}:
        raise error
    return vendor.failure(cause)


def _raised(vendor: Vendor, failure: Failure, secrets: Iterable[str]) -> BastideError:
    detail = told(failure.detail, secrets)
    if failure.code in _REFUSED:
        return TargetDenied(detail, remedy="look at the agent's account there, and its secret")
    return TargetUnavailable(f"{vendor.kind}: {detail}")


def _in_the_open(settings: SqlSettings, opening: Opening) -> bool:
    """Whether the secret would go over a network that the settings do not protect, and nobody has waived that."""
    return opening.require_secure and settings.tls == "off" and not settings.local


def _check_catalogue(
    connection: Connection,
    vendor: Vendor,
    settings: SqlSettings,
    schema: str,
    table: str,
    wanted: Sequence[str],
) -> Columns:
    """The names as they stand in the settings, now known to exist. Raises NotConfigured."""
    where = schema or vendor.schema(settings)
    found = connection.execute(listed(vendor.catalogue), {"of_schema": where, "of_table": table})
    present = set(found.scalars())
    if missing := [name for name in wanted if name not in present]:
        raise NotConfigured(
            f"{where}.{table} shows our account no column {', '.join(missing)}",
            remedy="names count with their case; our account needs a right on each of these columns",
        )
    return Columns(where, table, tuple(wanted))


# -------------------------------------------------------------------------------------------------------------- import


class SqlConnector:
    """Reads a table or view, one object a row."""

    def __init__(self, vendor: Vendor, settings: SqlSettings, opening: Opening) -> None:
        self._vendor = vendor
        self._settings = settings
        self._opening = opening

    def read(self, cookie: bytes) -> Iterator[Page]:
        """All rows, or those whose change column is not below the mark. Rows that were deleted show in a full import only, unless a
        column says so. Raises TargetUnavailable, TargetDenied, BadSource, NotConfigured, CapabilityMissing.
        """
        reading = self._settings.read
        if reading is None:
            raise NotConfigured("the settings name nothing to read", remedy="add `read` to the settings")
        if _in_the_open(self._settings, self._opening):
            raise NotConfigured(
                "tls is off, and without it no secret is sent over the network",
                remedy="set tls to verify, or waive the secure connection for this agent (audited)",
            )
        since = _mark(reading, cookie)
        engine = engine_for(self._vendor, self._settings, self._opening.secret)
        with _translated(self._vendor, self._opening.secret):
            try:
                with engine.connect() as connection:
                    yield from self._pages(connection, reading, since, cookie)
            finally:
                engine.dispose()

    def _pages(
        self, connection: Connection, reading: Reading, since: object, cookie: bytes
    ) -> Iterator[Page]:
        names = list(
            dict.fromkeys(
                filter(
                    None, (reading.anchor, reading.dn, reading.change, reading.deleted, *reading.attributes)
                )
            )
        )
        columns = _check_catalogue(
            connection, self._vendor, self._settings, reading.schema, reading.table, names
        )
        # Reading needs a transaction: psycopg streams from a cursor of the server.
        streaming = connection.execution_options(stream_results=True, max_row_buffer=_PAGE)
        parameters = {} if since is None else {"since": since}
        statement = selecting(columns, reading.change if since is not None else "", reading.row_limit + 1)
        # Closed here and now: PyMySQL's unread rows stand in the way of closing the connection.
        with streaming.execute(statement, parameters) as rows:
            yield from _objects(reading, names, rows, cookie)


def _objects(reading: Reading, names: Sequence[str], rows: Iterable[Any], cookie: bytes) -> Iterator[Page]:
    newest, page = None, list[Imported]()
    for number, row in enumerate(rows, 1):
        if number > reading.row_limit:
            raise BadSource(
                f"there are more than {reading.row_limit} rows", remedy="raise settings.read.row_limit"
            )
        values: dict[str, object] = dict(zip(names, row, strict=True))
        newest = _later(newest, values.get(reading.change))
        page.append(_imported(reading, values, number))
        if len(page) == _PAGE:
            yield Page(tuple(page), cookie)
            page.clear()
    yield Page(tuple(page), _cookie(newest) or cookie)


def _imported(reading: Reading, values: dict[str, object], number: int) -> Imported:
    texts = {name: _text(value, number) for name, value in values.items()}
    if sum(len(text or "") for text in texts.values()) > reading.size_limit:
        raise BadSource(
            f"row {number} has more than {reading.size_limit} characters",
            remedy="raise settings.read.size_limit",
        )
    anchor = texts[reading.anchor]
    if not anchor:
        raise BadSource(f"row {number} has no {reading.anchor}")
    dn = texts[reading.dn] if reading.dn else anchor
    if reading.deleted and values[reading.deleted] not in (None, 0, False, "", "0", b"\0"):
        return Imported(anchor, dn or anchor, reading.type, {}, deleted=True)
    attributes = {
        name: found for name in reading.attributes if (found := _several(reading, name, texts[name])) != ()
    }
    return Imported(anchor, dn or anchor, reading.type, attributes)


def _several(reading: Reading, name: str, text: str | None) -> tuple[str, ...]:
    if text is None or text == "":
        return ()
    if name not in reading.multi_valued:
        return (text,)
    return tuple(part for part in text.split(reading.separator) if part)


def _text(value: object, number: int) -> str | None:
    """A value as text; the same for the same value, whenever it is read."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, list | dict):
        raise BadSource(
            f"row {number} has a column that holds a list or a document", remedy="read it through a view"
        )
    return str(value)


def _mark(reading: Reading, cookie: bytes) -> object:
    """From where a delta is read; None: everything. Raises CapabilityMissing, BadSource."""
    if not cookie:
        return None
    if not reading.change:
        raise CapabilityMissing(
            "this agent reads no changes", remedy="name a change column, or import all of it"
        )
    try:
        kind, text = json.loads(cookie)
        if kind == "number":
            return Decimal(text) - reading.overlap
        if kind == "time":
            return dt.datetime.fromisoformat(text) - dt.timedelta(seconds=reading.overlap)
    except (ValueError, TypeError, ArithmeticError):
        pass
    raise BadSource("the mark of the last import is not ours", remedy="import all of it")


def _later(newest: Any, value: Any) -> Any:
    if value is None:
        return newest
    if not isinstance(value, int | Decimal | dt.datetime):
        raise BadSource("the change column holds neither numbers nor times with a date")
    return value if newest is None or value > newest else newest


def _cookie(newest: object) -> bytes:
    if newest is None:
        return b""
    if isinstance(newest, dt.datetime):
        return json.dumps(["time", newest.isoformat()]).encode()
    return json.dumps(["number", str(newest)]).encode()


# ----------------------------------------------------------------------------------------------------------- passwords


class SqlTarget:
    """Sets passwords: of the server's accounts, or salted hashes in a table."""

    def __init__(self, vendor: Vendor, settings: SqlSettings, opening: Opening) -> None:
        self._vendor = vendor
        self._settings = settings
        self._passwords = passwords_of(settings)
        self._secret = opening.secret
        self._closed_off = _in_the_open(settings, opening)
        self._engine = engine_for(vendor, settings, opening.secret)
        self._connection: Connection | None = None
        self._columns = Columns("", "", ())

    def __enter__(self) -> Self:
        """Connects, and looks the table up; nothing goes out where it would not be secure, unless that is waived.

        Raises TargetUnavailable, TargetDenied, NotConfigured.
        """
        chosen = self._passwords
        if self._closed_off:
            return self
        try:
            with _translated(self._vendor, self._secret):
                self._connection = opened = self._engine.connect()
                if isinstance(chosen, RolePasswords):
                    opened.execution_options(isolation_level="AUTOCOMMIT")
                else:
                    self._look_up(opened, chosen)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def security(self) -> Security:
        """Of the connection as it is, or as it would be."""
        if self._closed_off:
            return Security.NOT_SECURE
        with _translated(self._vendor):
            return self._vendor.security(self._raw(), self._settings)

    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """One result for each, in that order. Raises TargetUnavailable."""
        return [self._attempt(new, self._raw()) for new in passwords]

    def change(self, object: CsObject, old: str, new: str) -> Result:  # noqa: A002  # the port's word
        """As the account itself, with the old password. Raises TargetUnavailable."""
        chosen = self._passwords
        if not isinstance(chosen, RolePasswords):
            return Result(
                Code.SET_UNSUPPORTED,
                "a table takes what it is told: there is no change with the old password",
            )
        self._raw()
        account = _account(chosen, object)
        with _translated(self._vendor, old):
            try:
                own = self._vendor.connect(self._settings, account.name, old)
            except Exception as error:  # _failure raises what is not the driver's
                failure = _failure(self._vendor, error)
                if failure.gone:
                    raise
                return Result(
                    Code.DENIED, "the old password is not the one it has, or the account may not sign in"
                )
        try:
            result = self._attempt(NewPassword(object, new), own)
            with _translated(self._vendor, old, new):
                own.commit()
        finally:
            own.close()
        return result

    def verify(self, object: CsObject, password: str) -> Proof:  # noqa: A002  # the port's word
        """One sign-in as the account. A table is not asked: what reads it is not ours. Raises TargetUnavailable."""
        chosen = self._passwords
        raw = self._raw()
        if not isinstance(chosen, RolePasswords) or unfit(password, without="\0"):
            return Proof.NOT_TRIED
        with _translated(self._vendor, password):
            return self._vendor.verify(raw, self._settings, _account(chosen, object), password)

    def _attempt(self, new: NewPassword, raw: Any) -> Result:
        chosen = self._passwords
        try:
            if isinstance(chosen, RolePasswords):
                return self._set_role(chosen, new, raw)
            return unfit(new.password) or self._set_row(chosen, new)
        except AccountRefused as error:
            return Result(error.code, error.detail)
        except NotConfigured as error:
            return Result(Code.NOT_CONFIGURED, error.message)
        except Unhashable as error:
            return Result(Code.POLICY, str(error))
        except Exception as error:  # noqa: BLE001  # _failure raises what is not the driver's
            failure = _failure(self._vendor, error)
            if failure.gone:
                raise _raised(self._vendor, failure, [new.password]) from None
            return Result(failure.code, failure.detail)

    def _set_role(self, chosen: RolePasswords, new: NewPassword, raw: Any) -> Result:
        # Clients in C end a password at a NUL character.
        refused = unfit(new.password, without="\0")
        if refused is None:
            account = _account(chosen, new.object)
            self._judge(chosen, account)
            self._vendor.set_role(raw, account, new, chosen.format)
        return refused or Result(Code.SUCCESS)

    def _judge(self, chosen: RolePasswords, account: Account) -> None:
        """Whoever may change a person's password elsewhere must not become master of the server by it. Raises AccountRefused."""
        # Some servers take no notice of blanks at the end of a name.
        if account.name.rstrip().casefold() == self._settings.user.rstrip().casefold():
            raise AccountRefused(Code.SET_UNSUPPORTED, "this is the agent's own account, which is never set")
        if self._vendor.privileged(self._raw(), account) and not chosen.privileged:
            raise AccountRefused(
                Code.SET_UNSUPPORTED,
                "the account has power over the server, and `passwords.privileged` is off",
            )

    def _set_row(self, chosen: TablePasswords, new: NewPassword) -> Result:
        flags = _flags(chosen, new)
        values = {"key": value_of(new.object, chosen.value), "hash": salted_hash(chosen.scheme, new.password)}
        if chosen.identity:
            values["identity"] = value_of(new.object, chosen.identity_value)
        connection = self._open()
        statement = updating(self._vendor, self._columns, chosen.key, chosen.column, flags, chosen.identity)
        with connection.begin() as transaction:
            count = connection.execute(statement, values).rowcount
            if count == 1:
                return Result(Code.SUCCESS)
            transaction.rollback()
        if count == 0:
            whose = " of that identity" if chosen.identity else ""
            return Result(Code.OBJECT_MISSING, f"the table has no such row{whose}")
        return Result(Code.FAILED, f"the key fits {count} rows; nothing was changed")

    def _look_up(self, opened: Connection, chosen: TablePasswords) -> None:
        names = list(
            filter(None, (chosen.key, chosen.identity, chosen.column, chosen.must_change, chosen.locked))
        )
        with opened.begin():
            self._columns = _check_catalogue(
                opened, self._vendor, self._settings, chosen.schema, chosen.table, names
            )

    def _open(self) -> Connection:
        if self._closed_off:
            raise TargetUnavailable("tls is off, and nobody has waived the secure connection")
        if self._connection is None:
            raise TargetUnavailable("the connection is closed")
        return self._connection

    def _raw(self) -> Any:
        with _translated(self._vendor, self._secret):
            return self._open().connection.driver_connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        except exc.DBAPIError:  # it is over either way
            pass
        finally:
            self._engine.dispose()


def _account(chosen: RolePasswords, object: CsObject) -> Account:  # noqa: A002  # the port's word
    return Account(
        value_of(object, chosen.name),
        value_of(object, chosen.host) if chosen.host else "",
        value_of(object, chosen.identity) if chosen.identity else "",
    )


def _flags(chosen: TablePasswords, new: NewPassword) -> dict[str, str]:
    """Column to value. Raises AccountRefused for what the settings name no column for."""
    flags = {}
    if new.must_change:
        if not chosen.must_change:
            raise AccountRefused(
                Code.SET_UNSUPPORTED, "the agent asks for must_change, and its settings name no column for it"
            )
        flags[chosen.must_change] = "1"
    # A table without such a column keeps no lock that we know of: nothing is left to undo.
    if new.unlock and chosen.locked:
        flags[chosen.locked] = "0"
    return flags
