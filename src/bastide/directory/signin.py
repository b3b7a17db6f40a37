"""Sign-in against the real KDCs: accept tickets with the HTTP/ keytab, prove passwords."""

import struct
from pathlib import Path
from typing import Any

import gssapi
from gssapi.raw.misc import GSSError

from bastide.directory.kerberos import PasswordCheck
from bastide.domain.errors import NotAuthenticated
from bastide.services.ports import Accepted

_PAC = b"urn:mspac:logon-info"
#: UserId in KERB_VALIDATION_INFO ([MS-PAC] 2.5): 16 bytes of NDR header, 4 of pointer, six times, six strings, two counts before it.
_USER_ID = 120
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
            principal, service, pac = str(caller), str(context.target_name), caller.attributes[_PAC]
        except (GSSError, KeyError) as error:
            raise NotAuthenticated(_REFUSED) from error
        return Accepted(principal, service.rpartition("@")[2], _rid(pac), answer or b"")


def _rid(pac: Any) -> int:
    """The relative id of the account, which only the KDC can have written. Raises NotAuthenticated."""
    values = list(pac.values)
    if not pac.authenticated or len(values) != 1 or len(values[0]) < _USER_ID + 4:
        raise NotAuthenticated(_REFUSED)
    (rid,) = struct.unpack_from("<I", values[0], _USER_ID)
    return int(rid)


class RealmPasswords:
    """Proves passwords of one realm against its KDC."""

    def __init__(self, realm: str, service: str, keytab: Path) -> None:
        self._realm = realm
        self._check = PasswordCheck(service, keytab)

    def check(self, name: str, password: str) -> None:
        """Raises NotAuthenticated, DirectoryUnavailable."""
        if "@" in name or "/" in name:
            raise NotAuthenticated("a plain account name is needed")
        self._check.verify(f"{name}@{self._realm}", password)
