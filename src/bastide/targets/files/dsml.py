"""DSML 2.0 (OASIS): a batch of addRequest, or the searchResultEntry of a response. Changes in a batch are refused: this is a list of objects.

The parser is expat as it comes with Python, fed in parts. A document type is refused before anything of it is looked at: with it go
external entities (XXE) and entities that grow without end.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import BinaryIO
from xml.parsers import expat  # no document type gets in, see _refuse
from xml.sax.saxutils import escape, quoteattr  # writes only

from bastide.targets.files.imports import kind_for
from bastide.targets.files.records import Record, Unwritable, bad, text_of
from bastide.targets.files.settings import WithExport

_CORE = "urn:oasis:names:tc:DSML:2:0:core "
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance type"
_ROOTS = frozenset({"batchRequest", "batchResponse"})
_AROUND = frozenset(
    {"searchResponse", "searchResultDone", "searchResultReference", "resultCode", "errorMessage", "ref"}
)
_OBJECTS = frozenset({"addRequest", "searchResultEntry"})
_CHUNK = 64 * 1024
_DEPTH = 16
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<batchRequest xmlns="urn:oasis:names:tc:DSML:2:0:core" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
)
_TAIL = "</batchRequest>\n"


class DsmlSettings(WithExport, frozen=True, kw_only=True):
    """Nothing of its own; the encoding stands in the document."""


class Dsml:
    """The format."""

    def __init__(self, settings: DsmlSettings) -> None:
        self._settings = settings

    def read(self, source: BinaryIO) -> Iterator[Record]:
        """Raises BadSource."""
        document = _Document(self._settings.size_limit)
        while chunk := source.read(_CHUNK):
            yield from document.feed(chunk, last=False)
        yield from document.feed(b"", last=True)

    def check(self, record: Record) -> None:
        """Values may hold anything. Raises Unwritable for a name or DN that XML cannot hold."""
        if not all(_plain(text) for text in (record.dn, *record.values)):
            raise Unwritable("the DN or the name of an attribute holds a character that XML has not")

    def write(self, records: Iterable[Record]) -> Iterator[bytes]:
        """The whole file, one addRequest a record."""
        yield _HEAD.encode()
        for record in records:
            attributes = "".join(
                f"    <attr name={quoteattr(name)}>{''.join(map(_value, values))}</attr>\n"
                for name, values in record.values.items()
                if values
            )
            yield f"  <addRequest dn={quoteattr(record.dn)}>\n{attributes}  </addRequest>\n".encode()
        yield _TAIL.encode()


class _Document:
    """What is known between two parts of a document."""

    def __init__(self, limit: int) -> None:
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._limit = limit
        self._path: list[str] = []
        self._done: list[Record] = []
        self._fed = 0
        self._line = 0
        self._size = 0
        self._dn = ""
        self._name = ""
        self._values: dict[str, list[str]] = {}
        self._coded = False
        self._parts: list[str] = []

    def feed(self, chunk: bytes, *, last: bool) -> Iterator[Record]:
        """The records that are complete now. Raises BadSource."""
        try:
            self._parser.Parse(chunk, last)
        except expat.ExpatError as error:
            raise bad(error.lineno, f"is no well-formed XML: {expat.ErrorString(error.code)}") from None
        except (LookupError, ValueError):
            raise bad(self._number(), "the document has an encoding that is not known") from None
        self._fed += len(chunk)
        if self._fed - self._parser.CurrentByteIndex > 4 * self._limit + _CHUNK:
            # One tag or comment that does not end: expat keeps all of it until it does.
            raise bad(self._number(), "has a tag or comment that is too long")
        done, self._done = self._done, []
        yield from done

    def _number(self) -> int:
        return self._parser.CurrentLineNumber

    def _refuse(self, *_: object) -> None:
        raise bad(self._number(), "has a document type (DTD), which is refused")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.removeprefix(_CORE)
        self._path.append(local)
        self._count(sum(len(text) for pair in attributes.items() for text in pair))
        if not name.startswith(_CORE) or len(self._path) > _DEPTH or not self._fits(local):
            raise bad(self._number(), "has an element that has no place there")
        if local in _OBJECTS:
            self._line, self._size, self._values = self._number(), 0, {}
            self._dn = attributes.get("dn", "")
        elif local == "attr":
            self._name = attributes.get("name", "")
            self._values.setdefault(self._name, [])
        elif local == "value":
            self._coded, self._parts = self._is_coded(attributes.get(_SCHEMA, "")), []

    def _fits(self, local: str) -> bool:
        """Where an element may stand."""
        above = self._path[:-1]
        if not above:
            return local in _ROOTS
        if above[-1] in _OBJECTS:
            return local == "attr"
        if above[-1] == "attr":
            return local == "value"
        return local in _OBJECTS | _AROUND and above[-1] in _ROOTS | _AROUND

    def _is_coded(self, kind: str) -> bool:
        local = kind.rpartition(":")[2]
        if local == "anyURI":
            # A value that lies elsewhere: to fetch it would be to read whatever the file names.
            raise bad(self._number(), "has a value that is named by a URL, which is refused")
        return local == "base64Binary"

    def _text(self, text: str) -> None:
        if self._path and self._path[-1] == "value":
            self._count(len(text))
            self._parts.append(text)

    def _end(self, _: str) -> None:
        local = self._path.pop()
        if local == "value":
            self._values[self._name].append(self._decoded("".join(self._parts)))
        elif local in _OBJECTS:
            self._done.append(Record(self._line, self._values, self._dn))

    def _decoded(self, text: str) -> str:
        if not self._coded:
            return text
        try:
            raw = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise bad(self._number(), "has a value that is no base64") from None
        return text_of(raw)

    def _count(self, characters: int) -> None:
        self._size += characters
        if self._size > self._limit:
            raise bad(self._number(), f"a record has more than {self._limit} characters")


def _plain(text: str) -> bool:
    """Whether every character may stand in XML 1.0, and comes back as it went in."""
    return all(
        c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") for c in text
    )


def _value(text: str) -> str:
    if _plain(text):
        return f"<value>{escape(text)}</value>"
    return f'<value xsi:type="xsd:base64Binary">{base64.b64encode(text.encode()).decode()}</value>'


KIND = kind_for(DsmlSettings, Dsml, Dsml)
