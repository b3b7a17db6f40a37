"""The cluster alias with the Kerberos ticket of the person who calls. Needs the extra `ad`."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from bastide.clock import SystemClock
from bastide.directory.alias import AdAliasDirectory
from bastide.directory.alias_keys import GssProof, KeytabFile
from bastide.directory.alias_names import AliasNames
from bastide.directory.kerberos import CallerTicket
from bastide.directory.ldap import Controllers, SealedConnect, discover
from bastide.domain.cluster import Alias
from bastide.domain.errors import DirectoryDenied, DirectoryUnavailable, StoreUnavailable
from bastide.services.cluster.account import AliasAccount
from bastide.services.cluster.node import AliasNode
from bastide.services.cluster.ports import AliasDirectory, Certificate, KeyFile, TicketProof
from bastide.services.cluster.recorder import AuditRecorder
from bastide.services.ports import Store
from bastide.store.keys import SystemRandom

_NAME_IT = "name a controller with --controller, or another domain with --domain"

#: What a denied call advises where Bastide's own accounts call; here a person does.
_OF_OUR_ACCOUNTS = "bastide delegation"


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
    ticket, clock = CallerTicket(), SystemClock()
    base = (domain or ticket.realm()).lower()
    names = _names(base, controller)
    connect = SealedConnect(ticket, clock.now)
    controllers = Controllers(base, lambda: names, connect, clock.monotonic)
    try:
        main = _first(controllers, [controller] if controller else names)
        yield AliasTools(AdAliasDirectory(controllers, main, connect), GssProof(ticket))
    except DirectoryDenied as error:
        if _OF_OUR_ACCOUNTS not in error.remedy:
            raise
        raise DirectoryDenied(
            error.message,
            remedy=f"you came with the ticket of {ticket.principal()}: give it that right, or `kinit` as an administrator of {base}",
        ) from error
    finally:
        controllers.close()


def _names(domain: str, controller: str) -> Sequence[str]:
    """All controllers; those that DNS does not say only where one was named."""
    try:
        found = list(discover(domain, otherwise=_NAME_IT)())
    except DirectoryUnavailable:
        if not controller:
            raise
        found = []
    return list(dict.fromkeys([*([controller] if controller else []), *found]))


def _first(controllers: Controllers, names: Sequence[str]) -> str:
    """The first that answers. Raises DirectoryUnavailable."""
    wrong = []
    for name in names:
        try:
            controllers.on(name, lambda session: session.must_read("", ["defaultNamingContext"]))
        except DirectoryUnavailable as error:
            wrong.append(error.message)
        else:
            return name
    raise DirectoryUnavailable(
        f"no domain controller answers: {'; '.join(wrong)}",
        remedy="check the network, DNS and the clock: "
        + " and ".join(f"`getent hosts {shlex.quote(name)}`" for name in names)
        + " must give an address here",
    )


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
