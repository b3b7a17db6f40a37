"""A report as CSV that no spreadsheet works out, and as one HTML page that asks nobody for anything."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bastide.cli.text import safe, when
from bastide.health.page import template
from bastide.portal.text import csv_rows

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)
_HERE = Path(__file__).parent / "templates"


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """RFC 4180, with a header; a cell that begins as a formula does is text (portal/text.py)."""
    cells = ([_plain(cell) for cell in row] for row in rows)
    return b"".join(csv_rows(columns, cells)).decode()


def to_html(report: Mapping[str, Any]) -> str:
    """The answer of the API as a page: escaped, without script, and with a policy that lets nothing in."""
    return template(_HERE, "table.html").render(
        report=report, when=when, shown=lambda cell: safe(shown(cell))
    )


def _plain(cell: Any) -> str:
    return "" if cell is None else str(cell)


def shown(cell: Any) -> str:
    """For people: a time as they read it, all else as it is."""
    text = _plain(cell)
    return when(text) if _is_moment(text) else text


def _is_moment(text: str) -> bool:
    """As the API writes one: RFC 3339 in UTC."""
    return _MOMENT.fullmatch(text) is not None
