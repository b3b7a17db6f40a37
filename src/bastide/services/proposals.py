"""Where proposals are kept."""

from typing import Protocol

from bastide.domain.ids import RoleId
from bastide.domain.proposals import Proposal


class Proposals(Protocol):
    """Changes of roles that wait for a second administrator."""

    def add(self, proposal: Proposal) -> None: ...
    def remove(self, id: str) -> None: ...  # noqa: A002
    def get(self, id: str) -> Proposal:  # noqa: A002
        """Raises NotFound."""

    def all(self) -> tuple[Proposal, ...]:
        """Oldest first."""

    def of_role(self, role: RoleId) -> tuple[Proposal, ...]:
        """Oldest first."""
