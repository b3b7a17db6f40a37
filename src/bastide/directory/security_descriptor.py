"""Who owns an object, and who may take it over: a self-relative security descriptor, read as [MS-DTYP] 2.4.6 writes it. Pure."""

import struct
from collections.abc import Iterator

from bastide.directory.constants import GUID_RESET_PASSWORD
from bastide.domain.ids import Sid, guid_from_bytes

#: LDAP_SERVER_SD_FLAGS_OID ([MS-ADTS] 3.1.1.3.4.1.11): owner (1) and discretionary ACL (4); without it AD sends the system ACL too, or refuses.
CONTROL_SD_FLAGS = "1.2.840.113556.1.4.801"
OWNER_AND_DACL = b"\x30\x03\x02\x01\x05"
#: ACE types and flags, [MS-DTYP] 2.4.4.1.
_ALLOWED, _ALLOWED_OBJECT, _INHERIT_ONLY = 0x00, 0x05, 0x08
_WORDS = {0x00: "allow", 0x01: "deny", 0x05: "allow", 0x06: "deny"}
_OBJECT_TYPES = frozenset({0x05, 0x06})
#: Came from the container, where it is looked at.
_INHERITED = 0x10
_HAS_TYPE, _HAS_INHERITED_TYPE, _GUID = 0x1, 0x2, 16
#: ACCESS_MASK, [MS-DTYP] 2.4.3 and [MS-ADTS] 5.1.3.2: generic all and write, write owner and DACL: whoever has one has the object.
_TAKES = 0x10000000 | 0x40000000 | 0x00080000 | 0x00040000
_CONTROL_ACCESS, _WRITE_PROPERTY = 0x100, 0x20
_EVERYONE = Sid("S-1-1-0")
_GUID_SPN = "f3a64788-5306-11d1-a9c5-0000f80367c1"
#: By a right to everything, or by name: Reset Password; servicePrincipalName.
_NAMED = {_CONTROL_ACCESS: GUID_RESET_PASSWORD, _WRITE_PROPERTY: _GUID_SPN}


def owner(raw: bytes) -> Sid | None:
    """None: it has none. Raises struct.error for what is no descriptor."""
    (at,) = struct.unpack_from("<I", raw, 4)
    return _sid(raw, at) if at else None


def entries(raw: bytes) -> tuple[str, ...]:
    """The owner, and each entry of the list that is the object's own, in words and sorted: two that are alike are the same rights."""
    found = [f"owner {holder}"] if (holder := owner(raw)) is not None else []
    (start,) = struct.unpack_from("<I", raw, 16)
    if not start:
        return (*found, "everyone may do anything: there is no list")
    (count,) = struct.unpack_from("<H", raw, start + 4)
    at = start + 8
    for _ in range(count):
        kind, flags, size, mask = struct.unpack_from("<BBHI", raw, at)
        if not flags & _INHERITED:
            found.append(_words(raw, at, kind, flags, mask))
        at += size
    return tuple(sorted(found))


def _words(raw: bytes, at: int, kind: int, flags: int, mask: int) -> str:
    if kind not in _WORDS:
        return f"type {kind:#x} with {mask:#x}"
    scope, where = _scope(raw, at) if kind in _OBJECT_TYPES else ("", at + 8)
    inherits = f" (flags {flags:#x})" if flags else ""
    return f"{_WORDS[kind]} {mask:#x}{f' of {scope}' if scope else ''} to {_sid(raw, where)}{inherits}"


def masters(raw: bytes) -> Iterator[Sid]:
    """Who may set the password, the service principal names, the permissions or the owner, by an entry of the list; without a list: everyone."""
    (start,) = struct.unpack_from("<I", raw, 16)
    if not start:
        yield _EVERYONE
        return
    (count,) = struct.unpack_from("<H", raw, start + 4)
    at = start + 8
    for _ in range(count):
        kind, flags, size, mask = struct.unpack_from("<BBHI", raw, at)
        if kind in {_ALLOWED, _ALLOWED_OBJECT} and not flags & _INHERIT_ONLY:
            scope, where = _scope(raw, at) if kind == _ALLOWED_OBJECT else ("", at + 8)
            if _is_master(mask, scope):
                yield _sid(raw, where)
        at += size


def _is_master(mask: int, scope: str) -> bool:
    if mask & _TAKES:
        return True
    return any(mask & bit and scope in {"", named} for bit, named in _NAMED.items())


def _scope(raw: bytes, at: int) -> tuple[str, int]:
    """The attribute or right that an object entry is about (empty: all), and where its SID begins ([MS-DTYP] 2.4.4.3)."""
    (present,) = struct.unpack_from("<I", raw, at + 8)
    where, scope = at + 12, ""
    if present & _HAS_TYPE:
        scope = guid_from_bytes(raw[where : where + _GUID])
        where += _GUID
    if present & _HAS_INHERITED_TYPE:
        where += _GUID
    return scope, where


def _sid(raw: bytes, at: int) -> Sid:
    return Sid.from_bytes(raw[at : at + 8 + 4 * raw[at + 1]])
