"""The sealed conversation with an agent: GSS-API with Kerberos ([RFC 4121]), and the question whether the caller is a domain controller."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gssapi
from gssapi.raw import RequirementFlag
from gssapi.raw.misc import GSSError
from ldap.filter import filter_format

from bastide.directory.constants import AccountControl
from bastide.directory.entries import Entry, is_below
from bastide.directory.kerberos import PAC, rid_of
from bastide.directory.ldap import Controllers
from bastide.directory.session import Session
from bastide.domain.errors import NotAuthenticated, NotAuthorized
from bastide.services.passwords.ports import Channel, Handshake, Peer

_NEEDED = (
    RequirementFlag.mutual_authentication
    | RequirementFlag.confidentiality
    | RequirementFlag.integrity
    | RequirementFlag.replay_detection
    | RequirementFlag.out_of_sequence_detection
)
_TOKEN_LIMIT = 64 * 1024
#: The name attribute with S4U_DELEGATION_INFO of the PAC ([MS-PAC] 2.9), as MIT Kerberos gives it: the ticket was got by a service, in the caller's name.
_DELEGATION = b"urn:mspac:delegation-info"
#: PrimaryGroupId follows UserId in KERB_VALIDATION_INFO ([MS-PAC] 2.5).
_PRIMARY_GROUP = 124
_CONTROLLERS_OU = "OU=Domain Controllers"
_CONTROLLERS_GROUP = 516
_REFUSED = "the ticket was not accepted"


class GssAcceptor:
    """Accepts tickets for the PCNSCLNT/ names of a keytab. It may hold one for each domain."""

    def __init__(self, keytab: Path) -> None:
        self._keytab = keytab

    def begin(self) -> Handshake:
        """Raises NotAuthenticated if the keytab cannot be used."""
        try:
            own = gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{self._keytab}"})
        except GSSError as error:
            raise NotAuthenticated(
                f"the keytab {self._keytab} cannot be used", remedy="check passwords.keytab in bastide.toml"
            ) from error
        return GssHandshake(own)


class GssHandshake:
    """One caller's authentication."""

    def __init__(self, own: gssapi.Credentials) -> None:
        self._context = gssapi.SecurityContext(creds=own, usage="accept")

    def step(self, token: bytes) -> tuple[bytes, Channel | None]:
        """Raises NotAuthenticated: for NTLM, for a ticket without a PAC, or that a service got in the caller's name, for a caller who does without
        sealing or mutual authentication.
        """
        if len(token) > _TOKEN_LIMIT:
            raise NotAuthenticated(_REFUSED)
        try:
            answer = self._context.step(token) or b""
            if not self._context.complete:
                return answer, None
            if self._context.actual_flags & _NEEDED != _NEEDED:
                raise NotAuthenticated("the caller did not ask for a sealed, mutual connection")
            return answer, GssChannel(self._context, _peer(self._context))
        except (GSSError, KeyError) as error:
            raise NotAuthenticated(_REFUSED) from error


class GssChannel:
    """Seals and opens messages. Not for two threads at a time."""

    def __init__(self, context: gssapi.SecurityContext, peer: Peer) -> None:
        """Raises GSSError if the ticket is over already."""
        self._context = context
        self.peer = peer
        #: What GSS-API says of it later (a message is refused when the ticket is over) not every release of MIT Kerberos does; so it is kept.
        self.lifetime = float(context.lifetime or 0)

    def seal(self, message: bytes) -> bytes:
        """Raises NotAuthenticated when the ticket is over: the caller connects again."""
        try:
            return bytes(self._context.wrap(message, True).message)
        except GSSError as error:
            raise NotAuthenticated("the connection is over") from error

    def open(self, sealed: bytes) -> bytes:
        """Raises NotAuthenticated for what was changed, sent twice, out of order or not encrypted."""
        try:
            opened = self._context.unwrap(sealed)
        except GSSError as error:
            raise NotAuthenticated("a message was changed, repeated or is over") from error
        if not opened.encrypted:
            raise NotAuthenticated("a message was not encrypted")
        return bytes(opened.message)


def _peer(context: gssapi.SecurityContext) -> Peer:
    caller = context.initiator_name
    principal = str(caller)
    if _DELEGATION in list(caller.attributes):  # asked for by name, one that is not there is an error
        raise NotAuthenticated("the ticket was got by a service in the caller's name, not by the caller")
    pac = caller.attributes[PAC]
    return Peer(
        principal=principal,
        realm=principal.rpartition("@")[2],
        key_realm=str(context.target_name).rpartition("@")[2],
        rid=rid_of(pac),
        primary_group=_primary_group(pac),
    )


def _primary_group(pac: Any) -> int:
    """Call after `rid_of`, which refuses a PAC that is not authenticated."""
    value = next(iter(pac.values))
    if len(value) < _PRIMARY_GROUP + 4:
        raise NotAuthenticated(_REFUSED)
    return int(struct.unpack_from("<I", value, _PRIMARY_GROUP)[0])


class AdControllerRegister:
    """Asks each domain by the connections that Bastide has to it. In order:

    (1) A domain that is not known has no controllers.
    (2) The first controller that can be reached is asked; its yes is enough.
    (3) Where it says no, all that can be reached are asked, and one yes is enough: a new controller asks before its account has come to all others, or has come there as
        the disabled one that it is while it joins.
    (4) Where nobody says yes, the caller is refused. It is no reason to wait that some could not be asked: whoever tries would not be noticed while one is down.
    """

    def __init__(self, domains: Mapping[str, Controllers]) -> None:
        """`domains`: DNS name in lower case to its controllers."""
        self._domains = domains

    def require_controller(self, domain: str, account: str, rid: int) -> str:
        """As the port says."""
        controllers = self._domains.get(domain)
        if controllers is None:  # (1)
            raise NotAuthorized(
                f"nothing is known of the domain {domain[:80]!r}",
                remedy="name it below [[passwords.source_domains]] in bastide.toml: only known domains can be asked who their controllers are",
            )

        def look(session: Session) -> str | None:
            return _host(session, account, rid)

        host = controllers.on_any("look for a controller", look)  # (2)
        if host is None:  # (3)
            answers = controllers.on_each(look).values()
            host = next((said for said in answers if isinstance(said, str)), None)
        if host is None:  # (4)
            raise NotAuthorized(
                f"{account[:80]!r} is not a domain controller of {domain}",
                remedy=f"its account must be in {_CONTROLLERS_OU} with primary group {_CONTROLLERS_GROUP}",
            )
        return host


def _host(session: Session, account: str, rid: int) -> str | None:
    """The DNS name of that controller; None: the one that is asked knows of none such."""
    base = session.must_read("", ["defaultNamingContext"]).text("defaultNamingContext")
    condition = filter_format("(&(objectClass=computer)(sAMAccountName=%s))", [account])
    wanted = ["objectSid", "primaryGroupID", "userAccountControl", "dNSHostName"]
    for entry in session.search(base, condition, wanted):
        if _is_controller(entry, base) and entry.sid().rid == rid:
            return entry.text("dNSHostName").lower()
    return None


def _is_controller(entry: Entry, base: str) -> bool:
    return (
        entry.number("primaryGroupID") == _CONTROLLERS_GROUP
        and bool(entry.number("userAccountControl") & AccountControl.SERVER_TRUST)
        and not entry.number("userAccountControl") & AccountControl.DISABLED
        and is_below(entry.dn, f"{_CONTROLLERS_OU},{base}")
    )
