"""What people see: tables, lines, one red sentence for a refusal. Colour and progress in a terminal only; markup never read from data."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.cells import cell_len
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

    def line(self, text: object, style: str = "", *, whole: bool = False) -> None:
        """`whole`: no line breaks of ours, for commands that are copied."""
        self.out.print(Text(safe(text), style=style), soft_wrap=whole)

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
        """One row per object, or one block where a row would break a word: ids are copied. `empty` is said when there is none."""
        cells = [[one_line(_shown(read(row))) for _, read in columns] for row in rows]
        if not cells:
            self.note(empty)
            return
        names = [name for name, _ in columns]
        widths = _widths([names, *cells], self.out.width)
        if not widths:
            self._blocks(names, cells)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, width in zip(names, widths, strict=True):
            table.add_column(Text(name), overflow="fold", width=width)
        for one in cells:
            table.add_row(*map(Text, one))
        self.out.print(table)

    def _blocks(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        for number, row in enumerate(rows):
            if number:
                self.line("")
            self.fields(zip(names, row, strict=True))

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """One object: name and value below each other; empty values are left out."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
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


#: Between two columns.
_GAP = 2


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Of each column, so that no word is broken; empty if there is no room for that."""
    columns = list(zip(*rows, strict=True))
    wanted = [max(map(cell_len, column)) for column in columns]
    widths = [max(cell_len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
    spare = room - sum(widths) - _GAP * (len(widths) - 1)
    if spare < 0:
        return []
    # Whoever lacks least first: what they leave goes to the others.
    by_lack = sorted(range(len(widths)), key=lambda at: wanted[at] - widths[at])
    for served, at in enumerate(by_lack):
        more = min(wanted[at] - widths[at], spare // (len(widths) - served))
        widths[at] += more
        spare -= more
    return widths


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
