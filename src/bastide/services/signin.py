"""What signing in needs from the outside: tickets accepted, passwords proved."""

from dataclasses import dataclass
from typing import Protocol


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
