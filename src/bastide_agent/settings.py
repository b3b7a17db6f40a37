"""The agent's own settings: one TOML file on the domain controller, read once. What concerns targets stands in Active Directory instead, for all controllers alike.

No secret is in it. Every field is described in docs/how-to/install-the-agent.md; a test compares.
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from bastide_agent.failures import Stop

DEFAULT_PATH = Path("/etc/bastide-agent.toml")
#: The socket in `runtime`.
NAME = "agent.sock"
#: sun_path of Linux, less its NUL.
_LONGEST_SOCKET = 107
_Level = Annotated[int, msgspec.Meta(ge=0, le=3)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a name that is not known is an error."""


class Samba(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where this domain controller keeps its things."""

    private: str = "/var/lib/samba/private"
    configuration: str = "/etc/samba/smb.conf"
    #: GnuPG's home of the user that samba runs as: only the public key ring in it is read.
    gnupg: str = "/root/.gnupg"


class Filter(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For `check password script`. Passwords that hold one of the words are refused."""

    enabled: bool = False
    #: One word a line, in UTF-8. Empty: none.
    banned_words: str = ""


class Settings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    #: The agent runs as this user after root has opened what only root may.
    user: str = "bastide-agent"
    state: str = "/var/lib/bastide-agent"
    runtime: str = "/run/bastide-agent"
    log_level: _Level = 1
    #: Seconds between two looks at the key that Samba encrypts to.
    key_check_interval: Annotated[int, msgspec.Meta(ge=5, le=86_400)] = 300
    #: Largest queue file, in bytes; above, changes wait in the directory.
    queue_bytes: Annotated[int, msgspec.Meta(ge=1_048_576)] = 268_435_456
    samba: Samba = Samba()
    filter: Filter = Filter()


def load(path: Path) -> Settings:
    """Read and check the file; without one the defaults count. Raises Stop (6006, 6007)."""
    settings = _read(path)
    local = Path(settings.runtime) / NAME
    if len(os.fsencode(local)) > _LONGEST_SOCKET:
        raise Stop(
            6007,
            f"`runtime` is too long: the local socket would be {local}, and the path of a Unix socket has {_LONGEST_SOCKET} bytes at most",
        )
    return settings


def _read(path: Path) -> Settings:
    try:
        with path.open(encoding="utf-8") as file:
            _guard(path, os.fstat(file.fileno()))
            text = file.read()
    except FileNotFoundError:
        if path == DEFAULT_PATH:
            return Settings()
        raise Stop(6006, f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(6006, f"{path} cannot be read: {type(error).__name__}") from None
    try:
        return msgspec.convert(tomllib.loads(text), Settings)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Stop(6007, f"{path}: {error}") from None


def _guard(path: Path, found: os.stat_result) -> None:
    """Who writes the settings says whom root's helper opens files for. Raises Stop."""
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Stop(
            6006, f"{path} can be changed by others (mode {mode:04o}): look at it, then `chmod 0644 {path}`"
        )
    if found.st_uid not in {0, os.geteuid()}:
        raise Stop(6006, f"{path} belongs to another user: look at it, then `chown root {path}`")
