"""A graph of access as SVG: people, roles and groups in three columns, with lines between them. Every name is escaped; it asks nobody for anything."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from bastide.cli.exits import Exit, Stop
from bastide.cli.text import one_line
from bastide.domain.counted import counted

#: More in a column is no picture.
MOST = 120
_ROW, _HEAD, _FOOT = 24, 56, 16
_BOX, _GAP, _MARGIN = 230, 130, 16
_LABEL = 34
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1c232b}.head{font-weight:600}.box{fill:#fff;stroke:#515c68}"
    ".protected{fill:#fbeae8;stroke:#8c2319}.line{fill:none;stroke:#1f5483;stroke-opacity:.55}.off{stroke-dasharray:4 3;stroke:#515c68}"
)


def draw(ways: Sequence[Mapping[str, Any]]) -> str:
    """The whole picture. Raises Stop if it would have more than MOST names in a column."""
    columns = {
        name: list(dict.fromkeys(str(way[name]) for way in ways)) for name in ("person", "role", "group")
    }
    for name, found in columns.items():
        if len(found) > MOST:
            raise Stop(
                f"{len(found)} of {name}: more than {MOST} are no picture",
                remedy="choose with --person, --role or --group, or take --format json",
                status=Exit.USAGE,
            )
    places = [{label: row for row, label in enumerate(sorted(found))} for found in columns.values()]
    height = _HEAD + _ROW * max(len(found) for found in places) + _FOOT
    width = 2 * _MARGIN + 3 * _BOX + 2 * _GAP
    guarded = {str(way["group"]) for way in ways if way["protected"]}
    people, roles, groups = map(len, places)
    title = f"{counted(people, 'person', 'people')}, {counted(roles, 'role', 'roles')}, {counted(groups, 'group', 'groups')}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">Who can reach which group by which role: {title}</title><style>{_STYLE}</style>',
        f'<rect width="{width}" height="{height}" fill="#f6f7f9"/>',
        *_lines(ways, places),
        *(
            _column(number, head, found, guarded)
            for number, (head, found) in enumerate(zip(_HEADS, places, strict=True))
        ),
        "</svg>\n",
    ]
    return "\n".join(parts)


_HEADS = ("People", "Roles", "Groups")


def _left(column: int) -> int:
    return _MARGIN + column * (_BOX + _GAP)


def _middle(row: int) -> int:
    return _HEAD + _ROW * row + _ROW // 2


def _lines(ways: Sequence[Mapping[str, Any]], places: Sequence[Mapping[str, int]]) -> list[str]:
    """Each line once; dashed where nobody could ask now."""
    found: dict[tuple[int, int, int], bool] = {}
    for way in ways:
        person, role, group = (
            places[at][str(way[name])] for at, name in enumerate(("person", "role", "group"))
        )
        able = not way["why_not"]
        for key in ((0, person, role), (1, role, group)):
            found[key] = found.get(key, False) or able
    return [
        f'<path class="line{"" if able else " off"}" d="M{_left(at) + _BOX} {_middle(start)} C{_left(at) + _BOX + _GAP // 2} {_middle(start)} '
        f'{_left(at + 1) - _GAP // 2} {_middle(end)} {_left(at + 1)} {_middle(end)}"/>'
        for (at, start, end), able in found.items()
    ]


def _column(number: int, head: str, found: Mapping[str, int], guarded: set[str]) -> str:
    left = _left(number)
    parts = [f'<text class="head" x="{left}" y="{_HEAD - 14}">{head} ({len(found)})</text>']
    for name, row in found.items():
        kind = "box protected" if number == len(_HEADS) - 1 and name in guarded else "box"
        label = one_line(name)
        cut = label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}\u2026"
        top = _middle(row) - _ROW // 2 + 2
        parts.append(
            f'<g><title>{escape(label)}{": protected" if kind != "box" else ""}</title><rect class="{kind}" x="{left}" y="{top}" width="{_BOX}" '
            f'height="{_ROW - 4}" rx="4"/><text x="{left + 8}" y="{_middle(row) + 5}">{escape(cut)}</text></g>'
        )
    return "".join(parts)
