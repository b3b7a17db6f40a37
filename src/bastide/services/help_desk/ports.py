"""What is stored of the help desk, and what its settings say."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bastide.domain.help_desk import Verification
from bastide.domain.ids import Sid
from bastide.domain.management_agents import MvId


class Verifications(Protocol):
    """One-time codes of callers."""

    def add(self, one: Verification) -> None: ...
    def save(self, one: Verification) -> None:
        """Raises NotFound."""

    def get(self, id: str) -> Verification:  # noqa: A002
        """Raises NotFound."""

    def count(self, person: MvId, since: datetime) -> int:
        """How many were begun for a person."""

    def latest(self, person: MvId) -> Verification | None:
        """The one that was begun last, however long ago; None: never one."""

    def forget(self, before: datetime) -> int:
        """Those that were begun before, but for each person's newest. How many."""


class Contacts(Protocol):
    """What people registered for self-service resets."""

    def of(self, person: Sid) -> tuple[str, str]:
        """Mail address and telephone number; empty: not registered. Raises StoreError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`own_names`: accounts that Bastide itself signs in with, in lower case. `guarded`: names of groups whose members are out of reach. `unverified`: whether a
    password may be set for a caller who was not verified. `channels`: of the notifications, those that may carry a code, in order.
    """

    own_names: frozenset[str] = frozenset()
    guarded: tuple[str, ...] = ()
    unverified: bool = False
    channels: tuple[str, ...] = ()
