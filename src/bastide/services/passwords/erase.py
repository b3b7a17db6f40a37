"""The end of a password: the key of a change is destroyed as soon as no target needs it any more, and with it every copy of what it sealed.

The database, its backups and its old pages keep ciphertext; the vault keeps keys and is never backed up. Two moments can leave a key behind
that nobody needs: a kill between the commit that ended the last delivery and the destruction, and one between the vault's commit and the
database's when a change is taken in. The sweep at the start of a node finds both.
"""

from collections.abc import Collection

from bastide.services.passwords.ports import Vault
from bastide.services.ports import Store, UnitOfWork


class Eraser:
    """Destroys keys."""

    def __init__(self, *, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    @staticmethod
    def over(uow: UnitOfWork, references: Collection[str]) -> frozenset[str]:
        """Those that no delivery needs any more, as this unit of work sees it: ask after saving, destroy after the commit."""
        return frozenset(references) - uow.changes.open_references(references)

    def destroy(self, references: Collection[str], head: tuple[int, str] | None = None) -> None:
        """Destroy the keys, after the commit that made them useless. `head`: the end of the audit after that commit, for the vault's mark."""
        if references:
            self._vault.destroy(references)
        if head is not None and head[0]:
            self._vault.set_mark(*head)

    def sweep(self) -> int:
        """Destroy the keys that no delivery needs; how many. A change is taken in under the database's write lock, from before its key is in the
        vault until it is committed; so whoever holds the lock sees no key that is still to be used.
        """
        with self._store.write() as uow:
            kept = self._vault.references()
            orphans = self.over(uow, kept)
            self.destroy(orphans)
        return len(orphans)
