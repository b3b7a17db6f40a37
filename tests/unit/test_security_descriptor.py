"""Security descriptors, written here as [MS-DTYP] 2.4.6 has them."""

import struct
from uuid import UUID

import pytest

from bastide.directory import security_descriptor
from bastide.domain.ids import Sid

ADMINS, EVE, CAROL = Sid("S-1-5-21-1-2-3-512"), Sid("S-1-5-21-1-2-3-1104"), Sid("S-1-5-21-1-2-3-1105")
RESET, CHANGE = "00299570-246d-11d0-a768-00aa006e0529", "ab721a53-1e2f-11d0-9819-00aa0040529b"
SPN, MEMBER = "f3a64788-5306-11d1-a9c5-0000f80367c1", "bf9679c0-0de6-11d0-a285-00aa003049e2"


def ace(sid: Sid, mask: int, *, kind: int = 0, flags: int = 0, scope: str = "", inherited: str = "") -> bytes:
    body = struct.pack("<I", mask)
    if kind == 5:
        body += struct.pack("<I", (1 if scope else 0) | (2 if inherited else 0))
        body += b"".join(UUID(one).bytes_le for one in (scope, inherited) if one)
    body += sid.to_bytes()
    return struct.pack("<BBH", kind, flags, 4 + len(body)) + body


def descriptor(*aces: bytes, owner: Sid | None = ADMINS) -> bytes:
    acl = b"".join(aces)
    dacl = struct.pack("<BBHHH", 4, 0, 8 + len(acl), len(aces), 0) + acl
    who = owner.to_bytes() if owner else b""
    head = struct.pack("<BBHIIII", 1, 0, 0x8004, 20 + len(dacl) if owner else 0, 0, 0, 20)
    return head + dacl + who


def test_the_owner() -> None:
    assert security_descriptor.owner(descriptor(owner=EVE)) == EVE
    assert security_descriptor.owner(descriptor(ace(EVE, 1), owner=None)) is None


@pytest.mark.parametrize(
    ("entry", "master"),
    [
        (ace(EVE, 0x000F01FF), True),  # full control
        (ace(EVE, 0x10000000), True),
        (ace(EVE, 0x00040000), True),  # WRITE_DAC
        (ace(EVE, 0x00080000), True),  # WRITE_OWNER
        (ace(EVE, 0x20), True),  # every property
        (ace(EVE, 0x100), True),  # every extended right
        (ace(EVE, 0x100, kind=5), True),
        (ace(EVE, 0x100, kind=5, scope=RESET), True),
        (ace(EVE, 0x100, kind=5, scope=RESET, inherited=MEMBER), True),
        (ace(EVE, 0x20, kind=5, scope=SPN), True),
        (ace(EVE, 0x20094), False),  # read
        (ace(EVE, 0x100, kind=5, scope=CHANGE), False),  # who knows the old password
        (ace(EVE, 0x20, kind=5, scope=MEMBER), False),
        (ace(EVE, 0x8, kind=5, scope=SPN), False),  # validated write
        (ace(EVE, 0x000F01FF, kind=1), False),  # denied
        (ace(EVE, 0x000F01FF, flags=8), False),  # for children only
    ],
)
def test_who_may_take_it_over(entry: bytes, master: bool) -> None:
    found = set(security_descriptor.masters(descriptor(ace(CAROL, 0x20094), entry, ace(ADMINS, 0x000F01FF))))
    assert found == ({EVE, ADMINS} if master else {ADMINS})


def test_no_list_keeps_nobody_out() -> None:
    raw = struct.pack("<BBHIIII", 1, 0, 0x8000, 20, 0, 0, 0) + ADMINS.to_bytes()
    assert list(security_descriptor.masters(raw)) == ["S-1-1-0"]
    assert security_descriptor.owner(raw) == ADMINS
