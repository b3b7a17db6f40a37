"""The fragments of DCE/RPC ([C706] 12.6, [MS-RPCE] 2.2.2), little endian: what is sent, and what came, compared with what it says of itself. Without a socket."""

import struct
import uuid
from dataclasses import dataclass
from typing import Final

from bastide.backup.ndr import BadNdr, Reader

#: In bytes: of one fragment, and of all fragments of an answer.
FRAGMENT, MOST = 5840, 256 * 1024
REQUEST, RESPONSE, FAULT, BIND, BIND_ACK, AUTH3 = 0, 2, 3, 11, 12, 16
FIRST, LAST, SIGNED_HEADERS, SIDE_BY_SIDE = 0x01, 0x02, 0x04, 0x10

#: Version 5.0, kind, flags, data representation, length of the fragment, of its token, number of the call: [C706] 12.6.3.1.
HEADER: Final = struct.Struct("<BBBB4sHHI")
#: Kind of the sign-in, level, length of the padding, reserved, context: [MS-RPCE] 2.2.2.11. The token follows.
TRAILER: Final = struct.Struct("<BBBBI")
#: Room that is wanted, context, and of a request the number of the verb: [C706] 12.6.4.9.
CALL: Final = struct.Struct("<IHH")
_VERSION, _LITTLE_ENDIAN = (5, 0), b"\x10\x00\x00\x00"
#: [C706] E, [MS-RPCE] 3.1.1.5.5, [MS-ERREF].
_FAULTS: Final = {
    0x00000005: "access is denied",
    0x1C010002: "it does not know the verb",
    0x1C010003: "it does not know the interface",
    0x1C01000B: "the protocol was not kept",
    0x1C00001A: "it does not know the handle",
}


@dataclass(frozen=True, slots=True)
class Interface:
    """What is called."""

    name: str
    id: uuid.UUID
    major: int
    minor: int

    def syntax(self) -> bytes:
        """[C706] 12.6.3.1, p_syntax_id_t."""
        return self.id.bytes_le + struct.pack("<HH", self.major, self.minor)

    def floor(self) -> bytes:
        """Of a tower, without its minor version: [C706] L."""
        return b"\x0d" + self.id.bytes_le + struct.pack("<H", self.major)


NDR: Final = Interface("NDR", uuid.UUID("8a885d04-1ceb-11c9-9fe8-08002b104860"), 2, 0)


@dataclass(frozen=True, slots=True)
class Pdu:
    """One fragment. `body`: between header and trailer, sealed where there is a `token`."""

    header: bytes
    kind: int
    flags: int
    call: int
    body: bytes
    trailer: bytes
    token: bytes


def rest_of(header: bytes) -> int:
    """How many bytes follow it. Raises BadNdr."""
    major, minor, _, _, form, length, _, _ = HEADER.unpack(header)
    if (major, minor) != _VERSION or form != _LITTLE_ENDIAN:
        raise BadNdr("that is no DCE/RPC 5.0 in little endian")
    if not HEADER.size <= length <= FRAGMENT:
        raise BadNdr(f"a fragment of {length} bytes")
    return int(length) - HEADER.size


def split(header: bytes, rest: bytes) -> Pdu:
    """A fragment out of its header and what follows. Raises BadNdr."""
    _, _, kind, flags, _, _, signed, call = HEADER.unpack(header)
    if not signed:
        return Pdu(header, kind, flags, call, rest, b"", b"")
    at = len(rest) - signed - TRAILER.size
    if at < 0:
        raise BadNdr("a token that is longer than its fragment")
    return Pdu(header, kind, flags, call, rest[:at], rest[at : at + TRAILER.size], rest[at + TRAILER.size :])


def joined(kind: int, call: int, body: bytes, token: bytes = b"", *, flags: int = 0) -> bytes:
    """A message in one fragment. `body`: with its trailer, where there is a token."""
    length = HEADER.size + len(body) + len(token)
    flags |= FIRST | LAST
    return HEADER.pack(*_VERSION, kind, flags, _LITTLE_ENDIAN, length, len(token), call) + body + token


def bind(interface: Interface) -> bytes:
    """One context, 0, in NDR: [C706] 12.6.4.3."""
    room = struct.pack("<HHI", FRAGMENT, FRAGMENT, 0)
    return room + struct.pack("<B3xHBx", 1, 0, 1) + interface.syntax() + NDR.syntax()


def is_bound(body: bytes) -> bool:
    """Whether the other side took the context: [C706] 12.6.4.4. Raises BadNdr."""
    reader = Reader(body)
    reader.raw(8)
    reader.raw(reader.u16())
    reader.align(4)
    results = reader.raw(4)[0]
    result = reader.u16()
    return results == 1 and result == 0


def stub(body: bytes) -> bytes:
    """What an answer says: [C706] 12.6.4.10. Raises BadNdr."""
    reader = Reader(body)
    reader.raw(CALL.size)
    return body[CALL.size :]


def fault(body: bytes) -> str:
    """What a fault says: [C706] 12.6.4.7. Raises BadNdr."""
    reader = Reader(body)
    reader.raw(CALL.size)
    status = reader.u32()
    return _FAULTS.get(status, f"fault {status:#010x}")
