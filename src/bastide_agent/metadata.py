"""Three binary values of the directory, taken apart: replication metadata, supplemental credentials, SIDs of groups.

Pure. [MS-DRSR] 5.165 and [MS-ADTS] 3.1.1.1.9 for the metadata in the form in which Samba stores it; [MS-SAMR] 2.2.10 for the credentials.
"""

import struct
from dataclasses import dataclass
from uuid import UUID

#: unicodePwd, 1.2.840.113556.1.4.90, in the compressed form of [MS-DRSR] 5.16.4.
UNICODE_PWD = 0x9005A
#: A public key's copy of the password, by `password hash gpg key ids` of smb.conf(5).
GPG = "Primary:SambaGPG"
TICKS = 10_000_000

_META_HEAD = struct.Struct("<IIII")
_META = struct.Struct("<IIQ16sQQ")
#: USER_PROPERTIES, [MS-SAMR] 2.2.10.1: up to PropertyCount.
_PROPERTIES = struct.Struct("<IIHH96sHH")
_SIGNATURE = 0x50
_PROPERTY = struct.Struct("<HHH")


class Malformed(ValueError):
    """The value is not what its attribute says. Holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and when an attribute got its value. `changed_at`: 100 ns since 1601, exact to the second; `invocation`: a GUID as text."""

    version: int
    changed_at: int
    invocation: str
    usn: int
    local_usn: int


def origin_of(blob: bytes, attribute: int = UNICODE_PWD) -> Origin | None:
    """What replPropertyMetaData knows of one attribute; None: it never had a value. Raises Malformed."""
    try:
        version, _, count, _ = _META_HEAD.unpack_from(blob)
        if version != 1:
            raise Malformed("replication metadata of an unknown version")
        for number in range(count):
            found = _META.unpack_from(blob, _META_HEAD.size + number * _META.size)
            if found[0] == attribute:
                _, revision, seconds, invocation, usn, local = found
                return Origin(revision, seconds * TICKS, str(UUID(bytes_le=invocation)), usn, local)
    except struct.error:
        raise Malformed("replication metadata that ends too early") from None
    return None


def package(blob: bytes, name: str = GPG) -> bytes:
    """One package of supplementalCredentials; empty: it has none. Raises Malformed, which holds nothing of the value."""
    if not blob:
        return b""
    try:
        return _package(blob, name)
    except (struct.error, ValueError):
        raise Malformed("supplemental credentials that cannot be read") from None


def _package(blob: bytes, wanted: str) -> bytes:
    if len(blob) < _PROPERTIES.size:  # [MS-SAMR] 2.2.10.1: without properties the count is left out
        return b""
    *_, signature, count = _PROPERTIES.unpack_from(blob)
    if signature != _SIGNATURE:
        raise Malformed("signature")
    at = _PROPERTIES.size
    for _ in range(count):
        name_length, length, _ = _PROPERTY.unpack_from(blob, at)
        at += _PROPERTY.size
        name, value = blob[at : at + name_length], blob[at + name_length : at + name_length + length]
        at += name_length + length
        if at > len(blob):
            raise Malformed("length")
        if name.decode("utf-16-le") == wanted:
            return bytes.fromhex(value.decode("ascii"))
    return b""


def sid_beside(sid: bytes, rid: int) -> bytes:
    """The SID of another account of the same domain: all but the last part, and that relative id."""
    return sid[:-4] + struct.pack("<I", rid)
