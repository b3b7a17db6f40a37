"""Oracle Database: not run by us (sql_untested.py)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from bastide.domain.passwords import Code
from bastide.targets.sql import kind_for
from bastide.targets.sql_settings import SqlSettings, TablesOnlySettings
from bastide.targets.sql_untested import CREDENTIALS, DENIED, Untested
from bastide.targets.sql_vendor import Catalogue, Failure


class Oracle(Untested):
    """Oracle Database, with python-oracledb in its thin mode."""

    kind: ClassVar[str] = "oracle"
    url: ClassVar[str] = "oracle+oracledb://"
    driver: ClassVar[str] = "oracledb"
    extra: ClassVar[str] = "oracle"
    catalogue: ClassVar[Catalogue] = Catalogue("SYS", "ALL_TAB_COLUMNS", "OWNER", "TABLE_NAME", "COLUMN_NAME")
    known: ClassVar[Mapping[int | str, Failure]] = {
        1017: CREDENTIALS,
        1031: DENIED,
        1722: Failure(Code.OBJECT_MISSING, "no row can have that key"),
        3113: Failure(Code.UNAVAILABLE, "the connection broke", gone=True),
        3135: Failure(Code.UNAVAILABLE, "the connection broke", gone=True),
        12541: Failure(Code.UNAVAILABLE, "nobody listens there", gone=True),
    }

    def connect(self, settings: SqlSettings, user: str, secret: str) -> Any:
        """TCPS with the distinguished name matched, or TCP. Raises oracledb.Error."""
        import oracledb  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # an extra

        verified = settings.tls == "verify"
        return oracledb.connect(
            user=user,
            password=secret,
            host=settings.host,
            port=settings.port or (2484 if verified else 1521),
            service_name=settings.database,
            protocol="tcps" if verified else "tcp",
            ssl_server_dn_match=True,
            tcp_connect_timeout=settings.timeout,
        )

    def schema(self, settings: SqlSettings) -> str:
        """Where a table lies whose settings do not say; Oracle has folded the name of a user to capitals."""
        return settings.user.upper()

    @staticmethod
    def _code(error: Exception) -> int | str | None:
        return getattr(error.args[0], "code", None) if error.args else None


KIND = kind_for(Oracle(), TablesOnlySettings)
