"""The PCNS configuration of a domain, with the Kerberos ticket of the person who calls. Needs the extra `ad`."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from bastide.clock import SystemClock
from bastide.directory.kerberos import CallerTicket
from bastide.directory.ldap import SealedConnect, discover
from bastide.directory.pcns import AdNotificationDirectory
from bastide.domain.errors import DirectoryDenied, DirectoryUnavailable
from bastide.services.passwords.notification import NotificationSettings
from bastide.store.keys import SystemRandom

_NAME_IT = (
    "name a controller with --controller (pcnscfg: /SERVER:), or another domain with --domain (/DOMAIN:)"
)


@contextmanager
def notification_settings(domain: str, controller: str) -> Iterator[NotificationSettings]:
    """Of the domain (empty: the ticket's), over one controller (empty: the first that answers). Raises DirectoryError, NotAuthenticated."""
    ticket = CallerTicket()
    names = [controller] if controller else discover(domain or ticket.realm().lower(), otherwise=_NAME_IT)()
    connect = SealedConnect(ticket, SystemClock().now)
    wrong: list[str] = []
    for name in names:
        try:
            session, _ = connect(name)
        except DirectoryUnavailable as error:
            wrong.append(error.message)
            continue
        try:
            yield NotificationSettings(directory=AdNotificationDirectory(session), random=SystemRandom())
        except DirectoryDenied as error:
            raise DirectoryDenied(
                error.message,
                remedy=f"you came with the ticket of {ticket.principal()}; `kinit` as a member of Domain Admins of this domain, "
                "and for the schema of Schema Admins of its forest",
            ) from error
        finally:
            session.raw.unbind_ext_s()
        return
    raise DirectoryUnavailable(
        f"no domain controller answers: {'; '.join(wrong)}",
        remedy=f"check the network, DNS and the clock: {' and '.join(f'`getent hosts {shlex.quote(name)}`' for name in names)} must "
        "give an address here",
    )
