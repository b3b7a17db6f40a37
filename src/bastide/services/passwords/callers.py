"""Who may tell us of a changed password: the controllers of a domain, and nobody else. In order:

(1) The caller is a machine account (`NAME$`), and no other kind of name.
(2) The ticket comes from the realm whose key of ours it was made for: no trust, in whatever direction, lets a controller speak for another domain.
(3) The PAC has the primary group of domain controllers (516). Read-only controllers (521) hold no passwords, and are refused.
(4) The directory of that domain says the same: this account, with this relative id, is a controller, in OU=Domain Controllers.
(5) What is allowed is one domain, the caller's own. It is compared with what every message claims.
(6) Who stays connected is asked for (4) again from time to time: an account may have been removed, disabled or moved since.
"""

from dataclasses import dataclass

from bastide.domain.errors import NotAuthorized
from bastide.services.passwords.ports import ControllerRegister, EventLog, Peer

DOMAIN_CONTROLLERS = 516
_REMEDY = "only a domain controller of that domain may send password changes"


@dataclass(frozen=True, slots=True)
class Caller:
    """An admitted controller: the domain it speaks for (DNS name, lower case), its account and its DNS name."""

    domain: str
    account: str
    host: str


class Callers:
    """Admits controllers."""

    def __init__(self, *, register: ControllerRegister, events: EventLog) -> None:
        self._register = register
        self._events = events

    def admit(self, peer: Peer) -> Caller:
        """Raises NotAuthorized (6914), DirectoryUnavailable."""
        domain = peer.realm.lower()
        try:
            caller = self._admit(peer, domain)
        except NotAuthorized:
            self._events.write(6914, Domain=domain, Server=peer.principal)
            raise
        self._events.write(6913, Domain=domain, Server=caller.host)
        return caller

    def admit_again(self, peer: Peer) -> None:
        """(6). Raises NotAuthorized (6914), DirectoryUnavailable."""
        domain = peer.realm.lower()
        try:
            self._admit(peer, domain)
        except NotAuthorized:
            self._events.write(6914, Domain=domain, Server=peer.principal)
            raise

    def _admit(self, peer: Peer, domain: str) -> Caller:
        account = peer.principal.rpartition("@")[0]
        if not account.endswith("$") or "/" in account or "@" in account:  # (1)
            raise NotAuthorized(f"{peer.principal} is not a machine account", remedy=_REMEDY)
        if peer.realm != peer.key_realm:  # (2)
            raise NotAuthorized(
                f"{peer.principal} came with a ticket for our name in {peer.key_realm}", remedy=_REMEDY
            )
        if peer.primary_group != DOMAIN_CONTROLLERS:  # (3)
            raise NotAuthorized(
                f"the ticket of {peer.principal} is not that of a domain controller", remedy=_REMEDY
            )
        host = self._register.require_controller(domain, account, peer.rid)  # (4)
        return Caller(domain, account, host)

    @staticmethod
    def require_own(caller: Caller, domain: str) -> None:
        """(5). Raises NotAuthorized."""
        if domain.lower() != caller.domain:
            raise NotAuthorized(
                f"{caller.account} of {caller.domain} speaks for {domain[:80]!r}", remedy=_REMEDY
            )
