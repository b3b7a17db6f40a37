"""PostgreSQL, with psycopg. A password is hashed here (SCRAM-SHA-256, RFC 5802, as psql does), so that the server, its log and
its statistics never have it.
"""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import psycopg
from psycopg import sql
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
    untyped,
)

_MISSING = Failure(Code.OBJECT_MISSING, "there is no such account")
_STANDBY = Failure(Code.UNAVAILABLE, "the server is a standby and takes no writes", gone=True)
#: SQLSTATE, PostgreSQL appendix A.
_KNOWN: dict[int | str, Failure] = {
    "42501": Failure(
        Code.DENIED,
        "our account may not do this (42501): CREATEROLE and ADMIN on the role, or UPDATE on the table",
    ),
    "42704": _MISSING,
    "22P02": Failure(Code.OBJECT_MISSING, "no row can have that key"),
    "22003": Failure(Code.OBJECT_MISSING, "no row can have that key"),
    "25006": _STANDBY,
    "28P01": Failure(Code.CREDENTIALS, "the server refused our account or its password"),
    "28000": Failure(Code.CREDENTIALS, "the server lets our account in from here by no rule of pg_hba.conf"),
    "3D000": Failure(Code.UNAVAILABLE, "there is no such database", gone=True),
}
#: Operator intervention and connection exceptions: the server has closed or will close the connection.
_GONE = ("08", "57P")
_STATE = """
SELECT rolcanlogin AND rolconnlimit = -1 AND (rolvaliduntil IS NULL OR rolvaliduntil > now())
       AND has_database_privilege(rolname, current_database(), 'CONNECT')
FROM pg_catalog.pg_roles WHERE rolname = %s
"""
#: What the role is or may become. A superuser may become any role. Roles below 16384 (FirstNormalObjectId) are the server's own; whoever owns the
#: database is in pg_database_owner, which has no power over the server.
_POWER = """
SELECT role.rolname, role.oid,
       (SELECT bool_or(held.rolsuper OR held.rolreplication OR held.rolbypassrls OR held.rolcreaterole
                       OR (held.oid < 16384 AND held.rolname <> 'pg_database_owner'))
        FROM pg_catalog.pg_roles AS held WHERE pg_has_role(role.oid, held.oid, 'MEMBER'))
FROM pg_catalog.pg_roles AS role WHERE role.rolname = ANY(%s)
"""


class PostgreSQL:
    """Roles and tables."""

    kind: ClassVar[str] = "postgresql"
    url: ClassVar[str] = "postgresql+psycopg://"
    driver: ClassVar[str] = "psycopg"
    extra: ClassVar[str] = "postgres"
    roles: ClassVar[bool] = True
    run_by_us: ClassVar[bool] = True
    catalogue: ClassVar[Catalogue] = STANDARD

    def connect(self, settings: SqlSettings, user: str, secret: str) -> Any:
        """TLS 1.2 or later with the server's name verified, or a Unix socket. Raises psycopg.Error."""
        return self._connect(settings, user, secret, None if self._protected(settings) else "scram-sha-256")

    def schema(self, settings: SqlSettings) -> str:
        """Where a table lies whose settings do not say."""
        del settings
        return "public"

    def same(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Whether a column is the value that we know as text."""
        return untyped(column, name)

    def security(self, raw: Any, settings: SqlSettings) -> Security:
        """What libpq says about the connection, not what was asked for."""
        if settings.local:
            return Security.SECURE
        verified = raw.pgconn.ssl_in_use and settings.tls == "verify"
        return Security.SECURE if verified else Security.NOT_SECURE

    def identity(self, raw: Any) -> str:
        """What initdb gave the cluster; its standbys have it too. Raises psycopg.Error."""
        found = raw.execute("SELECT system_identifier FROM pg_catalog.pg_control_system()").fetchone()
        return str(found[0])

    def privileged(self, raw: Any, accounts: Sequence[Account]) -> Powers:
        """Raises psycopg.Error."""
        rows = raw.execute(_POWER, ([account.name for account in accounts],)).fetchall()
        found = {name: (str(oid), bool(power)) for name, oid, power in rows}
        return {account: _standing(account, found.get(account.name)) for account in accounts}

    def set_role(self, raw: Any, account: Account, new: NewPassword, form: str) -> None:
        """Raises AccountRefused and psycopg.Error."""
        del form  # one format only
        if new.must_change:
            raise AccountRefused(
                Code.SET_UNSUPPORTED,
                "PostgreSQL cannot ask for a new password at the next sign-in: set must_change off",
            )
        verifier = raw.pgconn.encrypt_password(new.password.encode(), account.name.encode(), b"scram-sha-256")
        raw.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(account.name), sql.Literal(verifier.decode())
            )
        )

    def unlock(self, raw: Any, account: Account) -> None:
        """Raises AccountRefused."""
        del raw, account
        raise AccountRefused(Code.SET_UNSUPPORTED, "PostgreSQL has no lock: it counts no failed sign-ins")

    def verify(self, raw: Any, settings: SqlSettings, account: Account, password: str) -> Proof:
        """One sign-in, unless something else than the password would be in its way. PostgreSQL locks nobody out."""
        state = raw.execute(_STATE, (account.name,)).fetchone()
        if state is None or not state[0]:
            return Proof.NOT_TRIED
        try:
            # With "trust" or "peer" every password would be right.
            self._connect(settings, account.name, password, "scram-sha-256").close()
        except psycopg.OperationalError as error:
            asked = error.pgconn is not None and error.pgconn.used_password
            return Proof.NOT_PROVED if asked else Proof.NOT_TRIED
        return Proof.PROVED

    def failure(self, error: Exception) -> Failure:
        """By SQLSTATE. What libpq says while it connects has none; it holds no secret."""
        state = getattr(error, "sqlstate", None)
        if state is None and isinstance(error, psycopg.OperationalError):
            return _opening(error)
        if state is None and isinstance(error, psycopg.DataError):
            # psycopg's own: it was not sent, and the connection is as it was.
            return Failure(Code.OBJECT_MISSING, "no account and no row can have a NUL character in its name")
        return by_code(state, _KNOWN, gone=state is None or state.startswith(_GONE))

    @staticmethod
    def _protected(settings: SqlSettings) -> bool:
        return settings.local or settings.tls == "verify"

    @staticmethod
    def _connect(settings: SqlSettings, user: str, secret: str, auth: str | None) -> Any:
        verified = settings.tls == "verify" and not settings.local
        return psycopg.connect(
            host=settings.host,
            port=settings.port or 5432,
            dbname=settings.database,
            user=user,
            password=secret,
            # The service's own files and tickets are not the agent's.
            passfile=os.devnull,
            gssencmode="disable",
            sslmode="verify-full" if verified else "disable",
            sslrootcert=settings.ca if verified else None,
            sslcertmode="disable",
            ssl_min_protocol_version="TLSv1.2",
            require_auth=auth,
            connect_timeout=settings.timeout,
            tcp_user_timeout=settings.timeout * 1000,
            options=f"-c statement_timeout={settings.timeout * 1000}",
            client_encoding="utf8",
            application_name="bastide",
        )


def _standing(account: Account, found: tuple[str, bool] | None) -> bool | AccountRefused:
    """`found`: OID and power of the role of that name."""
    if found is None:
        return AccountRefused(Code.OBJECT_MISSING, "there is no such account")
    oid, power = found
    if account.identity and account.identity != oid:
        return AccountRefused(Code.OBJECT_MISSING, "the account of that name is another one by now")
    return power


def _opening(error: Any) -> Failure:
    asked = error.pgconn is not None and error.pgconn.used_password
    if asked:
        return Failure(Code.CREDENTIALS, "the server refused our account, its password, or its database")
    text = " ".join(str(error).split())
    return Failure(Code.UNAVAILABLE, text or "the connection broke", gone=True)


KIND = kind_for(PostgreSQL(), VerifiedSqlSettings)
