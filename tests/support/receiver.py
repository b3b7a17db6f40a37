"""An agent and the receiver over real sockets, with a handshake of their own in place of Kerberos. For modules with `pytest_plugins = ["tests.support.receiver"]`."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from bastide import wire
from bastide.domain.errors import NotAuthenticated, NotAuthorized, StoreUnavailable
from bastide.domain.passwords import Receipt
from bastide.receiver.conversation import Host
from bastide.receiver.server import Receiver
from bastide.services.passwords.accept import Accept, Told
from bastide.services.passwords.callers import Caller, Callers
from bastide.services.passwords.ports import Channel, Peer
from bastide.services.passwords.silence import Silence

DC = Peer("DC1$@CORP.EXAMPLE.COM", "CORP.EXAMPLE.COM", "CORP.EXAMPLE.COM", 1000, 516)
PASSWORD = b"Canary-Pa55word"
GUID = "0e8dd3d5-7b5c-4d1a-b0ef-000000000002"
NOTE = wire.Notification(
    reference="0e8dd3d5-7b5c-5d1a-b0ef-000000000001", user_guid=GUID, user_sid="s", account="alice", changed_at=1, revision=1,
    origin=GUID, attempt=1, secret=PASSWORD, check=b"",
)  # fmt: skip


class FlippedChannel:
    """Turns every byte over, and counts: what is not sealed by the other end, or comes again, is noticed."""

    def __init__(self, peer: Peer, lifetime: float = 36_000) -> None:
        self.peer, self.lifetime = peer, lifetime
        self._sent = self._seen = 0

    def seal(self, message: bytes) -> bytes:
        self._sent += 1
        return bytes([self._sent % 256]) + bytes(byte ^ 255 for byte in message)

    def open(self, sealed: bytes) -> bytes:
        self._seen += 1
        if sealed[:1] != bytes([self._seen % 256]):
            raise NotAuthenticated("a message was changed, repeated or is over")
        return bytes(byte ^ 255 for byte in sealed[1:])


class Handshakes:
    """Takes the token `ticket`; anything else is refused. Two steps where `two` is set."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.lifetime = 36_000.0

    def begin(self) -> "Handshakes":
        return self

    def step(self, token: bytes) -> tuple[bytes, Channel | None]:
        if token == b"more":
            return b"go on", None
        if token != b"ticket":
            raise NotAuthenticated("the ticket was not accepted")
        return b"welcome", FlippedChannel(self.peer, self.lifetime)


@dataclass
class Book:
    """Everything that the receiver asked and reported."""

    events: list[tuple[int, dict[str, object]]] = field(default_factory=list)
    told: list[wire.Notification] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    heard_of: list[tuple[str, int | None, int]] = field(default_factory=list)
    written_down: int = 0
    fails: Exception | None = None
    commits: list[int] = field(default_factory=list)
    asked: int = 0
    slowly: bool = False
    taken: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def write(self, number: int, **fields: object) -> None:
        self.events.append((number, fields))

    def require_controller(self, domain: str, account: str, rid: int) -> str:
        if self.fails:
            raise self.fails
        if (domain, account, rid) != ("corp.example.com", "DC1$", 1000):
            raise NotAuthorized("not a domain controller")
        return "dc1.corp.example.com"

    def heard(self, caller: Caller, waiting: int | None = None, oldest: int = 0) -> None:
        self.heard_of.append((caller.host, waiting, oldest))

    def write_down(self) -> None:
        self.written_down += 1

    def heartbeat(self, _: Caller, waiting: int) -> Told:
        self.waiting.append(waiting)
        return Told(wire.Verdict.LATER, "not yet", 30)

    def notifications(self, _: Caller, several: Sequence[wire.Notification]) -> tuple[Told, ...]:
        self.asked += 1
        accounts = {told.account for told in several}
        if "store" in accounts:
            raise StoreUnavailable("the database is gone")
        if "defect" in accounts:
            raise ZeroDivisionError
        self.commits.append(len(several))
        self.told += several
        self.taken.set()
        if self.slowly:
            assert self.go_on.wait(5)
        return tuple(
            Told(
                wire.Verdict.DISCARD if told.account == "bad" else wire.Verdict.ACCEPTED,
                receipt=Receipt.STAGED,
            )
            for told in several
        )


class Agent:
    """The other end."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.channel = FlippedChannel(DC)

    def send(self, raw: bytes) -> None:
        self.socket.sendall(wire.frame(raw))

    def receive(self) -> bytes | None:
        head = self.socket.recv(4, socket.MSG_WAITALL)
        return self.socket.recv(wire.length(head), socket.MSG_WAITALL) if head else None

    def say(self, message: wire.FromAgent) -> wire.FromServer | None:
        self.send(self.channel.seal(wire.encode(message)))
        return self.hear()

    def say_all(self, messages: Sequence[wire.FromAgent]) -> None:
        """In one go, before any answer is read."""
        self.socket.sendall(b"".join(wire.frame(self.channel.seal(wire.encode(one))) for one in messages))

    def hear(self) -> wire.FromServer | None:
        sealed = self.receive()
        return None if sealed is None else wire.from_server(self.channel.open(sealed))

    def sign_in(
        self, domain: str = "corp.example.com", version: int = wire.VERSION
    ) -> wire.FromServer | None:
        self.send(b"ticket")
        assert self.receive() == b"welcome"
        return self.say(wire.Hello(version=version, software="test", domain=domain, controller="dc1"))

    def hung_up(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def hosting(handshakes: Handshakes, book: Book) -> Host:
    return Host(
        acceptor=handshakes,
        callers=Callers(register=book, events=book),
        accept=cast("Accept", book),
        silence=cast("Silence", book),
        events=book,
        node="node-1",
        monotonic=time.monotonic,
        patience=5,
    )


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def handshakes() -> Handshakes:
    return Handshakes(DC)


@pytest.fixture
def receiver(book: Book, handshakes: Handshakes) -> Iterator[Receiver]:
    made = Receiver("127.0.0.1", 0, hosting(handshakes, book))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def connect(receiver: Receiver) -> Iterator[Callable[[], Agent]]:
    made: list[Agent] = []

    def one_more() -> Agent:
        made.append(Agent(receiver.port))
        return made[-1]

    yield one_more
    for agent in made:
        agent.socket.close()


@pytest.fixture
def agent(connect: Callable[[], Agent]) -> Agent:
    return connect()


def numbers(book: Book) -> list[int]:
    return [number for number, _ in book.events]


def name_of(number: int) -> str:
    return f"0e8dd3d5-7b5c-5d1a-b0ef-{1000 + number:012}"


def notes(number: int, account: str = "alice", secret: bytes = PASSWORD) -> list[wire.Notification]:
    return [
        wire.Notification(
            **{**fields_of(NOTE), "reference": name_of(n), "account": account, "secret": secret, "check": b""}
        )
        for n in range(number)
    ]


def accepted(reference: str) -> wire.Answer:
    return wire.Answer(reference=reference, verdict=wire.Verdict.ACCEPTED)


def held_up(agent: Agent, book: Book, messages: Sequence[wire.FromAgent]) -> None:
    """The agent says one thing, and all these while it is taken in; they have arrived when it is done."""
    agent.sign_in()
    book.slowly = True
    agent.say_all([NOTE])
    assert book.taken.wait(5)
    agent.say_all(messages)
    time.sleep(0.1)  # loopback: sent is there at once, but for the scheduler
    book.slowly = False
    book.go_on.set()
    assert agent.hear() == accepted(NOTE.reference)


def fields_of(note: wire.Notification) -> dict[str, Any]:
    return {name: getattr(note, name) for name in note.__struct_fields__}
