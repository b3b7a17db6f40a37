"""Which database the settings mean. Apart from production.py, because `bastide db` works without the extra `ad`."""

from pathlib import Path
from urllib.parse import quote, urlsplit

from bastide.config import Config, ConfigError, Passwords, secret_path

_RELATIVE = "sqlite:///"
_ABSOLUTE = "sqlite:////"


def database_url(config: Config) -> str:
    """The database's URL, with its password where one is kept apart. Raises ConfigError."""
    return _complete("database.url", config.database.url, config.database.password)


def vault_url(passwords: Passwords) -> str:
    """The same for the vault."""
    return _complete("passwords.vault", passwords.vault, passwords.vault_password)


def _complete(setting: str, url: str, secret: str) -> str:
    if url.startswith(_RELATIVE) and not url.startswith((_ABSOLUTE, f"{_RELATIVE}:memory:")):
        raise ConfigError(
            f"{setting} {url!r} depends on the working directory; use four slashes, as in sqlite:////var/lib/bastide/bastide.db"
        )
    if not secret:
        return url
    path = secret_path(secret)
    try:
        password = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"the password for {setting} cannot be read: {error}") from None
    return _with_password(setting, url, password)


def _with_password(setting: str, url: str, password: str) -> str:
    """A URL of libpq may name several hosts, each with its port; SQLAlchemy reads one port only. Raises ConfigError."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "sqlite":
        raise ConfigError(f"{setting}: a password goes with a URL of PostgreSQL, postgresql://user@host/name")
    end = next((at for at, letter in enumerate(rest) if letter in "/?"), len(rest))
    user, _, hosts = rest[:end].rpartition("@")
    name = user.partition(":")[0]
    return f"{scheme}://{name}:{quote(password, safe='')}@{hosts}{rest[end:]}"


def mark_path(config: Config) -> Path | None:
    """The file of the mark outside of the database; None: there is none."""
    if config.database.mark:
        return Path(config.database.mark)
    url = config.database.url
    return Path(f"{url.removeprefix(_RELATIVE)}.mark") if url.startswith(_ABSOLUTE) else None


def shown(config: Config) -> str:
    """The database for people: no user, password or query, which may hold secrets."""
    parts = urlsplit(config.database.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
