"""Keytabs that MIT's library reads, as it documents their form. The keys are all the same, and of no account."""

import struct
from pathlib import Path

_AES256 = 18
_PRINCIPAL, _SERVICE = 1, 2


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


def _entry(principal: str, kvno: int) -> bytes:
    name, _, realm = principal.rpartition("@")
    parts = name.split("/")
    head = struct.pack(">H", len(parts)) + _text(realm) + b"".join(map(_text, parts))
    kind = _SERVICE if len(parts) > 1 else _PRINCIPAL
    key = struct.pack(">IIBHH", kind, 0, kvno, _AES256, 32) + bytes(range(32))
    return struct.pack(">i", len(head + key)) + head + key


def keytab(path: Path, *names: str, mode: int = 0o600) -> Path:
    """With two keys of each name, and a hole between: as after a change of the password, and `ktutil delent`."""
    hole = struct.pack(">i", -12) + bytes(12)
    records = b"".join(_entry(name, 1) + hole + _entry(name, 2) for name in names)
    path.write_bytes(b"\x05\x02" + records)
    path.chmod(mode)
    return path
