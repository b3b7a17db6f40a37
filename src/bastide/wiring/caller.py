"""A domain with the Kerberos ticket of the person who calls. Needs the extra `ad`."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bastide.clock import SystemClock
from bastide.directory.kerberos import CallerTicket
from bastide.directory.ldap import Controllers, SealedConnect, discover
from bastide.domain.errors import DirectoryDenied, DirectoryUnavailable

_NAME_IT = "name a controller with --controller, or another domain with --domain"

#: What a denied call advises where Bastide's own accounts call; here a person does.
_OF_OUR_ACCOUNTS = "bastide delegation"


@dataclass(frozen=True, slots=True)
class AsCaller:
    """`main`: the controller to work on."""

    ticket: CallerTicket
    connect: SealedConnect
    controllers: Controllers
    main: str


@contextmanager
def as_caller(domain: str, controller: str) -> Iterator[AsCaller]:
    """The domain (empty: the ticket's), working on one controller (empty: the first that answers).

    Raises DirectoryError, NotAuthenticated.
    """
    ticket, clock = CallerTicket(), SystemClock()
    base = (domain or ticket.realm()).lower()
    names = _names(base, controller)
    connect = SealedConnect(ticket, clock.now)
    controllers = Controllers(base, lambda: names, connect, clock.monotonic)
    try:
        main = _first(controllers, [controller] if controller else names)
        yield AsCaller(ticket, connect, controllers, main)
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
