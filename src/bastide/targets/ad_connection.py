"""How an agent reaches a domain of Active Directory: Kerberos and sealed, or LDAPS with a verified certificate. There is no third way."""

import shlex
import socket
import ssl
import stat
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec

from bastide.config import ConfigError, secret_path
from bastide.directory.kerberos import Identity
from bastide.directory.keytab import require
from bastide.directory.ldap import SealedConnect, discover
from bastide.directory.session import Session
from bastide.domain.errors import (
    DirectoryDenied,
    DirectoryError,
    InvalidInput,
    TargetDenied,
    TargetUnavailable,
)
from bastide.targets.kinds import Opening, Settings
from bastide.targets.ldap_connection import bind, check_attributes, connect, door, hang_up, target_error

#: What coverage, joins and people need of a user.
ATTRIBUTES = (
    "sAMAccountName", "userPrincipalName", "displayName", "givenName", "sn", "mail", "employeeID", "objectSid",
    "userAccountControl", "pwdLastSet",
)  # fmt: skip
LDAPS = 636
#: PATH_MAX of Linux, less its NUL.
_LONGEST_PATH = 4095
_CREDENTIAL = "credential:"
_NAME_THEM = "set `settings.controllers` of the management agent"


class ActiveDirectorySettings(Settings, frozen=True, kw_only=True):
    """One domain. Either `principal` and `keytab` (a path, or `credential:NAME` of the service's unit; the agent's secret is not used), or `bind_name` and `ca` (LDAPS; the secret is the
    password). `ca` beside a keytab lets accepted passwords be proved. `controllers`: in that order; empty: from DNS. Times in seconds.
    """

    domain: str
    controllers: tuple[str, ...] = ()
    principal: str = ""
    keytab: Annotated[str, msgspec.Meta(max_length=_LONGEST_PATH)] = ""
    bind_name: str = ""
    ca: str = ""
    base: str = ""
    attributes: tuple[str, ...] = ATTRIBUTES
    network_timeout: float = 3.0
    timeout: float = 30.0

    def __post_init__(self) -> None:
        check_attributes(self.attributes)
        if not self.domain:
            raise InvalidInput("settings.domain", "must not be empty")
        if bool(self.principal) != bool(self.keytab):
            raise InvalidInput("settings.keytab", "principal and keytab go together")
        if "\0" in self.keytab:
            raise InvalidInput("settings.keytab", "holds a NUL character, which no path has")
        if bool(self.principal) == bool(self.bind_name):
            raise InvalidInput("settings.principal", "give principal and keytab, or bind_name and ca")
        if self.bind_name and not self.ca:
            raise InvalidInput("settings.ca", "is needed to verify the controllers")
        if self.network_timeout <= 0 or self.timeout <= 0:
            raise InvalidInput("settings.timeout", "must be more than 0 seconds")


def controllers_of(settings: ActiveDirectorySettings) -> tuple[str, ...]:
    """As the settings name them, else DNS. Raises TargetUnavailable."""
    with door("find the controllers", settings.domain):
        return settings.controllers or tuple(discover(settings.domain, otherwise=_NAME_THEM)())


def open_session(
    settings: ActiveDirectorySettings, opening: Opening, names: Sequence[str] | None = None
) -> Session:
    """Signed in to the first controller that answers, of these names or of all. Raises TargetUnavailable, TargetDenied."""
    wrong = []
    for name in controllers_of(settings) if names is None else names:
        try:
            return signed_in(settings, opening, name)
        except TargetUnavailable as error:
            wrong.append(error.message)
    raise TargetUnavailable(
        f"no domain controller of {settings.domain} can be reached: {'; '.join(wrong)}",
        remedy="check the network, DNS, the clock, and the controllers' certificates",
    )


def ldaps(settings: ActiveDirectorySettings, controller: str) -> Session:
    """TLS to one controller, nobody signed in. Raises TargetUnavailable."""
    _require_answer(settings, controller)
    return connect(
        controller,
        LDAPS,
        "ldaps",
        settings.ca,
        network_timeout=settings.network_timeout,
        timeout=settings.timeout,
    )


def _require_answer(settings: ActiveDirectorySettings, controller: str) -> None:
    """Libldap with GnuTLS, Debian's, never gives up a handshake with a host that took the connection and then hangs (met with a controller that was paused: it
    waited for eleven minutes on a busy processor, until that one went on). So one is made first whose wait has an end. All else that may be wrong is for libldap to say.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        with (
            socket.create_connection((controller, LDAPS), settings.network_timeout) as plain,
            context.wrap_socket(plain, server_hostname=controller),
        ):
            return
    except TimeoutError as error:
        raise TargetUnavailable(
            f"cannot connect to {controller}: no answer within {settings.network_timeout:g} s",
            remedy="check the network, and whether that domain controller does its work",
        ) from error
    except (OSError, ValueError):
        return


def signed_in(settings: ActiveDirectorySettings, opening: Opening, controller: str) -> Session:
    """To this controller. Raises TargetUnavailable, TargetDenied."""
    if settings.keytab:
        seal = SealedConnect(
            identity(settings.principal, _keytab(settings.keytab)),
            opening.now,
            network_timeout=settings.network_timeout,
            timeout=settings.timeout,
        )
        return _translated(lambda: seal(controller)[0])
    session = ldaps(settings, controller)
    try:
        bind(session, settings.bind_name, opening.secret)
    except BaseException:
        hang_up(session)
        raise
    return session


def _translated(action: Callable[[], Session]) -> Session:
    try:
        return action()
    except DirectoryError as error:
        raise target_error(error) from error


@cache
def identity(principal: str, keytab: Path) -> Identity:
    """One per keytab and principal: its ticket serves all openings until it is near its end."""
    return Identity(principal, keytab)


def check_keytab(settings: ActiveDirectorySettings) -> None:
    """Whether a keytab that is there already is for nobody else, and has the principal. Raises InvalidInput."""
    try:
        if not settings.keytab or not secret_path(settings.keytab).exists():
            return
    except (ConfigError, OSError):  # said when it is opened
        return
    try:
        require(_keytab(settings.keytab), settings.principal)
    except (TargetDenied, DirectoryDenied) as error:
        raise InvalidInput("settings.keytab", error.message, remedy=error.remedy) from error


def _keytab(reference: str) -> Path:
    """Raises TargetDenied, as for a keytab that cannot be read, and for one that others can."""
    try:
        path = secret_path(reference)
        mode = path.stat().st_mode if path.exists() else 0
    except ConfigError as error:
        raise TargetDenied(
            str(error), remedy="name the credential in the unit (LoadCredential=), or give the keytab's path"
        ) from error
    except OSError:  # the look at the keytab says what is wrong with it
        return path
    # systemd gives a credential to the service through an access list, whose mask shows as group bits
    if mode & (stat.S_IRWXO | (0 if reference.startswith(_CREDENTIAL) else stat.S_IRWXG)):
        raise TargetDenied(
            f"others may read the keytab {path} (mode {stat.S_IMODE(mode):o})",
            remedy=f"chmod 600 {shlex.quote(str(path))}; if others may have read it, change the account's password and export it again",
        )
    return path
