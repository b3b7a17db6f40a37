"""PostgreSQL. The URI goes to libpq as it is, so several hosts, service files and password files work.

A lost connection is noticed before it is used (a ping at checkout), and a transaction that lost its peer ends after half a minute. A server whose
kernel still answers while it does not (its disk hangs, it was stopped) is given up after as long: another one may lead by then.
"""

from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo
from sqlalchemy import create_engine

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.store.database import Database, Gate
from bastide.store.failures import Redact
from bastide.store.wakeup import Listening, NotifyBell
from bastide.store.work import CHANNEL

RV = TypeVar("RV")
#: Seconds between two looks for a signal, psycopg's own.
_INTERVAL = 0.1
_LIBPQ_DEFAULTS: Mapping[str, str] = {
    "application_name": "bastide",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "target_session_attrs": "read-write",
}
#: Seconds that a server may take for an answer. Every statement here is short; a commit waits for the synchronous standby.
_ANSWER = 30.0
#: As libpq and the server say it in English, which is what Debian's server speaks unless it was told otherwise.
_SHUT_OUT = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")
_LET_IN = (
    "put the password that the database has for that user into the file that database.password names (of the vault: passwords.vault_password), and see "
    "whether pg_hba.conf of the server lets this node in"
)
_SETTINGS = "SELECT set_config('lock_timeout', %s, false), set_config('idle_in_transaction_session_timeout', '30s', false)"


class _Limited(psycopg.Connection[Any]):
    """Waits for an answer for half a minute, and is over then."""

    def wait(
        self, gen: Generator[Any, Any, RV], interval: float = _INTERVAL, timeout: float | None = None
    ) -> RV:
        """As psycopg's; without a limit of the caller's, with ours. Raises psycopg.OperationalError."""
        try:
            return super().wait(gen, interval, _ANSWER if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001  # it has no public name
            if timeout is not None:
                raise
            self.close()
            raise psycopg.OperationalError(f"no answer for {_ANSWER:g} s") from None


def open_postgres(url: str, busy: timedelta, pool: int, *, patient: bool = False) -> Database:
    """A pool of connections to PostgreSQL. Connects when first used. `patient`: an answer may take as long as it will. Raises StoreError for a URI
    that libpq cannot read.
    """
    kind = psycopg.Connection[Any] if patient else _Limited
    dsn, redact = _dsn(url.replace("postgresql+psycopg://", "postgresql://", 1))
    lock_timeout = f"{int(busy.total_seconds() * 1000)}ms"

    def connect() -> psycopg.Connection[Any]:
        try:
            connection = kind.connect(dsn, autocommit=True)
        except psycopg.Error as error:
            # From None: what libpq says of a connection may repeat parts of the DSN.
            raise _refused(redact(str(error))) from None
        try:
            connection.execute(_SETTINGS, (lock_timeout,))
            connection.autocommit = False
        except BaseException:  # a server that is just being stopped
            connection.close()
            raise
        return connection

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=pool,
        max_overflow=2 * pool,
        pool_timeout=busy.total_seconds(),
    )
    return Database(
        engine=engine,
        writing=engine,
        reading=engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
        bell=NotifyBell(lambda: _Notifications(connect)),
        gate=Gate(busy, writers=False, readers=False),
        redact=redact,
    )


def _refused(said: str) -> StoreUnavailable:
    """Why there is no connection. libpq tells no SQLSTATE of one that did not come about; of several hosts it has a line or two for each."""
    lines = said.splitlines()
    if shut := next((one for one in lines if any(words in one for words in _SHUT_OUT)), ""):
        return StoreUnavailable(f"the database does not let this node in: {shut.strip()}", remedy=_LET_IN)
    return StoreUnavailable(
        f"the database cannot be reached: {lines[0]}",
        remedy="look at the database server and at database.url",
    )


def _dsn(url: str) -> tuple[str, Redact]:
    try:
        given = conninfo.conninfo_to_dict(url)
    except (psycopg.Error, UnicodeDecodeError):
        # From None: both repeat the URL they do not understand.
        raise StoreError(
            "the PostgreSQL URL cannot be read",
            remedy="use postgresql://user@host/name; encode special characters",
        ) from None
    password = str(given.get("password") or "")

    def redact(said: str) -> str:
        return said.replace(password, "***") if password else said

    return conninfo.make_conninfo(**dict[str, Any](_LIBPQ_DEFAULTS, **given)), redact


class _Notifications(Listening):
    """A connection on which LISTEN is in force."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        try:
            self._connection = connect()
        except StoreUnavailable as error:
            raise OSError(error.message) from None
        except psycopg.Error as error:
            raise OSError(type(error).__name__) from None
        try:
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {CHANNEL}")
        except psycopg.Error as error:
            self._connection.close()
            raise OSError(type(error).__name__) from None

    def fileno(self) -> int:
        """Readable when there is something to take."""
        return self._connection.fileno()

    def take(self) -> tuple[str, ...]:
        """The payloads of what has come, without waiting. Raises OSError if the connection broke."""
        try:
            return tuple(one.payload for one in self._connection.notifies(timeout=0))
        except psycopg.Error as error:
            raise OSError(type(error).__name__) from None

    def ask(self) -> None:
        """Return when the server has answered something. Raises OSError if it does not."""
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise OSError(type(error).__name__) from None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
