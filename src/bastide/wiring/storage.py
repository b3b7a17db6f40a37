"""Where backups lie, as a person names it: a folder of this machine, or a share and who signs in there."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bastide.backup.folder import Folder
from bastide.backup.place import Backup, Place
from bastide.config import Config, secret_path

if TYPE_CHECKING:
    from bastide.backup.smb import SmbFolder
    from bastide.backup.smb_login import Login
    from bastide.backup.witness import Witness

SCHEME = "smb://"


def is_share(where: str) -> bool:
    """Whether that is a share and no path."""
    return where.lower().startswith(SCHEME)


def place(where: str, login: "Callable[[], Login]") -> Place[Backup]:
    """The folder or share. Raises InvalidInput, and ModuleNotFoundError where the extra `smb` is missing."""
    if not is_share(where):
        return Folder(Path(where))
    from bastide.backup.share import Share  # noqa: PLC0415  # an extra

    return Share(_watched(where, login))


def backup(where: str, login: "Callable[[], Login]") -> Backup:
    """One backup, by its path or address. Raises InvalidInput, and ModuleNotFoundError where the extra `smb` is missing."""
    if not is_share(where):
        return Path(where)
    from bastide.backup.share import Share  # noqa: PLC0415  # an extra

    folder, _, name = where.rpartition("/")
    return Share(_watched(folder, login)).file(name)


def share(where: str, login: "Callable[[], Login]") -> "SmbFolder":
    """The folder on the share, for a short look. Raises InvalidInput, ModuleNotFoundError."""
    from bastide.backup.smb import SmbFolder, address  # noqa: PLC0415  # an extra

    return SmbFolder(address(where), login())


def _watched(where: str, login: "Callable[[], Login]") -> "SmbFolder":
    """The same, for what takes long: a cluster that would tell early of its server's end is asked to. Raises InvalidInput, ModuleNotFoundError."""
    from bastide.backup.smb import SmbFolder, address  # noqa: PLC0415  # an extra

    found, who = address(where), login()
    return SmbFolder(found, who, witness(who))


def witness(login: "Login") -> "Witness":
    """Who tells, for whoever signs in to the share. Raises ModuleNotFoundError."""
    from bastide.backup.witness_rpc import RpcWitness  # noqa: PLC0415  # an extra

    return RpcWitness(login)


def size_on_share(where: str, login: "Callable[[], Login]") -> int:
    """Of a backup, in bytes; it is only looked at. Raises BastideError, ModuleNotFoundError."""
    folder, _, name = where.rpartition("/")
    remote = share(folder, login)
    remote.connect()
    try:
        return remote.look(name).size()
    finally:
        remote.close()


def by_settings(config: Config) -> "Login":
    """As the service signs in: with the account of `[smb]`, else with a ticket of the service account. Raises ConfigError."""
    from bastide.backup.smb_login import ByPassword, ByTicket  # noqa: PLC0415  # an extra
    from bastide.directory.kerberos import Identity  # noqa: PLC0415  # an extra

    if config.smb is not None:
        return ByPassword(config.smb.account, secret_path(config.smb.password))
    return ByTicket(Identity(config.priv.principal, secret_path(config.priv.keytab)))


def by_own_ticket() -> "Login":
    """As the person who runs this program, who has a ticket already."""
    from bastide.backup.smb_login import ByTicket  # noqa: PLC0415  # an extra
    from bastide.directory.kerberos import CallerTicket  # noqa: PLC0415  # an extra

    return ByTicket(CallerTicket())
