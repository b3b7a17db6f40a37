"""IBM Db2: not run by us (sql_untested.py)."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

from sqlalchemy.dialects import registry
from sqlalchemy.engine.default import DefaultDialect

from bastide.domain.errors import NotConfigured
from bastide.targets.sql import kind_for
from bastide.targets.sql_settings import SqlSettings, TablesOnlySettings
from bastide.targets.sql_untested import Untested
from bastide.targets.sql_vendor import Catalogue, Failure


class Db2(Untested):
    """IBM Db2, with ibm_db. Its SQLAlchemy dialect is a project of its own; three statements need none of it."""

    kind: ClassVar[str] = "db2"
    url: ClassVar[str] = "bastide_db2://"
    driver: ClassVar[str] = "ibm_db_dbi"
    extra: ClassVar[str] = "db2"
    catalogue: ClassVar[Catalogue] = Catalogue("SYSCAT", "COLUMNS", "TABSCHEMA", "TABNAME", "COLNAME")
    known: ClassVar[Mapping[int | str, Failure]] = {}

    def connect(self, settings: SqlSettings, user: str, secret: str) -> Any:
        """Raises ibm_db_dbi.Error."""
        import ibm_db_dbi  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # an extra

        return ibm_db_dbi.connect(db2_source(settings, user, secret), "", "", "", "")

    def schema(self, settings: SqlSettings) -> str:
        """Where a table lies whose settings do not say; Db2 has folded the name of a user to capitals."""
        return settings.user.upper()


def db2_source(settings: SqlSettings, user: str, secret: str) -> str:
    """Db2's connection string (CLI keywords). Raises NotConfigured for what it cannot hold."""
    parts = {
        "DATABASE": settings.database,
        "HOSTNAME": settings.host,
        "PORT": str(settings.port or 50_000),
        "PROTOCOL": "TCPIP",
        "UID": user,
        "PWD": secret,
        "ConnectTimeout": str(settings.timeout),
    }
    if settings.tls == "verify":
        parts |= {
            "SECURITY": "SSL",
            "SSLServerCertificate": settings.ca,
            "SSLClientHostnameValidation": "BASIC",
        }
    if any(set(";{}\0") & set(value) for value in parts.values()):
        raise NotConfigured("a Db2 connection string cannot hold ; { } in a name or password")
    return "".join(f"{name}={value};" for name, value in parts.items())


class Db2Dialect(DefaultDialect):
    """SQL as the standard has it: names in double quotes, parameters as question marks."""

    name = "bastide_db2"
    driver = "ibm_db"
    default_paramstyle = "qmark"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The driver."""
        import ibm_db_dbi  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # an extra

        return ibm_db_dbi  # type: ignore[no-any-return,unused-ignore]

    def initialize(self, connection: Any) -> None:
        """Asks the server nothing."""


registry.register("bastide_db2", __name__, "Db2Dialect")


KIND = kind_for(Db2(), TablesOnlySettings)
