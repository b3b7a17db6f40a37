"""Who reviews whom, and who of them is to be told: as the directories and the sign-ins stand now. For one look at one review: each group is read once.

A line is given to somebody only where a person can decide it: an account that can sign in, not one of who is reviewed, and with four eyes, where silence removes,
not one of who planned it. What a directory that does not answer
would say is not known, and takes a line from nobody.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from bastide.domain import reviews
from bastide.domain.errors import DirectoryError
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.reviews import Line, Review
from bastide.domain.roles import Subject
from bastide.services.baseline.ports import Census
from bastide.services.people import find_anywhere, people_behind
from bastide.services.ports import Directory, Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Where people are found. `administrators`: the accounts that administer now, which may raise DirectoryError."""

    store: Store
    forests: Mapping[Forest, Directory]
    censuses: Mapping[str, Census]
    administrators: Callable[[], Collection[Sid]]


@dataclass(slots=True)
class Reviewers:
    """Of one review, at one moment. Raises nothing of the directory."""

    review: Review
    people: People
    now: datetime
    four_eyes: bool
    _behind: dict[Sid, frozenset[Sid] | None] = field(default_factory=dict)
    _administering: frozenset[Sid] | None = None
    _mute: frozenset[Sid] | None = None

    def choose(self, person: str, accounts: Collection[Sid]) -> tuple[Subject | None, str]:
        """Who reviews this person, and why; None: any administrator. Raises StoreError."""
        mine, corp = self._all_of(accounts)
        wanted, missing = self.review.reviewer, ""
        if wanted is None:
            wanted, missing = self._manager(person, corp)
        able = {
            one.sid
            for one in (wanted, self.review.fallback)
            if one is not None and self._can_decide(one, mine)
        }
        return reviews.assign(mine, wanted, missing, self.review.fallback, able)

    def speaks(self, subject: Subject) -> bool:
        """Whether anybody can decide as this subject, or that is not known now. Raises StoreError."""
        return self._can_decide(subject, ())

    def handed_on(self, line: Line) -> Line:
        """The line as it stands where its reviewer can decide it or it is decided, else with another one. Raises StoreError."""
        if line.decision is not None or line.reviewer is None:
            return line
        if self._can_decide(line.reviewer, self._all_of(line.accounts)[0]):
            return line
        subject, why = self.choose(line.person, line.accounts)
        return replace(line, reviewer=subject, why_reviewer=why)

    def to_tell(self, lines: Collection[Line]) -> Mapping[Sid, int]:
        """Reviewer to how many lines wait for them; a group is its people, and nobody is every administrator."""
        counts: dict[Sid, int] = {}
        for line in lines:
            if line.decision is None:
                for sid in self._told(line.reviewer) - set(line.accounts):
                    counts[sid] = counts.get(sid, 0) + 1
        return counts

    def _told(self, subject: Subject | None) -> frozenset[Sid]:
        """A directory that is down tells nobody: the next reminder does."""
        if subject is None:
            return self._administrators()
        return (self._who(subject) or frozenset()) if subject.is_group else frozenset({subject.sid})

    def _can_decide(self, subject: Subject, mine: Collection[Sid]) -> bool:
        """Whether anybody can who is not the one that is reviewed, nor mute, or that is not known now."""
        if self._mute is None:
            own = self._all_of([self.review.created_by])[0]
            self._mute = reviews.mute(self.review, own, four_eyes=self.four_eyes)
        found = self._who(subject)
        return found is None or not found <= self._mute.union(mine)

    def _who(self, subject: Subject) -> frozenset[Sid] | None:
        """The accounts behind a subject that can sign in; None: a directory did not say."""
        if subject.sid not in self._behind:
            try:
                found = [
                    one
                    for face in self._faces(subject)
                    for one in people_behind(self.people.forests, face) or ()
                ]
                self._behind[subject.sid] = frozenset(one.ref.sid for one in found if one.open_at(self.now))
            except DirectoryError as error:
                _log.warning("who reviews as %s could not be found out: %s", subject.name, error.message)
                self._behind[subject.sid] = None
        return self._behind[subject.sid]

    def _faces(self, subject: Subject) -> tuple[Subject, ...]:
        """A group itself, and a person with each account: that in PRIV is closed between grants, and they decide with the one in CORP."""
        if subject.is_group:
            return (subject,)
        return tuple(Subject(sid, subject.name) for sid in self._all_of([subject.sid])[0])

    def _administrators(self) -> frozenset[Sid]:
        if self._administering is None:
            try:
                self._administering = frozenset(self.people.administrators())
            except DirectoryError as error:
                _log.warning("administrators who are to review are not told: %s", error.message)
                self._administering = frozenset()
        return self._administering

    def _all_of(self, accounts: Collection[Sid]) -> tuple[frozenset[Sid], Sid]:
        """All accounts of the person, who may be a PAM user by now, and the one that has a manager."""
        with self.people.store.read() as uow:
            users = [user for sid in accounts if (user := uow.users.by_sid(sid)) is not None]
        mine = frozenset(accounts).union(*(user.sids for user in users))
        return mine, users[0].corp.sid if users else min(mine)

    def _manager(self, person: str, account: Sid) -> tuple[Subject | None, str]:
        """The own manager, or why there is none."""
        try:
            censuses = self.people.censuses.values()
            sid = next((found for census in censuses if (found := census.manager(account))), None)
            manager = find_anywhere(self.people.forests, sid) if sid is not None else None
        except DirectoryError as error:
            return None, f"the manager of {person} could not be found out ({error.message})"
        if manager is not None and manager.open_at(self.now):
            return Subject(manager.ref.sid, manager.ref.name), ""
        return (
            None,
            f"the manager of {person} is gone or cannot sign in" if sid else f"{person} has no manager",
        )
