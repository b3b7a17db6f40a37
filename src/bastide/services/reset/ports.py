"""What self-service reset needs from the outside, and what is stored of it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.reset.flow import Reset
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.lockout import Count, Kind
from bastide.domain.reset.password_rules import Policy

if TYPE_CHECKING:
    from bastide.services.ports import UnitOfWork

#: More in the commit of an order: of the unit of work, and the order's reference. What it raises undoes everything.
Within = Callable[["UnitOfWork", str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's Argon2id hash, with the text of its question."""

    question: str
    hashed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a person can show. `sealed` holds the destinations and the secret of the authenticator, sealed to the person (contents.py). `addresses`: from which it was made,
    newest first. `last_step`: the newest TOTP step that was used.
    """

    person: Sid
    name: str
    registered_at: datetime
    sealed: bytes
    gates: tuple[Gate, ...] = ()
    answers: tuple[Answer, ...] = ()
    addresses: tuple[str, ...] = ()
    last_step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is being registered and not yet confirmed, in one session, by one person, for one gate. `sealed`: the destination or the secret, with the code, sealed to `id`."""

    id: str
    person: Sid
    gate: Gate
    sealed: bytes
    expires_at: datetime
    wrong: int = 0


class ResetRows(Protocol):
    """What is stored, in one unit of work."""

    def registration(self, person: Sid) -> Registration | None: ...
    def registrations(self) -> tuple[Registration, ...]:
        """By name."""

    def is_registered_from(self, address: str) -> bool:
        """Whether somebody's registration was made from there."""

    def register(self, registration: Registration) -> None:
        """In the place of what there was."""

    def unregister(self, person: Sid) -> bool:
        """Whether there was one."""

    def put_draft(self, draft: Draft) -> None:
        """In the place of one with that id."""

    def draft(self, id: str) -> Draft | None: ...  # noqa: A002
    def remove_draft(self, id: str) -> None: ...  # noqa: A002
    def put(self, reset: Reset) -> None:
        """Add it, or save it."""

    def get(self, id: str) -> Reset | None: ...  # noqa: A002
    def by_token(self, token_hash: str) -> Reset | None: ...
    def by_stop(self, stop_hash: str) -> Reset | None: ...
    def of_person(self, person: str) -> tuple[Reset, ...]:
        """Oldest first."""

    def count(self, kind: Kind, key: str) -> Count | None: ...
    def counts(self, kinds: Collection[Kind]) -> tuple[Count, ...]:
        """Of people that are known, by name."""

    def put_count(self, count: Count) -> None: ...
    def remove_counts(self, name: str) -> int:
        """Of a person; how many."""

    def remove_count(self, kind: Kind, key: str) -> None: ...
    def forget(self, now: datetime) -> None:
        """Resets and drafts that are over for a day, and counts that count no more."""


class Texts(Protocol):
    """Sends short messages to telephones."""

    def send(self, number: str, text: str) -> None:
        """Raises TargetUnavailable, NotConfigured."""


class PolicyReader(Protocol):
    """Reads what a person's password must be."""

    def policy(self, person: Sid) -> Policy | None:
        """The fine-grained policy of the person if it can be read, else the domain's; None: neither shows. Raises DirectoryUnavailable."""


class PasswordTimes(Protocol):
    """Reads when a person's password was set."""

    def set_at(self, person: Sid) -> datetime | None:
        """The newest that any controller within reach has: one that did not replicate yet counts. None: none shows it. Raises DirectoryUnavailable if none is within
        reach, DirectoryDenied.
        """


@dataclass(frozen=True, slots=True)
class Corpus:
    """A list of passwords that others lost. `oldest`: when the oldest of its files was written. `whole`: no prefix is missing."""

    files: int
    oldest: datetime | None
    whole: bool


class Breached(Protocol):
    """Passwords that others lost, as SHA-1 hashes on this server (the range files of the public corpus)."""

    def times(self, password: str) -> int:
        """How often it was seen; 0: never. Raises NotConfigured if the list cannot be read."""

    def corpus(self) -> Corpus:
        """Raises NotConfigured."""


@dataclass(frozen=True, slots=True)
class SystemState:
    """One system of a person, and what became of the change there. `settled`: nothing more comes."""

    system: str
    outcome: str
    good: bool
    settled: bool


class Everywhere(Protocol):
    """A person's password in all connected systems."""

    def changed_at(self, person: ObjectRef) -> datetime | None:
        """When the password was last changed, as far as anybody knows; None: nobody does. Raises DirectoryUnavailable, DirectoryDenied."""

    def set(self, person: ObjectRef, password: str, within: Within) -> str:
        """A reference to ask by. `within` is done in the same commit. Raises Conflict, InvalidInput: nothing was changed then."""

    def unlock(self, person: ObjectRef, within: Within) -> Sequence[SystemState]:
        """Take locks away, and leave the password as it is; what each system said. Raises as `set`."""

    def states(self, reference: str) -> Sequence[SystemState]:
        """By the name of the system. Raises NotFound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRule:
    """As the settings write it: groups by name."""

    gates: tuple[Gate, ...]
    groups: tuple[str, ...] = ()
    cooling: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`home`: the address that people use, out of the settings and never out of a call. `excluded`: groups of the everyday accounts' domain; `guarded`: groups of either forest
    that give rights here, or that the help desk may not reach. `own`: names of accounts that Bastide uses, casefolded. `mail`: the channel of
    [notifications] that codes and notices leave by. `wanted`, `asked`: questions to be answered at the registration, and at a reset. `pace`: what every answer takes, or a
    multiple of it.
    """

    domain: str
    home: str
    rules: tuple[NamedRule, ...]
    excluded: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    mail: str = ""
    questions: tuple[str, ...] = ()
    wanted: int = 4
    asked: int = 2
    pattern: str = ""
    permanent_after: int = 0
    mails_per_day: int = 1000
    texts_per_day: int = 200
    banned: tuple[str, ...] = ()
    pace: timedelta = timedelta(milliseconds=500)
    #: Which gates and questions somebody sees who does not exist must be known to nobody.
    secret: bytes = field(default=b"", repr=False)
