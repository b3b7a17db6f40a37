"""Records of a file become objects. A file is read in full; a delta is what its format tells of changes, if it does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bastide.domain.errors import CapabilityMissing
from bastide.services.passwords.ports import Imported, Page
from bastide.targets.files.exports import FileTarget
from bastide.targets.files.records import Format, Record, bad
from bastide.targets.files.settings import DN, FileSettings
from bastide.targets.files.storage import reading
from bastide.targets.kinds import Kind

_PAGE = 500

_S = TypeVar("_S", bound=FileSettings)


def kind_for(settings: type[_S], make: Callable[[_S], Format], exported: Callable[[_S], Format]) -> Kind:
    """The kind of a format, for registry.py. `make` reads the file, `exported` writes the export."""
    return Kind(
        settings,
        lambda chosen, _: FileConnector(chosen, make(chosen)),
        lambda chosen, _: FileTarget(chosen, exported(chosen)),
    )


class FileConnector:
    """Reads a file that tells no changes."""

    def __init__(self, settings: FileSettings, form: Format) -> None:
        self._settings = settings
        self._form = form

    def read(self, cookie: bytes) -> Iterator[Page]:
        """All records. Raises TargetUnavailable, TargetDenied, BadSource, CapabilityMissing."""
        if cookie:
            raise CapabilityMissing("a file of this format tells no changes", remedy="import all of it")
        with reading(Path(self._settings.path)) as source:
            yield from paged(objects(self._settings, self._form.read(source)), b"")


def objects(settings: FileSettings, records: Iterator[Record]) -> Iterator[Imported]:
    """Raises BadSource for a record without an anchor, for a second one with the same, and for more than there may be."""
    seen: set[str] = set()
    for number, record in enumerate(records, 1):
        if number > settings.row_limit:
            raise bad(
                record.line,
                f"there are more than {settings.row_limit} records: see row_limit in the settings",
            )
        found = imported(settings, record)
        if found.anchor in seen:
            raise bad(record.line, f"{settings.anchor} has the value of an earlier record")
        seen.add(found.anchor)
        yield found


def imported(settings: FileSettings, record: Record) -> Imported:
    """Raises BadSource if it has no anchor."""
    anchor, dn = _one(settings.anchor, record), _one(settings.dn or settings.anchor, record)
    wanted = {name.casefold() for name in settings.attributes}
    attributes = {
        name: kept
        for name, values in record.values.items()
        if (not wanted or name.casefold() in wanted)
        and not settings.hides(name)
        and (kept := tuple(dict.fromkeys(value for value in values if value)))
    }
    return Imported(anchor, dn, settings.type, attributes)


def paged(found: Iterator[Imported], cookie: bytes) -> Iterator[Page]:
    """Only the last page has the cookie: the order of a file says nothing about how far an import has come."""
    page: list[Imported] = []
    for one in found:
        page.append(one)
        if len(page) == _PAGE:
            yield Page(tuple(page), b"")
            page.clear()
    yield Page(tuple(page), cookie)


def _one(name: str, record: Record) -> str:
    if name == DN and record.dn:
        return record.dn
    for key, values in record.values.items():
        if key.casefold() == name.casefold() and len(values) == 1 and values[0]:
            return values[0]
    raise bad(record.line, f"a record has not exactly one {name}")
