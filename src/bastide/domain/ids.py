"""Identifiers, parsed once and then trusted.

A name from outside becomes one of these types at the edge; inside, nothing takes a bare string for an identity.
"""

import re
import struct
from dataclasses import dataclass
from typing import NewType
from uuid import UUID

from bastide.domain.errors import InvalidInput

RoleId = NewType("RoleId", str)
RequestId = NewType("RequestId", str)
UserId = NewType("UserId", str)
GroupId = NewType("GroupId", str)

_SID = re.compile(r"S-1-(\d{1,15})((?:-\d{1,10}){1,15})")
NAME_LIMIT = 256
_MAX_PART = 0xFFFFFFFF
_EXAMPLE_ID = "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11"
_WHERE_IDS_ARE = {"request": "`bastide request list` shows the ids of yours"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: What is not seen, or moves what is (Unicode 15.1: Default_Ignorable_Code_Point, General_Category Cf, Zl, Zp), as ranges of a class of characters: two
#: names that differ by one of these look the same.
UNSEEN = (
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSEEN = re.compile(f"[{UNSEEN}]")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Sid(str):
    """A security identifier in string form ([MS-DTYP] 2.4.2.1). Equal SIDs are equal strings."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Sid":
        """Read `S-1-...`. Raises InvalidInput."""
        match = _SID.fullmatch(text)
        if match is None or any(int(part) > _MAX_PART for part in match[2].split("-")[1:]):
            raise InvalidInput("sid", f"{text[:80]!r} is not a security identifier")
        return cls(text)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Sid":
        """Read the binary form of objectSid ([MS-DTYP] 2.4.2.2). Raises InvalidInput."""
        if len(raw) < 8 or len(raw) != 8 + 4 * raw[1]:  # noqa: PLR2004  # the header is 8 bytes, each sub-authority 4
            raise InvalidInput("sid", "not a binary security identifier")
        authority = int.from_bytes(raw[2:8], "big")
        parts = struct.unpack(f"<{raw[1]}I", raw[8:])
        return cls("-".join(["S", str(raw[0]), str(authority), *map(str, parts)]))

    def to_bytes(self) -> bytes:
        """The binary form, for filters on objectSid."""
        _, revision, authority, *parts = self.split("-")
        head = bytes([int(revision), len(parts)]) + int(authority).to_bytes(6, "big")
        return head + struct.pack(f"<{len(parts)}I", *map(int, parts))

    @property
    def rid(self) -> int:
        """The last part: relative to its domain."""
        return int(self.rsplit("-", 1)[1])

    @property
    def domain(self) -> str:
        """The SID without its last part."""
        return self.rsplit("-", 1)[0]


def guid_from_bytes(raw: bytes) -> str:
    """ObjectGUID as text ([MS-DTYP] 2.3.4.2: the first three fields are little-endian)."""
    return str(UUID(bytes_le=raw))


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object in a directory. `guid` never changes, `sid` names it in tickets, `dn` is where it was when last seen."""

    guid: str
    sid: Sid
    dn: str
    name: str


def parse_name(field: str, text: str) -> str:
    """A name a person typed: trimmed, 1 to 256 characters, nothing that hides or reorders text. Raises InvalidInput."""
    name = text.strip()
    if not name:
        raise InvalidInput(field, "must not be empty")
    if len(name) > NAME_LIMIT:
        raise InvalidInput(field, f"has {len(name)} characters; the limit is {NAME_LIMIT}")
    if _CONTROL.search(name):
        raise InvalidInput(field, "holds control characters")
    if (unseen := _UNSEEN.search(name)) is not None:
        raise InvalidInput(field, f"holds a character that nobody sees: U+{ord(unseen[0]):04X}")
    return name


def typed(text: str, limit: int = 80) -> str:
    """What a person typed, in quotes, for a message: control characters are escaped, a backslash stays the one that it is."""
    return repr(text[:limit]).replace("\\\\", "\\")


def parse_text(field: str, text: str, limit: int) -> str:
    """Free text of at most `limit` characters; line breaks are kept, other control characters refused. Raises InvalidInput."""
    clean = text.strip().replace("\r\n", "\n")
    if len(clean) > limit:
        raise InvalidInput(field, f"has {len(clean)} characters; the limit is {limit}")
    if _CONTROL.search(clean.replace("\n", " ").replace("\t", " ")):
        raise InvalidInput(field, "holds control characters")
    return clean


def parse_id(field: str, text: str) -> str:
    """A UUID, in the form with four hyphens and in small letters (RFC 9562 4). Raises InvalidInput."""
    if _UUID.fullmatch(text):
        return text.lower()
    raise InvalidInput(
        field,
        f"{typed(text)} is not an identifier",
        remedy=_WHERE_IDS_ARE.get(field, f"an identifier looks like {_EXAMPLE_ID}"),
    )
