"""The real connection to a target: TCP, Kerberos both ways, every message sealed ([RFC 4121]). GSS-API errors leave by this file.

The procedure:
  (1) The ticket is the domain controller's own, bought with its machine account's keytab, kept in memory alone.
  (2) It is for the target's principal as AD names it. What DNS says decides where the packets go, never who is believed.
  (3) Mutual authentication, sealing, and protection against repeated and reordered messages, all of them, or the connection ends.
  (4) The first thing said is Hello; a server that does not say Welcome gets nothing else.
  (5) Nothing is read that was not encrypted.
"""

import itertools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import gssapi
from gssapi.raw import RequirementFlag
from gssapi.raw.misc import GSSError

from bastide import wire
from bastide.pcns import KERBEROS, Target, address, principal
from bastide.wire import Answer, FromAgent, FromServer, Hello, Verdict, Welcome
from bastide_agent.failures import HungUp, Refused, SealBroken, Unreachable, Unusable

_NEEDED = (
    RequirementFlag.mutual_authentication
    | RequirementFlag.confidentiality
    | RequirementFlag.integrity
    | RequirementFlag.replay_detection
    | RequirementFlag.out_of_sequence_detection
)
_CONNECT = 10.0
_ANSWER = 30.0
_HEAD = 4
#: Kerberos needs one round; more is somebody who plays for time.
_ROUNDS = 4
#: Seconds of life below which a ticket is not used for a new connection.
_RENEW = 600
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Who we are. `principal` is the machine account with its realm, `domain` a DNS name."""

    principal: str
    realm: str
    domain: str
    controller: str
    software: str


def address_of(target: Target) -> tuple[str, int]:
    """Host and port; the server may be `host` or `host:port`. Raises Unusable."""
    try:
        return address(target.server, wire.PORT)
    except ValueError:
        raise Unusable(
            f"the server {target.server[:80]!r} of {target.name} is neither HOST nor HOST:PORT"
        ) from None


def principal_of(target: Target, realm: str) -> str:
    """(2) `PCNSCLNT/host`, in our own realm if it names none. Raises Unusable."""
    if target.authentication_service != KERBEROS:
        raise Unusable(
            f"{target.name} asks for authentication service {target.authentication_service}; there is only Kerberos ({KERBEROS})"
        )
    try:
        service, host, named = principal(target.spn, wire.SERVICE)
    except ValueError:
        raise Unusable(
            f"the principal {target.spn[:80]!r} of {target.name} is not {wire.SERVICE}/HOST"
        ) from None
    return f"{service}/{host}@{named or realm}"


class KerberosConnector:
    """Safe to use from several threads."""

    def __init__(self, machine: Machine, keytab: Callable[[], tuple[int, str]]) -> None:
        """`keytab` gives a descriptor, which is closed here, and the name that Kerberos opens it by; it raises Unreachable."""
        self._machine = machine
        self._keytab = keytab
        self._lock = Lock()
        self._own: gssapi.Credentials | None = None

    def connect(self, target: Target) -> "GssChannel":
        """As the port says."""
        host, port = address_of(target)
        with door(f"read the principal of {target.name}"):
            name = gssapi.Name(principal_of(target, self._machine.realm), gssapi.NameType.kerberos_principal)
        own = self._credentials()
        try:
            connection = socket.create_connection((host, port), timeout=_CONNECT)
            connection.settimeout(_ANSWER)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Unreachable(
                f"{host}:{port} does not answer: {error.strerror or type(error).__name__}"
            ) from None
        except UnicodeError:  # of the codec that names go through on their way to DNS
            raise Unusable(f"the server {host!r} of {target.name} is no name that DNS takes") from None
        channel = GssChannel(connection)
        try:
            channel.shake_hands(name, own)
            self._greet(channel)
        except Unreachable:
            channel.close()
            raise
        except BaseException:
            channel.close()
            self._forget()  # the machine's password may have changed
            raise
        return channel

    def _greet(self, channel: "GssChannel") -> None:
        """(4)."""
        machine = self._machine
        answer = channel.ask(
            Hello(
                version=wire.VERSION,
                software=machine.software,
                domain=machine.domain,
                controller=machine.controller,
            )
        )
        match answer:
            case Welcome(version=version):
                wire.common_version(version)
            case Answer(verdict=verdict, reason=reason, delay=delay):
                raise Refused(f"turned away: {reason[:200]}", delay if verdict is Verdict.LATER else 0)

    def _credentials(self) -> gssapi.Credentials:
        """(1)."""
        with self._lock, door("get a ticket"):
            if self._own is None or _life(self._own) < _RENEW:
                self._own = self._acquire()
            return self._own

    def _acquire(self) -> gssapi.Credentials:
        descriptor, keytab = self._keytab()
        try:
            name = gssapi.Name(self._machine.principal, gssapi.NameType.kerberos_principal)
            cache = f"MEMORY:bastide-agent-{os.getpid()}-{next(_numbers)}"
            own = gssapi.Credentials(
                name=name, usage="initiate", store={"client_keytab": keytab, "ccache": cache}
            )
            _ = own.lifetime  # that is when the ticket is bought
            return own
        finally:
            os.close(descriptor)

    def _forget(self) -> None:
        with self._lock:
            self._own = None


def _life(own: gssapi.Credentials) -> int:
    try:
        return int(own.lifetime)
    except GSSError:
        return 0


class GssChannel:
    """One connection. Used by one thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._context: gssapi.SecurityContext | None = None

    def shake_hands(self, name: gssapi.Name, own: gssapi.Credentials) -> None:
        """(3). Raises Unreachable, SealBroken, WireError."""
        with door("authenticate"):
            context = gssapi.SecurityContext(
                name=name, creds=own, flags=_NEEDED, usage="initiate", mech=gssapi.MechType.kerberos
            )
            token: bytes | None = None
            for _ in range(_ROUNDS):
                token = context.step(token)
                if token:
                    self._send(token)
                if context.complete:
                    break
                token = self._receive()
            if not context.complete or context.actual_flags & _NEEDED != _NEEDED:
                raise SealBroken("the connection is not mutual and sealed")
        self._context = context

    def ask(self, message: FromAgent) -> FromServer:
        """Say something and hear the answer. Raises Unreachable, SealBroken, WireError."""
        self.say([message])
        return self.hear()

    def say(self, messages: Sequence[FromAgent]) -> None:
        """As the port says."""
        context = self._sealed()
        with door("seal"):
            sealed = [context.wrap(wire.encode(message), True).message for message in messages]
        self._send(*sealed)

    def hear(self) -> FromServer:
        """As the port says."""
        context = self._sealed()
        answer = self._receive()
        with door("open an answer"):
            opened = context.unwrap(answer)
        if not opened.encrypted:
            raise SealBroken("an answer was not encrypted")  # (5)
        return wire.from_server(opened.message)

    def _sealed(self) -> gssapi.SecurityContext:
        if self._context is None:
            raise SealBroken("nothing is said before the handshake")
        return self._context

    def _send(self, *sealed: bytes) -> None:
        """All in one: what arrives together is taken in together."""
        try:
            self._connection.sendall(b"".join(map(wire.frame, sealed)))
        except OSError as error:
            raise Unreachable(f"the connection broke: {type(error).__name__}") from None

    def _receive(self) -> bytes:
        return self._exactly(wire.length(self._exactly(_HEAD)))

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            try:
                part = self._connection.recv(size)
            except ConnectionError as error:
                raise HungUp(f"the target hung up: {type(error).__name__}") from None
            except OSError as error:
                raise Unreachable(f"no answer: {type(error).__name__}") from None
            if not part:
                raise HungUp("the target hung up")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@contextmanager
def door(doing: str) -> Iterator[None]:
    """The one way out for GSS-API errors. Their texts name principals, realms and files, never keys."""
    try:
        yield
    except GSSError as error:
        try:
            said = "; ".join(map(str, error.get_all_statuses(error.min_code, False)))
        except GSSError:
            said = str(error.min_code)
        raise SealBroken(f"Kerberos cannot {doing}: {said}") from None
