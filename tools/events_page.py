"""Writes the tables of docs/reference/password-events.md anew, out of the two catalogues of numbered events.

By hand is all but what stands between `<!-- table: ... -->` and `<!-- end of table -->`. tests/unit/test_docs_passwords.py compares page, code and
tests/data/password-events.csv, the list of the original.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bastide.domain.sync_events import EVENTS
from bastide_agent.events import CATALOG, KEYS, key

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "password-events.md"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_HEAD = "| number | level | severity | meaning | fields | {} |\n|---|---|---|---|---|---|\n"


def page(text: str) -> str:
    """The page with every table written anew. Raises KeyError for a table that nobody knows."""
    return _TABLE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def _rows(rows: Iterator[tuple[object, ...]]) -> str:
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def _sync(*, ours: bool = False) -> str:
    ordered = sorted((one for one in EVENTS.values() if one.ours is ours), key=lambda one: one.number)
    return _HEAD.format("where it arises") + _rows(
        (e.number, e.level, e.severity.value, e.meaning, ", ".join(e.fields) or "-", e.arises)
        for e in ordered
    )


def _pcns() -> str:
    ordered = sorted(CATALOG.values(), key=lambda one: one.number)
    return _HEAD.format("where it arises, or why it cannot") + _rows(
        (
            k.number,
            k.level,
            k.severity.value,
            k.meaning,
            ", ".join(k.fields) or "-",
            k.where or f"**cannot**: {k.never}",
        )
        for k in ordered
    )


def _keys() -> str:
    """Where the key is not just the name in lower case with underscores."""
    return "| field | key |\n|---|---|\n" + _rows((name, f"`{key(name)}`") for name in KEYS)


TABLES: Mapping[str, Callable[[], str]] = {
    "sync": _sync,
    "ours": lambda: _sync(ours=True),
    "pcns": _pcns,
    "keys": _keys,
}


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
