"""Twins for the agent: a clock that is told the time, a log that remembers, a directory and servers in memory."""

import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from bastide import pcns, wire
from bastide.pcns import Target
from bastide.wire import Answer, FromAgent, FromServer, Heartbeat, Notification, Verdict
from bastide_agent.events import CATALOG, Value, checked
from bastide_agent.failures import CookieRefused, NoAccount, Unreachable
from bastide_agent.ldapi import Changed, Root
from bastide_agent.metadata import TICKS, UNICODE_PWD

DOMAIN_SID = "S-1-5-21-1-2-3"
USERS, ADMINS = f"{DOMAIN_SID}-513", f"{DOMAIN_SID}-512"
BASE = "DC=corp,DC=test"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROOT = Root(
    BASE,
    f"CN=Configuration,{BASE}",
    f"CN=Schema,CN=Configuration,{BASE}",
    "CN=NTDS",
    "CN=SRV",
    "dc.corp.test",
)


class ManualClock:
    def __init__(self, now: datetime = NOON) -> None:
        self.at = now
        self.passed = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.passed

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.passed += seconds


class MemoryLog:
    """Checks events as the real one does."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, Value]]] = []

    def write(self, number: int, /, **fields: Value) -> None:
        checked(number, fields)
        assert CATALOG[number]
        self.lines.append((number, fields))

    def numbers(self) -> list[int]:
        return [number for number, _ in self.lines]

    def of(self, number: int) -> list[dict[str, Value]]:
        return [fields for found, fields in self.lines if found == number]


def target(name: str = "one", **changes: object) -> Target:
    values: dict[str, object] = {
        "name": name,
        "guid": uuid4(),
        "server": "server.test",
        "spn": "PCNSCLNT/server.test",
        "inclusion": USERS,
        **changes,
    }
    return Target(**values)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- binary values


def metadata(version: int, invocation: str, usn: int, local: int, seconds: int = 13_439_722_808) -> bytes:
    """replPropertyMetaData with unicodePwd behind another attribute."""
    rows = [
        (0x3, 1, seconds, UUID(int=1).bytes_le, 5, 5),
        (UNICODE_PWD, version, seconds, UUID(invocation).bytes_le, usn, local),
    ]
    return struct.pack("<IIII", 1, 0, len(rows), 0) + b"".join(struct.pack("<IIQ16sQQ", *row) for row in rows)


def credentials(packages: Mapping[str, bytes]) -> bytes:
    """supplementalCredentials, [MS-SAMR] 2.2.10.1."""
    parts = []
    for name, value in packages.items():
        encoded, hexadecimal = name.encode("utf-16-le"), value.hex().encode()
        parts.append(struct.pack("<HHH", len(encoded), len(hexadecimal), 0) + encoded + hexadecimal)
    body = struct.pack("<96sHH", b" \0" * 48, 0x50, len(parts)) + b"".join(parts)
    return struct.pack("<IIHH", 0, len(body), 0, 0) + body + b"\0"


# ----------------------------------------------------------------------------------------------------------- directory


@dataclass
class Person:
    """One account of a MemoryDirectory."""

    name: str
    guid: str
    rid: int
    groups: list[str]
    nt_hash: bytes = bytes(16)
    secret: bytes = b""
    last_set: int = 0
    version: int = 0
    usn: int = 0
    local_usn: int = 0
    origin: str = ""
    control: int = 512
    more: dict[str, list[bytes]] = field(default_factory=dict)

    def attributes(self) -> dict[str, Sequence[bytes]]:
        found: dict[str, Sequence[bytes]] = {
            "unicodePwd": [self.nt_hash],
            "pwdLastSet": [str(self.last_set).encode()],
            "replPropertyMetaData": [metadata(self.version, self.origin, self.usn, self.local_usn)],
            "sAMAccountName": [self.name.encode()],
            "objectSid": [pcns.sid_bytes(f"{DOMAIN_SID}-{self.rid}")],
            "primaryGroupID": [b"513"],
            "tokenGroups": [pcns.sid_bytes(group) for group in self.groups],
            "userAccountControl": [str(self.control).encode()],
        }
        if self.secret:
            found["supplementalCredentials"] = [
                credentials({"Primary:Kerberos": b"keys", "Primary:SambaGPG": self.secret, "Packages": b"x"})
            ]
        return {**found, **self.more}


class MemoryDirectory:
    """One controller's database. A cookie is the USN up to which changes were shown."""

    def __init__(self, invocation: str = "") -> None:
        self.invocation = invocation or str(uuid4())
        self.usn = 100
        self.people: dict[str, Person] = {}
        self.refuse_cookies = False
        self.before_read: Callable[[str], None] = lambda _guid: None

    def add(self, name: str, **changes: object) -> Person:
        person = Person(name, str(uuid4()), 1000 + len(self.people), [USERS], **changes)  # type: ignore[arg-type]
        self.people[person.guid] = person
        self.set_password(person)
        return person

    def set_password(self, person: Person, secret: bytes = b"ciphertext", nt_hash: bytes = b"h" * 16) -> None:
        self.usn += 1
        person.secret, person.nt_hash = secret, nt_hash
        person.version += 1
        person.usn = person.local_usn = self.usn
        person.origin = self.invocation
        person.last_set = 134_397_228_088_367_062 + self.usn * TICKS

    def replicate(self, person: Person) -> Person:
        """The same object as it arrives from another controller."""
        self.usn += 1
        copied = Person(**{name: getattr(person, name) for name in Person.__dataclass_fields__})
        copied.local_usn = self.usn
        self.people[copied.guid] = copied
        return copied

    def highest_usn(self) -> int:
        return self.usn

    def changed(self, base: str, cookie: bytes, attribute: str) -> Iterator[Changed]:
        assert (base, attribute) == (BASE, "unicodePwd")
        if cookie and self.refuse_cookies:
            raise CookieRefused("not this cookie")
        since = int(cookie or b"0")
        guids = [one.guid for one in self.people.values() if one.local_usn > since]
        half = len(guids) // 2
        yield Changed(tuple(guids[:half]), cookie)
        yield Changed(tuple(guids[half:]), str(self.usn).encode())

    def read_guid(self, guid: str, names: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        self.before_read(guid)
        if guid not in self.people:
            raise NoAccount("it is not there")
        return {name: value for name, value in self.people[guid].attributes().items() if name in names}


# -------------------------------------------------------------------------------------------------------------- targets


class MemoryServer:
    """The other end, in memory: what it heard, and what it says."""

    def __init__(self) -> None:
        self.up = True
        self.heard: list[Notification] = []
        self.beats: list[Heartbeat] = []
        self.connections = 0
        self.decide: Callable[[Notification], FromServer] = lambda one: Answer(
            reference=one.reference, verdict=Verdict.ACCEPTED
        )
        self.on_beat = Answer(reference="", verdict=Verdict.ACCEPTED)
        self.on_connect: Exception | None = None
        self.epoch = 0
        #: How many notifications were sent before an answer was read.
        self.windows: list[int] = []
        #: So many more are taken in and not answered: the connection breaks.
        self.breaks_after: int | None = None

    def connect(self, target: Target) -> "MemoryChannel":
        assert target.server
        if self.on_connect:
            raise self.on_connect
        if not self.up:
            raise Unreachable("nobody listens")
        self.connections += 1
        return MemoryChannel(self, self.epoch)

    def restart(self) -> None:
        """Open connections are dead, and nobody has noticed."""
        self.epoch += 1


@dataclass
class MemoryChannel:
    server: MemoryServer
    epoch: int
    closed: bool = False
    said: list[FromAgent] = field(default_factory=list)

    def say(self, messages: Sequence[FromAgent]) -> None:
        assert not self.closed
        assert not self.said, "all answers are read before more is said"
        self._alive()
        for message in messages:
            wire.encode(message)
        self.said = [*messages]  # not as the server reads it: the references of these tests are short
        if isinstance(self.said[0], Notification):
            self.server.windows.append(len(self.said))

    def hear(self) -> FromServer:
        assert not self.closed
        self._alive()
        message = self.said.pop(0)
        if isinstance(message, Heartbeat):
            self.server.beats.append(message)
            return self.server.on_beat
        assert isinstance(message, Notification)
        self.server.heard.append(message)
        answer = self.server.decide(message)
        if self.server.breaks_after is not None:
            self.server.breaks_after -= 1
            if self.server.breaks_after < 0:
                self.server.breaks_after = None
                self.server.restart()
                self._alive()
        return answer

    def _alive(self) -> None:
        if not self.server.up or self.epoch != self.server.epoch:
            raise Unreachable("it hung up")

    def close(self) -> None:
        self.closed = True


class MemorySource:
    """What configuration.Reader asks."""

    def __init__(self, entries: list[pcns.Entry] | None, schema: list[pcns.Entry] | None = None) -> None:
        self.entries = entries
        self.schema = schema or []

    def below(self, dn: str, names: Sequence[str]) -> list[pcns.Entry]:
        assert dn == f"{pcns.CONTAINER},{BASE}"
        assert names
        if self.entries is None:
            raise NoAccount("it is not there")
        return self.entries

    def any_of(
        self, dn: str, attribute: str, values: Collection[str], names: Sequence[str]
    ) -> list[pcns.Entry]:
        assert dn == ROOT.schema
        assert names
        return [one for one in self.schema if one[1].get(attribute, [b""])[0].decode() in values]
