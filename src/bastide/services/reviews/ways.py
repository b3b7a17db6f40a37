"""Which groups lead to a person: by SID, as the directories stand now, with all accounts of theirs, and for who is disabled too."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bastide.domain.errors import DirectoryError, DirectoryUnavailable, NotFound
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Role
from bastide.services.ports import Directory


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked at for one person. `accounts`: all that are theirs now; `groups`: the candidates that were asked about; `leading`: those that the person is in;
    `problem`: why that may not be all.
    """

    accounts: frozenset[Sid]
    groups: frozenset[Sid] = frozenset()
    leading: frozenset[Sid] = frozenset()
    problem: str = ""

    def still(self, role: Role, person: str) -> str:
        """Why the person may ask for the role as it stands now, or it cannot be said that not, and what to do; empty: no group leads to them."""
        groups = [one for one in role.candidates if one.is_group]
        if through := [one.name for one in groups if one.sid in self.leading]:
            return f"still a candidate through {', '.join(through)}: take {person} out of that group, or the group out of the role"
        if self.problem and groups:
            return f"whether a group still leads to {person} could not be found out ({self.problem}): look at the candidates of {role.name}"
        if new := [one.name for one in groups if one.sid not in self.groups]:
            return f"{', '.join(new)} became a candidate just now: look whether {person} is in it"
        if other := [one.name for one in role.candidates if one.sid in self.accounts]:
            return f"still a candidate as {', '.join(other)}, an account of the same person: take it out of the role"
        return ""


class Ways:
    """Reads each group once. For one end of a review: a directory that did not answer is not asked again."""

    def __init__(self, forests: Mapping[Forest, Directory]) -> None:
        self._forests = forests
        self._inside: dict[Sid, frozenset[Sid]] = {}
        self._silent: dict[Forest, str] = {}

    def of(self, role: Role, accounts: Collection[Sid]) -> Found:
        """Raises nothing of the directory: it is the `problem`."""
        mine = frozenset(accounts)
        groups = frozenset(one.sid for one in role.candidates if one.is_group)
        if not groups:
            return Found(mine)
        leading: set[Sid] = set()
        problem = ""
        for forest, directory in self._forests.items():
            try:
                leading |= self._in_forest(forest, directory, groups, mine)
            except DirectoryError as error:
                problem = error.message
                if isinstance(error, DirectoryUnavailable):
                    self._silent[forest] = problem
        return Found(mine, groups, frozenset(leading), problem)

    def leading(self, groups: frozenset[Sid], accounts: Collection[Sid]) -> frozenset[Sid]:
        """Those of the groups that one of the accounts is in. Without groups no directory is asked. Raises DirectoryError."""
        found: set[Sid] = set()
        for forest, directory in self._forests.items() if groups else ():
            found |= self._in_forest(forest, directory, groups, frozenset(accounts))
        return frozenset(found)

    def _in_forest(
        self, forest: Forest, directory: Directory, groups: frozenset[Sid], accounts: frozenset[Sid]
    ) -> frozenset[Sid]:
        """By the members, which has those of the other forest, and by what a sign-in would have, which has those who are disabled. Raises DirectoryError."""
        if forest in self._silent:
            raise DirectoryUnavailable(self._silent[forest])
        found = set()
        for group in groups:
            if group not in self._inside:
                try:
                    self._inside[group] = frozenset(one.ref.sid for one in directory.people_in(group))
                except NotFound:
                    continue
            if self._inside[group] & accounts:
                found.add(group)
        for account in accounts:
            try:
                found |= groups & directory.find_caller(account)[1]
            except NotFound:
                continue
        return frozenset(found)
