"""Passwords into a file: salted hashes, never the clear text. One record an account; the file is replaced as a whole."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from bastide.domain.errors import BadSource, NotConfigured, TargetUnavailable
from bastide.domain.management_agents import CsObject
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Look, NewPassword, Result, Security
from bastide.targets.files import storage
from bastide.targets.files.records import Format, Record, Unwritable
from bastide.targets.files.settings import DN, FileSettings
from bastide.targets.hashing import Unhashable, salted_hash
from bastide.targets.spelling import unfit

_NO_LOCK = Result(Code.SET_UNSUPPORTED, "a file has no lock: nobody signs in to it")


class FileTarget:
    """Sets passwords in an export file."""

    def __init__(self, settings: FileSettings, form: Format) -> None:
        export = settings.written
        if export is None:
            raise NotConfigured(
                "the settings name no way to set passwords", remedy="add `export` to the settings"
            )
        self._settings = settings
        self._export = export
        self._form = form
        self._path = Path(export.path)
        self._open = False

    def __enter__(self) -> Self:
        """Raises TargetUnavailable, TargetDenied."""
        storage.check_folder(self._path)
        self._open = True
        return self

    def __exit__(self, *error: object) -> None:
        self._open = False

    def security(self) -> Security:
        """By owner and mode of the file and of the folders above it. Raises TargetUnavailable."""
        self._opened()
        return storage.security(self._path)

    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """All of them in one replacement of the file. Raises TargetUnavailable, TargetDenied."""
        self._opened()
        made = [self._made(new) for new in passwords]
        fresh = {self._key(one): one for one in made if isinstance(one, Record)}
        if fresh:
            with storage.locked(self._path):
                kept = self._present()
                storage.replace(self._path, self._form.write((kept | fresh).values()))
        return [Result(Code.SUCCESS) if isinstance(one, Record) else one for one in made]

    def change(self, object: CsObject, old: str, new: str) -> Result:  # noqa: A002  # the port's word
        """Not here."""
        del object, old, new
        return Result(
            Code.SET_UNSUPPORTED, "a file takes what it is told: there is no change with the old password"
        )

    def verify(self, object: CsObject, password: str) -> Proof:  # noqa: A002  # the port's word
        """Nobody signs in to a file."""
        del object, password
        return Proof.NOT_TRIED

    def unlock(self, objects: Sequence[CsObject]) -> Sequence[Result]:
        """Nobody signs in to a file, so nobody is locked there. Raises TargetUnavailable."""
        self._opened()
        return [_NO_LOCK] * len(objects)

    def look(self, objects: Sequence[CsObject]) -> Sequence[Look]:
        """Nothing is known. Raises TargetUnavailable."""
        self._opened()
        return [Look()] * len(objects)

    def _made(self, new: NewPassword) -> Record | Result:
        """What goes into the file for an account, or why nothing does."""
        if new.must_change:
            return Result(Code.SET_UNSUPPORTED, "a file asks nobody for a new password at the next sign-in")
        if refused := unfit(new.password):
            return refused
        try:
            record = self._record(new)
            _check_text(record)
            self._form.check(record)
        except Unhashable as error:
            return Result(Code.POLICY, str(error))
        except Unwritable as error:
            return Result(Code.FAILED, str(error))
        return record

    def _record(self, new: NewPassword) -> Record:
        settings, export, found = self._settings, self._export, new.object
        values = {name: tuple(found.attributes.get(name, ())) for name in export.attributes}
        if settings.anchor != DN:
            values = {settings.anchor: (found.anchor,), **values}
        values[export.attribute] = (salted_hash(export.scheme, new.password),)
        return Record(0, values, found.dn)

    def _present(self) -> dict[str, Record]:
        """What the file has now, by anchor. Raises TargetUnavailable."""
        present: dict[str, Record] = {}
        if not self._path.exists():
            return present
        try:
            with storage.reading(self._path) as source:
                for record in self._form.read(source):
                    present[self._key(record)] = record
        except BadSource as error:
            raise TargetUnavailable(
                f"the export file cannot be read: {error.message}", remedy="correct the file, or move it away"
            ) from None
        return present

    def _key(self, record: Record) -> str:
        if self._settings.anchor == DN:
            return record.dn
        with suppress(KeyError, IndexError):
            return record.values[self._settings.anchor][0]
        raise BadSource(f"line {record.line}: a record has no {self._settings.anchor}")

    def _opened(self) -> None:
        if not self._open:
            raise TargetUnavailable("the file is not open")


def _check_text(record: Record) -> None:
    """Raises Unwritable."""
    try:
        "".join((record.dn, *(value for values in record.values.values() for value in values))).encode()
    except UnicodeEncodeError:
        raise Unwritable("an attribute holds half a character (a lone surrogate)") from None
