"""What is there only where the settings have its table: asked for here, so that every way in says the same where it is missing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from bastide.domain.errors import Conflict, NotFound

_T = TypeVar("_T")
#: Table of the settings to what is missing without it, and the page that says how to set it up.
_PARTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "alerts": ("this server raises no alerts", "alerts"),
        "help_desk": ("this server has no help desk", "help-desk"),
        "intake": ("this server takes no events in", "event-intake"),
        "monitoring": ("this server monitors no directory", "monitoring"),
        "notifications": ("this server sends no messages", "notifications"),
        "passwords": ("this server does not synchronize passwords", "synchronize-passwords"),
        "reset": ("nobody can reset a password here", "self-service-reset"),
    }
)


def needed(part: _T | None, table: str) -> _T:
    """For programs and people who act. Raises Conflict where the settings have no such table."""
    if part is None:
        raise Conflict(_PARTS[table][0], remedy=_remedy(table))
    return part


def shown(part: _T | None, table: str, *, remedy: str = "") -> _T:
    """For pages: without the table there is no such page. `remedy`: for people who cannot set it up. Raises NotFound."""
    if part is None:
        raise NotFound(_PARTS[table][0], remedy=remedy or _remedy(table))
    return part


def _remedy(table: str) -> str:
    return f"add the table [{table}] to bastide.toml; docs/how-to/{_PARTS[table][1]}.md says how"
