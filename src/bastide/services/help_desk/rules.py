"""What the domains ask of a password, before an operator's is tried there: by the same rules as a reset's (services/reset/rules.py), and by the policy that counts for the
account, a fine-grained one too. History and least age the directory alone knows; they count for a change, and it says so itself.
"""

from collections.abc import Collection, Iterator, Sequence

from bastide.domain.errors import NotFound
from bastide.domain.ids import Sid
from bastide.services.reset.rules import NewPasswords


class Rules:
    """`judges`: one for each forest. A person whom none of them knows is out of the help desk's reach (tier.py)."""

    def __init__(self, judges: Sequence[NewPasswords]) -> None:
        self._judges = judges

    def check(self, password: str, accounts: Collection[Sid]) -> None:
        """Raises InvalidInput with everything that is wrong with it for the first account that does not take it, DirectoryUnavailable, NotConfigured."""
        for sid in accounts:
            for judge in self._judges:
                try:
                    judge.check(password, sid)
                except NotFound:
                    continue
                break

    def length(self, accounts: Collection[Sid]) -> int:
        """The least number of characters that all of them take; 0: no domain asks for any. Raises DirectoryUnavailable."""
        return max(self._lengths(accounts), default=0)

    def _lengths(self, accounts: Collection[Sid]) -> Iterator[int]:
        for sid in accounts:
            for judge in self._judges:
                policy = judge.policy(sid)
                if policy is not None:
                    yield policy.length
