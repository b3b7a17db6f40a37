"""The cluster alias with the Kerberos ticket of the person who calls. Needs the extra `ad`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from bastide.clock import SystemClock
from bastide.directory.alias import AdAliasDirectory
from bastide.directory.alias_keys import GssProof, KeytabFile
from bastide.directory.alias_names import AliasNames
from bastide.domain.cluster import Alias
from bastide.domain.errors import StoreUnavailable
from bastide.domain.health import Finding
from bastide.services.cluster import checks, looks
from bastide.services.cluster.account import AliasAccount
from bastide.services.cluster.node import AliasNode
from bastide.services.cluster.ports import AliasDirectory, Certificate, KeyFile, TicketProof
from bastide.services.cluster.recorder import AuditRecorder
from bastide.services.ports import Store
from bastide.store.keys import SystemRandom
from bastide.wiring.caller import as_caller


@dataclass(frozen=True, slots=True)
class AliasTools:
    """The domain of the alias as the caller reaches it."""

    directory: AliasDirectory
    proof: TicketProof

    def alias(self, text: str) -> Alias:
        """Raises InvalidInput."""
        return Alias.parse(text, self.directory.domain)

    def file(self, path: Path) -> KeyFile:
        return KeytabFile(path)

    def account(self, keytab: Path, store: Store | None) -> AliasAccount:
        """`store` None: nothing is recorded."""
        return AliasAccount(
            directory=self.directory,
            keys=self.file(keytab),
            proof=self.proof,
            random=SystemRandom(),
            recorder=AuditRecorder(store) if store else None,
            now=SystemClock().now,
            wait=time.sleep,
        )

    def ahead(self, alias: Alias, certificate: Path | None) -> tuple[Finding, ...]:
        """What would keep this node from joining, before there is an account."""
        now, names = SystemClock().now(), AliasNames()
        try:
            return looks.ahead(alias, names, read_certificate(certificate) if certificate else None, now)
        except StoreUnavailable as error:
            unread = checks.warn("cluster.certificate", error.message, error.remedy)
            known = looks.ahead(alias, names, None, now)
            return (*(one for one in known if one.key != unread.key), unread)

    def node(self, keytab: Path, certificate: Path | None, store: Store | None) -> AliasNode:
        """Raises StoreUnavailable if the certificate cannot be read."""
        return AliasNode(
            directory=self.directory,
            own=self.file(keytab),
            proof=self.proof,
            names=AliasNames(),
            shown=read_certificate(certificate) if certificate else None,
            recorder=AuditRecorder(store) if store else None,
            now=SystemClock().now,
        )


@contextmanager
def alias_tools(domain: str, controller: str) -> Iterator[AliasTools]:
    """Of the domain (empty: the ticket's), working on one controller (empty: the first that answers); all of them are asked for versions of the key.

    Raises DirectoryError, NotAuthenticated.
    """
    with as_caller(domain, controller) as here:
        directory = AdAliasDirectory(here.controllers, here.main, here.connect)
        yield AliasTools(directory, GssProof(here.ticket))


def read_certificate(path: Path) -> Certificate:
    """The names and the end of a PEM certificate. Raises StoreUnavailable."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise StoreUnavailable(
            f"the certificate {path} cannot be read: {(error.strerror or '').lower()}",
            remedy="name it with --certificate",
        ) from None
    except ValueError:
        raise StoreUnavailable(f"{path} is no certificate in PEM", remedy="name another file") from None
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        said = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        said = []
    return Certificate(frozenset(name.lower() for name in said), found.not_valid_after_utc)
