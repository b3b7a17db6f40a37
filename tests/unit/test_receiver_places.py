"""Who may be connected to the receiver, how many at a time, and for how long: places.py, and the ends of a conversation."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from bastide import wire
from bastide.domain.errors import DirectoryUnavailable, NotAuthorized
from bastide.listener import STRANGERS_OF_ONE_ADDRESS
from bastide.receiver import conversation, places
from bastide.receiver.places import Places
from bastide.receiver.server import Receiver
from tests.support.receiver import DC, NOTE, Agent, Book, Handshakes, accepted, hosting, numbers


@dataclass
class Time:
    """The monotonic clock, which a test moves on."""

    passed: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.passed


@dataclass
class Stage:
    book: Book
    handshakes: Handshakes
    clock: Time
    receiver: Receiver
    opened: list[socket.socket]

    def agent(self) -> Agent:
        made = Agent(self.receiver.port)
        self.opened.append(made.socket)
        return made

    def silent(self) -> None:
        self.opened.append(socket.create_connection(("127.0.0.1", self.receiver.port)))

    def until(self, number: int) -> None:
        """So many connections are open at the receiver."""
        deadline = time.monotonic() + 10
        while len(self.receiver._open) != number:
            assert time.monotonic() < deadline, len(self.receiver._open)
            time.sleep(0.005)


@pytest.fixture
def stage() -> Iterator[Stage]:
    book, handshakes, clock = Book(), Handshakes(DC), Time()
    receiver = Receiver("127.0.0.1", 0, replace(hosting(handshakes, book), monotonic=clock))
    receiver.start()
    made = Stage(book, handshakes, clock, receiver, [])
    yield made
    for one in made.opened:
        one.close()
    receiver.stop()


# --------------------------------------------------------------------------------------------------------------- places


def test_1_a_controller_s_new_connection_replaces_its_oldest() -> None:
    made = Places()
    for number in range(places.CONNECTIONS_OF_ONE_CONTROLLER):
        assert made.admit(number, "DC1$@corp") == ()
    assert made.admit(100, "DC1$@corp") == (0,)
    assert made.admit(101, "DC1$@priv") == ()
    made.leave(1)
    assert made.admit(102, "DC1$@corp") == ()


def test_2_more_controllers_than_places_are_served_in_turn() -> None:
    made = Places()
    for number in range(places.CONTROLLERS):
        assert made.admit(number, f"DC{number}$@corp") == ()
    assert made.admit(500, "DC500$@corp") == (0,)


# ------------------------------------------------------------------------------------------------------ over real sockets


def test_a_crowd_of_silent_callers_does_not_keep_a_controller_out(stage: Stage) -> None:
    for _ in range(2 * stage.receiver._most):
        stage.silent()
    agent = stage.agent()
    assert isinstance(agent.sign_in(), wire.Welcome)
    for _ in range(stage.receiver._most):
        stage.silent()
    assert agent.say(NOTE) == accepted(NOTE.reference)
    stage.until(1 + STRANGERS_OF_ONE_ADDRESS)
    assert numbers(stage.book) == [6913]


def test_a_controller_that_connects_again_and_again_keeps_its_newest(stage: Stage) -> None:
    agents = []
    for _ in range(places.CONNECTIONS_OF_ONE_CONTROLLER + 1):
        agents.append(stage.agent())
        assert isinstance(agents[-1].sign_in(), wire.Welcome)
    assert agents[0].hung_up()
    for agent in agents[1:]:
        assert agent.say(NOTE) == accepted(NOTE.reference)


def test_a_thread_that_cannot_be_started_takes_no_place(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        assert stage.agent().hung_up()
    stage.until(0)
    assert isinstance(stage.agent().sign_in(), wire.Welcome)


# ----------------------------------------------------------------------------------------------------- how long it lasts


def test_the_whole_handshake_has_one_deadline(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its tokens came in time."""
    monkeypatch.setattr(conversation, "PROMPT", 0.6)
    agent = stage.agent()
    with suppress(OSError):
        for _ in range(3):
            agent.send(b"more")
            agent.receive()
            time.sleep(0.25)
        agent.send(b"ticket")
    assert agent.hung_up()
    assert stage.book.events == []


def test_the_bytes_of_one_token_do_not_stretch_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "PROMPT", 0.6)
    agent = stage.agent()
    with suppress(OSError):
        agent.send(b"more")
        agent.receive()
        for byte in wire.frame(b"ticket"):
            time.sleep(0.1)
            agent.socket.sendall(bytes([byte]))
    assert agent.hung_up()


def test_a_conversation_is_not_longer_than_the_ticket(stage: Stage) -> None:
    stage.handshakes.lifetime = 600
    agent = stage.agent()
    agent.sign_in()
    stage.clock.passed += 299
    assert agent.say(NOTE) == accepted(NOTE.reference)
    stage.clock.passed += 302
    agent.send(agent.channel.seal(wire.encode(NOTE)))
    assert agent.hung_up()
    assert stage.book.told == [NOTE]


def test_a_ticket_that_ends_soon_ends_a_silent_conversation(stage: Stage) -> None:
    stage.handshakes.lifetime = 0.3
    agent = stage.agent()
    agent.sign_in()
    assert agent.hung_up()


@pytest.mark.parametrize("fails", [NotAuthorized("removed"), DirectoryUnavailable("no answer")])
def test_who_is_no_controller_any_more_is_not_heard(stage: Stage, fails: Exception) -> None:
    agent = stage.agent()
    agent.sign_in()
    stage.book.fails = fails
    stage.clock.passed += conversation.RECHECK - 1
    assert agent.say(NOTE) == accepted(NOTE.reference)
    stage.clock.passed += 1
    agent.send(agent.channel.seal(wire.encode(NOTE)))
    assert agent.hung_up()
    assert stage.book.told == [NOTE]
    assert numbers(stage.book) == [6913, 6914] if isinstance(fails, NotAuthorized) else [6913]


def test_who_still_is_one_is_asked_for_again_without_a_word(stage: Stage) -> None:
    agent = stage.agent()
    agent.sign_in()
    for _ in range(3):
        stage.clock.passed += conversation.RECHECK
        assert agent.say(NOTE) == accepted(NOTE.reference)
    assert numbers(stage.book) == [6913]
    stage.book.fails = NotAuthorized("removed")
    assert agent.say(NOTE) == accepted(NOTE.reference), "asked again within the interval: no"
