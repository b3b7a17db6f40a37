"""Sign-in against the real KDCs: accept tickets with the HTTP/ keytab, prove passwords."""

from pathlib import Path

import gssapi
from gssapi.raw.misc import GSSError

from bastide.directory.kerberos import PAC, PasswordCheck, rid_of
from bastide.domain.errors import NotAuthenticated
from bastide.services.signin import Accepted

_TOKEN_LIMIT = 64 * 1024
_REFUSED = "the ticket was not accepted"


class SpnegoAcceptor:
    """Accepts tickets for any name in the keytab: HTTP/ of PRIV and HTTP/ of CORP."""

    def __init__(self, keytab: Path) -> None:
        self._keytab = keytab

    def accept(self, token: bytes) -> Accepted:
        """One leg, as Kerberos needs. Raises NotAuthenticated; also for NTLM, which has no ticket, and for a ticket without a PAC."""
        if len(token) > _TOKEN_LIMIT:
            raise NotAuthenticated(_REFUSED)
        try:
            own = gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{self._keytab}"})
            context = gssapi.SecurityContext(creds=own, usage="accept")
            answer = context.step(token)
            if not context.complete:
                raise NotAuthenticated(_REFUSED)
            caller = context.initiator_name
            principal, service, pac = str(caller), str(context.target_name), caller.attributes[PAC]
        except (GSSError, KeyError) as error:
            raise NotAuthenticated(_REFUSED) from error
        return Accepted(principal, service.rpartition("@")[2], rid_of(pac), answer or b"")


class RealmPasswords:
    """Proves passwords of one realm against its KDC."""

    def __init__(self, realm: str, service: str, keytab: Path) -> None:
        self._realm = realm
        self._check = PasswordCheck(service, keytab)

    def check(self, name: str, password: str) -> int:
        """The relative id that the KDC put into the PAC. Raises NotAuthenticated, DirectoryUnavailable."""
        if "@" in name or "/" in name:
            raise NotAuthenticated("a plain account name is needed")
        return self._check.verify(f"{name}@{self._realm}", password).rid
