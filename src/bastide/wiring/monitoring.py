"""The token that monitoring shows."""

from bastide.config import ConfigError, Metrics, secret_path
from bastide.services.measures import digest

#: 128 bits in hexadecimal.
SHORTEST = 32


def metrics_token(settings: Metrics | None) -> bytes | None:
    """The digest of what is in the file; None: there are no figures. Raises ConfigError for a file that cannot be read, or holds less than a token."""
    if settings is None:
        return None
    try:
        token = secret_path(settings.token).read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigError(f"metrics.token cannot be read: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError("metrics.token holds more than letters, digits and signs of ASCII") from None
    if len(token) < SHORTEST:
        raise ConfigError(
            f"metrics.token holds fewer than {SHORTEST} characters; `openssl rand -hex 32` makes one"
        )
    return digest(token)
