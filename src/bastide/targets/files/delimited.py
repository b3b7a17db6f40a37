"""Delimited text (CSV, RFC 4180 and its dialects)."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, BinaryIO, Literal

from msgspec import Meta

from bastide.domain.errors import BadSource, InvalidInput
from bastide.targets.files.imports import kind_for
from bastide.targets.files.records import Lines, Record, Unwritable, bad
from bastide.targets.files.settings import Name, WithExport

Character = Annotated[str, Meta(min_length=1, max_length=1, pattern=r"^[^\r\n\x00]\Z")]


class DelimitedSettings(WithExport, frozen=True, kw_only=True):
    """`quote` "" means that nothing is quoted. Without a header, `columns` says what is what; with one it may stay empty."""

    delimiter: Character = ","
    quote: Literal["", '"', "'"] = '"'
    header: bool = True
    columns: tuple[Name, ...] = ()
    #: Attributes whose field holds several values, and what stands between them.
    multi_valued: tuple[Name, ...] = ()
    separator: Annotated[str, Meta(min_length=1, max_length=8)] = ";"

    def __post_init__(self) -> None:
        WithExport.__post_init__(self)
        if not self.header and not self.columns:
            raise InvalidInput("settings.columns", "is missing: the file has no header")
        if len(set(self.columns)) != len(self.columns):
            raise InvalidInput("settings.columns", "names one twice")

    @property
    def export_columns(self) -> tuple[str, ...]:
        """What the export has, in this order."""
        export = self.export
        return (self.anchor, *export.attributes, export.attribute) if export else ()


class Delimited:
    """The format. `columns`: what the file must have; empty: what its header says."""

    def __init__(self, settings: DelimitedSettings, columns: Sequence[str]) -> None:
        self._settings = settings
        self._columns = tuple(columns)

    def read(self, source: BinaryIO) -> Iterator[Record]:
        """Raises BadSource. A field has at most 131,072 characters: that limit of csv is one of the whole process, and not ours to change."""
        lines = Lines(source, self._settings.encoding, self._settings.size_limit, "")
        rows = self._rows(lines)
        columns = self._columns
        if self._settings.header:
            _, header = next(rows, (1, []))
            columns = self._header(header)
        for number, row in rows:
            if row and len(row) != len(columns):
                raise bad(number, f"has {len(row)} fields and should have {len(columns)}")
            if row:
                values = zip(columns, row, strict=True)
                yield Record(number, {name: self._split(name, text) for name, text in values})
        lines.close()

    def check(self, record: Record) -> None:
        """Raises Unwritable."""
        for name, values in record.values.items():
            several = name in self._settings.multi_valued
            if len(values) > 1 and not several:
                raise Unwritable(f"{name} has several values and is not named in multi_valued")
            if several and any(self._settings.separator in value for value in values):
                raise Unwritable(f"a value of {name} holds the separator")
            if any("\0" in value for value in values):
                raise Unwritable(f"{name} holds a NUL character")
            bare = self._settings.quote == "" and set("\r\n" + self._settings.delimiter) & set(
                "".join(values)
            )
            if bare:
                raise Unwritable(f"{name} holds a delimiter or line end, and this file quotes nothing")

    def write(self, records: Iterable[Record]) -> Iterator[bytes]:
        """The whole file, with line ends as RFC 4180 has them."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, self._dialect())
        if self._settings.header:
            writer.writerow(self._columns)
        for record in records:
            writer.writerow(
                [self._settings.separator.join(record.values.get(name, ())) for name in self._columns]
            )
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
        yield buffer.getvalue().encode()

    def _rows(self, lines: Lines) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(lines, self._dialect())
        while True:
            lines.begin()
            start = lines.number + 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise bad(lines.number, str(error)) from None
            if row is None:
                return
            yield start, row

    def _header(self, header: list[str]) -> tuple[str, ...]:
        if not all(header) or len({name.casefold() for name in header}) != len(header):
            raise bad(1, "the header has an empty name, or one twice")
        if self._columns and tuple(header) != self._columns:
            raise bad(1, "the header is not the one that the settings name")
        if not header:
            raise BadSource("the file is empty: it has not even a header")
        return tuple(header)

    def _split(self, name: str, text: str) -> tuple[str, ...]:
        return tuple(text.split(self._settings.separator)) if name in self._settings.multi_valued else (text,)

    def _dialect(self) -> type[csv.Dialect]:
        chosen = self._settings

        class Dialect(csv.Dialect):
            delimiter = chosen.delimiter
            quotechar = chosen.quote or None
            quoting = csv.QUOTE_MINIMAL if chosen.quote else csv.QUOTE_NONE
            doublequote = True
            # RFC 4180
            lineterminator = "\r\n"
            strict = True

        return Dialect


KIND = kind_for(
    DelimitedSettings,
    lambda settings: Delimited(settings, settings.columns),
    lambda settings: Delimited(settings, settings.export_columns),
)
