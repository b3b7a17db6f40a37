"""What a database connection has in common for reading and for passwords: the one door for errors of drivers, whether a secret may go out, and
names of columns, looked up in the server's catalogue.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, exc

from bastide.domain.errors import BastideError, NotConfigured, TargetDenied, TargetUnavailable
from bastide.domain.passwords import Code
from bastide.domain.spelling import told
from bastide.targets.kinds import Opening
from bastide.targets.sql_settings import SqlSettings
from bastide.targets.sql_statements import Columns, listed
from bastide.targets.sql_vendor import Failure, Vendor

_REFUSED = frozenset({Code.CREDENTIALS, Code.DENIED})


@contextmanager
def translated(vendor: Vendor, *secrets: str) -> Iterator[None]:
    """The one door for errors of drivers; none tells what it has of the secrets. Raises TargetUnavailable, TargetDenied."""
    try:
        yield
    except BastideError:
        raise
    except Exception as error:  # noqa: BLE001  # failure_of raises what is not the driver's
        raise raised(vendor, failure_of(vendor, error), secrets) from None


def failure_of(vendor: Vendor, error: Exception) -> Failure:
    cause = error.orig if isinstance(error, exc.DBAPIError) and isinstance(error.orig, Exception) else error
    module = type(cause).__module__.partition(".")[0]
    if not isinstance(cause, OSError) and module not in {vendor.driver, "psycopg_binary", "sqlalchemy"}:
        raise error
    return vendor.failure(cause)


def raised(vendor: Vendor, failure: Failure, secrets: Iterable[str]) -> BastideError:
    detail = told(failure.detail, secrets)
    if failure.code in _REFUSED:
        return TargetDenied(detail, remedy="look at the agent's account there, and its secret")
    return TargetUnavailable(f"{vendor.kind}: {detail}")


def in_the_open(settings: SqlSettings, opening: Opening) -> bool:
    """Whether the secret would go over a network that the settings do not protect, and nobody has waived that."""
    return opening.require_secure and settings.tls == "off" and not settings.local


def check_catalogue(
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
