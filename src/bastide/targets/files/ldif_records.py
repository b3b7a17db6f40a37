"""LDIF (RFC 2849): lines into records. Own code, because the parser of python-ldap passes over `changetype: delete` and `modrdn`, and repeats
values in its errors.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from bastide.targets.files.records import Lines, Record, Unwritable, bad, text_of

_FOLD = 76
#: RFC 2849: what a value may not begin with to be written as it is.
_UNSAFE_START = frozenset(" :<")


@dataclass(frozen=True, slots=True)
class Line:
    """One unfolded line. `name` is empty for the "-" that ends a part of a modify."""

    number: int
    name: str
    value: str

    def __repr__(self) -> str:
        return f"Line({self.number}, {self.name})"


@dataclass(frozen=True, slots=True)
class Block:
    """One record, as lines; the first is its dn. `complete`: a blank line follows."""

    lines: tuple[Line, ...]
    complete: bool

    @property
    def start(self) -> int:
        """The number of the first line."""
        return self.lines[0].number

    @property
    def dn(self) -> str:
        """The name of the object."""
        return self.lines[0].value


def blocks(source: BinaryIO, limit: int) -> Iterator[Block]:
    """Raises BadSource."""
    lines = Lines(source, "utf-8", limit, "\n")
    held: list[tuple[int, str]] = []
    for line in lines:
        text = line.rstrip("\r\n")
        if text == "":
            yield from _block(held, complete=True)
            held = []
            lines.begin()
        elif text.startswith(" ") and held:
            held[-1] = (held[-1][0], held[-1][1] + text[1:])
        else:
            held.append((lines.number, text))
    yield from _block(held, complete=False)
    lines.close()


def content(block: Block) -> Record:
    """A record that shows an object. Raises BadSource for one that tells a change."""
    values: dict[str, list[str]] = {}
    for line in block.lines[1:]:
        if line.name.casefold() in {"changetype", "control", ""}:
            raise bad(
                line.number, "tells a change in a file of objects: name its file in `changes` of the settings"
            )
        values.setdefault(line.name, []).append(line.value)
    return Record(block.start, values, block.dn)


def check(record: Record) -> None:
    """Raises Unwritable."""
    for name in record.values:
        if not name.isascii() or not name.replace("-", "").replace("_", "").replace(";", "").isalnum():
            raise Unwritable("the name of an attribute is none that LDIF knows")


def written(records: Iterable[Record]) -> Iterator[bytes]:
    """The whole file."""
    yield b"version: 1\n\n"
    for record in records:
        lines = [_line("dn", record.dn)]
        lines += [_line(name, value) for name, values in record.values.items() for value in values]
        yield "".join((*lines, "\n")).encode()


def _block(held: Sequence[tuple[int, str]], *, complete: bool) -> Iterator[Block]:
    lines = [_parsed(number, text) for number, text in held if not text.startswith("#")]
    if lines and lines[0].name.casefold() == "version":
        if lines[0].value != "1":
            raise bad(lines[0].number, "is of a version of LDIF that is not known")
        del lines[0]
    if not lines:
        return
    if lines[0].name.casefold() != "dn":
        raise bad(lines[0].number, "begins a record without a dn")
    yield Block(tuple(lines), complete)


def _parsed(number: int, text: str) -> Line:
    if text == "-":
        return Line(number, "", "")
    name, colon, rest = text.partition(":")
    if not colon or not name or name != name.strip():
        raise bad(number, "has no name and value")
    if rest.startswith("<"):
        # RFC 2849 "value-spec": to fetch it would be to read whatever the file names.
        raise bad(number, "has a value that is named by a URL, which is refused")
    if not rest.startswith(":"):
        return Line(number, name, rest.lstrip(" "))
    try:
        return Line(number, name, text_of(base64.b64decode(rest[1:].strip(" "), validate=True)))
    except (binascii.Error, ValueError):
        raise bad(number, "has a value that is no base64") from None


def _line(name: str, value: str) -> str:
    safe = (
        value.isascii()
        and not set(value) & set("\0\r\n")
        and value[:1] not in _UNSAFE_START
        and not value.endswith(" ")
    )
    text = f"{name}: {value}" if safe else f"{name}:: {base64.b64encode(value.encode()).decode()}"
    parts = [text[:_FOLD], *(text[i : i + _FOLD - 1] for i in range(_FOLD, len(text), _FOLD - 1))]
    return "\n ".join(parts) + "\n"
