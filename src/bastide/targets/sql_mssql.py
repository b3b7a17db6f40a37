"""Microsoft SQL Server: not run by us (sql_untested.py)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from bastide.domain.passwords import Code
from bastide.targets.sql import kind_for
from bastide.targets.sql_settings import SqlSettings, TablesOnlySettings
from bastide.targets.sql_untested import CREDENTIALS, DENIED, Untested
from bastide.targets.sql_vendor import Catalogue, Failure


class SqlServer(Untested):
    """Microsoft SQL Server, with pymssql (FreeTDS; what is verified stands in freetds.conf)."""

    kind: ClassVar[str] = "mssql"
    url: ClassVar[str] = "mssql+pymssql://"
    driver: ClassVar[str] = "pymssql"
    extra: ClassVar[str] = "mssql"
    catalogue: ClassVar[Catalogue] = Catalogue(
        "INFORMATION_SCHEMA", "COLUMNS", "TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME"
    )
    known: ClassVar[Mapping[int | str, Failure]] = {
        229: DENIED,
        230: DENIED,
        245: Failure(Code.OBJECT_MISSING, "no row can have that key"),
        18456: CREDENTIALS,
        20002: Failure(Code.UNAVAILABLE, "the connection to the server failed", gone=True),
        20003: Failure(Code.UNAVAILABLE, "the server did not answer in time", gone=True),
        20009: Failure(Code.UNAVAILABLE, "the server cannot be reached", gone=True),
    }

    def connect(self, settings: SqlSettings, user: str, secret: str) -> Any:
        """Raises pymssql.Error."""
        import pymssql  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # an extra

        return pymssql.connect(
            server=settings.host,
            port=str(settings.port or 1433),
            database=settings.database,
            user=user,
            password=secret,
            charset="UTF-8",
            login_timeout=settings.timeout,
            timeout=settings.timeout,
            encryption="require" if settings.tls == "verify" else "off",
        )

    def schema(self, settings: SqlSettings) -> str:
        """Where a table lies whose settings do not say."""
        del settings
        return "dbo"


KIND = kind_for(SqlServer(), TablesOnlySettings)
