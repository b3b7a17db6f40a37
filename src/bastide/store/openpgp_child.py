"""The process in which OpenPGP messages are opened. It runs as a script, by openpgp.py, and imports nothing of Bastide.

A message of a few hundred bytes can hold compressed data that becomes gigabytes, and data in that, and so on. A library that opens it cannot
be told to stop, a process can: this one may have little memory and is killed when it takes too long.

Standard input: the limit of a password in bytes, the room in bytes, the number of keys and each key; then messages. Standard output: for each message one byte that
says what became of it, and the password. All but the one byte is preceded by its length, four bytes, big-endian.
"""

import io
import os
import resource
import struct
import sys

from pysequoia import Tsk, decrypt

OPENED, REFUSED, TOO_LONG = b"+", b"-", b">"
LENGTH = struct.Struct(">I")
_IN, _OUT = 0, 1
#: Read at once, in bytes.
_AHEAD = 64 * 1024


def read(source: io.BufferedIOBase, size: int) -> bytes:
    """So many bytes. Raises EOFError."""
    got = source.read(size)
    if len(got) < size:
        raise EOFError
    return got


def read_piece(source: io.BufferedIOBase) -> bytes:
    """With its length in front. Raises EOFError."""
    (size,) = LENGTH.unpack(read(source, LENGTH.size))
    return read(source, size)


def opened(message: bytes, keys: list[Tsk], limit: int) -> tuple[bytes, bytes]:
    """What became of it, and the password."""
    for key in keys:
        try:
            plain = decrypt(message, decryptor=key.decryptor()).bytes
        except (RuntimeError, ValueError):
            continue
        if plain is not None:
            return (OPENED, plain) if len(plain) <= limit else (TOO_LONG, b"")
    return REFUSED, b""


def main() -> None:
    """Until standard input ends."""
    source = io.BufferedReader(io.FileIO(_IN), _AHEAD)
    limit, room, count = struct.unpack(">III", read(source, 12))
    keys = [Tsk.from_bytes(read_piece(source)) for _ in range(count)]
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # pathlib takes as long to load as all the rest
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        what, plain = opened(read_piece(source), keys, limit)
        os.write(_OUT, what + LENGTH.pack(len(plain)) + plain)


if __name__ == "__main__":
    try:
        main()
    except EOFError:
        sys.exit(0)
