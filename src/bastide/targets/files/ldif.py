"""LDIF files: one of objects, and optionally one of changes that grows (a changelog). With the second there is a delta import."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from msgspec import Meta

from bastide.domain.errors import BadSource, CapabilityMissing, InvalidInput
from bastide.services.passwords.ports import Imported, Page
from bastide.targets.files.exports import FileTarget
from bastide.targets.files.imports import imported, objects, paged
from bastide.targets.files.ldif_changes import Entry, apply, entry_of, is_delete, key_of, names_of
from bastide.targets.files.ldif_records import Block, blocks, check, content, written
from bastide.targets.files.records import Record
from bastide.targets.files.settings import WithExport
from bastide.targets.files.storage import reading
from bastide.targets.kinds import Kind


class LdifSettings(WithExport, frozen=True, kw_only=True):
    """`changes`: a file of change records. Empty: there is no delta import. LDIF is UTF-8; `encoding` is not used."""

    changes: Annotated[str, Meta(max_length=4096, pattern=r"^(/[^\x00]*[^/\x00])?\Z")] = ""

    def __post_init__(self) -> None:
        WithExport.__post_init__(self)
        if self.changes and self.changes in {self.path, self.export.path if self.export else ""}:
            raise InvalidInput("settings.changes", "is a file that holds objects")


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cookie: which base file it was, and how much of the changes has been taken: records, bytes, and their SHA-256."""

    base: str
    records: int
    size: int
    digest: str


class Ldif:
    """The format."""

    def __init__(self, settings: LdifSettings) -> None:
        self._settings = settings

    def read(self, source: BinaryIO) -> Iterator[Record]:
        """Raises BadSource."""
        return map(content, blocks(source, self._settings.size_limit))

    def check(self, record: Record) -> None:
        """Raises Unwritable."""
        check(record)

    def write(self, records: Iterable[Record]) -> Iterator[bytes]:
        """The whole file."""
        return written(records)


class LdifConnector:
    """Reads the objects, with the changes applied. A change counts when a blank line follows it: before that it may be half written."""

    def __init__(self, settings: LdifSettings) -> None:
        self._settings = settings
        self._form = Ldif(settings)

    def read(self, cookie: bytes) -> Iterator[Page]:
        """All objects, or those with a change since. Raises TargetUnavailable, TargetDenied, BadSource, CapabilityMissing."""
        if not self._settings.changes:
            if cookie:
                raise CapabilityMissing(
                    "there is no file of changes", remedy="name it in `changes`, or import all"
                )
            with reading(Path(self._settings.path)) as source:
                yield from paged(objects(self._settings, self._form.read(source)), b"")
            return
        with reading(Path(self._settings.path)) as base, reading(Path(self._settings.changes)) as log:
            raw = _complete(log)
            found = list(blocks(io.BytesIO(raw), self._settings.size_limit))
            past = _past(cookie, base, raw)
            mark = Mark(_identity(base), len(found), len(raw), hashlib.sha256(raw).hexdigest())
            names = {name for block in found for name in names_of(block)}
            if cookie:
                entries = {key: entry for key, entry in self._entries(base) if key in names}
                yield from paged(self._changed(found, entries, past), msgspec.json.encode(mark))
            else:
                yield from paged(
                    objects(self._settings, self._merged(base, found, names)), msgspec.json.encode(mark)
                )

    def _entries(self, base: BinaryIO) -> Iterator[tuple[str, Entry]]:
        for record in self._form.read(base):
            yield key_of(record.dn, record.line), entry_of(record)

    def _merged(self, base: BinaryIO, found: list[Block], names: set[str]) -> Iterator[Record]:
        """What no change names comes as it is read; the rest at the end."""
        entries: dict[str, Entry] = {}
        for record in self._form.read(base):
            key = key_of(record.dn, record.line)
            if key in names:
                entries[key] = entry_of(record)
            else:
                yield record
        for block in found:
            apply(block, entries)
        for entry in entries.values():
            yield entry.record(0)

    def _changed(self, found: list[Block], entries: dict[str, Entry], past: int) -> Iterator[Imported]:
        """Each object once, as it is after all changes."""
        last: dict[str, Imported] = {}
        for number, block in enumerate(found):
            _, entry = apply(block, entries)
            if number < past or entry is None:
                continue
            shown = imported(self._settings, entry.record(block.start))
            last.pop(shown.anchor, None)
            gone = is_delete(block)
            last[shown.anchor] = (
                Imported(shown.anchor, shown.dn, shown.type, {}, deleted=True) if gone else shown
            )
        if len(last) > self._settings.row_limit:
            raise BadSource(
                f"there are more than {self._settings.row_limit} changes", remedy="raise row_limit"
            )
        yield from last.values()


def _complete(log: BinaryIO) -> bytes:
    """All but a last record that is not followed by a blank line."""
    raw = log.read()
    ends = [raw.rfind(end) + len(end) for end in (b"\n\n", b"\n\r\n") if end in raw]
    return raw[: max(ends, default=0)]


def _past(cookie: bytes, base: BinaryIO, raw: bytes) -> int:
    """How many records of the changes have been taken before. Raises BadSource."""
    if not cookie:
        return 0
    try:
        mark = msgspec.json.decode(cookie, type=Mark)
    except msgspec.MsgspecError:
        raise BadSource("the mark of the last import is not ours", remedy="import all of it") from None
    same = mark.base == _identity(base) and hashlib.sha256(raw[: mark.size]).hexdigest() == mark.digest
    if not same or mark.size > len(raw):
        raise BadSource("the files are not those of the last import", remedy="import all of it")
    return mark.records


def _identity(base: BinaryIO) -> str:
    found = os.fstat(base.fileno())
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"


KIND = Kind(
    LdifSettings,
    lambda settings, _: LdifConnector(settings),
    lambda settings, _: FileTarget(settings, Ldif(settings)),
)
