"""What the password filter says over its pipe, and what it is answered. The bytes are described in windows/README.md; windows/frame.c writes them. Pure.

Numbers are little-endian. A frame has a header of 56 bytes, then the account's name and the password, both UTF-16LE.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

VERSION = 1
#: Bytes. 256 characters are the most for sAMAccountName, and for a password.
NAME_LIMIT = 512
PASSWORD_LIMIT = 512
_MAGIC = b"BSPW"
_ANSWER_MAGIC = b"BSPA"
#: magic, version, size of the frame, RID, lost, marker, number, time, bytes of the name, bytes of the password, zero.
_HEADER = struct.Struct("<4sHHII16sQQHHI")
_ANSWER = struct.Struct("<4sIQ")
#: Enough to know the size of the frame.
HEAD = 8
_START = struct.Struct("<4sHH")
HEADER_BYTES = _HEADER.size
FRAME_LIMIT = HEADER_BYTES + NAME_LIMIT + PASSWORD_LIMIT
ANSWER_BYTES = _ANSWER.size


class FrameError(ValueError):
    """The filter, or who plays it, said something that is no frame. Holds nothing of it."""


class Reply(IntEnum):
    """What the filter is told of a change."""

    TAKEN = 0  # safe on the disk, as ciphertext
    LATER = 1  # the filter keeps it, and comes again
    DISCARD = 2  # nobody is to be told of it; an event says why


@dataclass(frozen=True, slots=True)
class Frame:
    """One changed password. `marker` and `number` name it, `lost` changes before it never came; `changed_at`: 100 ns since 1601. Its repr is silent."""

    rid: int
    marker: UUID
    number: int
    changed_at: int
    lost: int
    name: str
    password: bytes

    def __repr__(self) -> str:
        return f"Frame({self.marker}, {self.number})"


def size_of(head: bytes) -> int:
    """How long the frame is that begins with these HEAD bytes. Raises FrameError."""
    if len(head) < HEAD:
        raise FrameError("the frame ends before its size")
    magic, version, size = _START.unpack_from(head)
    if magic != _MAGIC:
        raise FrameError("that is no frame")
    if version != VERSION:
        raise FrameError(
            f"the filter speaks version {version}, and {VERSION} is understood: both come from one release"
        )
    if not HEADER_BYTES <= size <= FRAME_LIMIT:
        raise FrameError("the frame has an impossible size")
    return int(size)


def parse(raw: bytes) -> Frame:
    """Exactly one frame. Raises FrameError."""
    if size_of(raw) != len(raw):
        raise FrameError("the frame is longer or shorter than it says")
    _, _, size, rid, lost, marker, number, changed_at, name_bytes, password_bytes, zero = _HEADER.unpack_from(
        raw
    )
    if HEADER_BYTES + name_bytes + password_bytes != size or zero:
        raise FrameError("the parts of the frame do not fit its size")
    if name_bytes > NAME_LIMIT or password_bytes > PASSWORD_LIMIT or name_bytes % 2 or password_bytes % 2:
        raise FrameError("a text of the frame has an impossible length")
    if number == 0:
        raise FrameError("the frame has no number")
    text = raw[HEADER_BYTES:]
    return Frame(
        rid=rid,
        marker=UUID(bytes_le=marker),
        number=number,
        changed_at=changed_at,
        lost=lost,
        name=text[:name_bytes].decode("utf-16-le", errors="replace"),
        password=text[name_bytes:],
    )


def answer(number: int, reply: Reply) -> bytes:
    """What is sent back for the change of that number."""
    return _ANSWER.pack(_ANSWER_MAGIC, reply, number)
