"""Turn a name that a person typed into a subject: `CORP-backslash-name` or `PRIV-backslash-name`, a user or a group; and a subject into people, in whichever forest it is."""

from collections.abc import Callable, Mapping
from datetime import datetime

from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.ids import Sid, parse_name, typed
from bastide.domain.people import Forest
from bastide.domain.roles import Subject
from bastide.services.ports import Directory, Person


class Subjects:
    """Looks names up in both forests."""

    def __init__(self, forests: Mapping[Forest, Directory], now: Callable[[], datetime]) -> None:
        self._forests = forests
        self._now = now

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
            raise NotFound(
                f"{field}: no user or group {typed(text)} in {forest.value.upper()}",
                remedy="write its sAMAccountName after the forest; it must be in the directory already",
            ) from None

    def count_people(self, subject: Subject) -> frozenset[str]:
        """SIDs of the people behind a subject who can sign in: neither disabled nor expired. Raises DirectoryUnavailable."""
        now = self._now()
        people = people_behind(self._forests, subject) or ()
        return frozenset(person.ref.sid for person in people if person.open_at(now))

    @staticmethod
    def _split(field: str, text: str) -> tuple[Forest, str]:
        prefix, separator, name = parse_name(field, text).partition("\\")
        if not separator or prefix.lower() not in {"corp", "priv"}:
            raise InvalidInput(
                field, f"{typed(text)} does not say which forest", remedy="write CORP\\name or PRIV\\name"
            )
        return Forest(prefix.lower()), parse_name(field, name)


def find_anywhere(forests: Mapping[Forest, Directory], sid: Sid) -> Person | None:
    """The account in the forest that has it. None: none has. Raises DirectoryError."""
    found = people_behind(forests, Subject(sid, ""))
    return found[0] if found else None


def people_behind(forests: Mapping[Forest, Directory], subject: Subject) -> tuple[Person, ...] | None:
    """Whom a subject stands for: the account, or who is in the group, in the forest that has it. None: none has. Raises DirectoryError."""
    for directory in forests.values():
        try:
            if subject.is_group:
                return directory.people_in(subject.sid)
            return (directory.find_person(subject.sid),)
        except NotFound:
            continue
    return None
