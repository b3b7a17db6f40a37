"""Where the server is: options, then the environment, then /etc/bastide/client.toml. None of them ever holds a secret."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bastide.cli.exits import Exit, Stop
from bastide.cli.files import document_of
from bastide.domain.ids import typed

CLIENT_FILE = Path("/etc/bastide/client.toml")
_KEYS = {"server", "ca", "account"}
_ACCOUNT = re.compile(r"(?:CORP|PRIV)\\[^\\]+", re.IGNORECASE)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the server, and as whom: an empty account means the Kerberos ticket."""

    server: str
    ca: str = ""
    account: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.server).hostname or ""


def resolve(server: str, ca: str, account: str, *, file: Path = CLIENT_FILE) -> Connection:
    """Raises Stop if nothing names a server, or if it is not https (only loopback may be plain: nobody else hears it)."""
    named = server or os.environ.get("BASTIDE_SERVER", "")
    known = _read(file, needed=not named)
    url = (named or known.get("server", "")).rstrip("/")
    if not url:
        raise Stop(
            "no server is named",
            remedy=f"give --server, or BASTIDE_SERVER, or `server = ...` in {file}",
            status=Exit.USAGE,
        )
    try:
        parts = urlsplit(url)
        good = parts.hostname and parts.scheme in {"https", "http"} and parts.port != 0
    except ValueError:  # brackets or a port that are none
        good = False
    if not good:
        raise bad_address(url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise Stop(
            "a server elsewhere is reached over https only", remedy="write https://", status=Exit.USAGE
        )
    who = account or known.get("account", "")
    if who and not _ACCOUNT.fullmatch(who):
        raise Stop(
            f"{typed(who)} is not an account: it needs the forest in front",
            remedy="write 'CORP\\name' or 'PRIV\\name', in single quotes: the shell eats a bare backslash",
            status=Exit.USAGE,
        )
    return Connection(
        server=url,
        ca=ca or os.environ.get("BASTIDE_CA", "") or known.get("ca", ""),
        account=who,
    )


def bad_address(url: str) -> Stop:
    """For an address that is none."""
    return Stop(
        f"{typed(url)} is not the address of a server", remedy="write https://host:8443", status=Exit.USAGE
    )


def _read(file: Path, *, needed: bool) -> dict[str, str]:
    """Who may not read it does without, unless nothing else names the server."""
    try:
        file.open("rb").close()
    except PermissionError:
        if not needed:
            return {}
        raise Stop(
            f"no server is named, and {file} cannot be read by this user",
            remedy=f"give --server or BASTIDE_SERVER; or, as root, `chmod a+rx {shlex.quote(str(file.parent))}` and "
            f"`chmod a+r {shlex.quote(str(file))}`: it holds no secret",
            status=Exit.USAGE,
        ) from None
    except OSError:
        if not os.path.lexists(file):
            return {}
    content = document_of(file, remedy="mend the link, or remove it")
    if unknown := content.keys() - _KEYS:
        raise Stop(
            f"{file}: unknown: {', '.join(sorted(unknown))}",
            remedy=f"it may hold {', '.join(sorted(_KEYS))}",
            status=Exit.USAGE,
        )
    return {key: str(value) for key, value in content.items()}
