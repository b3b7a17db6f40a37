"""A node and the cluster alias: it joins when it can answer under that name, and leaves.

Joining:
  (1) The key file has the current AES keys of both names, as every controller has them.
  (2) A fresh ticket for the alias is accepted with the key file.
  (3) The account is sound, and its names are held once in the forest.
  (4) DNS leads to the alias, and the node's certificate is for it.
  (5) Only then the keys go into the node's own keytab; what else is there stays.
  (6) The keytab is read back, and a fresh ticket is accepted with it.
  (7) It is recorded, where this machine has an audit.
"""

from collections.abc import Callable, Collection
from datetime import datetime

from bastide.domain import cluster
from bastide.domain.audit import Event
from bastide.domain.cluster import Alias
from bastide.domain.errors import NotFound
from bastide.domain.health import Finding
from bastide.services.cluster import looks
from bastide.services.cluster.account import Done
from bastide.services.cluster.looks import AliasRefused, require
from bastide.services.cluster.ports import (
    AliasDirectory,
    Certificate,
    KeyFile,
    Names,
    Recorder,
    TicketProof,
)


class AliasNode:
    """The use cases of one node. `own` is its keytab, `http.keytab` in bastide.toml; `shown` its certificate."""

    def __init__(
        self,
        *,
        directory: AliasDirectory,
        own: KeyFile,
        proof: TicketProof,
        names: Names,
        shown: Certificate | None,
        recorder: Recorder | None,
        now: Callable[[], datetime],
    ) -> None:
        self._directory = directory
        self._own = own
        self._proof = proof
        self._names = names
        self._shown = shown
        self._recorder = recorder
        self._now = now

    def join(self, alias: Alias, shared: KeyFile, *, dry: bool = False) -> Done:
        """`dry`: everything but (5) to (7). Raises AliasRefused, NotAuthenticated, DirectoryError, StoreError."""
        findings, found = looks.in_directory(self._directory, alias, self._now())  # (3)
        version = found.version if found else 0
        said = [*findings, *looks.keytabs(alias, [shared], version)]  # (1)
        said += looks.of_node(alias, self._names, self._shown, self._now())  # (4)
        require(said)
        self._proof.accepted(alias, shared)  # (2)
        if found is None:
            raise AliasRefused(findings)
        if dry:
            return Done(tuple(said), found.dn, version)
        self._own.check_place()
        self._own.take(shared, alias)  # (5)
        said += require(looks.keytabs(alias, [self._own], version))  # (6)
        self._proof.accepted(alias, self._own)
        self._into_audit("cluster.joined", alias, {"version": version, "keytab": self._own.path})  # (7)
        return Done(tuple(said), found.dn, version, recorded=self._recorder is not None)

    def leave(self, alias: Alias) -> Done:
        """The node's keytab forgets the alias. Raises NotFound if it does not know it."""
        gone = cluster.versions(cluster.of_alias(self._own.read(), alias))
        if not gone:
            raise NotFound(
                f"{self._own.path} has no key of {alias.fqdn}",
                remedy="name the keytab of this node with --keytab",
            )
        self._own.drop(alias, gone)
        self._into_audit("cluster.left", alias, {"versions": list(gone), "keytab": self._own.path})
        return Done((), recorded=self._recorder is not None, pruned=gone)

    def status(self, alias: Alias, files: Collection[KeyFile]) -> tuple[Finding, ...]:
        """The account, its key on every controller and in every keytab, DNS and certificate. Raises DirectoryError."""
        findings, found = looks.in_directory(self._directory, alias, self._now())
        version = found.version if found else 0
        return (
            *findings,
            *looks.keytabs(alias, files, version),
            *looks.of_node(alias, self._names, self._shown, self._now()),
        )

    def _into_audit(self, kind: str, alias: Alias, data: dict[str, object]) -> None:
        if self._recorder is None:
            return
        who = self._directory.caller()
        self._recorder.write(
            Event(kind, self._now(), who.sid, who.name, "", alias.fqdn, "", {**data, "via": "kerberos"})
        )
