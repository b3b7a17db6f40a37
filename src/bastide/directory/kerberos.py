"""Kerberos from Python: a service identity out of a keytab, and a person's password proven against the KDC.

Tickets live in MEMORY caches only. The cache is chosen per thread (gss_krb5_ccache_name), so several identities work side by side and the
environment is never touched.
"""

import itertools
import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from threading import Lock, local
from typing import Any, NamedTuple, Protocol

import gssapi
import gssapi.raw
from gssapi.raw.exceptions import ExpiredCredentialsError
from gssapi.raw.misc import GSSError

from bastide.directory.keytab import require
from bastide.domain.errors import DirectoryDenied, DirectoryUnavailable, NotAuthenticated

_numbers = itertools.count(1)
#: A ticket with less life than this is renewed before the next bind.
_RENEW_BELOW = 1200

#: The name attribute with KERB_VALIDATION_INFO of the PAC ([MS-PAC] 2.5), as MIT Kerberos gives it.
PAC = b"urn:mspac:logon-info"
#: UserId in it: 16 bytes of NDR header, 4 of pointer, six times, six strings, two counts before it.
_USER_ID = 120

# krb5 error codes, RFC 4120 7.5.9; MIT adds ERROR_TABLE_BASE_krb5.
_BASE = -1765328384
_CLIENT_UNKNOWN, _CLIENT_REVOKED, _KEY_EXPIRED, _PREAUTH_FAILED, _SKEW = 6, 18, 23, 24, 37
_POLICY = 12


class _Thread(local):
    """The cache that `chosen` put in place in this thread; None: that of the environment."""

    cache: bytes | None = None


_thread = _Thread()


@contextmanager
def chosen(cache: str) -> Iterator[None]:
    """Within, this thread's tickets are in this cache; afterwards, where they were before.

    What gss_krb5_ccache_name returns is never set again: outside of any choice it is what the environment says *now*, and once set it stays.
    """
    before, _thread.cache = _thread.cache, cache.encode()
    gssapi.raw.krb5_ccache_name(_thread.cache)
    try:
        yield
    finally:
        _thread.cache = before
        gssapi.raw.krb5_ccache_name(before)


def cache_in_use() -> bytes | None:
    """What `chosen` chose for this thread; None: that of the environment."""
    return _thread.cache


class Identity:
    """A principal with a keytab. Safe to use from several threads."""

    def __init__(self, principal: str, keytab: Path) -> None:
        self.principal = principal
        self.keytab = keytab
        self._cache = f"MEMORY:bastide-{os.getpid()}-{next(_numbers)}"
        self._lock = Lock()
        self._credentials: gssapi.Credentials | None = None

    def __repr__(self) -> str:
        return f"Identity({self.principal!r})"

    @contextmanager
    def used(self) -> Iterator[int]:
        """Within, this thread's Kerberos tickets are this identity's. Gives the seconds they still last.

        Raises DirectoryUnavailable if no KDC answers, DirectoryDenied if the keytab is no good.
        """
        life = self._fresh()
        with chosen(self._cache):
            yield life

    def _fresh(self) -> int:
        with self._lock:
            try:
                if self._credentials is None or self._credentials.lifetime < _RENEW_BELOW:
                    self._credentials = self._acquire()
                return int(self._credentials.lifetime)
            except ExpiredCredentialsError:
                self._credentials = self._acquire()
                return int(self._credentials.lifetime)

    def _acquire(self) -> gssapi.Credentials:
        if not self.keytab.is_file() or not os.access(self.keytab, os.R_OK):
            raise DirectoryDenied(
                f"the keytab {self.keytab} of {self.principal} cannot be read",
                remedy="check the path in bastide.toml and that the service's user may read it",
            )
        require(self.keytab, self.principal)  # GSS-API would say that there is no credentials cache
        try:
            name = gssapi.Name(self.principal, gssapi.NameType.kerberos_principal)
            store: dict[bytes | str, bytes | str] = {
                "client_keytab": f"FILE:{self.keytab}",
                "ccache": self._cache,
            }
            credentials = gssapi.Credentials(name=name, usage="initiate", store=store)
            _ = credentials.lifetime
        except GSSError as error:
            raise translate(error, f"get a ticket for {self.principal}") from error
        return credentials


class Tickets(Protocol):
    """Somebody's Kerberos tickets, for this thread."""

    def used(self) -> AbstractContextManager[int]:
        """Within, they are used. Gives the seconds they still last."""


class CallerTicket:
    """The ticket that the person who runs this program has already (KRB5CCNAME)."""

    @contextmanager
    def used(self) -> Iterator[int]:
        """Raises NotAuthenticated if there is none, or it is over."""
        yield int(self._credentials().lifetime or 0)

    def principal(self) -> str:
        """The person. Raises NotAuthenticated."""
        return str(self._credentials().name)

    def realm(self) -> str:
        """Of the person. Raises NotAuthenticated."""
        return self.principal().rpartition("@")[2]

    @staticmethod
    def _credentials() -> gssapi.Credentials:
        try:
            credentials = gssapi.Credentials(usage="initiate")
            _ = credentials.lifetime
        except ExpiredCredentialsError as error:
            raise NotAuthenticated(
                "your Kerberos ticket has expired", remedy="get a new one with kinit; `klist` shows it"
            ) from error
        except GSSError as error:
            raise NotAuthenticated(
                f"there is no Kerberos ticket: {_said(error)}",
                remedy="get one with kinit, as an administrator of the domain",
            ) from error
        return credentials


class Why(StrEnum):
    """Why a password was not accepted; for the audit, never for the person who typed it."""

    WRONG = "wrong"
    UNKNOWN = "unknown"
    DORMANT = "dormant-or-locked"
    CHANGE = "must-change"
    OTHER = "other"


class PasswordRefused(NotAuthenticated):
    """The KDC did not take the password. The message is the same for every cause; `why` tells the audit."""

    def __init__(self, why: Why) -> None:
        super().__init__("the name or password is wrong, or the account cannot sign in now")
        self.why = why


class Proved(NamedTuple):
    """Whose password it was."""

    #: As the KDC spells it.
    principal: str
    #: The relative id of the account in its PAC: a name can be made to look like another account's (CVE-2020-25717), the PAC cannot.
    rid: int


def rid_of(pac: Any) -> int:
    """The relative id of the account, which only the KDC can have written. Raises NotAuthenticated."""
    values = list(pac.values)
    if not pac.authenticated or len(values) != 1 or len(values[0]) < _USER_ID + 4:
        raise NotAuthenticated("the ticket was not accepted")
    (rid,) = struct.unpack_from("<I", values[0], _USER_ID)
    return int(rid)


class PasswordCheck:
    """Proves a person's password against the KDC, and the KDC against a key of our own: without the second, whoever answers on port 88
    could say yes to any password. `service` is a principal (`HTTP/host@REALM`) whose key is in `keytab`, in the forest that is asked.
    """

    def __init__(self, service: str, keytab: Path) -> None:
        self.service = service
        self.keytab = keytab

    def verify(self, principal: str, password: str) -> Proved:
        """Raises PasswordRefused, DirectoryUnavailable, DirectoryDenied; NotAuthenticated for a ticket without a PAC.

        The password of a dormant account cannot be proven, and that is right: it buys nothing.
        """
        if not password or "\x00" in password:
            raise PasswordRefused(Why.WRONG)
        try:
            credentials = _buy(principal, password)
        except GSSError as error:
            code = _code(error)
            if code in _REFUSALS:
                raise PasswordRefused(_REFUSALS[code]) from None
            raise translate(error, "check a password") from error
        try:
            return self._prove_kdc(credentials)
        except KeyError:
            raise PasswordRefused(Why.OTHER) from None
        except GSSError as error:
            raise DirectoryDenied(
                f"the KDC could not be proven with the key of {self.service}: {_said(error)}",
                remedy=f"check that {self.keytab} holds the newest key; if it does, somebody may be posing as the KDC",
            ) from error

    def _prove_kdc(self, credentials: gssapi.Credentials) -> Proved:
        target = gssapi.Name(self.service, gssapi.NameType.kerberos_principal)
        client = gssapi.SecurityContext(
            name=target, creds=credentials, usage="initiate", mech=gssapi.MechType.kerberos
        )
        own = gssapi.Credentials(name=target, usage="accept", store={"keytab": f"FILE:{self.keytab}"})
        server = gssapi.SecurityContext(creds=own, usage="accept")
        token = client.step()
        server.step(token)
        caller = server.initiator_name
        return Proved(str(caller), rid_of(caller.attributes[PAC]))


def sign_in(principal: str, password: str, cache: str = "") -> None:
    """Buy a ticket with a password, once; `cache`: where it is put (`FILE:/path`), empty: nowhere. Raises PasswordRefused, DirectoryUnavailable,
    DirectoryDenied.
    """
    try:
        credentials = _buy(principal, password)
        if cache:
            credentials.store(store={"ccache": cache}, usage="initiate", overwrite=True, set_default=True)
    except GSSError as error:
        code = _code(error)
        if code in _REFUSALS:
            raise PasswordRefused(_REFUSALS[code]) from None
        raise translate(error, f"sign in as {principal}") from error


def _buy(principal: str, password: str) -> gssapi.Credentials:
    name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
    acquired = gssapi.raw.acquire_cred_with_password(
        name, password.encode(), mechs=[gssapi.MechType.kerberos], usage="initiate"
    )
    return gssapi.Credentials(base=acquired.creds)


_REFUSALS = {
    _CLIENT_UNKNOWN: Why.UNKNOWN,
    _PREAUTH_FAILED: Why.WRONG,
    _CLIENT_REVOKED: Why.DORMANT,
    _KEY_EXPIRED: Why.CHANGE,
    _POLICY: Why.OTHER,
    1: Why.DORMANT,
}


def translate(error: GSSError, doing: str) -> DirectoryUnavailable | DirectoryDenied:
    """The one door for GSSAPI errors."""
    code = _code(error)
    said = _said(error)
    if code in {_CLIENT_UNKNOWN, _CLIENT_REVOKED, _KEY_EXPIRED, _PREAUTH_FAILED, _POLICY}:
        return DirectoryDenied(
            f"cannot {doing}: {said}",
            remedy="check that the account is enabled and that the keytab holds its newest key",
        )
    remedy = (
        "set the clock: Kerberos allows five minutes"
        if code == _SKEW
        else "check DNS, port 88 of the domain controllers, and krb5.conf"
    )
    return DirectoryUnavailable(f"cannot {doing}: {said}", remedy=remedy)


def _code(error: GSSError) -> int:
    """The RFC 4120 code, or the raw minor status."""
    minor = int(error.min_code)
    signed = minor - (1 << 32) if minor >= 1 << 31 else minor
    return signed - _BASE if 0 <= signed - _BASE < 256 else signed  # noqa: PLR2004  # a com_err table has 256 entries


def _said(error: GSSError) -> str:
    """The KDC's or library's own words. They name principals and files, never a secret."""
    try:
        parts = list(error.get_all_statuses(error.min_code, False))
    except GSSError:
        return f"GSSAPI error {error.min_code}"
    return "; ".join(str(part) for part in parts)
