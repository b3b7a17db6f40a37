"""Who may ask for which role, as the directories stand now: each candidate, and each person in a group that is one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.errors import DirectoryError
from bastide.domain.ids import Sid
from bastide.domain.people import Forest, PamUser
from bastide.domain.roles import Role, Subject
from bastide.services.people import people_behind
from bastide.services.ports import Directory, Person, Store


@dataclass(frozen=True, slots=True)
class Eligible:
    """One person and one role. `through`: candidates that are groups of theirs, by name; `direct`: they are named themselves. Both can be.
    `user` None: nobody has prepared them, so they cannot ask.
    """

    role: Role
    sid: Sid
    name: str
    user: PamUser | None
    direct: bool
    through: tuple[str, ...] = ()
    enabled: bool = True


class Eligibility:
    """Reads candidates in both forests."""

    def __init__(
        self, *, store: Store, forests: Mapping[Forest, Directory], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._forests = forests
        self._now = now

    def people(self, roles: Collection[Role]) -> tuple[tuple[Eligible, ...], tuple[str, ...]]:
        """By role and name; and what could not be found out, each a sentence. Raises StoreError, and nothing of the directory."""
        with self._store.read() as uow:
            users = {sid: user for user in uow.users.all() for sid in user.sids}
        found, problems = [], dict[str, None]()
        behind: dict[Sid, tuple[Person, ...] | None] = {}
        for role in roles:
            mine: dict[str, Eligible] = {}
            for subject in role.candidates:
                try:
                    if subject.sid not in behind:
                        behind[subject.sid] = people_behind(self._forests, subject)
                except DirectoryError as error:
                    problems[f"who is behind {subject.name} could not be found out: {error.message}"] = None
                    continue
                people = behind[subject.sid]
                if people is None:
                    problems[f"{subject.name}, a candidate of {role.name}, is gone from the directory"] = None
                    continue
                for person in people:
                    user = users.get(person.ref.sid)
                    key = user.id if user is not None else person.ref.sid
                    mine[key] = self._merged(mine.get(key), role, subject, person, user)
            found += sorted(mine.values(), key=lambda one: one.name.casefold())
        return tuple(found), tuple(problems)

    def _merged(
        self, known: Eligible | None, role: Role, subject: Subject, person: Person, user: PamUser | None
    ) -> Eligible:
        """One line for a person, however many candidates lead to them."""
        through = known.through if known is not None else ()
        if subject.is_group:
            through = (*through, subject.name)
        return Eligible(
            role=role,
            sid=user.corp.sid if user is not None else person.ref.sid,
            name=user.name if user is not None else person.ref.name,
            user=user,
            direct=not subject.is_group or (known is not None and known.direct),
            through=through,
            enabled=person.open_at(self._now()) and (user is None or user.enabled),
        )
