"""Words of others on their way out: what hides or turns text is made visible, and no cell of a table begins as a formula does. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bastide.domain.ids import UNSEEN

#: Control characters but tab and line ends, and what is not seen or turns what follows (Unicode TR 36, 2.2.1).
_HIDING = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{UNSEEN}]")
#: How a formula begins in a spreadsheet (OWASP, CSV Injection), in wide forms too, and behind blanks.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")

#: The same behind what may end a cell: where a list is separated by semicolons (Excel in German), a comma ends none, and quotes are taken off.
_NEXT_CELL = re.compile(r"([;\t\r\n|][\s\"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
#: By the beginning of a command: the page that does the same, and what it is called. The longer beginning stands first.
_PAGES: Mapping[str, tuple[str, str]] = {
    "bastide kill": ("/admin/kill", "Kill switch"),
    "bastide role proposals": ("/admin/proposals", "Proposals"),
    "bastide role": ("/admin/roles", "Roles"),
    "bastide review decide": ("/reviews", "Reviews"),
    "bastide review list --mine": ("/reviews", "Reviews"),
    "bastide review": ("/admin/reviews", "Access reviews"),
    "bastide pam user add": ("/admin/users/new", "Prepare a person"),
    "bastide pam user": ("/admin/users", "PAM users"),
    "bastide pam group": ("/admin/groups", "PAM groups"),
    "bastide request list --all": ("/auditing", "Who had what"),
    "bastide request list": ("/history", "History"),
    "bastide offers": ("/", "My access"),
    "bastide work": ("/admin/work", "Work"),
    "bastide monitor": ("/admin/monitoring", "Monitoring"),
    "bastide alert": ("/admin/alerts", "Alerts"),
    "bastide mfa": ("/factors", "Sign-in factors"),
}


def visible(text: str) -> str:
    """The text, with what hides or turns it written as its code point."""
    return _HIDING.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def cell(text: str) -> str:
    """For a spreadsheet: it is shown, not worked out."""
    plain = _NEXT_CELL.sub(r"\1'", visible(text))
    return f"'{plain}" if _FORMULA.match(plain) else plain


def csv_rows(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[bytes]:
    """RFC 4180, in UTF-8: a header, then a record for each row."""
    yield _record(head)
    for row in rows:
        yield _record(cell(one) for one in row)


def _record(cells: Iterable[str]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a remedy: words, or a command of the command line, with the page that does the same (empty: none does)."""

    text: str
    is_command: bool = False
    address: str = ""
    called: str = ""


def pieces(words: str) -> tuple[Piece, ...]:
    """A remedy, cut where a command begins and ends: they stand between backquotes."""
    parts = words.split("`")
    return tuple(_command(part) if number % 2 else Piece(part) for number, part in enumerate(parts) if part)


def _command(words: str) -> Piece:
    for beginning, (address, called) in _PAGES.items():
        if words.startswith(beginning):
            return Piece(words, is_command=True, address=address, called=called)
    return Piece(words, is_command=True)
