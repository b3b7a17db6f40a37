"""Templates and static files, read once. Everything that a template writes is escaped; no template says `safe`."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bastide.domain.requests import State
from bastide.portal.addresses import STATIC
from bastide.portal.text import pieces, visible

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


def about(length: timedelta) -> str:
    """A length of time by its two largest units: `3 days 12 hours`."""
    words = span(length).split()
    return " ".join(words[:4])


def _local(moment: datetime) -> str:
    """As a field of type datetime-local takes it, in UTC; never before the moment."""
    whole = moment.astimezone(UTC) + timedelta(minutes=1) - timedelta(microseconds=1)
    return f"{whole:%Y-%m-%dT%H:%M}"


def _machine(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """`packed`: with gzip. Pages are not packed: they hold a token beside words of others (BREACH, CVE-2013-3587)."""

    content: bytes
    packed: bytes
    media_type: str


def _static() -> tuple[dict[str, StaticFile], dict[str, str]]:
    files, addresses = {}, {}
    for path in sorted((_HERE / "static").iterdir()):
        if path.suffix not in _TYPES:
            continue  # a licence
        content = path.read_bytes()
        name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:_HASH_LENGTH]}{path.suffix}"
        files[name] = StaticFile(content, gzip.compress(content, mtime=0), _TYPES[path.suffix])
        addresses[path.name] = f"{STATIC}/{name}"
    return files, addresses


#: What every template asks for, on a page that is nobody's.
NOBODY: Mapping[str, Any] = {
    "error": None, "fields": {}, "done": "", "person": "", "may_approve": False, "may_read": False, "fresh": False, "keyed": False,
    "form_token": "", "may_help": False, "resets": False,
}  # fmt: skip
#: By name with hash.
FILES, _ADDRESSES = _static()


def _shown(value: object) -> object:
    """What a macro or a filter has escaped already is no word of others any more."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_environment = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
    finalize=_shown,
)
_environment.filters |= {
    "span": span,
    "about": about,
    "local": _local,
    "machine": _machine,
    "moment": _moment,
    "words": _WORDS.__getitem__,
}
_environment.filters["pieces"] = pieces
_environment.globals |= {"static": _ADDRESSES.__getitem__}


def state_words(state: State) -> str:
    """A request's state, as people call it."""
    return _WORDS[state]


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """A page."""
    return _environment.get_template(template).render(values).encode()
