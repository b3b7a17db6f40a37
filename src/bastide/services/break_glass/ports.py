"""What emergency accounts need from the outside. Each port has a twin in memory; both pass tests/contract/test_emergency.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bastide.domain.break_glass import Envelope, Trace
from bastide.domain.ids import Sid
from bastide.services.cluster.ports import Caller


@dataclass(frozen=True, slots=True)
class Found:
    """An account, as a name led to it."""

    sid: Sid
    name: str
    dn: str


class EmergencyReader(Protocol):
    """One domain, for looking alone: Bastide's service account, or whoever calls. Raises DirectoryUnavailable, DirectoryDenied."""

    #: DNS name in lower case.
    domain: str

    def traces(self, account: Sid) -> Mapping[str, Trace | str]:
        """Controller to what it shows, or why it shows nothing. Raises NoSuchObject if all that answer say that it is gone."""


class EmergencyDirectory(EmergencyReader, Protocol):
    """The same domain as the administrator who seals."""

    def caller(self) -> Caller: ...
    def find(self, name: str) -> Found:
        """A person's account, not a computer's. Raises NotFound, Ambiguous."""

    def set_password(self, account: Sid, password: str) -> None:
        """Once, on one controller. Raises InvalidInput if the domain's rules refuse it."""


class PasswordProof(Protocol):
    """Signs in as a person would."""

    def prove(self, principal: str, password: str) -> None:
        """Raises NotAuthenticated, DirectoryUnavailable."""


@dataclass(frozen=True, slots=True)
class Part:
    """What words say of themselves: of which envelope, which share, and how many are needed."""

    number: int
    index: int
    threshold: int


class Sharing(Protocol):
    """Splits a secret into words, and puts it together again (SLIP-39)."""

    def split(self, secret: bytes, number: int, threshold: int, count: int) -> tuple[str, ...]: ...
    def read(self, words: str) -> Part:
        """Checked by their own checksum. Raises InvalidInput, which repeats none of them."""

    def combine(self, words: Sequence[str]) -> bytes:
        """Exactly as many as are needed. Raises InvalidInput."""


class Envelopes(Protocol):
    """Where envelopes are kept."""

    def add(self, envelope: Envelope) -> None:
        """Raises Conflict if the number is taken."""

    def save(self, envelope: Envelope) -> None:
        """Raises NotFound."""

    def find(self, number: int) -> Envelope | None: ...
    def all(self) -> tuple[Envelope, ...]:
        """Oldest first, those that were replaced or removed as well."""

    def current(self) -> tuple[Envelope, ...]:
        """Of each account the one that counts, by name."""
