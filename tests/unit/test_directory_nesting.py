"""How groups above are read, on a controller that hides things (directory/nesting.py). What all directories do is in tests/contract."""

import re
import struct
from typing import Any
from uuid import UUID

from bastide.directory.capabilities import Domain
from bastide.directory.entries import Entry
from bastide.directory.nesting import above
from bastide.domain.ids import Sid

DOMAIN = "S-1-5-21-1-2-3"
SECURITY, DISTRIBUTION = "-2147483646", "2"


def sid(rid: int) -> Sid:
    return Sid(f"{DOMAIN}-{rid}")


def raw(text: Sid) -> bytes:
    parts = [int(part) for part in text.split("-")[2:]]
    return bytes([1, len(parts) - 1]) + parts[0].to_bytes(6) + struct.pack(f"<{len(parts) - 1}I", *parts[1:])


class Controller:
    """One that answers the two questions that are asked. `members`: group to what is in it; `hidden`: cannot be read at all;
    `mute`: its memberOf is not shown.
    """

    def __init__(self, members: dict[int, set[int]]) -> None:
        self.members = members
        self.everything = {*members, *(one for inside in members.values() for one in inside)}
        self.hidden: set[int] = set()
        self.closed: set[int] = set()
        self.mute: set[int] = set()
        self.foreign: set[int] = set()
        self.distribution: set[int] = set()
        self.ranged = False

    def search(self, _base: str, condition: str, _attributes: Any, **_options: Any) -> list[Entry]:
        if "(member=" in condition:
            inside = {int(rid) for rid in re.findall(r"\(member=CN=(\d+),", condition)}
            hits = {
                outer
                for outer, members in self.members.items()
                if members & inside and outer not in self.closed
            }
        else:
            hits = {int(rid) for rid in re.findall(r"\(objectSid=\S+?-(\d+)\)", condition)} & self.everything
        return [self.entry(rid) for rid in sorted(hits - self.hidden)]

    def entry(self, rid: int) -> Entry:
        values: dict[str, list[bytes]] = {
            "objectSid": [raw(sid(rid))],
            "objectGUID": [rid.to_bytes(16)],
            "sAMAccountName": [f"g{rid}".encode()],
        }
        if rid not in self.foreign:
            values["groupType"] = [(DISTRIBUTION if rid in self.distribution else SECURITY).encode()]
        if rid not in self.mute:
            values["memberOf;range=0-0" if self.ranged else "memberOf"] = self.outer(rid)[
                : 1 if self.ranged else None
            ]
        return Entry.read(f"<GUID={rid:032x}>;CN={rid},DC=x", values)

    def outer(self, rid: int) -> list[bytes]:
        found = [outer for outer, inside in sorted(self.members.items()) if rid in inside]
        return [f"<GUID={one:032x}>;<SID={sid(one)}>;CN={one},DC=x".encode() for one in found]

    def values(self, dn: str, _name: str, **_options: Any) -> list[str]:
        return [value.decode() for value in self.outer(int.from_bytes(_guid_bytes(dn)))]


def _guid_bytes(dn: str) -> bytes:
    found = re.search(r"<GUID=([0-9a-f-]+)>", dn)
    assert found is not None
    return UUID(found[1]).bytes_le


def read(controller: Controller, *rids: int, most: int = 50) -> tuple[set[int], set[int], bool]:
    domain = Domain("DC=x", "CN=Configuration,DC=x", "", Sid(DOMAIN), "x", "X")
    session: Any = controller
    found = above(session, domain, [sid(rid) for rid in rids], most=most)
    return {one.ref.sid.rid for one in found.groups}, {one.rid for one in found.unread}, found.complete


def test_a_loop_ends() -> None:  # (1)
    assert read(Controller({2: {1}, 3: {2}, 1: {3}}), 1) == ({1, 2, 3}, set(), True)


def test_what_does_not_show_its_groups_is_found_from_their_side() -> None:  # (2)
    controller = Controller({2: {1}})
    controller.foreign, controller.mute = {1}, {1}
    assert read(controller, 1) == ({2}, set(), True)


def test_a_group_that_hides_its_members_is_found_from_theirs() -> None:  # (2)
    controller = Controller({2: {1}})
    controller.closed = {2}
    assert read(controller, 1) == ({1, 2}, set(), True)


def test_a_list_that_comes_in_pieces_is_read_to_its_end() -> None:  # (2)
    controller = Controller({2: {1}, 3: {1}})
    controller.closed, controller.ranged = {2, 3}, True
    assert read(controller, 1) == ({1, 2, 3}, set(), True)


def test_a_group_that_cannot_be_read_is_named_by_its_sid() -> None:  # (3)
    controller = Controller({2: {1}})
    controller.hidden = {2}
    assert read(controller, 1) == ({1}, {2}, True)


def test_who_is_nobody_here_is_in_nothing() -> None:  # (3)
    assert read(Controller({2: {1}}), 77) == (set(), set(), True)


def test_nothing_comes_through_a_distribution_group() -> None:  # (4)
    controller = Controller({2: {1}, 3: {2}})
    controller.distribution = {2}
    assert read(controller, 1) == ({1}, set(), True)


def test_more_than_the_limit_is_not_whole() -> None:
    assert read(Controller({2: {1}, 3: {2}}), 1, most=2) == ({1, 2}, set(), False)
