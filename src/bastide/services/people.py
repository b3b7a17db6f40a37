"""Turn a name that a person typed into a subject: `CORP-backslash-name` or `PRIV-backslash-name`, a user or a group."""

from collections.abc import Mapping

from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.ids import parse_name
from bastide.domain.people import Forest
from bastide.domain.roles import Subject
from bastide.services.ports import Directory


class Subjects:
    """Looks names up in both forests."""

    def __init__(self, forests: Mapping[Forest, Directory]) -> None:
        self._forests = forests

    def find(self, field: str, text: str) -> Subject:
        """A user first, then a group. Raises InvalidInput, NotFound, Ambiguous, DirectoryUnavailable."""
        forest, name = self._split(field, text)
        directory = self._forests.get(forest)
        if directory is None:
            raise InvalidInput(
                field, f"there is no forest {forest.value.upper()} here", remedy="write PRIV\\name"
            )
        try:
            return Subject(directory.find_person(name).ref.sid, f"{forest.value.upper()}\\{name}")
        except NotFound:
            pass
        try:
            return Subject(
                directory.find_group(name).ref.sid, f"{forest.value.upper()}\\{name}", is_group=True
            )
        except NotFound:
            raise NotFound(f"{field}: no user or group {text[:80]!r} in {forest.value.upper()}") from None

    def count_people(self, subject: Subject) -> frozenset[str]:
        """SIDs of the enabled people behind a subject; empty if it is gone or disabled. Raises DirectoryUnavailable."""
        for directory in self._forests.values():
            try:
                if subject.is_group:
                    return frozenset(person.ref.sid for person in directory.people_in(subject.sid))
                person = directory.find_person(subject.sid)
            except NotFound:
                continue
            return frozenset({person.ref.sid}) if person.enabled else frozenset()
        return frozenset()

    @staticmethod
    def _split(field: str, text: str) -> tuple[Forest, str]:
        prefix, separator, name = parse_name(field, text).partition("\\")
        if not separator or prefix.lower() not in {"corp", "priv"}:
            raise InvalidInput(
                field, f"{text[:80]!r} does not say which forest", remedy="write CORP\\name or PRIV\\name"
            )
        return Forest(prefix.lower()), parse_name(field, name)
