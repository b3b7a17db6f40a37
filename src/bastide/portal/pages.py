"""Templates and static files, read once. Everything that a template writes is escaped; no template says `safe`."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bastide.domain.requests import State
from bastide.portal.addresses import STATIC

#: The framework adds the charset.
HTML = "text/html"
_HERE = Path(__file__).parent
_HASH_LENGTH = 16
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_WORDS: Mapping[State, str] = {
    State.PENDING_MFA: "Waits for your second factor",
    State.PENDING_APPROVAL: "Waits for approval",
    State.SCHEDULED: "Approved, starts later",
    State.PROCESSING: "Is being opened",
    State.ACTIVE: "Active",
    State.CLOSING: "Is being ended",
    State.CLOSED: "Ended early",
    State.EXPIRED: "Over",
    State.REJECTED: "Rejected",
    State.CANCELLED: "Withdrawn",
    State.FAILED: "Failed",
}


def span(length: timedelta) -> str:
    """A length of time in words: `1 hour 30 minutes`."""
    left, words = int(length.total_seconds()), []
    for name, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            words.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " ".join(words) or "0 seconds"


def _machine(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _static() -> tuple[dict[str, tuple[bytes, str]], dict[str, str]]:
    files, addresses = {}, {}
    for path in sorted((_HERE / "static").iterdir()):
        content = path.read_bytes()
        name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:_HASH_LENGTH]}{path.suffix}"
        files[name] = (content, _TYPES[path.suffix])
        addresses[path.name] = f"{STATIC}/{name}"
    return files, addresses


#: What every template asks for, on a page that is nobody's.
NOBODY: Mapping[str, Any] = {
    "error": None, "fields": {}, "done": "", "person": "", "may_approve": False, "fresh": False, "form_token": "",
}  # fmt: skip
#: Name with hash -> content and media type.
FILES, _ADDRESSES = _static()

_environment = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.filters |= {"span": span, "machine": _machine, "moment": _moment, "words": _WORDS.__getitem__}
_environment.globals |= {"static": _ADDRESSES.__getitem__}


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """A page."""
    return _environment.get_template(template).render(values).encode()
