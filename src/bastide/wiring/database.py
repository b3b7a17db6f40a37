"""Which database the settings mean. Apart from production.py, because `bastide db` works without the extra `ad`."""

from urllib.parse import urlsplit

import sqlalchemy

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
    return sqlalchemy.make_url(url).set(password=password).render_as_string(hide_password=False)


def shown(config: Config) -> str:
    """The database for people: no user, password or query, which may hold secrets."""
    parts = urlsplit(config.database.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
