"""MariaDB, with PyMySQL; tables of MySQL too. A password is hashed here: SET PASSWORD takes the hash, and the clear text is in no general log
and no binary log.

SET PASSWORD and not ALTER USER ... IDENTIFIED: the latter takes away the other ways in that an account has (OR unix_socket), and makes a
password account of one that had none. Measured on MariaDB 10.11.
"""

import base64
import hashlib
import ssl
from collections.abc import Sequence
from contextlib import closing
from typing import Any, ClassVar, Never

import pymysql
from nacl import bindings
from pymysql.constants import CLIENT
from sqlalchemy import ColumnElement

from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import NewPassword, Security
from bastide.targets.sql import kind_for
from bastide.targets.sql_settings import SqlSettings, VerifiedSqlSettings
from bastide.targets.sql_vendor import (
    STANDARD,
    Account,
    AccountRefused,
    Catalogue,
    Failure,
    Powers,
    by_code,
    untyped_and_alike,
)

_CREDENTIALS = Failure(Code.CREDENTIALS, "the server refused our account or its password")
_DENIED = Failure(
    Code.DENIED,
    "our account may not do this: SELECT and UPDATE on mysql.* for accounts, UPDATE on the table for tables",
)
#: MariaDB error codes.
_WRONG_PASSWORD = frozenset({1045, 1698})
#: Both are said after the password was found right.
_MUST_CHANGE = frozenset({1820, 1862})
_KNOWN: dict[int | str, Failure] = {
    1044: _DENIED,
    1045: _CREDENTIALS,
    1049: Failure(Code.UNAVAILABLE, "there is no such database", gone=True),
    1133: Failure(Code.OBJECT_MISSING, "there is no such account"),
    1142: _DENIED,
    1143: _DENIED,
    1227: _DENIED,
    1292: Failure(Code.OBJECT_MISSING, "no row can have that key"),
    1290: Failure(Code.UNAVAILABLE, "the server takes no writes", gone=True),
    1372: Failure(
        Code.SET_UNSUPPORTED, "the account's plugin wants another form of hash: see `format` in the settings"
    ),
    1396: Failure(Code.OBJECT_MISSING, "there is no such account"),
    1698: _CREDENTIALS,
    1699: Failure(Code.SET_UNSUPPORTED, "the account signs in by something else than a password"),
}
#: Client errors (CR_*), shutdown, killed.
_GONE = frozenset({0, 1053, 1927, *range(2000, 2100)})
#: Failed sign-ins after which an account is blocked; the count of an account cannot be read, so below this nothing is tried.
_SAFE_ERRORS = 100
#: Ways to sign in that give the password away, or what is as good as it.
_NEVER = ("mysql_clear_password", "mysql_old_password", "dialog")
#: These encrypt it to whatever key the other end sends, and that may be anybody; inside of TLS, MySQL needs them.
_IN_THE_OPEN = (*_NEVER, "sha256_password", "caching_sha2_password")
#: `server_uid` is made of the network card and the port alone. What a server does not know is left out.
_IDENTITY = """
SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uid', 'server_uuid', 'hostname', 'port', 'datadir')
"""
#: Each account with all roles that it was granted, and with what everybody has: any right that counts for the whole server, or for the tables with the
#: accounts. MariaDB 10.4; since 10.11 there is PUBLIC, which is kept like a role.
_POWER = """
WITH RECURSIVE held AS (
    SELECT Host AS of_host, User AS of_user, Host, User FROM mysql.global_priv WHERE (Host, User) IN ((%s, %s))
    UNION
    SELECT held.of_host, held.of_user, given.Host, given.User FROM held
    JOIN mysql.roles_mapping AS mapping ON mapping.Host = held.Host AND mapping.User = held.User
    JOIN mysql.global_priv AS given ON given.Host = '' AND given.User = mapping.Role
    UNION
    SELECT of_host, of_user, '', 'PUBLIC' FROM held
)
SELECT held.of_host, held.of_user, MAX(
       EXISTS (SELECT 1 FROM mysql.global_priv AS p WHERE p.Host = held.Host AND p.User = held.User
               AND COALESCE(JSON_VALUE(p.Priv, '$.access'), 0) <> 0)
    OR EXISTS (SELECT 1 FROM mysql.db AS p WHERE p.Host = held.Host AND p.User = held.User
               AND 'mysql' LIKE p.Db)
    OR EXISTS (SELECT 1 FROM mysql.tables_priv AS p WHERE p.Host = held.Host AND p.User = held.User
               AND p.Db = 'mysql')
    OR EXISTS (SELECT 1 FROM mysql.proxies_priv AS p WHERE p.Host = held.Host AND p.User = held.User))
FROM held GROUP BY held.of_host, held.of_user
"""
#: The place of one account in it.
_PLACE = "(%s, %s)"
#: Without a clause it only forgets the failed sign-ins; ACCOUNT UNLOCK would undo what an administrator did.
_FORGET = "ALTER USER %s@%s"


class MariaDB:
    """Accounts and tables."""

    kind: ClassVar[str] = "mariadb"
    url: ClassVar[str] = "mysql+pymysql://"
    driver: ClassVar[str] = "pymysql"
    extra: ClassVar[str] = "mariadb"
    roles: ClassVar[bool] = True
    run_by_us: ClassVar[bool] = True
    catalogue: ClassVar[Catalogue] = STANDARD

    def connect(self, settings: SqlSettings, user: str, secret: str) -> Any:
        """TLS 1.2 or later with the server's name verified, or a Unix socket. In no database: statements name theirs, and an account that
        may only set passwords need have no right on one. Raises pymysql.Error.
        """
        verified = settings.tls == "verify" and not settings.local
        context = ssl.create_default_context(cafile=settings.ca) if verified else None
        return pymysql.connect(
            host="localhost" if settings.local else settings.host,
            unix_socket=settings.host if settings.local else None,
            port=settings.port or 3306,
            user=user,
            # As text it would go out in Latin-1.
            password=secret.encode(),
            ssl=context,
            ssl_disabled=context is None,
            charset="utf8mb4",
            connect_timeout=settings.timeout,
            read_timeout=settings.timeout,
            write_timeout=settings.timeout,
            client_flag=CLIENT.FOUND_ROWS,
            auth_plugin_map=dict.fromkeys(
                _NEVER if verified or settings.local else _IN_THE_OPEN, _NoClearText
            ),
        )

    def schema(self, settings: SqlSettings) -> str:
        """Where a table lies whose settings do not say."""
        return settings.database

    def same(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Whether a column is the value that we know as text; text becomes a number all too easily here."""
        return untyped_and_alike(column, name)

    def security(self, raw: Any, settings: SqlSettings) -> Security:
        """What the socket is, not what was asked for."""
        if settings.local:
            return Security.SECURE
        verified = settings.tls == "verify" and isinstance(raw._sock, ssl.SSLSocket)  # noqa: SLF001  # says it nowhere else
        return Security.SECURE if verified else Security.NOT_SECURE

    def identity(self, raw: Any) -> str:
        """The server's own number (MariaDB 10.5 and later, MySQL), and where it keeps its data. A replica is another one. Raises pymysql.Error."""
        with raw.cursor() as cursor:
            cursor.execute(_IDENTITY)
            return " ".join(f"{name}={value}" for name, value in sorted(cursor.fetchall()))

    def privileged(self, raw: Any, accounts: Sequence[Account]) -> Powers:
        """Raises AccountRefused and pymysql.Error."""
        if any(account.identity for account in accounts):
            raise AccountRefused(
                Code.SET_UNSUPPORTED, "MariaDB numbers no accounts: take `identity` out of the settings"
            )
        self._mariadb_only(raw)
        # Each value has a place of its own: what PyMySQL makes of a list takes no notice of NO_BACKSLASH_ESCAPES.
        statement = _POWER.replace(_PLACE, ", ".join([_PLACE] * len(accounts)))
        names = [part for account in accounts for part in _who(account)[::-1]]
        with raw.cursor() as cursor:
            cursor.execute(statement, names)
            found = {(name, host): bool(power) for host, name, power in cursor.fetchall()}
        # Hosts compare without case in a statement about an account, and with it here: what is not found is not set.
        return {
            account: found.get(_who(account), AccountRefused(Code.OBJECT_MISSING, "there is no such account"))
            for account in accounts
        }

    def set_role(self, raw: Any, account: Account, new: NewPassword, form: str) -> None:
        """Raises AccountRefused and pymysql.Error."""
        self._mariadb_only(raw)
        who = _who(account)
        with raw.cursor() as cursor:
            cursor.execute("SET PASSWORD FOR %s@%s = %s", (*who, hashed(new.password, form)))
            if new.unlock:
                cursor.execute(_FORGET, who)
            if new.must_change:
                cursor.execute("ALTER USER %s@%s PASSWORD EXPIRE", who)

    def unlock(self, raw: Any, account: Account) -> None:
        """Whether there was anything to forget cannot be seen. Raises AccountRefused and pymysql.Error."""
        self._mariadb_only(raw)
        with raw.cursor() as cursor:
            cursor.execute(_FORGET, _who(account))

    def verify(self, raw: Any, settings: SqlSettings, account: Account, password: str) -> Proof:
        """One sign-in, if the account is let in from here and the server does not count strictly."""
        if not self._reachable(settings, account) or _strict(raw):
            return Proof.NOT_TRIED
        try:
            # An account that must change its password is let in by some servers, and told so at its first statement.
            with closing(self.connect(settings, account.name, password)) as opened, opened.cursor() as cursor:
                cursor.execute("SELECT CURRENT_USER()")
                row = cursor.fetchone()
        except pymysql.Error as error:
            return _refused(error)
        return Proof.PROVED if row == (f"{account.name}@{account.host or '%'}",) else Proof.NOT_TRIED

    def failure(self, error: Exception) -> Failure:
        """By the error's number."""
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if isinstance(error, OSError) or code in _GONE:
            return Failure(Code.UNAVAILABLE, _opening(error), gone=True)
        return by_code(code, _KNOWN, gone=False)

    @staticmethod
    def _mariadb_only(raw: Any) -> None:
        if "mariadb" not in raw.server_version.casefold():
            # MySQL takes what stands for the hash for the password itself.
            raise AccountRefused(
                Code.SET_UNSUPPORTED, "accounts of MySQL are not supported: it is not MariaDB"
            )

    @staticmethod
    def _reachable(settings: SqlSettings, account: Account) -> bool:
        return account.host in ("", "%") or (settings.local and account.host == "localhost")


def _who(account: Account) -> tuple[str, str]:
    return account.name, account.host or "%"


def hashed(password: str, form: str) -> str:
    """As the server keeps it. Neither form has a salt: that is how these plugins are."""
    if form == "ed25519":
        return _ed25519(password)
    once = hashlib.sha1(password.encode()).digest()  # noqa: S324  # mysql_native_password is that
    return "*" + hashlib.sha1(once).hexdigest().upper()  # noqa: S324  # mysql_native_password is that


def _ed25519(password: str) -> str:
    """The public key whose secret is the password's SHA-512: MariaDB plugin/auth_ed25519, ref10 without the limit of 32 bytes."""
    raw = bytearray(hashlib.sha512(password.encode()).digest()[:32])
    raw[0] &= 248
    raw[31] = (raw[31] & 127) | 64
    return base64.b64encode(bindings.crypto_scalarmult_ed25519_base_noclamp(bytes(raw))).decode().rstrip("=")


class _NoClearText:
    """A server that asks for the password itself, or for a hash as good as it, is not answered."""

    def __init__(self, connection: Any) -> None:
        del connection

    def authenticate(self, packet: Any) -> Never:
        """Raises pymysql.OperationalError."""
        del packet
        raise pymysql.OperationalError(2059, "the server asks for the password in clear")


def _strict(raw: Any) -> bool:
    with raw.cursor() as cursor:
        cursor.execute("SELECT @@max_password_errors")
        (limit,) = cursor.fetchone()
    return int(limit) < _SAFE_ERRORS


def _refused(error: Exception) -> Proof:
    code = error.args[0] if error.args else 0
    if code in _MUST_CHANGE:
        return Proof.PROVED
    return Proof.NOT_PROVED if code in _WRONG_PASSWORD else Proof.NOT_TRIED


def _opening(error: Exception) -> str:
    """What PyMySQL says while it connects; it holds no secret and no statement."""
    return " ".join(str(error.args[-1] if error.args else "the connection broke").split())


KIND = kind_for(MariaDB(), VerifiedSqlSettings)
