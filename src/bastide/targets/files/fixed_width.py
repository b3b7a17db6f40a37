"""Fixed width: each field has so many bytes (or characters), filled up with blanks."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, BinaryIO, Literal, TypeVar

from msgspec import Meta

from bastide.domain.errors import InvalidInput
from bastide.targets.files.imports import kind_for
from bastide.targets.files.records import Lines, Record, Unwritable, bad, encoding_of
from bastide.targets.files.settings import Export, FileSettings, Name, check_export
from bastide.targets.kinds import Settings

_BOM = b"\xef\xbb\xbf"
_Text = TypeVar("_Text", str, bytes)


class Field(Settings, frozen=True, kw_only=True):
    """One column. An empty name is a gap."""

    name: Annotated[str, Meta(max_length=128)]
    width: Annotated[int, Meta(ge=1, le=65_536)]


class FixedExport(Export, frozen=True, kw_only=True):
    """`columns`: of the export file; anchor, attributes and the hash must be among them."""

    columns: Annotated[tuple[Field, ...], Meta(min_length=1)]


class FixedWidthSettings(FileSettings, frozen=True, kw_only=True):
    """`unit`: what a width counts. Bytes are those of the file, so that a letter may have several."""

    columns: Annotated[tuple[Field, ...], Meta(min_length=1)]
    unit: Literal["bytes", "characters"] = "bytes"
    #: Lines at the beginning that hold no record.
    skip: Annotated[int, Meta(ge=0)] = 0
    multi_valued: tuple[Name, ...] = ()
    separator: Annotated[str, Meta(min_length=1, max_length=8)] = ";"
    export: FixedExport | None = None

    def __post_init__(self) -> None:
        FileSettings.__post_init__(self)
        check_export(self)
        for path, columns in (("columns", self.columns), ("export.columns", self.export_columns)):
            names = [field.name for field in columns if field.name]
            if len(set(names)) != len(names):
                raise InvalidInput(f"settings.{path}", "names one twice")
        if self.export is not None:
            wanted = {self.anchor, *self.export.attributes, self.export.attribute}
            if missing := wanted - {field.name for field in self.export.columns}:
                raise InvalidInput("settings.export.columns", f"has no {', '.join(sorted(missing))}")

    @property
    def export_columns(self) -> tuple[Field, ...]:
        """Of the export file."""
        return self.export.columns if self.export else ()


class FixedWidth:
    """The format. `skip`: lines to pass over."""

    def __init__(self, settings: FixedWidthSettings, columns: Sequence[Field], skip: int) -> None:
        self._settings = settings
        self._columns = columns
        self._skip = skip

    def read(self, source: BinaryIO) -> Iterator[Record]:
        """Raises BadSource."""
        texts = self._of_bytes(source) if self._settings.unit == "bytes" else self._of_characters(source)
        for number, fields in texts:
            if number > self._skip and any(fields):
                values = {
                    field.name: self._split(field.name, text)
                    for field, text in zip(self._columns, fields, strict=True)
                    if field.name
                }
                yield Record(number, values)

    def check(self, record: Record) -> None:
        """What does not fit is not cut. Raises Unwritable."""
        for field in self._columns:
            text = self._joined(field, record)
            if self._size(text) > field.width:
                raise Unwritable(
                    f"{field.name} is longer than its column of {field.width} {self._settings.unit}"
                )
            if set("\r\n\0") & set(text) or text != text.strip(" "):
                raise Unwritable(
                    f"{field.name} has a line end, or blanks at its ends, which this format cannot hold"
                )

    def write(self, records: Iterable[Record]) -> Iterator[bytes]:
        """The whole file, in UTF-8."""
        for record in records:
            texts = ((field.width, self._joined(field, record)) for field in self._columns)
            yield "".join(
                (*(text + " " * (width - self._size(text)) for width, text in texts), "\n")
            ).encode()

    def _of_bytes(self, source: BinaryIO) -> Iterator[tuple[int, list[str]]]:
        encoding = encoding_of(source, self._settings.encoding).replace("-sig", "")
        if "\n".encode(encoding) != b"\n":
            raise bad(1, "in this encoding a line end is more than a byte: count characters (settings.unit)")
        limit, number = self._settings.size_limit, 0
        while line := source.readline(limit + 3):
            number += 1
            raw = line.removeprefix(_BOM) if number == 1 else line
            raw = raw.rstrip(b"\r\n")
            if len(raw) > limit:
                raise bad(number, f"a record has more than {limit} bytes")
            yield number, [self._decoded(part, encoding, number) for part in self._cut(raw, number)]

    def _of_characters(self, source: BinaryIO) -> Iterator[tuple[int, list[str]]]:
        lines = Lines(source, self._settings.encoding, self._settings.size_limit, "\n")
        for line in lines:
            yield lines.number, [part.strip(" ") for part in self._cut(line.rstrip("\r\n"), lines.number)]
            lines.begin()
        lines.close()

    def _cut(self, line: _Text, number: int) -> list[_Text]:
        """A line may end early: editors take blanks away."""
        if number <= self._skip:
            return []
        parts: list[_Text] = []
        start = 0
        for field in self._columns:
            parts.append(line[start : start + field.width])
            start += field.width
        if line[start:].strip():
            raise bad(number, f"is longer than its columns, {start} {self._settings.unit}")
        return parts

    def _decoded(self, part: bytes, encoding: str, number: int) -> str:
        try:
            return part.decode(encoding).strip(" ")
        except UnicodeError:
            raise bad(
                number, "a column ends within a letter, or is not in the encoding of the file"
            ) from None

    def _joined(self, field: Field, record: Record) -> str:
        values = record.values.get(field.name, ())
        if len(values) > 1 and field.name not in self._settings.multi_valued:
            raise Unwritable(f"{field.name} has several values and is not named in multi_valued")
        if len(values) > 1 and any(self._settings.separator in value for value in values):
            raise Unwritable(f"a value of {field.name} holds the separator")
        return self._settings.separator.join(values)

    def _split(self, name: str, text: str) -> tuple[str, ...]:
        return tuple(text.split(self._settings.separator)) if name in self._settings.multi_valued else (text,)

    def _size(self, text: str) -> int:
        return len(text.encode()) if self._settings.unit == "bytes" else len(text)


KIND = kind_for(
    FixedWidthSettings,
    lambda settings: FixedWidth(settings, settings.columns, settings.skip),
    lambda settings: FixedWidth(settings, settings.export_columns, 0),
)
