"""Who signs in at a file server, and at those who watch it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smbprotocol.session import Session

from bastide.directory.kerberos import Tickets
from bastide.domain.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class ByTicket:
    """Sign in with Kerberos."""

    tickets: Tickets


@dataclass(frozen=True, slots=True)
class ByPassword:
    """Sign in with NTLM, for a server that is in no domain. `password`: the file that holds it."""

    account: str
    password: Path


Login = ByTicket | ByPassword


def signed_in(connection: Any, login: Login, server: str) -> Any:
    """A session of smbprotocol, encrypted. `server`: its name, whatever address the connection goes to. Raises what the library does, and StoreUnavailable."""
    if isinstance(login, ByTicket):
        with login.tickets.used():
            session = Session(
                connection, require_encryption=True, hostname_override=server, auth_protocol="kerberos"
            )
            session.connect()
        return session
    session = Session(
        connection,
        login.account,
        first_line(login.password),
        require_encryption=True,
        hostname_override=server,
        auth_protocol="ntlm",
    )
    session.connect()
    session.password = None
    return session


def first_line(file: Path) -> str:
    """The password. Raises StoreUnavailable."""
    try:
        return file.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError):
        raise StoreUnavailable(
            f"the password in {file} cannot be read", remedy="one line, readable by the service's user alone"
        ) from None
