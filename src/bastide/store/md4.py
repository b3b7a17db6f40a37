"""MD4 (RFC 1320), because OpenSSL 3 has it no more. Broken as a hash: it is used only to see whether a password is the one that AD has."""

import struct

_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
#: Per round: the shifts, and the order in which the words of a block are taken.
_ROUNDS = (
    ((3, 7, 11, 19), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
    ((3, 5, 9, 13), (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)),
    ((3, 9, 11, 15), (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)),
)
#: Per round, for each step: the word, and by how much is rotated, to the left and to the right.
_STEPS = tuple(
    tuple((index, shifts[step % 4], 32 - shifts[step % 4]) for step, index in enumerate(order))
    for shifts, order in _ROUNDS
)
_BLOCK = 64


def md4(data: bytes) -> bytes:
    """16 bytes."""
    padding = b"\x80" + b"\0" * ((55 - len(data)) % _BLOCK)
    padded = data + padding + struct.pack("<Q", len(data) * 8 & 0xFFFFFFFFFFFFFFFF)
    state = _START
    for start in range(0, len(padded), _BLOCK):
        state = _mixed(state, struct.unpack_from("<16I", padded, start))
    return struct.pack("<4I", *state)


def _mixed(state: tuple[int, int, int, int], words: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The three rounds one by one: a password is hashed for each change that is taken in, and this is Python."""
    first, second, third = _STEPS
    a, b, c, d = state
    for index, left, right in first:
        total = (a + (d ^ b & (c ^ d)) + words[index]) & _MASK
        a, b, c, d = d, (total << left | total >> right) & _MASK, b, c
    for index, left, right in second:
        total = (a + (b & c | d & (b | c)) + words[index] + 0x5A827999) & _MASK
        a, b, c, d = d, (total << left | total >> right) & _MASK, b, c
    for index, left, right in third:
        total = (a + (b ^ c ^ d) + words[index] + 0x6ED9EBA1) & _MASK
        a, b, c, d = d, (total << left | total >> right) & _MASK, b, c
    return (
        (state[0] + a) & _MASK,
        (state[1] + b) & _MASK,
        (state[2] + c) & _MASK,
        (state[3] + d) & _MASK,
    )


class Md4NtHasher:
    """The NT hash of a password."""

    def nt_hash(self, password: str) -> bytes:
        """MD4 of UTF-16LE ([MS-SAMR] 3.1.1.8.6)."""
        return md4(password.encode("utf-16-le"))
