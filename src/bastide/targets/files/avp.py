"""Attribute-value pairs: `name: value` on a line of its own, a blank line ends a record, a name that comes again has one more value."""

from collections.abc import Iterable, Iterator
from typing import Annotated, BinaryIO

from msgspec import Meta

from bastide.targets.files.imports import kind_for
from bastide.targets.files.records import Lines, Record, Unwritable, bad
from bastide.targets.files.settings import WithExport

_ENDS = "\r\n"


class AvpSettings(WithExport, frozen=True, kw_only=True):
    """`delimiter` stands between name and value; blanks around it mean nothing."""

    delimiter: Annotated[str, Meta(min_length=1, max_length=8, pattern=r"^[^\s]+\Z")] = ":"


class AttributeValuePairs:
    """The format."""

    def __init__(self, settings: AvpSettings) -> None:
        self._settings = settings

    def read(self, source: BinaryIO) -> Iterator[Record]:
        """Raises BadSource."""
        lines = Lines(source, self._settings.encoding, self._settings.size_limit, "\n")
        values: dict[str, list[str]] = {}
        start = 1
        for line in lines:
            text = line.rstrip(_ENDS)
            if text:
                name, value = self._pair(text, lines.number)
                values.setdefault(name, []).append(value)
                continue
            if values:
                yield Record(start, values)
            values, start = {}, lines.number + 1
            lines.begin()
        if values:
            yield Record(start, values)
        lines.close()

    def check(self, record: Record) -> None:
        """A value is one line, and blanks at its ends would be lost. Raises Unwritable."""
        for name, values in record.values.items():
            if self._settings.delimiter in name:
                raise Unwritable("the name of an attribute holds the delimiter")
            if any(set(_ENDS) & set(value) or value != value.strip(" \t") for value in values):
                raise Unwritable(
                    f"{name} has a line end, or blanks at its ends, which this format cannot hold"
                )

    def write(self, records: Iterable[Record]) -> Iterator[bytes]:
        """The whole file."""
        for record in records:
            lines = [
                f"{name}{self._settings.delimiter} {value}\n"
                for name, values in record.values.items()
                for value in values
            ]
            yield "".join((*lines, "\n")).encode()

    def _pair(self, text: str, number: int) -> tuple[str, str]:
        name, delimiter, value = text.partition(self._settings.delimiter)
        if not delimiter or not name.strip():
            raise bad(number, "has no name and delimiter")
        return name.strip(), value.strip(" \t")


KIND = kind_for(AvpSettings, AttributeValuePairs, AttributeValuePairs)
