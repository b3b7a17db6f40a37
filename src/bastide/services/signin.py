"""What signing in needs from the outside: tickets accepted, passwords proved, second factors and sessions kept."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from bastide.domain.ids import Sid
from bastide.domain.people import Forest, Right
from bastide.domain.webauthn import Purpose


@dataclass(frozen=True, slots=True)
class Accepted:
    """A ticket that was accepted: `name@REALM`, the realm whose key it was made with, the relative id in its PAC, the answer for the caller."""

    principal: str
    key_realm: str
    rid: int
    answer: bytes


class Acceptor(Protocol):
    """Accepts SPNEGO tokens with the HTTP/ keytab."""

    def accept(self, token: bytes) -> Accepted:
        """Raises NotAuthenticated; also for a ticket without a PAC."""


class PasswordChecker(Protocol):
    """Proves a password against the forest's KDC. A dormant account cannot be proved, and that is right."""

    def check(self, name: str, password: str) -> int:
        """The relative id of the account that the KDC proved. Raises NotAuthenticated, DirectoryUnavailable."""


class Naming(StrEnum):
    """By what a token's claim names an account."""

    SID = "sid"
    UPN = "upn"
    NAME = "name"  # sAMAccountName


@dataclass(frozen=True, slots=True)
class Identified:
    """Whom a token names, and by which of its claims, and when, a second factor was shown to its issuer; None: by none that counts."""

    account: str
    naming: Naming
    second_factor: str = ""
    second_factor_at: datetime | None = None


class TokenReader(Protocol):
    """Reads the tokens of one OIDC issuer."""

    #: Whose accounts the issuer speaks for: a token names nobody of the other forest.
    forest: Forest

    def read(self, token: str) -> Identified:
        """Raises NotAuthenticated with the cause, IssuerUnavailable."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A registered second factor. `secret_encrypted` is sealed to the row; `last_step` is the newest TOTP step used; `locks` counts the
    locks since the last good code.
    """

    id: str
    person: Sid
    method: str
    secret_encrypted: bytes
    created_at: datetime
    confirmed: bool = False
    last_step: int = 0
    failures: int = 0
    locked_until: datetime | None = None
    recovery_hashes: tuple[str, ...] = ()
    locks: int = 0


@dataclass(frozen=True, slots=True)
class SecurityKey:
    """A registered security key. `sealed` holds its public key and whose accounts it is (domain/signatures.py): who can only write into the
    database makes none up. `credential` is the id that the authenticator gave it.
    """

    id: str
    person: Sid
    name: str
    credential: bytes
    sealed: bytes
    sign_count: int
    transports: tuple[str, ...]
    aaguid: str
    backed_up: bool
    created_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a security key is to answer, once. `session`: the hash of the session's token it was asked for in; empty: in none."""

    id: str
    person: Sid
    session: str
    purpose: Purpose
    nonce: bytes
    expires_at: datetime
    request: str = ""


@dataclass(frozen=True, slots=True)
class Invitation:
    """Lets a person register a second factor once. Only a hash of the code is kept."""

    person: Sid
    code_hash: str
    expires_at: datetime
    issued_by: str


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in that outlives one call. Only a hash of the token is kept."""

    token_hash: str
    sid: Sid
    name: str
    forest: Forest
    via: str
    created_at: datetime
    expires_at: datetime
    mfa_method: str = ""
    mfa_factor: str = ""
    mfa_at: datetime | None = None
    #: None: not since it was opened.
    used_at: datetime | None = None
    #: Where it was opened from: an address, and a kind of program.
    address: str = ""
    agent: str = ""
    #: The only ones that it gives, of those the person has; None: all.
    rights: frozenset[Right] | None = None


class Factors(Protocol):
    def add(self, factor: Factor) -> None: ...
    def save(self, factor: Factor) -> None: ...
    def of(self, person: Sid) -> tuple[Factor, ...]: ...
    def remove(self, id: str) -> None: ...  # noqa: A002
    def add_key(self, key: SecurityKey) -> None:
        """Raises Conflict if it is registered already, for whomever."""

    def save_key(self, key: SecurityKey) -> None: ...
    def keys_of(self, person: Sid) -> tuple[SecurityKey, ...]:
        """By the time of their registration."""

    def remove_key(self, id: str) -> None: ...  # noqa: A002
    def challenge(self, challenge: Challenge, *, now: datetime, most: int) -> None:
        """Forgets what is over by `now`, and of the person's others all but the newest, so that there are at most `most`."""

    def take_challenge(self, id: str) -> Challenge | None:  # noqa: A002
        """Read and delete: single use, whatever comes of it."""

    def invite(self, invitation: Invitation) -> None: ...
    def invitation(self, person: Sid) -> Invitation | None:
        """Read, and leave it there."""

    def take_invitation(self, person: Sid) -> Invitation | None:
        """Read and delete: single use, whatever comes of it."""

    def add_session(self, session: Session) -> None: ...
    def save_session(self, session: Session) -> None:
        """In place of what it was; gone already is fine."""

    def session(self, token_hash: str) -> Session | None: ...
    def open_sessions(self, now: datetime) -> tuple[Session, ...]:
        """Everybody's that are not over by then."""

    def end_session(self, token_hash: str) -> None: ...
