"""The caller's Kerberos ticket, as SPNEGO for the server's HTTP/ name. python-gssapi is loaded only when a ticket is wanted."""

import re
import shlex
from dataclasses import dataclass

from bastide.cli.ccselect import chosen_for
from bastide.cli.exits import Exit, Stop
from bastide.extras import install

#: The general part of an error of GSS-API, which says nothing where there is a special one.
_MAJOR = re.compile(r"^Major \(\d+\): .*, Minor \(\d+\): ")
_NEVER_WITHOUT = "or sign in with --account 'CORP\\name'"


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose ticket there is (empty: none), the server's host, and the realm of its name."""

    principal: str
    host: str
    realm: str

    @property
    def fits(self) -> bool:
        """The server takes a ticket only from the realm that its name is in."""
        return self.principal.rpartition("@")[2].casefold() == self.realm.casefold()

    @property
    def remedy(self) -> str:
        """The ticket that would do."""
        return (
            f"{self.host} is in {self.realm}: {self._other_name}`kinit PERSON@{self.realm}`, {_NEVER_WITHOUT}"
        )

    @property
    def _other_name(self) -> str:
        """The server has a name in each forest, and a ticket of the other one is good for that."""
        there = self.principal.rpartition("@")[2]
        if not there or self.fits:
            return ""
        example = f"{self.host.partition('.')[0]}.{there.lower()}"
        return f"use the server's name in {there}, if it has one there (as in --server https://{example}:8443), or "

    def refused(self, stop: Stop) -> Stop:
        """A refusal of the server, by somebody who came with this ticket."""
        message, remedy = stop.message, stop.remedy
        if stop.status is Exit.NOT_SIGNED_IN:
            message += f": the ticket is that of {self.principal}" if self.principal else ""
            remedy = remedy if self.fits else self.remedy
        elif stop.code == "not-authorized" and self.principal:
            remedy = f"{remedy}; you came with the ticket of {self.principal}".removeprefix("; ")
        return Stop(message, remedy=remedy, status=stop.status, code=stop.code, raw=stop.raw)


class Exchange:
    """One handshake with one server."""

    def __init__(self, host: str) -> None:
        try:
            import gssapi  # noqa: PLC0415  # needs a C library that a client with --account does without
            from gssapi.raw.misc import GSSError  # noqa: PLC0415
        except ImportError:
            raise Stop(
                "this machine cannot use Kerberos tickets: python-gssapi is not installed",
                remedy=f"`{install('ad')}`, {_NEVER_WITHOUT}",
                status=Exit.NOT_SIGNED_IN,
            ) from None
        self._gssapi = gssapi
        self._error = GSSError
        self._host = host
        self._name = gssapi.Name(f"HTTP@{host}", gssapi.NameType.hostbased_service)
        flags = (
            gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.out_of_sequence_detection
        )
        spnego = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
        self._context = gssapi.SecurityContext(name=self._name, flags=flags, mech=spnego, usage="initiate")

    def step(self, token: bytes | None = None) -> bytes | None:
        """The next token for the server, or the check of its last one. Raises Stop."""
        try:
            answer: bytes | None = self._context.step(token)
        except self._error as error:
            raise self._translate(error, is_answer=token is not None) from None
        return answer

    def whose(self) -> Whose:
        """Of the ticket that is used for this host, which may be another than the default one. GSS-API names nobody where that one is over."""
        holder = chosen_for("HTTP", self._host)
        try:
            holder = holder or str(self._gssapi.Credentials(usage="initiate").name)
        except self._error:
            holder = ""
        return Whose(holder, self._host, self._realm())

    def _realm(self) -> str:
        """As krb5.conf says; where it leaves that to the KDC: the host's domain in upper case, as in every Active Directory."""
        try:
            known = str(self._name.canonicalize(self._gssapi.MechType.kerberos)).rpartition("@")[2]
        except self._error:
            known = ""
        return known or self._host.partition(".")[2].upper() or self._host.upper()

    def _translate(self, error: Exception, *, is_answer: bool) -> Stop:
        said = _MAJOR.sub("", " ".join(str(error).replace("\0", "").split()))
        if is_answer:
            return Stop(
                f"{self._host} could not prove that it is the server: {said}",
                remedy="do not go on; ask the administrator of Bastide",
                status=Exit.UNAVAILABLE,
            )
        whose = self.whose()
        if not whose.principal:
            message, remedy = f"no Kerberos ticket for HTTP/{self._host}: {said}", whose.remedy
        elif whose.fits:
            message = f"the ticket of {whose.principal} is not good for HTTP/{self._host}: {said}"
            remedy = f"`klist -A` shows it, `kinit {shlex.quote(whose.principal)}` gets a new one, {_NEVER_WITHOUT}"
        else:
            message = (
                f"the ticket is that of {whose.principal}, which is not good for HTTP/{self._host}: {said}"
            )
            remedy = whose.remedy
        return Stop(message, remedy=remedy, status=Exit.NOT_SIGNED_IN)
