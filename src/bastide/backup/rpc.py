"""DCE/RPC over TCP ([C706] 12, [MS-RPCE]), for the few calls that witness_rpc.py needs: encrypted, with signed headers, or not at all.

A call, in order:
  (1) The endpoint mapper of the host says at which port the interface answers. It is asked without a sign-in: at a wrong port, (2) fails.
  (2) There the caller signs in. Who does not sign headers is left, before anything is asked.
  (3) Each request is sealed. An answer that is not sealed, torn, longer than is taken, or of a call that was not made, ends the connection.
"""

import select
import socket
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from spnego.exceptions import SpnegoError

from bastide.backup import rpc_pdu as pdus
from bastide.backup.ndr import BadNdr, Reader, Writer
from bastide.backup.rpc_pdu import NDR, Interface, Pdu
from bastide.backup.rpc_security import Security
from bastide.backup.witness import Unwatched
from bastide.domain.errors import BastideError

MAPPER_PORT = 135
#: Seconds. To a host; and for one answer.
CONNECT, ANSWER = 3.0, 10.0
_MAPPER = Interface("the endpoint mapper", uuid.UUID("e1af8308-5d1f-11c9-91a4-08002b14a0fa"), 3, 0)
_EPT_MAP, _HANDLE, _TOWERS, _TOWER = 3, 20, 4, 512
#: [C706] I: what the floors of a tower are. `_OVER_TCP`: connection oriented, at a port, at an address.
_OVER_TCP, _TCP_FLOOR = ((0x0B, b"\0\0"), (0x07, b"\0\0"), (0x09, b"\0\0\0\0")), 3
_PORT: Final = struct.Struct(">H")
#: Interrupted calls that are remembered, at most.
_KEPT = 4

_REACH = "are TCP port 135, and those that it names, open to every node of the file cluster?"
_SPEAK = "nothing: backups go on without it. A server of another make may not speak it as [MS-SWN] has it"
_SIGN_IN = "may this account sign in there, and does that name have a service principal host/ in the domain?"


class Caller:
    """A connection to an interface of a host. One thread at a time uses it; whoever is done closes it."""

    def __init__(self, interface: Interface, address: str, port: int, security: Security | None) -> None:
        """`security` None: nothing that is said needs to be believed. Raises Unwatched."""
        self._interface = interface
        self.where = f"{interface.name} at {address}"
        self._security = security
        self._number = 1
        self._answers: dict[int, bytes] = {}
        with self._asked():
            self._sock = socket.create_connection((address, port), CONNECT)
        try:
            with self._asked():
                self._sock.settimeout(ANSWER)
                self._bind()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Without an error."""
        self._sock.close()

    def call(self, verb: int, stub: bytes) -> bytes:
        """What the verb answers. Raises Unwatched."""
        return self.answer(self.begin(verb, stub))

    def begin(self, verb: int, stub: bytes) -> int:
        """Send a request: its number. Raises Unwatched."""
        with self._asked():
            self._number += 1
            self._sock.sendall(self._request(verb, stub))
        return self._number

    def answer(self, number: int) -> bytes:
        """Of a request that was sent; what others are told meanwhile is kept. Raises Unwatched."""
        with self._asked():
            while number not in self._answers:
                call, said = self._received()
                if len(self._answers) >= _KEPT:
                    raise BadNdr("answers that nobody asked for")
                self._answers[call] = said
            return self._answers.pop(number)

    def told(self, wake: socket.socket, seconds: float) -> bool:
        """Wait until something is said: whether it was; False when `wake` can be read. Raises Unwatched after `seconds`."""
        with self._asked():
            ready, _, _ = select.select([self._sock, wake], [], [], seconds)
            if not ready:
                raise TimeoutError(f"nothing was said for {seconds:g} s")
            return wake not in ready

    def _bind(self) -> None:
        """Raises Unwatched, BadNdr, OSError, SpnegoError."""
        body, security = pdus.bind(self._interface), self._security
        if security is None:
            self._sock.sendall(pdus.joined(pdus.BIND, self._number, body))
            self._bound()
            return
        flags = pdus.SIGNED_HEADERS | pdus.SIDE_BY_SIDE
        token = security.step(b"")  # (2)
        self._sock.sendall(
            pdus.joined(pdus.BIND, self._number, body + security.trailer(), token, flags=flags)
        )
        ack = self._bound()
        if not ack.flags & pdus.SIGNED_HEADERS:
            self._refuse("it does not sign headers")
        token = security.step(ack.token)
        if not token or not security.is_complete():
            self._refuse("the sign-in has no end", _SIGN_IN)
        # The third leg has no answer: [MS-RPCE] 3.3.1.5.2.2.
        self._sock.sendall(pdus.joined(pdus.AUTH3, self._number, bytes(4) + security.trailer(), token))

    def _bound(self) -> Pdu:
        pdu = self._fragment()
        if pdu.kind == pdus.FAULT:
            self._refuse(pdus.fault(pdu.body))
        if pdu.kind != pdus.BIND_ACK or not pdus.is_bound(pdu.body):
            self._refuse("it does not take the bind", _SIGN_IN)
        return pdu

    def _request(self, verb: int, stub: bytes) -> bytes:
        if self._security is not None:
            return self._security.sealed(self._number, verb, stub)  # (3)
        return pdus.joined(pdus.REQUEST, self._number, pdus.CALL.pack(len(stub), 0, verb) + stub)

    def _received(self) -> tuple[int, bytes]:
        """One answer, whole: of which call, and what it says."""
        said, call = bytearray(), 0
        while True:
            pdu = self._fragment()
            if pdu.kind == pdus.FAULT:
                self._refuse(pdus.fault(pdu.body), _SIGN_IN)
            first = bool(pdu.flags & pdus.FIRST)
            if pdu.kind != pdus.RESPONSE or first != (call == 0) or not 1 <= pdu.call <= self._number:
                raise BadNdr("no answer to what was asked")
            call = call or pdu.call
            said += pdus.stub(pdu.body if self._security is None else self._security.opened(pdu))
            if pdu.call != call or len(said) > pdus.MOST:
                raise BadNdr("an answer that is torn or too long")
            if pdu.flags & pdus.LAST:
                return call, bytes(said)

    def _fragment(self) -> Pdu:
        header = self._bytes(pdus.HEADER.size)
        return pdus.split(header, self._bytes(pdus.rest_of(header)))

    def _bytes(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            more = self._sock.recv(length - len(found))
            if not more:
                raise ConnectionError("the other side closed the connection")
            found += more
        return bytes(found)

    def _refuse(self, why: str, remedy: str = _SPEAK) -> NoReturn:
        raise Unwatched(f"{self.where}: {why}", remedy=remedy)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Whatever fails within is Unwatched."""
        try:
            yield
        except Unwatched:
            raise
        except BastideError as error:  # no ticket
            raise Unwatched(f"{self.where}: {error.message}", remedy=error.remedy) from None
        except TimeoutError as error:
            raise Unwatched(f"{self.where}: no answer: {error}", remedy=_REACH) from None
        except ConnectionRefusedError:
            raise Unwatched(f"{self.where}: nobody answers at that port", remedy=_REACH) from None
        except OSError as error:
            raise Unwatched(f"{self.where}: {error}", remedy=_REACH) from None
        except SpnegoError as error:
            raise Unwatched(f"{self.where}: the sign-in failed: {error}", remedy=_SIGN_IN) from None
        except BadNdr as error:
            raise Unwatched(
                f"{self.where}: it says what cannot be understood: {error}", remedy=_SPEAK
            ) from None


def port_of(interface: Interface, address: str) -> int:
    """(1) Where it answers. Raises Unwatched."""
    mapper = Caller(_MAPPER, address, MAPPER_PORT, None)
    try:
        said = mapper.call(_EPT_MAP, asked_for(interface))
    finally:
        mapper.close()
    try:
        return port_in(said)
    except BadNdr as error:
        raise Unwatched(
            f"{mapper.where}: it says what cannot be understood: {error}", remedy=_SPEAK
        ) from None
    except LookupError:
        raise Unwatched(
            f"{address} does not offer {interface.name}",
            remedy="start it there; on Samba, `rpc start on demand helpers = no` and samba-dcerpcd",
        ) from None


def asked_for(interface: Interface) -> bytes:
    """ept_map: [C706] O."""
    floors = [(one.floor(), struct.pack("<H", one.minor)) for one in (interface, NDR)]
    floors += [(bytes([kind]), value) for kind, value in _OVER_TCP]
    tower = struct.pack("<H", len(floors))
    for left, right in floors:
        tower += struct.pack("<H", len(left)) + left + struct.pack("<H", len(right)) + right
    writer = Writer().u32(0).pointer().u32(len(tower), len(tower)).raw(tower).align(4)
    return bytes(writer.raw(bytes(_HANDLE)).u32(_TOWERS))


def port_in(said: bytes) -> int:
    """Of the first tower that goes over TCP. Raises BadNdr, LookupError if there is none."""
    reader = Reader(said)
    reader.raw(_HANDLE)
    towers = reader.count(_TOWERS)
    reader.count(_TOWERS)
    if reader.u32() != 0 or reader.count(_TOWERS) != towers:
        raise BadNdr("towers that are not counted")
    for is_there in [reader.pointer() for _ in range(towers)]:
        if is_there and (port := _port(reader)):
            return port
    raise LookupError


def _port(reader: Reader) -> int:
    """0: it goes another way."""
    room = reader.count(_TOWER)
    if reader.u32() != room:
        raise BadNdr("a tower of two lengths")
    tower = Reader(reader.raw(room))
    reader.align(4)
    if tower.packed_u16() <= _TCP_FLOOR:
        return 0
    for _ in range(_TCP_FLOOR + 1):
        kind, port = tower.raw(tower.packed_u16()), tower.raw(tower.packed_u16())
    if kind != bytes([_OVER_TCP[1][0]]) or len(port) != _PORT.size:
        return 0
    return int(_PORT.unpack(port)[0])
