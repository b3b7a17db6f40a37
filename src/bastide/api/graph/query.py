"""The query options of OData 4 over rows in memory: `$filter`, `$select`, `$expand`, `$top` and the token of the next page. Pure.

What is not known here is refused: ignored, it would answer a question that was not asked.
"""

import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

from odata_query import ast, exceptions, grammar

from bastide.api.graph.values import written
from bastide.domain.errors import InvalidInput

Row = Mapping[str, Any]
Test = Callable[[Row], bool]
#: The most rows of an answer.
PAGE = 100
MOST = 999
_LONGEST = 2000
_DEEPEST = 60
_NESTED = 16
_COMPARE: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_CALLS: Mapping[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith, "endswith": str.endswith, "contains": operator.contains,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """What a kind of row has: properties with their types, objects within it, and what `$expand` adds."""

    fields: Mapping[str, type]
    within: Mapping[str, "Shape"] = field(default_factory=dict)
    expandable: Mapping[str, "Shape"] = field(default_factory=dict)

    def find(self, option: str, name: str) -> str:
        """A property's name as it is written, whatever case was asked for. Raises InvalidInput."""
        names = {one.lower(): one for one in (*self.fields, *self.within, *self.expandable)}
        if name.lower() not in names:
            raise InvalidInput(
                option, f"there is no property {name[:80]!r}", remedy=f"there are {', '.join(names.values())}"
            )
        return names[name.lower()]


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
        takes=condition(said.get("$filter", ""), shape),
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


def next_page(said: Mapping[str, str], token: str) -> str:
    """The query of the next page."""
    return urlencode({**said, "$skiptoken": token}, safe="$")


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
    if len(text) > _LONGEST:
        raise InvalidInput("$expand", f"is longer than {_LONGEST} characters")
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


# ----------------------------------------------------------------------------------------------------------------- filter


def condition(text: str, shape: Shape) -> Test:
    """`$filter` as a test of a row. Text is compared without regard to capitals. Raises InvalidInput."""
    if not text.strip():
        return lambda _: True
    return _test(_tree(text), shape, 0)


def wanted(text: str, names: Collection[str]) -> str:
    """The value of the one comparison that a list can be asked by. Raises InvalidInput."""
    match _tree(text):
        case ast.Compare(comparator=ast.Eq(), left=ast.Identifier(name=name), right=ast.String(val=value)):
            if name in names:
                return str(value)
        case _:
            pass
    raise InvalidInput(
        "$filter", f"is needed here, with one of {', '.join(sorted(names))}", remedy="write id eq 'VALUE'"
    )


def _tree(text: str) -> Any:
    if len(text) > _LONGEST:
        raise InvalidInput("$filter", f"is longer than {_LONGEST} characters")
    try:
        tree = grammar.ODataParser().parse(grammar.ODataLexer().tokenize(text.strip()))
    except (exceptions.ODataException, ValueError, RecursionError):
        tree = None
    if tree is None:
        raise InvalidInput("$filter", "cannot be read", remedy="write PROPERTY eq 'VALUE'")
    return tree


def _test(node: Any, shape: Shape, depth: int) -> Test:
    if depth > _DEEPEST:
        raise InvalidInput("$filter", f"has more than {_DEEPEST} parts")
    match node:
        case ast.BoolOp(op=op):
            left, right = _test(node.left, shape, depth + 1), _test(node.right, shape, depth + 1)
            if isinstance(op, ast.And):
                return lambda row: left(row) and right(row)
            return lambda row: left(row) or right(row)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _test(operand, shape, depth + 1)
            return lambda row: not inner(row)
        case ast.Compare():
            return _comparison(node, shape)
        case ast.Call():
            return _call(node, shape)
        case _:
            return _flag(node, shape)


def _flag(node: Any, shape: Shape) -> Test:
    """A property that is true or false stands for itself. Raises InvalidInput."""
    if isinstance(node, ast.Identifier | ast.Attribute):
        path, kind = _path(node, shape)
        if kind is bool:
            return lambda row: _value(row, path) is True
    raise InvalidInput("$filter", "has a part that is not known here", remedy="write PROPERTY eq 'VALUE'")


def _comparison(node: Any, shape: Shape) -> Test:
    path, kind = _path(node.left, shape)
    if isinstance(node.comparator, ast.In):
        if not isinstance(node.right, ast.List):
            raise InvalidInput("$filter", "`in` takes a list: ('a', 'b')")
        among = [_literal(one, kind, path) for one in node.right.val]
        return lambda row: _value(row, path) in among
    literal = _literal(node.right, kind, path)
    compare = _COMPARE[type(node.comparator)]
    equality = isinstance(node.comparator, ast.Eq | ast.NotEq)

    def holds(row: Row) -> bool:
        """What is null is neither more nor less than anything."""
        value = _value(row, path)
        if not equality and (value is None or literal is None):
            return False
        return compare(value, literal)

    return holds


def _call(node: Any, shape: Shape) -> Test:
    function = _CALLS.get(node.func.name.lower())
    arguments = 2
    if function is None or len(node.args) != arguments:
        raise InvalidInput(
            "$filter",
            f"there is no function {node.func.name[:40]!r} of that kind",
            remedy=f"there are {', '.join(_CALLS)}",
        )
    path, kind = _path(node.args[0], shape)
    text = _literal(node.args[1], kind, path)
    if kind is not str or text is None:
        raise InvalidInput("$filter", f"{node.func.name} compares text")
    return lambda row: function(_value(row, path) or "", text)


def _path(node: Any, shape: Shape) -> tuple[tuple[str, ...], type]:
    """The way to a property, and its type. Raises InvalidInput."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.owner
    if not isinstance(node, ast.Identifier) or node.namespace:
        raise InvalidInput("$filter", "a property stands on the left of each comparison")
    found: list[str] = []
    for name in (node.name, *names):
        if found:
            inner = shape.within.get(found[-1]) or shape.expandable.get(found[-1])
            if inner is None:
                raise InvalidInput("$filter", f"{found[-1]} has no properties")
            shape = inner
        found.append(shape.find("$filter", name))
    if found[-1] not in shape.fields:
        raise InvalidInput("$filter", f"{found[-1]} is not a single value")
    return tuple(found), shape.fields[found[-1]]


def _value(row: Row, path: tuple[str, ...]) -> Any:
    value: Any = row
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value.casefold() if isinstance(value, str) else value


def _literal(node: Any, kind: type, path: tuple[str, ...]) -> Any:
    name = "/".join(path)
    match node:
        case ast.Null():
            return None
        case ast.String() | ast.GUID() if kind is str:
            return str(node.val).casefold()
        case ast.Boolean() if kind is bool:
            return node.py_val
        case ast.DateTime() | ast.Date() if kind is datetime:
            return _time(node, name)
    raise InvalidInput("$filter", f"{name} is compared with {_NAMES.get(kind, 'nothing')}")


_NAMES = {str: "text: 'like this'", bool: "true or false", datetime: "a time: 2026-03-01T22:00:00Z"}


def _time(node: Any, name: str) -> datetime:
    try:
        value: date = node.py_val
        at = (
            value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        )
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidInput("$filter", f"{name} is compared with {_NAMES[datetime]}") from None
