"""What only an extra of the distribution installs."""

import shlex
import sys
from types import MappingProxyType

_EXTRAS = MappingProxyType(
    {
        "ldap": "ad",
        "dns": "ad",
        "gssapi": "ad",
        "krb5": "ad",
        "opentelemetry": "otel",
        "psycopg": "postgres",
        "smbprotocol": "smb",
        "spnego": "smb",
        "pypsrp": "windows",
    }
)


def install(extra: str) -> str:
    """The command that adds `bastide[extra]` to this installation. Bastide itself is there, so no index is asked for it."""
    return f"{shlex.quote(f'{sys.prefix}/bin/pip')} install 'bastide[{extra}]'"


def missing_extra(error: ImportError) -> str:
    """The extra that would bring what could not be imported; empty: it is something else."""
    return _EXTRAS.get((error.name or "").partition(".")[0], "")
