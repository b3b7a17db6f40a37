"""Reading a body: strict, into the Struct that the handler names, and nothing else.

Litestar converts leniently ("1" for 1, a number for a time); here a value has its type or is refused. A field that the Struct does not
have is refused, not ignored: what a caller may not say (state, votes, approver) is an error, not a silence (CVE-2025-1969).
"""

import re
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State

from bastide.domain.errors import InvalidInput
from bastide.domain.people import Actor
from bastide.http.problems import Malformed

_PLACE = re.compile(r"^(?P<said>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_NAMED = re.compile(r"(?:unknown|missing required) field `(?P<name>[^`]*)`")
_FIELD_LIMIT = 100


class StrictRequest(Request[Actor, object, State]):
    """A request whose JSON is decoded into the type of the handler's `data`."""

    async def json(self) -> Any:
        """The body. Raises Malformed, InvalidInput."""
        wanted = self.route_handler.parsed_fn_signature.parameters["data"].annotation
        return decode(await self.body() or b"null", wanted)


def decode(body: bytes, wanted: Any) -> Any:
    """A body as `wanted`. Raises Malformed, InvalidInput."""
    try:
        value = msgspec.json.decode(body, type=wanted)
        if b"\\u0000" in body:
            _refuse_nul(msgspec.json.decode(body))
    except msgspec.ValidationError as error:
        raise _unfit(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("the body is not JSON", remedy="send a JSON object in UTF-8") from None
    return value


def _unfit(message: str) -> InvalidInput:
    match = _PLACE.match(message)
    said, path = (match["said"], match["path"] or "") if match else (message, "")
    named = _NAMED.search(said)
    field = ".".join(part for part in (path, named["name"] if named else "") if part)
    return InvalidInput(field[:_FIELD_LIMIT] or "body", said)


def _refuse_nul(value: object, field: str = "body") -> None:
    """No database column and no directory attribute takes a NUL."""
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_nul(item, key)
    elif isinstance(value, list):
        for item in value:
            _refuse_nul(item, field)
    elif isinstance(value, str) and "\0" in value:
        raise InvalidInput(field, "holds control characters")
