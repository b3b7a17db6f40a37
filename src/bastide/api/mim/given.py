"""What a client says when it asks for a role: in the query, as JSON, or as a form, which is what jQuery sends unless it is told otherwise.

(1) Every name is one of four, in whatever case, and is said once.
(2) RoleId and RequestedTTL are there. The empty text is the same as nothing.
(3) RequestedTTL is a number of seconds; 0 gives the role back.
(4) RequestedTime without a zone is a time of the server's zone.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from bastide.domain.errors import InvalidInput
from bastide.http.door import FORM
from bastide.http.fields import read
from bastide.http.problems import Malformed, WrongMediaType

#: Of every call: the version of the API, the format, and what jQuery adds against caches.
COMMON = frozenset({"v", "$format", "_"})
_NAMES = {name.lower(): name for name in ("RoleId", "RequestedTTL", "Justification", "RequestedTime")}
_GUID = re.compile(r"(?:guid')?\{?(?P<id>[0-9a-f-]{36})\}?'?", re.ASCII | re.IGNORECASE)
_FORMATS = (
    "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
)  # fmt: skip
_LONGEST = timedelta(days=3650).total_seconds()


@dataclass(frozen=True, slots=True)
class Asked:
    """`ttl` zero: the role is given back."""

    role: str
    ttl: timedelta
    justification: str
    start_at: datetime | None


def asked(query: str, media_type: str, body: bytes, local: Callable[[datetime], datetime]) -> Asked:
    """(1) to (4). `local`: a time without a zone, as one of the server's zone. Raises InvalidInput, Malformed, WrongMediaType."""
    said = _once([*((n, v) for n, v in read(query) if n not in COMMON), *_body(media_type, body)])
    ttl = _ttl(said.get("RequestedTTL", ""))
    return Asked(
        role=_role(said.get("RoleId", "")),
        ttl=ttl,
        justification=said.get("Justification", ""),
        start_at=_when(said.get("RequestedTime", ""), local),
    )


def _body(media_type: str, body: bytes) -> list[tuple[str, str]]:
    if not body:
        return []
    try:
        if media_type == FORM:
            return read(body)
        if media_type == "application/json":
            given = msgspec.json.decode(body, type=dict[str, str | int | float | None])
            return [
                (name, "" if value is None else str(value))
                for name, value in given.items()
                if not name.startswith("odata.")
            ]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("the body is neither a JSON object of plain values nor a form in UTF-8") from None
    raise WrongMediaType("a body is JSON or a form", remedy="send Content-Type: application/json")


def _once(given: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """(1)."""
    said: dict[str, str] = {}
    for name, value in given:
        known = _NAMES.get(name.lower())
        if known is None:
            raise InvalidInput(
                name[:80], "is not part of a request", remedy=f"there are {', '.join(_NAMES.values())}"
            )
        if known in said:
            raise InvalidInput(known, "is said twice")
        if "\0" in value:
            raise InvalidInput(known, "holds control characters")
        said[known] = value.strip()
    return said


def _role(text: str) -> str:
    match = _GUID.fullmatch(text)
    if match is None:
        raise InvalidInput("RoleId", "is not the id of a role", remedy="pamroles shows the ids")
    return match["id"].lower()


def _ttl(text: str) -> timedelta:
    """(3). Portals count in hours with two decimals, and so come with fractions of a second."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LONGEST:
        raise InvalidInput("RequestedTTL", "is not a number of seconds", remedy="0 gives the role back")
    return timedelta(seconds=math.ceil(seconds) if 0 < seconds < 1 else round(seconds))


def _when(text: str, local: Callable[[datetime], datetime]) -> datetime | None:
    """(4)."""
    if not text:
        return None
    at = _parsed(text)
    try:
        return local(at) if at.tzinfo is None else at
    except (OverflowError, ValueError, OSError):
        raise _no_time() from None


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  # the zone is the server's: (4)
        except ValueError:
            continue
    raise _no_time()


def _no_time() -> InvalidInput:
    return InvalidInput("RequestedTime", "is not a time", remedy="write 2026-03-01T22:00:00Z")
