"""A connection to any LDAP server that no password travels on unsealed.

1. TLS before anything else: from the first byte (LDAPS), or StartTLS, without which there is no connection.
2. TLS 1.2 or newer; the certificate is in date, from an authority we trust, and names the host that the settings name.
3. Only then our own name and password.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Literal

import ldap
from ldap.controls import LDAPControl, SimplePagedResultsControl

from bastide.directory.entries import Entry
from bastide.directory.session import Session, translate
from bastide.domain.credentials import denied
from bastide.domain.errors import (
    BadSource,
    DirectoryDenied,
    DirectoryError,
    DirectoryUnavailable,
    InvalidInput,
    TargetDenied,
    TargetError,
    TargetUnavailable,
)
from bastide.domain.passwords import Code
from bastide.domain.spelling import told
from bastide.services.passwords.ports import Result

Tls = Literal["ldaps", "starttls"]
PORTS = {"ldaps": 636, "starttls": 389}
#: Operations in flight on one connection; slapd takes a thousand (conn_max_pending_auth). Measured: 4,000 sets/s with 32, 5,300 with 64.
WINDOW = 64
_PAGE = 500
#: RFC 4512 2.5: a name or an OID, and options.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(;[A-Za-z0-9-]+)*")
_CHECK = "check the name, the port and the network; the certificate must name the host, be in date and come from the authority in ca"


def check_attributes(names: Iterable[str]) -> None:
    """Raise InvalidInput for a list that could bring a password into the connector space."""
    for name in names:
        if denied(name):
            raise InvalidInput("settings.attributes", f"{name} holds a secret and is never read")
        if not _NAME.fullmatch(name):
            raise InvalidInput("settings.attributes", f"{name[:80]!r} is no attribute name; name each one")


def connect(host: str, port: int, tls: Tls, ca: str, *, network_timeout: float, timeout: float) -> Session:
    """Steps 1 and 2. Raises TargetUnavailable."""
    with door(f"connect to {host}", host):
        raw = ldap.initialize(
            f"{'ldaps' if tls == 'ldaps' else 'ldap'}://{host}:{port}", bytes_strictness="error"
        )
        raw.set_option(ldap.OPT_PROTOCOL_VERSION, ldap.VERSION3)
        raw.set_option(ldap.OPT_REFERRALS, 0)
        raw.set_option(ldap.OPT_NETWORK_TIMEOUT, network_timeout)
        raw.set_option(ldap.OPT_TIMEOUT, timeout)
        # Each is set here, so that no ldap.conf or environment of the machine can weaken it.
        raw.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        raw.set_option(ldap.OPT_X_TLS_PROTOCOL_MIN, ldap.OPT_X_TLS_PROTOCOL_TLS1_2)
        raw.set_option(ldap.OPT_X_TLS_CACERTFILE, ca)
        raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        if tls == "starttls":
            raw.start_tls_s()
        else:
            _shake_hands(raw)
    session = Session(raw, host, timeout)
    # libldap with GnuTLS, Debian's, takes OPT_X_TLS_PROTOCOL_MIN and ignores it: met with TLS 1.1.
    if not is_encrypted(session):
        version = raw.get_option(ldap.OPT_X_TLS_VERSION)
        hang_up(session)
        raise TargetUnavailable(
            f"{host} speaks {version}, which is not secure", remedy="TLS 1.2 is the least"
        )
    return session


def _shake_hands(raw: Any) -> None:
    """Libldap connects when the first operation is sent: one that tells nothing, and whose answer nobody waits for."""
    raw.abandon(raw.search_ext("", ldap.SCOPE_BASE, "(objectClass=*)", ["1.1"]))


def bind(session: Session, name: str, password: str) -> None:
    """Step 3. An empty password is refused here: to a server it is an anonymous bind that succeeds (RFC 4513 5.1.2).

    Raises TargetUnavailable, TargetDenied.
    """
    if not name or not password:
        raise TargetDenied(
            f"there is no name or no password to sign in to {session.controller} with",
            remedy="set bind_name, and the agent's secret",
        )
    error = bound(session, name, password)
    if error is not None:
        raise quiet(target_error(translate(error, "sign in", session.controller)), [password]) from None


def bound(session: Session, name: str, password: str) -> ldap.LDAPError | None:
    """The bind itself: what the server said against it. Its text is foreign, and the server has had the password."""
    try:
        session.raw.simple_bind_s(name, password)
    except ldap.LDAPError as error:
        return error
    return None


def quiet(error: TargetError | DirectoryError, secrets: Iterable[str]) -> TargetError | DirectoryError:
    """The same without the secrets that its text may hold."""
    return type(error)(told(error.message, secrets), remedy=error.remedy)


def hang_up(session: Session) -> None:
    """Close it. What was answered before stays answered, whatever goes wrong now."""
    with suppress(ldap.LDAPError):
        session.raw.unbind_ext_s()


def is_encrypted(session: Session) -> bool:
    """Whether TLS of at least 1.2 is there, asked of the library and not of the settings."""
    version = session.raw.get_option(ldap.OPT_X_TLS_VERSION)
    return isinstance(version, str) and version.upper() in {"TLS1.2", "TLSV1.2", "TLS1.3", "TLSV1.3"}


@contextmanager
def door(doing: str, host: str) -> Iterator[None]:
    """LDAP errors leave as errors of a connected system."""
    try:
        yield
    except ldap.LDAPError as error:
        raise target_error(translate(error, doing, host)) from error
    except DirectoryError as error:
        raise target_error(error) from error


def target_error(error: DirectoryError) -> TargetError | DirectoryError:
    """The same, said of a connected system. CapabilityMissing stays what it is."""
    if isinstance(error, DirectoryUnavailable):
        return TargetUnavailable(error.message, remedy=_CHECK)
    if isinstance(error, DirectoryDenied):
        return TargetDenied(
            error.message, remedy="check the name and the secret of the agent, and its rights there"
        )
    if type(error).code == "capability-missing":
        return error
    return BadSource(error.message, remedy="check the settings of the agent against that server")


def pages(
    session: Session,
    base: str,
    condition: str,
    attributes: Sequence[str],
    *,
    controls: Sequence[LDAPControl] = (),
) -> Iterator[list[Entry]]:
    """A search of the subtree, a page at a time (RFC 2696). At least one page. Raises TargetUnavailable, TargetDenied, BadSource."""
    paging = SimplePagedResultsControl(True, size=_PAGE, cookie="")
    while True:
        with door(f"search {base}", session.controller):
            number = session.raw.search_ext(
                base, ldap.SCOPE_SUBTREE, condition, list(attributes), serverctrls=[paging, *controls]
            )
            _, data, _, answers = session.raw.result3(number, all=1, timeout=session.timeout)
        yield [Entry.read(dn, values) for dn, values in data if dn is not None]
        cookies = [one.cookie for one in answers if one.controlType == SimplePagedResultsControl.controlType]
        if not cookies or not cookies[0]:
            return
        paging.cookie = cookies[0]


def in_flight(
    session: Session, starts: Iterable[Callable[[], int]], secrets: Sequence[str] = ()
) -> Iterator[tuple[Any, ldap.LDAPError | None]]:
    """Start operations, WINDOW of them at a time on the one connection; what each brought, in order. More are started when half of them are back.

    `secrets`: what the operations carry, and no error may tell. Raises TargetUnavailable.
    """
    flying: deque[int] = deque()
    left = iter(starts)
    while True:
        with door("send", session.controller):
            flying.extend(start() for start in islice(left, WINDOW - len(flying)))
        if not flying:
            return
        for _ in range((len(flying) + 1) // 2):
            yield _land(session, flying.popleft(), secrets)


def _land(session: Session, number: int, secrets: Sequence[str]) -> tuple[Any, ldap.LDAPError | None]:
    try:
        _, data, _, _ = session.raw.result3(number, all=1, timeout=session.timeout)
    except _GONE as error:
        session.broken = True
        found = target_error(translate(error, "wait for an answer", session.controller))
        raise quiet(found, secrets) from None
    except ldap.LDAPError as error:
        return None, error
    return data, None


_GONE = (ldap.SERVER_DOWN, ldap.CONNECT_ERROR, ldap.TIMEOUT, ldap.LOCAL_ERROR)
_CODES: tuple[tuple[tuple[type[Exception], ...], Code], ...] = (
    ((ldap.CONSTRAINT_VIOLATION,), Code.POLICY),
    ((ldap.NO_SUCH_OBJECT,), Code.OBJECT_MISSING),
    ((ldap.INSUFFICIENT_ACCESS, ldap.INVALID_CREDENTIALS), Code.DENIED),
    ((ldap.CONFIDENTIALITY_REQUIRED, ldap.STRONG_AUTH_REQUIRED), Code.INSECURE),
    ((ldap.BUSY, ldap.UNAVAILABLE, ldap.ADMINLIMIT_EXCEEDED, ldap.TIMELIMIT_EXCEEDED), Code.UNAVAILABLE),
    ((ldap.PROTOCOL_ERROR, ldap.UNAVAILABLE_CRITICAL_EXTENSION), Code.SET_UNSUPPORTED),
)


def result_of(error: ldap.LDAPError | None, secrets: Iterable[str] = ()) -> Result:
    """What an operation on one account came to (RFC 4511 appendix A); None: it worked."""
    if error is None:
        return Result(Code.SUCCESS)
    code = next((code for kinds, code in _CODES if isinstance(error, kinds)), Code.FAILED)
    return Result(code, told(" ".join(said(error)), secrets))


def said(error: ldap.LDAPError) -> tuple[str, str]:
    """The name of the result, and the server's own text."""
    details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return str(details.get("desc") or type(error).__name__), str(details.get("info") or "")
