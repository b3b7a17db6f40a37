"""What the contract tests of change feeds stand on: the twin in memory and CORP on Samba, arranged by the same few verbs."""

import itertools
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from ldap.controls import LDAPControl

from bastide.directory.changes import AdChangeFeed
from bastide.directory.constants import AccountControl
from bastide.directory.entries import by_guid, by_sid, child
from bastide.directory.membership import present
from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_changes import MemoryChangeFeed
from bastide.directory.memory_forest import MemoryForest
from bastide.directory.security_descriptor import CONTROL_SD_FLAGS
from bastide.directory.session import ADD, DELETE, REPLACE, Session
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Kind, Seen
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.monitor.ports import ChangeFeed
from tests.support.directory_lab import CORP, DOMAIN_LOCAL, GROUPS, PRIV, UNIVERSAL, DirectoryLab

_names = itertools.count(1)
#: The discretionary list alone ([MS-ADTS] 3.1.1.3.4.1.11).
_DACL = b"\x30\x03\x02\x01\x04"
_START = datetime(2026, 3, 1, 9, tzinfo=UTC)


#: READ_PROPERTY, LIST and LIST_OBJECT ([MS-ADTS] 5.1.3.2): without them an object is not shown.
_SHOWS = 0x10 | 0x4 | 0x80


def with_entry(raw: bytes, sid: Sid, mask: int, *, kind: int = 0, flags: int = 0) -> bytes:
    """The list of a self-relative descriptor with one more entry at its head, that allows or (kind 1) denies ([MS-DTYP] 2.4.4.2, 2.4.5, 2.4.6)."""
    (at,) = struct.unpack_from("<I", raw, 16)
    revision, size, count = struct.unpack_from("<BxHH", raw, at)
    entry = struct.pack("<BBHI", kind, flags, 8 + len(sid.to_bytes()), mask) + sid.to_bytes()
    head = struct.pack("<BBHHH", revision, 0, size + len(entry), count + 1, 0)
    return raw[:4] + struct.pack("<IIII", 0, 0, 0, 20) + head + entry + raw[at + 8 : at + size]


def hide(forests: DirectoryLab, side: Forest, ref: ObjectRef) -> None:
    """From Bastide's service account, as the owner of the object can."""
    give(forests, side, ref.guid, forests.service_sid, mask=_SHOWS, kind=1)


def give(
    forests: DirectoryLab,
    side: Forest,
    guid: str,
    sid: Sid,
    *,
    mask: int = 0x20,
    kind: int = 0,
    flags: int = 0,
) -> Callable[[], None]:
    """WRITE_PROPERTY on an object, or what else, as an administrator gives or (kind 1) denies it with any tool. Returns what takes it back."""
    control = LDAPControl(CONTROL_SD_FLAGS, True, encodedControlValue=_DACL)

    def write(session: Session, raw: bytes) -> None:
        session.raw.modify_ext_s(
            by_guid(guid), [(REPLACE, "nTSecurityDescriptor", [raw])], serverctrls=[control]
        )

    def read(session: Session) -> bytes:
        found = session.must_read(by_guid(guid), ["nTSecurityDescriptor"], controls=[control])
        return found.all("nTSecurityDescriptor")[0]

    admins = forests.admins[side]
    old = admins.on_any("look", read)
    admins.on_any(
        "arrange", lambda session: write(session, with_entry(old, sid, mask, kind=kind, flags=flags))
    )
    return lambda: admins.on_any("arrange", lambda session: write(session, old))


class ChangesWorld(Protocol):
    """A domain in which people make and change objects."""

    def feed(self) -> ChangeFeed:
        """As the service account."""

    def person(self) -> ObjectRef: ...
    def group(self) -> ObjectRef: ...
    def foreign(self) -> ObjectRef:
        """A person of another domain."""

    def several(self) -> tuple[ChangeFeed, str, str]:
        """A domain with two controllers, and their names."""

    def write_on(self, controller: str) -> None:
        """Somebody makes an object there, in the domain of `several`."""

    def add_member(self, group: ObjectRef, member: ObjectRef) -> None: ...
    def remove_member(self, group: ObjectRef, member: ObjectRef) -> None: ...
    def pass_hidden(self, group: ObjectRef) -> None:
        """Somebody who is not shown to the service account comes and goes."""

    def mail(self, person: ObjectRef, address: str) -> None: ...
    def disable(self, person: ObjectRef) -> None: ...
    def rename(self, person: ObjectRef, name: str) -> None: ...
    def weaken(self, person: ObjectRef) -> None:
        """No pre-authentication, and a service principal name."""

    def rescope(self, group: ObjectRef) -> None:
        """From domain-local to universal."""

    def give(self, group: ObjectRef, to: ObjectRef) -> None:
        """A right on the group, of its own."""

    def remove(self, ref: ObjectRef) -> None: ...


class MemoryChangesWorld:
    def __init__(self) -> None:
        self.forest = MemoryForest(Forest.CORP, lambda: _START, dns_name=CORP)
        self.memory = MemoryChangeFeed(self.forest)
        trust = Seen(
            "trust", Kind.TRUST, Sid(""), "priv.bastide.test", "CN=priv,CN=System", {"trustDirection": "2"}
        )
        self.memory.add(trust)
        users = f"CN=Users,{self.forest.base_dn}"
        self.memory.add(Seen("users", Kind.PLACE, Sid(""), "Users", users, rights=()))
        self.pair = MemoryForest(Forest.PRIV, lambda: _START, dns_name=PRIV, controllers=("dc1", "dc2"))

    def feed(self) -> MemoryChangeFeed:
        return self.memory

    def person(self) -> ObjectRef:
        return self.forest.add_person(f"who{next(_names)}").ref

    def group(self) -> ObjectRef:
        return self.forest.add_group(f"team{next(_names)}", scope=Scope.DOMAIN_LOCAL).ref

    def foreign(self) -> ObjectRef:
        elsewhere = MemoryForest(Forest.PRIV, lambda: _START, dns_name=PRIV)
        return elsewhere.add_person(f"who{next(_names)}").ref

    def several(self) -> tuple[ChangeFeed, str, str]:
        return MemoryChangeFeed(self.pair), "dc1", "dc2"

    def write_on(self, controller: str) -> None:
        self.pair.write(controller, "add", {("seen", f"thing{next(_names)}"): None})

    def add_member(self, group: ObjectRef, member: ObjectRef) -> None:
        MemoryDirectory(self.forest).add_members(group, [member.sid])

    def remove_member(self, group: ObjectRef, member: ObjectRef) -> None:
        MemoryDirectory(self.forest).remove_members(group, [member.sid])

    def pass_hidden(self, group: ObjectRef) -> None:
        person = self.person()
        self.add_member(group, person)
        self.remove_member(group, person)
        self.forest.write("dc1", "hide", {("account", person.sid): None})

    def _change(self, person: ObjectRef, **said: object) -> None:
        account = self.forest.account(person.sid)
        changed = replace(account, person=replace(account.person, **said))  # type: ignore[arg-type]
        self.forest.change(changed, self.forest.expires(person.sid))

    def mail(self, person: ObjectRef, address: str) -> None:
        self._change(person, mail=address)

    def disable(self, person: ObjectRef) -> None:
        self._change(person, enabled=False)

    def weaken(self, person: ObjectRef) -> None:
        facts = {"weakness": "no pre-authentication", "servicePrincipalName": f"HTTP/{person.name}"}
        self.memory.add(Seen(person.guid, Kind.PERSON, person.sid, person.name, person.dn, facts, rights=()))

    def rename(self, person: ObjectRef, name: str) -> None:
        self._change(person, ref=replace(person, name=name))

    def rescope(self, group: ObjectRef) -> None:
        found = self.forest.replica("dc1").group(group.guid)
        assert found is not None
        self.forest.write("dc1", "rescope", {("group", group.guid): replace(found, scope=Scope.UNIVERSAL)})

    def give(self, group: ObjectRef, to: ObjectRef) -> None:
        self.memory.add(
            Seen(group.guid, Kind.GROUP, group.sid, group.name, group.dn, rights=(f"allow 0x20 to {to.sid}",))
        )

    def remove(self, ref: ObjectRef) -> None:
        self.forest.remove(ref)


class SambaChangesWorld:
    """CORP, as the service account of PRIV sees it."""

    def __init__(self, forests: DirectoryLab) -> None:
        self.forests = forests

    def feed(self) -> AdChangeFeed:
        return AdChangeFeed(self.forests.controllers(Forest.CORP, "svc-bastide", realm="priv"))

    def person(self) -> ObjectRef:
        return self.forests.add_user(Forest.CORP, self.forests.new_name("who"))

    def group(self) -> ObjectRef:
        return self.forests.add_group(Forest.CORP, self.forests.new_name("team"), kind=DOMAIN_LOCAL)

    def foreign(self) -> ObjectRef:
        return self.forests.add_user(Forest.PRIV, self.forests.new_name("who"))

    def several(self) -> tuple[ChangeFeed, str, str]:
        made = self.forests.controllers(Forest.PRIV, "svc-bastide")
        one, other = made.names()
        return AdChangeFeed(made), one, other

    def write_on(self, controller: str) -> None:
        dn = child(self.forests.new_name("thing"), GROUPS)
        self.forests.admins[Forest.PRIV].on(
            controller, lambda session: session.add(dn, {"objectClass": [b"group"]})
        )

    def add_member(self, group: ObjectRef, member: ObjectRef) -> None:
        self._modify(group, ADD, "member", by_sid(member.sid))

    def remove_member(self, group: ObjectRef, member: ObjectRef) -> None:
        there = self.forests.admins[Forest.CORP].on_any(
            "look", lambda session: present(session, group, [member.sid])
        )
        for guid in there:
            self._modify(group, DELETE, "member", by_guid(guid))

    def pass_hidden(self, group: ObjectRef) -> None:
        person = self.person()
        hide(self.forests, Forest.CORP, person)
        for how in (ADD, DELETE):
            self._modify(group, how, "member", by_guid(person.guid))

    def mail(self, person: ObjectRef, address: str) -> None:
        self._modify(person, REPLACE, "mail", address)

    def disable(self, person: ObjectRef) -> None:
        control = AccountControl.NORMAL | AccountControl.DISABLED | 0x20
        self._modify(person, REPLACE, "userAccountControl", str(int(control)))

    def weaken(self, person: ObjectRef) -> None:
        control = AccountControl.NORMAL | AccountControl.DONT_REQUIRE_PREAUTH | 0x20
        self._modify(person, REPLACE, "userAccountControl", str(int(control)))
        self._modify(person, REPLACE, "servicePrincipalName", f"HTTP/{person.name}")

    def rename(self, person: ObjectRef, name: str) -> None:
        self._modify(person, REPLACE, "sAMAccountName", name)

    def rescope(self, group: ObjectRef) -> None:
        self._modify(group, REPLACE, "groupType", str(UNIVERSAL))

    def give(self, group: ObjectRef, to: ObjectRef) -> None:
        give(self.forests, Forest.CORP, group.guid, to.sid)

    def remove(self, ref: ObjectRef) -> None:
        self.forests.admins[Forest.CORP].on_any("arrange", lambda session: session.delete(by_guid(ref.guid)))

    def _modify(self, ref: ObjectRef, how: int, name: str, value: str) -> None:
        self.forests.admin_modify(Forest.CORP, by_guid(ref.guid), [(how, name, [value.encode()])])
