"""What monitoring needs from the outside. A feed has a twin in memory; both pass tests/contract/test_changes.py."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from bastide.domain.drift import Finding
from bastide.domain.errors import DirectoryError
from bastide.domain.ids import Sid
from bastide.domain.lagging import Awaited
from bastide.domain.monitored import Former, Named, Seen, SignIns, Watched
from bastide.domain.people import Forest

#: A domain is looked at once a minute at least; this is several looks, and a change of node, later.
LATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one controller's database is. `invocation` names that database (invocationId): it is another one after a restore. `usn`: highestCommittedUSN."""

    controller: str
    invocation: str
    usn: int


@dataclass(frozen=True, slots=True)
class Moved:
    """objectGUIDs of objects that changed, and the cookie after them. Deleted ones show only to whoever may list Deleted Objects. `members`: groups among them
    whose members changed, shown or not.
    """

    guids: tuple[str, ...]
    cookie: bytes
    members: frozenset[str]


class ChangeFeed(Protocol):
    """Changes of one domain, as one of its controllers tells them, read with no right beyond reading. Raises DirectoryUnavailable, DirectoryDenied."""

    #: DNS name in lower case.
    domain: str

    def controllers(self) -> int:
        """How many the domain has, as far as it is known, reachable or not."""

    def usn(self, controller: str) -> int:
        """The highestCommittedUSN of that controller alone: what is asked while nothing happens."""

    def mark(self, controller: str = "") -> Mark:
        """Of that controller while it answers, else of another."""

    def heard(self, controller: str) -> Mapping[str, int]:
        """By invocationId of the others: up to which USN that controller has all that they had of the domain. Empty where it is not shown."""

    def since(self, controller: str, cookie: bytes) -> Iterator[Moved]:
        """Page by page what changed since the cookie; with an empty one, everything. Raises CookieRefused for a cookie that it does not take."""

    def taken_out(
        self, controller: str, cookie: bytes, groups: Collection[str]
    ) -> Mapping[str, frozenset[Former]]:
        """By GUID of these groups: who was taken out since the cookie, also who had come after it; of a group to which others came alone, nobody. A group of which
        nobody is shown who came or went is left out; of a member that was deleted or is hidden nothing is told.
        """

    def named(self, controller: str, sids: Collection[Sid]) -> Mapping[Sid, Named]:
        """Who they are, as far as they are found. One of another domain is no group here."""

    def look(self, controller: str, guids: Collection[str]) -> Mapping[str, Seen]:
        """These objects as they are now; one that is not found is left out."""

    def present(self, controller: str, guids: Collection[str]) -> frozenset[str]:
        """Which of these are found."""

    def fixtures(self, controller: str, within: Collection[str]) -> frozenset[str]:
        """The domain's own objects that are watched: its root, AdminSDHolder, the containers of PAM, its trusts; and all that those containers and the objects
        with these DNs lie in: what is given there is inherited.
        """

    def sign_ins(self, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, SignIns]]:
        """Controller that answers to account to what it counted."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What is remembered of one domain. `cookie` empty: nothing was read yet."""

    side: Forest
    name: str
    mark: Mark = field(default_factory=lambda: Mark("", "", -1))
    cookie: bytes = b""
    #: The last look at everything that is watched, and the last answer of the domain as far as it was written down.
    looked_at: datetime | None = None
    read_at: datetime | None = None
    #: When a change was last read.
    changed_at: datetime | None = None
    paused: bool = False
    #: Everything is read anew, and compared.
    resync: bool = False
    #: Why it cannot be read; empty: it can.
    problem: str = ""
    #: It was said that it is not read any more.
    blind: bool = False
    #: The USN of that controller up to which something may have been seen; -1: not kept yet.
    until: int = -1
    #: What was read before the controller of the mark, while something is kept that this one may not have heard yet (domain/lagging.py).
    awaited: tuple[Awaited, ...] = ()

    def is_late(self, now: datetime) -> bool:
        """Whether it should have been heard of by now."""
        return self.read_at is None or now - self.read_at > LATE

    @property
    def lags(self) -> str:
        """That the controller may not have heard yet what others showed, in words; empty: it has."""
        before = ", ".join(dict.fromkeys(one.controller for one in self.awaited))
        return (
            f"{self.mark.controller} has not heard yet all that {before} had: who or what it does not know is not taken for gone"
            if before
            else ""
        )


class Monitored(Protocol):
    """Where all of it is kept."""

    def domains(self) -> tuple[Domain, ...]: ...
    def domain(self, side: Forest) -> Domain | None: ...
    def save(self, domain: Domain) -> None: ...
    def watched(self, side: Forest) -> tuple[Watched, ...]: ...
    def put(self, objects: Collection[Watched]) -> None:
        """New, or instead of what was known."""

    def forget(self, side: Forest, guids: Collection[str]) -> None: ...
    def findings(self) -> tuple[Finding, ...]:
        """Oldest first."""

    def find(self, key: str) -> Finding:
        """Raises NotFound."""

    def keep(self, findings: Collection[Finding]) -> None:
        """New, or instead of what was known."""

    def drop(self, keys: Collection[str]) -> None: ...


class CookieRefused(DirectoryError):
    """The controller does not go on from there: everything is read anew."""
