"""A small domain controller for what no free one can do: link values with an end, and shadow principals.

It speaks LDAP (RFC 4511) over plain TCP on loopback, to the tests only, and follows [MS-ADTS]:
- 3.1.1.9.2 Privileged Access Management: a link value may have an expiry time; once it has passed, the value is no longer returned.
- 3.1.1.3.4.1.36 LDAP_SERVER_LINK_TTL_OID: no value; with it, and only with it, such values come back as TTL-DNs.
- 3.1.1.3.1.2.4: <GUID=..> and <SID=..> name objects.
- 3.1.1.3.4.1.5 LDAP_SERVER_EXTENDED_DN_OID: DNs as <GUID=..>;<SID=..>;DN.
The forms are those seen on Windows: `<TTL=60,DN>` is written, `<TTL=59>,DN` is read; a TTL is never laid over a link that is there.
It keeps what it was asked (`operations`) and can be told to misbehave.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import ldap

from bastide.directory.constants import CONTROL_EXTENDED_DN, CONTROL_LINK_TTL, FEATURE_PAM, POLICIES
from bastide.directory.ldap import Controllers, listed
from bastide.directory.session import Session, door
from bastide.domain.ids import ObjectRef, Sid

BASE = "DC=priv,DC=example"
CONFIGURATION = f"CN=Configuration,{BASE}"
SHADOW = f"CN=Shadow Principal Configuration,CN=Services,{CONFIGURATION}"
PAM_FEATURE = f"CN=Privileged Access Management Feature,CN=Optional Features,CN=Services,{CONFIGURATION}"
DOMAIN_SID = Sid("S-1-5-21-1000-2000-3000")

# Result codes, RFC 4511 4.1.9.
OK, CRITICAL, NO_ATTRIBUTE, EXISTS_VALUE, GONE, BAD_DN, UNWILLING, EXISTS = 0, 12, 16, 20, 32, 34, 53, 68
_SUPPORTED = {CONTROL_EXTENDED_DN, "1.2.840.113556.1.4.319"}


class Refusal(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Thing:
    """An object: attributes under lower-case names, and its member links: DN in lower case to expiry on the server's clock."""

    dn: str
    attributes: dict[str, list[bytes]]
    links: dict[str, float | None] = field(default_factory=dict)

    @property
    def guid(self) -> str:
        return str(UUID(bytes_le=self.attributes["objectguid"][0]))

    @property
    def sid(self) -> Sid | None:
        raw = self.attributes.get("objectsid")
        return Sid.from_bytes(raw[0]) if raw else None

    def ref(self) -> ObjectRef:
        sid = self.sid or Sid.from_bytes(self.attributes["msds-shadowprincipalsid"][0])
        return ObjectRef(guid=self.guid, sid=sid, dn=self.dn, name=self.dn.split(",")[0][3:])


@dataclass(frozen=True)
class Operation:
    """What a client asked: kind, DN, values of `member` where there are any, controls."""

    kind: str
    dn: str
    values: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()


class RecordingDc:
    """One domain controller. `now` is its clock, in seconds; `forgets_ttl`: takes the TTL form and stores the value for ever (F16)."""

    def __init__(
        self,
        name: str = "dc1",
        *,
        feature: bool = True,
        control: bool = True,
        level: int = 7,
        vendor: str = "",
    ) -> None:
        self.name = name
        self.operations: list[Operation] = []
        self.clock_ahead = 0.0
        self.forgets_ttl = False
        self.vendor = vendor
        #: What rootDSE says the time is; None: the real one.
        self.time: datetime | None = None
        #: The kind of operation that is done, but whose answer never arrives: the connection breaks.
        self.loses_answer_of = ""
        self.things: dict[str, Thing] = {}
        self._control, self._level = control, level
        self._rid = 1100
        self._lock = threading.Lock()
        self._build(feature=feature)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    # ------------------------------------------------------------------------------------------------ arranging

    def add(self, dn: str, *, sid: Sid | None = None, **attributes: str | bytes) -> Thing:
        raw = {
            name.lower(): [value if isinstance(value, bytes) else value.encode()]
            for name, value in attributes.items()
        }
        raw["objectguid"] = [uuid4().bytes_le]
        raw["cn"] = [dn.split(",", maxsplit=1)[0].partition("=")[2].encode()]
        if sid is not None:
            raw["objectsid"] = [sid.to_bytes()]
        self.things[dn.lower()] = Thing(dn, raw)
        return self.things[dn.lower()]

    def add_user(self, name: str) -> Thing:
        self._rid += 1
        made = self.add(
            f"CN={name},CN=Users,{BASE}", sid=Sid(f"{DOMAIN_SID}-{self._rid}"), sAMAccountName=name,
            userAccountControl="512", accountExpires="0", objectClass="user",
        )  # fmt: skip
        made.attributes["samaccounttype"] = [b"805306368"]
        return made

    def add_group(self, name: str) -> Thing:
        self._rid += 1
        return self.add(
            f"CN={name},CN=Users,{BASE}", sid=Sid(f"{DOMAIN_SID}-{self._rid}"), sAMAccountName=name,
            groupType="-2147483646", objectClass="group",
        )  # fmt: skip

    def copy_of(self, other: "RecordingDc") -> "RecordingDc":
        """Replicate: the same objects under the same GUIDs."""
        self.things = {
            key: Thing(t.dn, {n: list(v) for n, v in t.attributes.items()}, dict(t.links))
            for key, t in other.things.items()
        }
        return self

    def _build(self, *, feature: bool) -> None:
        self.add(BASE, sid=DOMAIN_SID, objectClass="domain")
        self.add(CONFIGURATION, objectClass="configuration")
        partitions = self.add(f"CN=Partitions,{CONFIGURATION}", objectClass="crossRefContainer")
        self.add(
            f"CN=PRIV,CN=Partitions,{CONFIGURATION}", objectClass="crossRef", nCName=BASE, nETBIOSName="PRIV"
        )
        guid = UUID(FEATURE_PAM).bytes_le
        self.add(PAM_FEATURE, objectClass="msDS-OptionalFeature").attributes["msds-optionalfeatureguid"] = [
            guid
        ]
        self.add(SHADOW, objectClass="msDS-ShadowPrincipalContainer")
        self.add(f"{POLICIES},{CONFIGURATION}", objectClass="msDS-AuthNPolicies")
        if feature:
            partitions.attributes["msds-enabledfeature"] = [PAM_FEATURE.encode()]

    def now(self) -> float:
        return time.monotonic() + self.clock_ahead

    # -------------------------------------------------------------------------------------------------- serving

    def close(self) -> None:
        # accept() in the other thread would keep the port open otherwise.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def hang_up(self) -> None:
        """As a restart would: every connection breaks, new ones are fine."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), client, client.makefile("rb") as stream:
            while True:
                message = read_message(stream.read)
                number, (tag, body), controls = message
                if tag == 0x42:  # UnbindRequest
                    return
                answers = self._answer(tag, body, controls)
                if self.operations and self.operations[-1].kind == self.loses_answer_of:
                    self.loses_answer_of = ""
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(b"".join(ber(0x30, ber(0x02, number) + answer) for answer in answers))

    def _answer(self, tag: int, body: bytes, controls: tuple[tuple[str, bool], ...]) -> list[bytes]:
        handlers: dict[int, tuple[int, Callable[[bytes, tuple[str, ...]], list[bytes]]]] = {
            0x60: (0x61, lambda _body, _controls: []),
            0x63: (0x65, self._search),
            0x66: (0x67, self._modify),
            0x68: (0x69, self._add),
            0x4A: (0x6B, self._delete),
        }
        reply, handler = handlers[tag]
        supported = _SUPPORTED | ({CONTROL_LINK_TTL} if self._control else set())
        with self._lock:
            try:
                _require_known(controls, supported)
                entries = handler(body, tuple(oid for oid, _ in controls))
                code, text = OK, ""
            except Refusal as refusal:
                entries, code, text = [], refusal.code, str(refusal)
        return [*entries, ber(reply, ber(0x0A, bytes([code])) + ber(0x04, b"") + ber(0x04, text.encode()))]

    def _search(self, body: bytes, controls: tuple[str, ...]) -> list[bytes]:
        base, scope, _, _, _, _, (kind, condition), (_, wanted) = parts(body)
        dn, names = base[1].decode(), [value.decode().lower() for _, value in parts(wanted)]
        self.operations.append(Operation("search", dn, controls=controls))
        if not dn:
            return [encode_entry("", self._root_dse())]
        top = self._find(dn)
        found = [top] if scope[1] == b"\x00" else self._below(top)
        shown = [(thing, self._shown(thing, controls)) for thing in found]
        return [
            encode_entry(thing.dn, {n: v for n, v in values.items() if v and (n in names or "*" in names)})
            for thing, values in shown
            if self._fits(values, kind, condition)
        ]

    def _below(self, top: Thing) -> list[Thing]:
        """Another naming context is not searched along: CN=Configuration does not belong to the domain's own."""
        inside = [t for t in self.things.values() if t.dn.lower().endswith(top.dn.lower())]
        return [t for t in inside if top.dn != BASE or not t.dn.endswith(CONFIGURATION)]

    def _shown(self, thing: Thing, controls: tuple[str, ...]) -> dict[str, list[bytes]]:
        live = {dn: end for dn, end in thing.links.items() if self._live(end) and dn in self.things}
        values = dict(thing.attributes)
        values["member"] = [self._write_dn(self.things[dn], end, controls) for dn, end in live.items()]
        # memberOf does not reach over naming contexts.
        groups = [g for g in self.things.values() if self._live(g.links.get(thing.dn.lower(), -1.0))]
        values["memberof"] = [
            self._write_dn(g, None, controls) for g in groups if not g.dn.endswith(CONFIGURATION)
        ]
        return values

    def _live(self, end: float | None) -> bool:
        return end is None or end > self.now()

    def _write_dn(self, thing: Thing, end: float | None, controls: tuple[str, ...]) -> bytes:
        text = thing.dn
        if CONTROL_EXTENDED_DN in controls:
            sid = f"<SID={thing.sid}>;" if thing.sid else ""
            text = f"<GUID={thing.guid}>;{sid}{text}"
        if end is not None and CONTROL_LINK_TTL in controls:
            text = f"<TTL={int(end - self.now())}>,{text}"
        return text.encode()

    def _modify(self, body: bytes, controls: tuple[str, ...]) -> list[bytes]:
        (_, name), (_, changes) = parts(body)
        listed_changes = [_read_change(change) for _, change in parts(changes)]
        members = tuple(
            v.decode() for _, attribute, values in listed_changes if attribute == "member" for v in values
        )
        self.operations.append(Operation("modify", name.decode(), members, controls))
        thing = self._find(name.decode())
        draft = Thing(thing.dn, dict(thing.attributes), dict(thing.links))
        for kind, attribute, values in listed_changes:
            if attribute == "member":
                for value in values:
                    self._change_link(draft, kind, value.decode())
            else:
                draft.attributes[attribute] = values
        self.things[thing.dn.lower()] = draft
        return []

    def _change_link(self, draft: Thing, kind: int, value: str) -> None:
        match = re.fullmatch(r"<TTL=(\d+),(.*)>", value)
        target = self._find(match[2] if match else value).dn.lower()
        there = target in draft.links and self._live(draft.links[target])
        if kind == 1:
            if not there:
                raise Refusal(NO_ATTRIBUTE, "no such value")
            del draft.links[target]
            return
        if (
            match
            and "msds-enabledfeature" not in self.things[f"CN=Partitions,{CONFIGURATION}".lower()].attributes
        ):
            raise Refusal(UNWILLING, "the Privileged Access Management feature is not enabled")
        if there:
            raise Refusal(EXISTS, "the member is there already")
        draft.links[target] = self.now() + int(match[1]) if match and not self.forgets_ttl else None

    def _add(self, body: bytes, controls: tuple[str, ...]) -> list[bytes]:
        (_, name), (_, attributes) = parts(body)
        dn = name.decode()
        self.operations.append(Operation("add", dn, controls=controls))
        if dn.lower() in self.things:
            raise Refusal(EXISTS, "the name is taken")
        thing = self.add(dn)
        for _, attribute in parts(attributes):
            (_, key), (_, values) = parts(attribute)
            thing.attributes[key.decode().lower()] = [value for _, value in parts(values)]
        return []

    def _delete(self, body: bytes, controls: tuple[str, ...]) -> list[bytes]:
        self.operations.append(Operation("delete", body.decode(), controls=controls))
        del self.things[self._find(body.decode()).dn.lower()]
        return []

    def _find(self, dn: str) -> Thing:
        match = re.fullmatch(r"<(GUID|SID)=(.*)>", dn)
        if match is None:
            found = self.things.get(dn.lower())
        elif match[1] == "GUID":
            found = next((t for t in self.things.values() if t.guid == match[2]), None)
        else:
            found = next((t for t in self.things.values() if t.sid == match[2]), None)
        if found is None:
            raise Refusal(GONE, f"no such object: {dn}")
        return found

    def _fits(self, values: dict[str, list[bytes]], kind: int, body: bytes) -> bool:
        """Filters, RFC 4511 4.5.1.7: and, or, not, equality, presence."""
        if kind in {0xA0, 0xA1}:
            answers = [self._fits(values, tag, inner) for tag, inner in parts(body)]
            return all(answers) if kind == 0xA0 else any(answers)
        if kind == 0xA2:
            tag, inner = parts(body)[0]
            return not self._fits(values, tag, inner)
        if kind == 0x87:
            return body.decode().lower() == "objectclass" or bool(values.get(body.decode().lower()))
        (_, name), (_, wanted) = parts(body)
        key = name.decode().lower()
        if key == "objectsid":
            wanted = Sid(wanted.decode()).to_bytes()
            return wanted in values.get(key, [])
        return wanted.lower() in [value.lower() for value in values.get(key, [])]

    def _root_dse(self) -> dict[str, list[bytes]]:
        level = str(self._level).encode()
        controls = sorted(_SUPPORTED | ({CONTROL_LINK_TTL} if self._control else set()))
        return {
            "defaultNamingContext": [BASE.encode()],
            "configurationNamingContext": [CONFIGURATION.encode()],
            "schemaNamingContext": [f"CN=Schema,{CONFIGURATION}".encode()],
            "supportedControl": [oid.encode() for oid in controls],
            "forestFunctionality": [level],
            "domainFunctionality": [level],
            "dnsHostName": [self.name.encode()],
            "vendorName": [self.vendor.encode()] if self.vendor else [],
            "currentTime": [f"{self.time or datetime.now(UTC):%Y%m%d%H%M%S}.0Z".encode()],
        }


@contextmanager
def connected(*dcs: RecordingDc) -> Iterator[Controllers]:
    """The adapter's connections to these controllers. Plain LDAP is this function's alone: the product cannot be set to it."""
    ports = {dc.name: dc.port for dc in dcs}

    def connect(controller: str) -> tuple[Session, float]:
        raw = ldap.initialize(f"ldap://127.0.0.1:{ports[controller]}", bytes_strictness="error")
        raw.set_option(ldap.OPT_REFERRALS, 0)
        with door("sign in", controller):
            raw.simple_bind_s("", "")
        return Session(raw, controller, 5.0), 900.0

    controllers = Controllers("priv.example", listed(list(ports)), connect, time.monotonic)
    try:
        yield controllers
    finally:
        controllers.close()
        for dc in dcs:
            dc.close()


# ------------------------------------------------------------------------------------------------------ BER, X.690


def ber(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def read_value(read: Callable[[int], bytes]) -> tuple[int, bytes]:
    head = read(2)
    if len(head) < 2:
        raise EOFError
    size = head[1]
    if size & 0x80:
        size = int.from_bytes(read(size & 0x7F), "big")
    return head[0], read(size)


def parts(content: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0

    def read(size: int) -> bytes:
        nonlocal at
        at += size
        return content[at - size : at]

    while at < len(content):
        found.append(read_value(read))
    return found


def read_message(
    read: Callable[[int], bytes],
) -> tuple[bytes, tuple[int, bytes], tuple[tuple[str, bool], ...]]:
    """Message number, operation, controls with their criticality."""
    inside = parts(read_value(read)[1])
    controls = []
    for _, control in parts(inside[2][1]) if len(inside) > 2 else []:
        fields = parts(control)
        controls.append((fields[0][1].decode(), (0x01, b"\xff") in fields))
    return inside[0][1], inside[1], tuple(controls)


def _require_known(controls: tuple[tuple[str, bool], ...], supported: set[str]) -> None:
    """RFC 4511 4.1.11."""
    if any(critical and oid not in supported for oid, critical in controls):
        raise Refusal(CRITICAL, "a critical control is not supported")


def _read_change(change: bytes) -> tuple[int, str, list[bytes]]:
    (_, kind), (_, attribute) = parts(change)
    (_, name), (_, values) = parts(attribute)
    return kind[0], name.decode().lower(), [value for _, value in parts(values)]


def encode_entry(dn: str, values: dict[str, list[bytes]]) -> bytes:
    attributes = b"".join(
        ber(0x30, ber(0x04, name.encode()) + ber(0x31, b"".join(ber(0x04, value) for value in listed_values)))
        for name, listed_values in values.items()
    )
    return ber(0x64, ber(0x04, dn.encode()) + ber(0x30, attributes))
