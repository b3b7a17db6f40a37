"""The keytab of the cluster alias, written by MIT's library (krb5), and the proof that a ticket opens with it.

A file is changed whole: a copy beside it, mode 0600, is filled, synced and renamed over it, so that a service that reads it meanwhile sees
the old or the new one. One writer at a time (a lock on the directory). Only libkrb5 touches keys; none is in a message or a repr.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gssapi
import krb5
from gssapi.raw import RequirementFlag
from gssapi.raw.misc import GSSError

from bastide import durable
from bastide.directory import keytab
from bastide.directory.kerberos import Tickets, cache_in_use, translate
from bastide.domain.cluster import AES_TYPES, Alias, Key
from bastide.domain.errors import DirectoryDenied, NotAuthenticated, StoreUnavailable
from bastide.services.cluster.ports import KeyFile

_NEEDED = RequirementFlag.mutual_authentication | RequirementFlag.integrity | RequirementFlag.confidentiality
_TICKET_GRANTING = b"krbtgt/"
#: MIT's library writes the time of writing, whatever it is given; so a keytab does not tell how old a key is.
_NOW = 0


class KeytabFile:
    """As the port KeyFile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.path = str(path)

    def __repr__(self) -> str:
        return f"KeytabFile({self.path!r})"

    def check_place(self) -> None:
        """Raises StoreUnavailable."""
        folder = self._path.parent
        if not folder.is_dir():
            raise StoreUnavailable(
                f"there is no directory {folder}", remedy=f"make it: install -d -m 0700 {folder}"
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StoreUnavailable(
                f"{folder} cannot be written by this user", remedy="run this as root, or name another file"
            )
        if folder.stat().st_mode & stat.S_IWOTH:
            raise StoreUnavailable(
                f"anybody may write into {folder}: who put a file there first would own the keys",
                remedy=f"chmod o-w {folder}, or name a file elsewhere, as in /etc/bastide",
            )
        if self._path.is_symlink() or (self._path.exists() and not self._path.is_file()):
            raise StoreUnavailable(f"{self.path} is no regular file", remedy="name another file")

    def read(self) -> tuple[Key, ...]:
        """Raises DirectoryDenied if it cannot be read or is none."""
        if not os.path.lexists(self._path):
            return ()
        context = krb5.init_context()
        found = []
        for entry in _entries(context, self.path):
            name = krb5.unparse_name_flags(context, entry.principal).decode()
            found.append(Key(name, entry.kvno, entry.key.enctype))
        return tuple(found)

    def add(self, alias: Alias, password: str, version: int) -> None:
        """Derived as the directory derives them (RFC 3962), with the salt of a computer account."""

        def write(context: krb5.Context, target: krb5.KeyTab) -> None:
            for kind in AES_TYPES:
                key = krb5.c_string_to_key(context, kind, password.encode(), alias.salt.encode())
                for name in alias.principals:
                    who = krb5.parse_name_flags(context, name.encode())
                    krb5.kt_add_entry(context, target, who, version, _NOW, key)

        self._rewrite(_without(alias, {version}), write)

    def take(self, other: KeyFile, alias: Alias) -> None:
        """The versions that this file has already are replaced: they may be of an earlier account."""
        wanted = set(alias.principals)

        def write(context: krb5.Context, target: krb5.KeyTab) -> None:
            _copy(context, other.path, target, lambda key: key.principal in wanted)

        self._rewrite(lambda key: key.principal not in wanted, write)

    def drop(self, alias: Alias, gone: Collection[int]) -> None:
        """A file in which nothing is left goes too: an empty file is no keytab."""
        if os.path.lexists(self._path):
            self._rewrite(_without(alias, gone), lambda _, __: None)

    def _rewrite(
        self, keep: Callable[[Key], bool], write: Callable[[krb5.Context, krb5.KeyTab], None]
    ) -> None:
        """All entries that are to be kept, then the new ones. Raises StoreUnavailable, DirectoryDenied."""
        self.check_place()
        new = self._path.with_name(f".{self._path.name}.new")
        with _locked(self._path.parent), _said(self._path):
            with suppress(FileNotFoundError):
                new.unlink()  # of a writer that was killed
            try:
                self._fill(new, keep, write)
            except BaseException:
                with suppress(FileNotFoundError):
                    new.unlink()
                raise
            if new.exists():
                new.replace(self._path)
            else:
                self._path.unlink(missing_ok=True)
            durable.sync(self._path.parent)

    def _fill(
        self, new: Path, keep: Callable[[Key], bool], write: Callable[[krb5.Context, krb5.KeyTab], None]
    ) -> None:
        """In a file that was never readable by others, and belongs to whom the old one belonged to."""
        before = self._path.stat() if self._path.exists() else None
        head = keytab.VERSION
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            if before is not None and os.geteuid() == 0:
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.write(descriptor, head)
            context = krb5.init_context()
            target = krb5.kt_resolve(context, f"FILE:{new}".encode())
            if before is not None:
                _copy(context, self.path, target, keep)
            write(context, target)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new.stat().st_size == len(head):
            new.unlink()


def _without(alias: Alias, gone: Collection[int]) -> Callable[[Key], bool]:
    return lambda key: key.principal not in alias.principals or key.version not in gone


def _entries(context: krb5.Context, path: str) -> Iterator[krb5.KeyTabEntry]:
    """All of a file. Raises DirectoryDenied for a damaged one: libkrb5 takes what is before the damage for all, and a copy would lose the rest."""
    keytab.principals(Path(path))
    yield from krb5.kt_resolve(context, f"FILE:{path}".encode())


def _copy(context: krb5.Context, source: str, target: krb5.KeyTab, keep: Callable[[Key], bool]) -> None:
    """Key for key, with its version."""
    for entry in _entries(context, source):
        name = krb5.unparse_name_flags(context, entry.principal).decode()
        if keep(Key(name, entry.kvno, entry.key.enctype)):
            krb5.kt_add_entry(context, target, entry.principal, entry.kvno, _NOW, entry.key)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """The one door for what the disk and libkrb5 say of files."""
    try:
        yield
    except krb5.Krb5Error as error:
        raise StoreUnavailable(
            f"{path} cannot be written: libkrb5 error {error.err_code}",
            remedy="look at the disk and at the file",
        ) from None
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be written: {(error.strerror or type(error).__name__).lower()}",
            remedy="look at the disk and at the rights of the directory",
        ) from None


class GssProof:
    """As the port TicketProof, with somebody's ticket-granting ticket and nothing else of their cache: a ticket for the alias that was
    bought before a rotation would prove the old key.
    """

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets

    def accepted(self, alias: Alias, keys: KeyFile) -> None:
        with self._tickets.used(), _granting_only() as cache:
            client, token = _bought(alias, cache)
        try:
            own = gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{keys.path}"})
            server = gssapi.SecurityContext(creds=own, usage="accept")
            client.step(server.step(token))
        except GSSError as error:
            raise NotAuthenticated(
                f"a fresh ticket for {alias.fqdn} does not open with {keys.path}",
                remedy="the file has not the current key: `bastide cluster status` compares the versions",
            ) from error
        if not (client.complete and server.complete):
            raise NotAuthenticated(f"a fresh ticket for {alias.fqdn} was not accepted with {keys.path}")


def _bought(alias: Alias, cache: str) -> tuple[gssapi.SecurityContext, bytes]:
    """The caller's side, and what it shows. Raises DirectoryDenied, DirectoryUnavailable."""
    target = gssapi.Name(alias.principals[1], gssapi.NameType.kerberos_principal)
    try:
        client = gssapi.SecurityContext(
            name=target,
            creds=gssapi.Credentials(usage="initiate", store={"ccache": cache}),
            usage="initiate",
            mech=gssapi.MechType.kerberos,
            flags=_NEEDED,
        )
        return client, client.step()
    except GSSError as error:
        raise translate(error, f"buy a ticket for {alias.fqdn}") from error


@contextmanager
def _granting_only() -> Iterator[str]:
    """A cache in memory with the ticket-granting tickets of this thread's cache. Raises DirectoryDenied if it has none."""
    context = krb5.init_context()
    with _read():
        before = krb5.cc_resolve(context, cache_in_use() or krb5.cc_default_name(context))
        made = krb5.cc_new_unique(context, b"MEMORY")
        krb5.cc_initialize(context, made, krb5.cc_get_principal(context, before))
        for ticket in before:
            if krb5.unparse_name_flags(context, ticket.server).startswith(_TICKET_GRANTING):
                krb5.cc_store_cred(context, made, ticket)
    try:
        yield f"MEMORY:{(made.name or b'').decode()}"
    finally:
        krb5.cc_destroy(context, made)


@contextmanager
def _read() -> Iterator[None]:
    try:
        yield
    except krb5.Krb5Error as error:
        raise DirectoryDenied(
            f"the tickets of this process cannot be read (libkrb5 error {error.err_code})",
            remedy="get a ticket with kinit",
        ) from None
