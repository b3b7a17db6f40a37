"""NDR ([C706] 14), little endian, as far as the calls of rpc.py need it. What comes from the network is believed in nothing: every length is compared with what
is there before it is used.
"""

import struct

_U16, _U32 = struct.Struct("<H"), struct.Struct("<I")
#: The first referent of a pointer; zero is the null pointer.
_REFERENT = 0x00020000


class BadNdr(ValueError):
    """These bytes are not what they are said to be."""


class Reader:
    """Reads from the beginning to the end, never past it. Every verb raises BadNdr."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def raw(self, length: int) -> bytes:
        """So many bytes."""
        end = self._at + length
        if length < 0 or end > len(self._data):
            raise BadNdr(f"{length} bytes are said to follow, and there are {len(self._data) - self._at}")
        found, self._at = self._data[self._at : end], end
        return found

    def align(self, to: int) -> None:
        """Skip what fills up: 14.2.2."""
        self.raw(-self._at % to)

    def u16(self) -> int:
        """At its natural place."""
        self.align(_U16.size)
        return self.packed_u16()

    def packed_u16(self) -> int:
        """Where it is: a tower knows no alignment."""
        return int(_U16.unpack(self.raw(_U16.size))[0])

    def u32(self) -> int:
        """At its natural place."""
        self.align(_U32.size)
        return int(_U32.unpack(self.raw(_U32.size))[0])

    def count(self, most: int) -> int:
        """How many follow: more than `most` are none of ours."""
        found = self.u32()
        if found > most:
            raise BadNdr(f"{found} are said to follow, and at most {most} are taken")
        return found

    def pointer(self) -> bool:
        """Whether it points to something: 14.3.10."""
        return self.u32() != 0

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise BadNdr(f"{len(self._data) - self._at} bytes follow that nobody asked for")


class Writer:
    """Writes what a request says."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._referent = _REFERENT

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def raw(self, data: bytes) -> "Writer":
        """As it is."""
        self._data += data
        return self

    def align(self, to: int) -> "Writer":
        """Fill up: 14.2.2."""
        return self.raw(bytes(-len(self._data) % to))

    def u32(self, *values: int) -> "Writer":
        """Each at its natural place."""
        self.align(_U32.size)
        return self.raw(b"".join(map(_U32.pack, values)))

    def pointer(self) -> "Writer":
        """To what follows: 14.3.10."""
        self._referent += _U32.size
        return self.u32(self._referent)

    def text(self, value: str | None) -> "Writer":
        """A unique pointer to a string of 16 bit characters, closed by a zero: 14.3.4.2."""
        if value is None:
            return self.u32(0)
        data = f"{value}\0".encode("utf-16-le")
        length = len(data) // 2
        return self.pointer().u32(length, 0, length).raw(data)
