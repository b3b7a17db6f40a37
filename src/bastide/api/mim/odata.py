"""`$filter` of OData version 3, as far as the PAM REST API has it: comparisons, joined by `and`. Pure.

    filter     = comparison *( "and" comparison )
    comparison = property operator literal
    operator   = "eq" | "ne" | "gt" | "ge" | "lt" | "le"
    literal    = 'text' | datetime'...' | datetimeoffset'...' | guid'...' | true | false | null

Text is compared as the directory and SQL Server do it: capitals and small letters are the same. Sources: OData 3 URL conventions, 5.1.2;
../shared: mim-pam-rest.md.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bastide.domain.errors import InvalidInput

FIELD = "$filter"
Value = str | bool | datetime | UUID | None
Row = Mapping[str, Value]
_LIMIT = 2000
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le,
}  # fmt: skip
_TOKEN = re.compile(
    r"\s*(?:(?P<kind>[A-Za-z]*)'(?P<text>(?:[^']|'')*)'|(?P<word>[A-Za-z][A-Za-z0-9_./]*)|(?P<other>\S))",
    re.ASCII,
)
#: .NET writes up to seven decimals. Without an offset it is UTC.
_TIME = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(?P<part>\d{1,7}))?(?P<zone>Z|[+-]\d\d:\d\d)?",
    re.ASCII | re.IGNORECASE,
)
_NAMES: Mapping[type, str] = {
    str: "text: 'like this'",
    bool: "true or false",
    datetime: "a time: datetime'2026-03-01T22:00:00Z'",
    UUID: "an id: guid'00000000-0000-0000-0000-000000000000'",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition on one property."""

    name: str
    operator: str
    literal: Value

    def holds(self, value: Value) -> bool:
        """Whether it is true of this value. What is null is neither more nor less than anything."""
        left, right = _folded(value), _folded(self.literal)
        if (left is None or right is None) and self.operator not in {"eq", "ne"}:
            return False
        return _OPERATORS[self.operator](left, right)


@dataclass(frozen=True, slots=True)
class Filter:
    """All of its conditions; none: everything."""

    comparisons: tuple[Comparison, ...] = ()

    def takes(self, row: Row) -> bool:
        """Whether the row is wanted."""
        return all(one.holds(row[one.name]) for one in self.comparisons)

    def earliest(self, name: str) -> datetime:
        """Nothing whose time of that name is before it can be wanted."""
        bounds = [
            one.literal
            for one in self.comparisons
            if one.name == name and one.operator in {"eq", "gt", "ge"} and isinstance(one.literal, datetime)
        ]
        return max(bounds, default=datetime.min.replace(tzinfo=UTC))


def parse(text: str, properties: Mapping[str, type]) -> Filter:
    """What `$filter` says about a resource with these properties. Raises InvalidInput."""
    if len(text) > _LIMIT:
        raise InvalidInput(FIELD, f"is longer than {_LIMIT} characters")
    if not text.strip():
        return Filter()
    tokens = list(_tokens(text))
    names = {name.lower(): name for name in properties}
    found = []
    while True:
        three, tokens = tokens[:3], tokens[3:]
        found.append(_comparison(three, names, properties))
        if not tokens:
            return Filter(tuple(found))
        if tokens[0].lower() != "and":
            raise InvalidInput(FIELD, f"conditions are joined by `and`, not by {tokens[0][:40]!r}")
        tokens = tokens[1:]


def _tokens(text: str) -> Iterator[str]:
    """Words, and literals with their quotes."""
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match["other"]:
            raise InvalidInput(FIELD, f"cannot be read from here on: {text[at : at + 40]!r}")
        at = match.end()
        yield match[0].strip()


def _comparison(tokens: list[str], names: Mapping[str, str], properties: Mapping[str, type]) -> Comparison:
    complete = 3
    if len(tokens) != complete:
        raise InvalidInput(FIELD, "ends too early", remedy="write PROPERTY eq VALUE")
    name, operation, literal = tokens
    if name.lower() not in names:
        raise InvalidInput(
            FIELD, f"there is no property {name[:80]!r}", remedy=f"there are {', '.join(properties)}"
        )
    if operation.lower() not in _OPERATORS:
        raise InvalidInput(
            FIELD, f"there is no operator {operation[:40]!r}", remedy=f"there are {', '.join(_OPERATORS)}"
        )
    name = names[name.lower()]
    return Comparison(name, operation.lower(), _literal(name, literal, properties[name]))


def _literal(name: str, token: str, kind: type) -> Value:
    prefix, quote, rest = token.partition("'")
    if not quote:
        known: Mapping[str, Value] = {"true": True, "false": False, "null": None}
        if (word := token.lower()) in known and (word == "null" or kind is bool):
            return known[word]
        raise _wrong(name, kind)
    text = rest[:-1].replace("''", "'")
    match prefix.lower(), kind:
        case "", _ if kind is str:
            return text
        case "datetime" | "datetimeoffset", _ if kind is datetime:
            return _time(name, text)
        case "guid" | "", _ if kind is UUID:
            try:
                return UUID(text)
            except ValueError:
                raise _wrong(name, kind) from None
        case _:
            raise _wrong(name, kind)


def _time(name: str, text: str) -> datetime:
    match = _TIME.fullmatch(text)
    if match is None:
        raise _wrong(name, datetime)
    zone = (match["zone"] or "Z").upper()
    try:
        return datetime.fromisoformat(f"{match['time']}.{(match['part'] or '0')[:6]:0<6}{zone}")
    except ValueError:
        raise _wrong(name, datetime) from None


def _wrong(name: str, kind: type) -> InvalidInput:
    return InvalidInput(FIELD, f"{name} is compared with {_NAMES[kind]}")


def _folded(value: Value) -> Value:
    return value.casefold() if isinstance(value, str) else value
