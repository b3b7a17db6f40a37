"""What people see: tables, lines, one red sentence for a refusal. Colour and progress in a terminal only; markup never read from data."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bastide.cli.exits import Stop, problem
from bastide.cli.text import one_line, safe, safe_json

Column = tuple[str, Callable[[Mapping[str, Any]], object]]


class Screen:
    """Standard output for answers, standard error for everything else."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.out = _console(out or sys.stdout)
        self.err = _console(err or sys.stderr)

    @property
    def interactive(self) -> bool:
        """Whether somebody watches."""
        return self.err.is_terminal and self.out.is_terminal

    def line(self, text: object, style: str = "") -> None:
        self.out.print(Text(safe(text), style=style))

    def note(self, text: object, style: str = "dim") -> None:
        """Something about the doing, not the answer: standard error."""
        self.err.print(Text(safe(text), style=style))

    def raw_json(self, text: str) -> None:
        """The answer as the server gave it."""
        self.out.file.write(safe_json(text).rstrip("\n") + "\n")

    def json(self, value: object) -> None:
        """An answer of our own as JSON."""
        self.raw_json(json.dumps(value, ensure_ascii=False, default=str))

    def table(self, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], *, empty: str) -> None:
        """One row per object; `empty` is said when there is none."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, _ in columns:
            table.add_column(Text(name), overflow="fold")
        for row in rows:
            table.add_row(*(Text(one_line(_shown(read(row)))) for _, read in columns))
        if table.row_count:
            self.out.print(table)
        else:
            self.note(empty)

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """One object: name and value below each other; empty values are left out."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in pairs:
            if value not in (None, "", (), []):
                table.add_row(Text(name), Text(safe(_shown(value))))
        self.out.print(table)

    def stop(self, error: Stop, *, as_json: bool = False) -> None:
        """One red sentence and the remedy; with --json the server's problem as it is, or one of our own in its shape."""
        if as_json:
            self.err.file.write(safe_json(error.raw or problem(error)).rstrip("\n") + "\n")
            return
        self.err.print(Text(one_line(error.message), style="bold red"))
        if error.remedy:
            self.err.print(Text(f"  -> {one_line(error.remedy)}"))


#: Wider than any line; columns take only what they need.
_NO_WIDTH = 10_000


def _console(file: TextIO) -> Console:
    """A file or pipe has no width: nothing is folded there, so that other programs find whole lines."""
    width = None if file.isatty() else _NO_WIDTH
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def _shown(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(_shown(item)) for item in value)
    return "" if value is None else value
