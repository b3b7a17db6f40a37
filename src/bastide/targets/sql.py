"""Databases as connected systems: one adapter for all of them. What differs is a Vendor (sql_vendor.py), one file for each. Here: passwords, and
what a server says it is; sql_import.py reads.

A statement is built from parts: names from the settings are looked up in the server's catalogue and quoted, values are parameters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from sqlalchemy import Connection, exc

from bastide.domain.errors import NotConfigured, TargetUnavailable
from bastide.domain.management_agents import CsObject
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Look, NewPassword, Result, Security
from bastide.targets.hashing import Unhashable, salted_hash
from bastide.targets.kinds import Kind, Opening
from bastide.targets.spelling import unfit
from bastide.targets.sql_errors import check_catalogue, failure_of, in_the_open, raised, translated
from bastide.targets.sql_import import SqlConnector
from bastide.targets.sql_settings import RolePasswords, SqlSettings, TablePasswords, passwords_of, value_of
from bastide.targets.sql_statements import Columns, showing, updating
from bastide.targets.sql_vendor import Account, AccountRefused, Vendor, engine_for

#: Accounts that are asked for in one statement. What came to power since then is not noticed.
_AT_ONCE = 100
NOT_RUN = "not run by us: statements are tested as text, the driver and the server are not"


def kind_for(vendor: Vendor, settings: type[SqlSettings]) -> Kind:
    """The kind of a vendor, for registry.py."""
    return Kind(
        settings,
        lambda chosen, opening: SqlConnector(vendor, chosen, opening),
        lambda chosen, opening: SqlTarget(vendor, chosen, opening),
        note="" if vendor.run_by_us else NOT_RUN,
        identity=lambda chosen, opening: _identity(vendor, chosen, opening),
    )


def _identity(vendor: Vendor, settings: SqlSettings, opening: Opening) -> tuple[str, ...]:
    """The server as it calls itself. Nothing is asked where the agent's secret would go out in the open. Raises TargetUnavailable, TargetDenied."""
    if in_the_open(settings, opening):
        return ()
    engine = engine_for(vendor, settings, opening.secret)
    with translated(vendor, opening.secret):
        try:
            with engine.connect() as connection:
                name = vendor.identity(connection.connection.driver_connection)
        finally:
            engine.dispose()
    return (f"{vendor.kind} {name}",) if name else ()


class SqlTarget:
    """Sets passwords: of the server's accounts, or salted hashes in a table."""

    def __init__(self, vendor: Vendor, settings: SqlSettings, opening: Opening) -> None:
        self._vendor = vendor
        self._settings = settings
        self._passwords = passwords_of(settings)
        self._secret = opening.secret
        self._closed_off = in_the_open(settings, opening)
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
            with translated(self._vendor, self._secret):
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
        with translated(self._vendor):
            return self._vendor.security(self._raw(), self._settings)

    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """One result for each, in that order. Raises TargetUnavailable."""
        return [result for part in _parts(passwords) for result in self._set_part(part)]

    def _set_part(self, part: Sequence[NewPassword]) -> Iterator[Result]:
        powers = self._powers(part)
        for new in part:
            yield self._attempt(new, self._raw(), powers)

    def _powers(self, part: Sequence[NewPassword]) -> Mapping[Account, bool | Exception]:
        """Who of these has power over the server, asked at once just before they are set. If that fails, each is asked by itself, so that one whose name the
        server cannot take keeps nobody from an answer; what fails then is that account's.
        """
        chosen = self._passwords
        if not isinstance(chosen, RolePasswords):
            return {}
        accounts = _accounts(chosen, part)
        raw = self._raw()
        try:
            return dict(self._vendor.privileged(raw, accounts)) if accounts else {}
        except Exception:  # noqa: BLE001  # looked at below, one by one
            return {one: self._power(raw, one) for one in accounts}

    def _power(self, raw: Any, account: Account) -> bool | Exception:
        try:
            return self._vendor.privileged(raw, [account])[account]
        except Exception as error:  # noqa: BLE001  # raised where the account's turn is
            return error

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
        with translated(self._vendor, old):
            try:
                own = self._vendor.connect(self._settings, account.name, old)
            except Exception as error:  # failure_of raises what is not the driver's
                failure = failure_of(self._vendor, error)
                if failure.gone:
                    raise
                return Result(
                    Code.DENIED, "the old password is not the one it has, or the account may not sign in"
                )
        try:
            asked = NewPassword(object, new)
            result = self._attempt(asked, own, self._powers([asked]))
            with translated(self._vendor, old, new):
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
        with translated(self._vendor, password):
            return self._vendor.verify(raw, self._settings, _account(chosen, object), password)

    def unlock(self, objects: Sequence[CsObject]) -> Sequence[Result]:
        """Where the server, or the table, keeps a lock; the others say that there is none. Raises TargetUnavailable."""
        chosen = self._passwords
        if isinstance(chosen, TablePasswords):
            return [self._tried(lambda one=one: self._unlock_row(chosen, one)) for one in objects]  # type: ignore[misc]  # the default binds `one` now
        return [self._tried(lambda one=one: self._unlock_role(chosen, one)) for one in objects]  # type: ignore[misc]  # as above

    def look(self, objects: Sequence[CsObject]) -> Sequence[Look]:
        """What the columns of a table say; of a server's accounts nothing is known. Raises TargetUnavailable."""
        chosen = self._passwords
        self._open()
        if isinstance(chosen, RolePasswords):
            return [Look()] * len(objects)
        return [self._row(chosen, one) for one in objects]

    def _attempt(self, new: NewPassword, raw: Any, powers: Mapping[Account, bool | Exception]) -> Result:
        chosen = self._passwords
        if isinstance(chosen, RolePasswords):
            return self._tried(lambda: self._set_role(chosen, new, raw, powers), new.password)
        return self._tried(lambda: unfit(new.password) or self._set_row(chosen, new), new.password)

    def _tried(self, action: Callable[[], Result], *secrets: str) -> Result:
        try:
            return action()
        except AccountRefused as error:
            return Result(error.code, error.detail)
        except NotConfigured as error:
            return Result(Code.NOT_CONFIGURED, error.message)
        except Unhashable as error:
            return Result(Code.POLICY, str(error))
        except Exception as error:  # noqa: BLE001  # failure_of raises what is not the driver's
            failure = failure_of(self._vendor, error)
            if failure.gone:
                raise raised(self._vendor, failure, secrets) from None
            return Result(failure.code, failure.detail)

    def _unlock_role(self, chosen: RolePasswords, one: CsObject) -> Result:
        account, raw = _account(chosen, one), self._raw()
        self._judge(chosen, account, self._power(raw, account))
        self._vendor.unlock(raw, account)
        return Result(Code.SUCCESS)

    def _unlock_row(self, chosen: TablePasswords, one: CsObject) -> Result:
        if not chosen.locked:
            raise AccountRefused(
                Code.SET_UNSUPPORTED,
                "this table has no lock that we know of: its settings name no column `locked`",
            )
        return self._written(chosen, one, {}, "", {chosen.locked: "0"})

    def _row(self, chosen: TablePasswords, one: CsObject) -> Look:
        """Nothing of a row that is missing, is there twice, or is not shown."""
        names = [name for name in (chosen.locked, chosen.must_change) if name]
        if not names:
            return Look()
        statement = showing(self._vendor, self._columns, chosen.key, names, chosen.identity)
        try:
            connection, which = self._open(), _which(chosen, one)
            with connection.begin():
                rows = connection.execute(statement, which).fetchall()
        except NotConfigured:
            return Look()
        except exc.DBAPIError as error:
            failure = failure_of(self._vendor, error)
            if failure.gone:
                raise raised(self._vendor, failure, ()) from None
            return Look()
        flags = dict(zip(names, map(_flag, rows[0]), strict=True)) if len(rows) == 1 else {}
        return Look(locked=flags.get(chosen.locked), must_change=flags.get(chosen.must_change))

    def _set_role(
        self, chosen: RolePasswords, new: NewPassword, raw: Any, powers: Mapping[Account, bool | Exception]
    ) -> Result:
        # Clients in C end a password at a NUL character.
        refused = unfit(new.password, without="\0")
        if refused is None:
            account = _account(chosen, new.object)
            self._judge(chosen, account, powers[account])
            self._vendor.set_role(raw, account, new, chosen.format)
        return refused or Result(Code.SUCCESS)

    def _judge(self, chosen: RolePasswords, account: Account, power: bool | Exception) -> None:
        """Whoever may change a person's password elsewhere must not become master of the server by it. Raises AccountRefused."""
        # Some servers take no notice of blanks at the end of a name.
        if account.name.rstrip().casefold() == self._settings.user.rstrip().casefold():
            raise AccountRefused(Code.SET_UNSUPPORTED, "this is the agent's own account, which is never set")
        if isinstance(power, Exception):
            raise power
        if power and not chosen.privileged:
            raise AccountRefused(
                Code.SET_UNSUPPORTED,
                "the account has power over the server, and `passwords.privileged` is off",
            )

    def _set_row(self, chosen: TablePasswords, new: NewPassword) -> Result:
        flags = _flags(chosen, new)
        return self._written(
            chosen, new.object, {"hash": salted_hash(chosen.scheme, new.password)}, chosen.column, flags
        )

    def _written(
        self,
        chosen: TablePasswords,
        one: CsObject,
        values: Mapping[str, str],
        column: str,
        flags: Mapping[str, str],
    ) -> Result:
        connection = self._open()
        statement = updating(self._vendor, self._columns, chosen.key, column, flags, chosen.identity)
        with connection.begin() as transaction:
            count = connection.execute(statement, {**_which(chosen, one), **values}).rowcount
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
            self._columns = check_catalogue(
                opened, self._vendor, self._settings, chosen.schema, chosen.table, names
            )

    def _open(self) -> Connection:
        if self._closed_off:
            raise TargetUnavailable("tls is off, and nobody has waived the secure connection")
        if self._connection is None:
            raise TargetUnavailable("the connection is closed")
        return self._connection

    def _raw(self) -> Any:
        with translated(self._vendor, self._secret):
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


def _parts(passwords: Sequence[NewPassword]) -> Iterator[Sequence[NewPassword]]:
    for start in range(0, len(passwords), _AT_ONCE):
        yield passwords[start : start + _AT_ONCE]


def _accounts(chosen: RolePasswords, part: Sequence[NewPassword]) -> list[Account]:
    """Each once; who lacks the attribute that names his account is told so when it is his turn."""
    found = []
    for new in part:
        with suppress(NotConfigured):
            found.append(_account(chosen, new.object))
    return list(dict.fromkeys(found))


def _account(chosen: RolePasswords, object: CsObject) -> Account:  # noqa: A002  # the port's word
    return Account(
        value_of(object, chosen.name),
        value_of(object, chosen.host) if chosen.host else "",
        value_of(object, chosen.identity) if chosen.identity else "",
    )


def _which(chosen: TablePasswords, one: CsObject) -> dict[str, str]:
    """The parameters that name a row. Raises NotConfigured."""
    which = {"key": value_of(one, chosen.value)}
    return which | ({"identity": value_of(one, chosen.identity_value)} if chosen.identity else {})


def _flag(value: object) -> bool | None:
    """Of a column of whatever type; None: it is NULL."""
    if value is None:
        return None
    return (
        any(value) if isinstance(value, bytes) else str(value).strip().casefold() not in {"0", "false", "f"}
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
