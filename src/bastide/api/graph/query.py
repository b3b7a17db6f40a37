"""The query options of OData 4 over rows in memory: `$filter`, `$select`, `$expand`, `$top` and the token of the next page. Pure.

What is not known here is refused: ignored, it would answer a question that was not asked.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from bastide.api.graph.shape import LONGEST, Row, Shape, Test
from bastide.api.graph.values import written
from bastide.domain.errors import InvalidInput
from bastide.domain.requests import Place

#: The most rows of an answer.
PAGE = 100
MOST = 999
_NESTED = 16


@dataclass(frozen=True, slots=True)
class Query:
    """What a client wants of rows of one shape."""

    shape: Shape
    takes: Test = lambda _: True
    select: tuple[str, ...] = ()
    expand: Mapping[str, "Query"] = field(default_factory=dict)
    top: int = PAGE
    after: str = ""

    def project(self, row: Row) -> dict[str, Any]:
        """A row as it is answered. `id` and the type are always there, as in Graph."""
        chosen = {
            name: value
            for name, value in row.items()
            if name not in self.shape.expandable
            and (not self.select or name in self.select or name in {"id", "@odata.type"})
        }
        for name, inner in self.expand.items():
            chosen[name] = _project(row.get(name), inner)
        answer: dict[str, Any] = written(chosen)
        return answer


def _project(value: Any, inner: Query) -> Any:
    if isinstance(value, list):
        return [inner.project(one) for one in value if inner.takes(one)]
    return inner.project(value) if value is not None else None


def parse(
    said: Mapping[str, str],
    shape: Shape,
    *,
    allowed: Iterable[str] = (),
    expanded: Mapping[str, Query] | None = None,
) -> Query:
    """What the options of a call say about rows of this shape; `allowed`: those there are, by default all; `expanded`: what is expanded when
    nobody says. Raises InvalidInput.
    """
    known = set(allowed) or {"$filter", "$select", "$expand", "$top", "$skiptoken"}
    for name in said.keys() - known:
        raise InvalidInput(name[:80], "is not known here", remedy=f"there are {', '.join(sorted(known))}")
    return Query(
        shape,
        takes=_condition(said.get("$filter", ""), shape),
        select=tuple(
            shape.find("$select", one.strip()) for one in said.get("$select", "").split(",") if one.strip()
        ),
        expand=_expand(said.get("$expand", ""), shape) or dict(expanded or {}),
        top=_top(said.get("$top", "")),
        after=said.get("$skiptoken", ""),
    )


def page(query: Query, rows: Iterable[Row]) -> tuple[list[dict[str, Any]], str]:
    """The rows of this page, and the token of the next one; empty: there is none. Raises InvalidInput."""
    wanted = [row for row in rows if query.takes(row)]
    start = 0
    if query.after:
        ids = [str(row["id"]) for row in wanted]
        if query.after not in ids:
            raise InvalidInput(
                "$skiptoken", "the row it stands at is gone", remedy="ask again from the start"
            )
        start = ids.index(query.after) + 1
    shown = wanted[start : start + query.top]
    token = str(shown[-1]["id"]) if start + query.top < len(wanted) else ""
    return [query.project(row) for row in shown], token


#: From a place on, the rows that were read in one go, and the place where the next ones begin; None: there are none.
Read = Callable[[Place | None], tuple[Sequence[Row], Place | None]]
#: How often is read for one answer, however few rows the filter takes: the rest is on the next page.
READS = 4
_PLACE_MARK = "~"


def page_of_history(query: Query, read: Read) -> tuple[list[dict[str, Any]], str]:
    """As `page`, of what grows without end: newest first, and no more of it is read than for an answer. Raises InvalidInput."""
    taken: list[Row] = []
    place = _place(query.after)
    for _ in range(READS):
        rows, place = read(place)
        for row in filter(query.takes, rows):
            if len(taken) == query.top:
                return [query.project(one) for one in taken], _stands(taken[-1])
            taken.append(row)
        if place is None:
            break
    token = f"{place.at.isoformat()}{_PLACE_MARK}{place.id}" if place is not None else ""
    return [query.project(one) for one in taken], token


def _stands(row: Row) -> str:
    return f"{row['createdDateTime'].isoformat()}{_PLACE_MARK}{row['id']}"


def _place(token: str) -> Place | None:
    if not token:
        return None
    at, _, key = token.partition(_PLACE_MARK)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not key:
        raise InvalidInput("$skiptoken", "is none of ours", remedy="ask again from the start")
    return Place(moment, key)


def next_page(said: Mapping[str, str], token: str) -> str:
    """The query of the next page."""
    return urlencode({**said, "$skiptoken": token}, safe="$")


def _condition(text: str, shape: Shape) -> Test:
    if not text.strip():
        return lambda _: True
    from bastide.api.graph.filters import condition  # noqa: PLC0415  # see there

    return condition(text, shape)


def fixed(said: Mapping[str, str], name: str) -> str:
    """The value that a text property has in every row that `$filter` takes; empty: it does not say. Raises InvalidInput."""
    text = said.get("$filter", "")
    if not text.strip():
        return ""
    from bastide.api.graph import filters  # noqa: PLC0415  # see there

    return filters.fixed(text, name)


def wanted(said: Mapping[str, str], names: Collection[str]) -> str:
    """The value of the one comparison that a list can be asked by. Raises InvalidInput."""
    from bastide.api.graph import filters  # noqa: PLC0415  # see there

    return filters.wanted(said.get("$filter", ""), names)


def _top(text: str) -> int:
    if not text:
        return PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST):  # noqa: PLR2004
        raise InvalidInput("$top", f"is not a number from 1 to {MOST}")
    return int(text)


def _expand(text: str, shape: Shape) -> dict[str, Query]:
    found = {}
    for item in _split(text, ","):
        name, bracket, rest = item.strip().partition("(")
        if bracket and not rest.endswith(")"):
            raise InvalidInput("$expand", "a bracket is not closed")
        known = shape.find("$expand", name.strip())
        if known not in shape.expandable:
            raise InvalidInput("$expand", f"{known} is always there")
        options = [one.strip().partition("=") for one in _split(rest[:-1], ";")]
        said = {option.strip(): value for option, _, value in options}
        found[known] = parse(said, shape.expandable[known], allowed=("$filter", "$select", "$expand"))
    return found


def _split(text: str, mark: str) -> list[str]:
    """At the marks outside brackets. Raises InvalidInput."""
    if len(text) > LONGEST:
        raise InvalidInput("$expand", f"is longer than {LONGEST} characters")
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not 0 <= depth <= _NESTED:
            raise InvalidInput("$expand", "the brackets do not match")
        if character == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]
