"""The listener for agents, over real sockets, with a handshake of its own: each step of conversation.py and callers.py."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from bastide import wire
from bastide.domain.errors import DirectoryUnavailable, NotAuthenticated, NotAuthorized, StoreUnavailable
from bastide.domain.passwords import Receipt
from bastide.receiver import conversation
from bastide.receiver.conversation import Host
from bastide.receiver.server import Receiver
from bastide.services.passwords.accept import Accept, Told
from bastide.services.passwords.callers import Caller, Callers
from bastide.services.passwords.ports import Channel, Peer
from tests.support.sync_world import SyncWorld

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


def test_a_conversation(agent: Agent, book: Book) -> None:
    assert agent.sign_in() == wire.Welcome(version=wire.VERSION, node="node-1")
    assert agent.say(NOTE) == wire.Answer(reference=NOTE.reference, verdict=wire.Verdict.ACCEPTED)
    answer = agent.say(wire.Heartbeat(waiting=7, oldest=0))
    assert answer == wire.Answer(reference="", verdict=wire.Verdict.LATER, reason="not yet", delay=30)
    assert book.told == [NOTE]
    assert book.waiting == [7]
    assert numbers(book) == [6913, 6909]


def test_two_conversations_at_once(connect: Callable[[], Agent], book: Book) -> None:
    one, two = connect(), connect()
    for agent in (one, two):
        agent.sign_in()
    for agent in (two, one):
        agent.say(NOTE)
    assert len(book.told) == 2


# ----------------------------------------------------------------------------------------------- conversation.py, step by step


@pytest.mark.parametrize("token", [b"forged", b""])
def test_1_who_cannot_prove_who_it_is_is_hung_up_on(agent: Agent, book: Book, token: bytes) -> None:
    agent.send(token)
    assert agent.hung_up()
    assert numbers(book) == [6915]


def test_1_the_handshake_has_an_end(agent: Agent, book: Book) -> None:
    for _ in range(4):
        agent.send(b"more")
        assert agent.receive() == b"go on"
    assert agent.hung_up()
    assert numbers(book) == [6915]


def test_1_nothing_is_read_before_it(agent: Agent, book: Book) -> None:
    agent.send(wire.encode(NOTE))
    assert agent.hung_up()
    assert book.told == []


def test_2_who_is_no_controller_is_turned_away(agent: Agent, book: Book, handshakes: Handshakes) -> None:
    handshakes.peer = replace(DC, primary_group=515)
    answer = agent.sign_in()
    assert isinstance(answer, wire.Answer)
    assert answer.verdict is wire.Verdict.REFUSED
    assert agent.hung_up()
    assert numbers(book) == [6914]


def test_2_a_directory_that_does_not_answer_means_later(agent: Agent, book: Book) -> None:
    book.fails = DirectoryUnavailable("no domain controller answers")
    answer = agent.sign_in()
    assert isinstance(answer, wire.Answer)
    assert answer.verdict is wire.Verdict.LATER
    assert agent.hung_up()


def test_3_a_controller_speaks_for_its_own_domain(agent: Agent, book: Book) -> None:
    answer = agent.sign_in(domain="priv.example.com")
    assert isinstance(answer, wire.Answer)
    assert answer.verdict is wire.Verdict.REFUSED
    assert agent.hung_up()
    assert book.told == []


def test_3_versions(connect: Callable[[], Agent]) -> None:
    newer = connect().sign_in(version=wire.VERSION + 7)
    assert newer == wire.Welcome(version=wire.VERSION, node="node-1")
    agent = connect()
    agent.send(b"ticket")
    agent.receive()
    agent.send(
        agent.channel.seal(
            wire.encode(wire.Hello(version=0, software="", domain="corp.example.com", controller=""))
        )
    )
    assert agent.hung_up()


def test_3_the_first_message_is_a_hello(agent: Agent, book: Book) -> None:
    agent.send(b"ticket")
    agent.receive()
    agent.send(agent.channel.seal(wire.encode(NOTE)))
    assert agent.hung_up()
    assert book.told == []


@pytest.mark.parametrize("how", ["plain", "repeated", "nonsense", "second hello", "too long", "cut off"])
def test_4_every_message_is_sealed_and_in_order(agent: Agent, book: Book, how: str) -> None:
    agent.sign_in()
    raw = wire.encode(NOTE)
    if how == "plain":
        agent.send(raw)
    elif how == "repeated":
        sealed = agent.channel.seal(raw)
        agent.send(sealed)
        agent.receive()
        agent.send(sealed)
    elif how == "nonsense":
        agent.send(agent.channel.seal(b"\xc1"))
    elif how == "second hello":
        agent.send(
            agent.channel.seal(
                wire.encode(wire.Hello(version=1, software="", domain="corp.example.com", controller=""))
            )
        )
    elif how == "too long":
        agent.socket.sendall(b"\xff\xff\xff\xff")
    else:
        agent.socket.sendall(wire.frame(b"x" * 100)[:50])
        agent.socket.shutdown(socket.SHUT_WR)
    assert agent.hung_up()
    assert len(book.told) == (1 if how == "repeated" else 0)


def name_of(number: int) -> str:
    return f"0e8dd3d5-7b5c-5d1a-b0ef-{1000 + number:012}"


def numbered(number: int) -> str:
    return f"0e8dd3d5-7b5c-5d1a-b0ef-{number + 16:012x}"


def notes(number: int, account: str = "alice", secret: bytes = PASSWORD) -> list[wire.Notification]:
    return [
        wire.Notification(
            **{**_fields(NOTE), "reference": name_of(n), "account": account, "secret": secret, "check": b""}
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


def test_5_what_has_arrived_is_taken_in_together_and_answered_in_order(agent: Agent, book: Book) -> None:
    told = notes(20)
    told[7] = wire.Notification(**{**_fields(told[7]), "account": "bad"})
    held_up(agent, book, told)
    answers = [agent.hear() for _ in told]
    assert [one.reference for one in answers if isinstance(one, wire.Answer)] == [
        one.reference for one in told
    ]
    assert [one.verdict.value for one in answers if isinstance(one, wire.Answer)].index("discard") == 7
    assert book.commits == [1, 20]
    assert book.told == [NOTE, *told]


def test_5_at_most_fifty_at_a_time(agent: Agent, book: Book) -> None:
    held_up(agent, book, notes(120))
    assert [agent.hear() for _ in range(120)] == [accepted(name_of(n)) for n in range(120)]
    assert book.commits == [1, 50, 50, 20]


def test_5_at_most_so_many_bytes_at_a_time(agent: Agent, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "BATCH_BYTES", 16_000)
    told = notes(12, secret=bytes(4_000))
    sender = threading.Thread(target=held_up, args=(agent, book, told))
    sender.start()
    sender.join(10)
    assert [agent.hear() for _ in told] == [accepted(one.reference) for one in told]
    assert sum(book.commits) == 13
    assert max(book.commits) <= conversation.BATCH_BYTES // 4_000 + 1


def test_5_a_heartbeat_between_them_is_answered_in_its_place(agent: Agent, book: Book) -> None:
    first, second, third = notes(3)
    held_up(agent, book, [first, second, wire.Heartbeat(waiting=1, oldest=0), third])
    answers = [agent.hear() for _ in range(4)]
    assert [one.reference for one in answers if isinstance(one, wire.Answer)] == [
        name_of(0),
        name_of(1),
        "",
        name_of(2),
    ]
    assert book.commits == [1, 2, 1]


def test_5_half_a_frame_waits_for_its_other_half_and_holds_up_nobody(agent: Agent, book: Book) -> None:
    agent.sign_in()
    first, second = notes(2)
    raw = b"".join(wire.frame(agent.channel.seal(wire.encode(one))) for one in (first, second))
    agent.socket.sendall(raw[:-10])
    assert agent.hear() == accepted(name_of(0))
    agent.socket.sendall(raw[-10:])
    assert agent.hear() == accepted(name_of(1))
    assert book.commits == [1, 1]


@pytest.mark.parametrize("how", ["nonsense", "changed", "cut off"])
def test_6_what_was_said_before_something_wrong_counts(agent: Agent, book: Book, how: str) -> None:
    agent.sign_in()
    told = notes(3)
    raw = b"".join(wire.frame(agent.channel.seal(wire.encode(one))) for one in told)
    if how == "nonsense":
        raw += wire.frame(agent.channel.seal(b"\xc1"))
    elif how == "changed":
        raw += wire.frame(b"\0" + wire.encode(NOTE))
    else:
        raw += wire.frame(b"x" * 100)[:50]
    agent.socket.sendall(raw)
    if how == "cut off":
        agent.socket.shutdown(socket.SHUT_WR)
    assert [agent.hear() for _ in told] == [accepted(one.reference) for one in told]
    assert agent.hung_up()
    assert book.told == told


def test_6_a_commit_that_fails_is_answered_with_silence_and_tried_once(agent: Agent, book: Book) -> None:
    agent.sign_in()
    agent.say_all([*notes(2), *notes(1, "store"), wire.Heartbeat(waiting=0, oldest=0)])
    agent.socket.shutdown(socket.SHUT_WR)
    heard = []
    while (answer := agent.hear()) is not None:
        heard.append(answer)
    assert heard == [accepted(one.reference) for one in book.told], "answered is what was committed"
    assert book.asked == len(book.commits) + 1
    assert book.waiting == []


@pytest.mark.parametrize("heard", [0, 1, 17])
def test_a_break_within_a_window_counts_each_change_once(
    handshakes: Handshakes, book: Book, heard: int
) -> None:
    """The real use case behind it. What was not answered is sent again, whether or not it was taken in."""
    world = SyncWorld()
    names = [f"user{number}" for number in range(30)]
    world.add_target("crm")
    world.add_source("corp", "crm", domain="corp.example.com")
    for name in names:
        world.add_user(name, "corp", "crm")
    told = [world.notification(name, f"pw of {name}") for name in names]
    receiver = Receiver("127.0.0.1", 0, replace(hosting(handshakes, book), accept=world.passwords.accept))
    receiver.start()
    try:
        agent = Agent(receiver.port)
        agent.sign_in()
        agent.say_all(told)
        for _ in range(heard):
            agent.hear()
        agent.socket.close()
        again = Agent(receiver.port)
        again.sign_in()
        again.say_all(told[heard:])
        answers = [again.hear() for _ in told[heard:]]
        again.socket.close()
    finally:
        receiver.stop()
    for one, answer in zip(told[heard:], answers, strict=True):
        assert isinstance(answer, wire.Answer)
        assert (answer.reference, answer.verdict) == (one.reference, wire.Verdict.ACCEPTED)
    world.work()
    assert [world.password(name, "crm") for name in names] == [f"pw of {name}" for name in names]
    assert world.served("crm") == len(names) == len(world.audit("password.staged"))
    world.close()


def test_stop_ends_a_conversation_that_never_pauses(receiver: Receiver, agent: Agent, book: Book) -> None:
    agent.sign_in()

    def talk() -> None:
        with suppress(OSError):
            while True:
                agent.say_all(notes(1))

    def listen() -> None:
        with suppress(OSError, wire.WireError):
            while agent.hear() is not None:
                pass

    threads = [threading.Thread(target=one, daemon=True) for one in (talk, listen)]
    for one in threads:
        one.start()
    assert book.taken.wait(5)
    began = time.monotonic()
    receiver.stop()
    assert time.monotonic() - began < 4, "the patience of stop is longer"
    for one in threads:
        one.join(5)
        assert not one.is_alive()


@pytest.mark.parametrize("account", ["store", "defect"])
def test_6_what_goes_wrong_ends_the_conversation_and_says_nothing(
    agent: Agent, connect: Callable[[], Agent], account: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent.sign_in()
    agent.send(agent.channel.seal(wire.encode(wire.Notification(**{**_fields(NOTE), "account": account}))))
    assert agent.hung_up()
    assert connect().sign_in() is not None, "the next one is served"
    assert PASSWORD.decode() not in caplog.text


def test_a_frame_that_never_ends_is_given_up(
    agent: Agent, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "PROMPT", 0.2)
    agent.sign_in()
    agent.socket.sendall(b"\0")
    began = time.monotonic()
    assert agent.hung_up()
    assert time.monotonic() - began < 4
    assert book.told == []


def test_stop_hangs_up_and_takes_no_more(
    receiver: Receiver, agent: Agent, connect: Callable[[], Agent]
) -> None:
    agent.sign_in()
    receiver.stop()
    assert agent.hung_up()
    with pytest.raises(OSError):  # noqa: PT011  # refused or reset
        connect()


# ------------------------------------------------------------------------------------------------ callers.py, step by step


@pytest.mark.parametrize(
    "wrong",
    [
        {"principal": "alice@CORP.EXAMPLE.COM"},  # (1)
        {"principal": "host/dc1.corp.example.com@CORP.EXAMPLE.COM"},
        {"principal": "a@b$@CORP.EXAMPLE.COM"},
        {"key_realm": "PRIV.EXAMPLE.COM"},  # (2)
        {"realm": "PRIV.EXAMPLE.COM"},
        {"primary_group": 515},  # (3) a member server
        {"primary_group": 521},  # a read-only controller
        {"rid": 1001},  # (4) another account under a controller's name
        {"principal": "SRV1$@CORP.EXAMPLE.COM"},
    ],
)
def test_only_a_controller_is_admitted(book: Book, wrong: dict[str, Any]) -> None:
    with pytest.raises(NotAuthorized):
        Callers(register=book, events=book).admit(replace(DC, **wrong))
    assert numbers(book) == [6914]


def test_a_controller_is_admitted_for_one_domain(book: Book) -> None:
    caller = Callers(register=book, events=book).admit(DC)
    assert caller == Caller("corp.example.com", "DC1$", "dc1.corp.example.com")
    Callers.require_own(caller, "CORP.Example.com")
    with pytest.raises(NotAuthorized):  # (5)
        Callers.require_own(caller, "example.com")


def _fields(note: wire.Notification) -> dict[str, Any]:
    return {name: getattr(note, name) for name in note.__struct_fields__}
