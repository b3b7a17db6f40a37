"""What SQL Server, Oracle and Db2 have in common. NOT RUN BY US: their statements are tested as text, their drivers and servers are not. So
`security` is UNKNOWN, and an agent sets passwords there only with the audited waiver. Passwords of applications' tables only.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sqlalchemy import ColumnElement

from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import NewPassword, Security
from bastide.targets.sql_settings import SqlSettings
from bastide.targets.sql_vendor import Account, AccountRefused, Failure, Powers, by_code, untyped

DENIED = Failure(Code.DENIED, "our account may not do this: SELECT and UPDATE on the table")
CREDENTIALS = Failure(Code.CREDENTIALS, "the server refused our account or its password")


class Untested:
    """What the three have in common."""

    roles: ClassVar[bool] = False
    run_by_us: ClassVar[bool] = False
    known: ClassVar[Mapping[int | str, Failure]] = {}

    def same(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Whether a column is the value that we know as text."""
        return untyped(column, name)

    def security(self, raw: Any, settings: SqlSettings) -> Security:
        """UNKNOWN: nobody here has seen the driver refuse a wrong certificate."""
        del raw, settings
        return Security.UNKNOWN

    def identity(self, raw: Any) -> str:
        """Nothing is asked."""
        del raw
        return ""

    def privileged(self, raw: Any, accounts: Sequence[Account]) -> Powers:
        """Raises AccountRefused."""
        del raw, accounts
        raise AccountRefused(Code.SET_UNSUPPORTED, "accounts of this server take a password in clear only")

    def set_role(self, raw: Any, account: Account, new: NewPassword, form: str) -> None:
        """Raises AccountRefused."""
        del raw, account, new, form
        raise AccountRefused(Code.SET_UNSUPPORTED, "accounts of this server take a password in clear only")

    def unlock(self, raw: Any, account: Account) -> None:
        """Raises AccountRefused."""
        del raw, account
        raise AccountRefused(Code.SET_UNSUPPORTED, "accounts of this server are not managed here")

    def verify(self, raw: Any, settings: SqlSettings, account: Account, password: str) -> Proof:
        """Nothing is tried."""
        del raw, settings, account, password
        return Proof.NOT_TRIED

    def failure(self, error: Exception) -> Failure:
        """By the driver's number or SQLSTATE; without one the connection is over."""
        code = self._code(error)
        return by_code(code, self.known, gone=code is None)

    @staticmethod
    def _code(error: Exception) -> int | str | None:
        first = error.args[0] if error.args else None
        return first if isinstance(first, int | str) and first != "" else None
