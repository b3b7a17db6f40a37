"""The listener for agents, over real sockets, with a handshake of its own: each step of conversation.py."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from bastide import wire
from bastide.domain.errors import DirectoryUnavailable
from bastide.receiver import conversation
from bastide.receiver.server import Receiver
from tests.support.receiver import (
    DC,
    NOTE,
    PASSWORD,
    Agent,
    Book,
    Handshakes,
    fields_of,
    notes,
    numbers,
)

pytest_plugins = ["tests.support.receiver"]


def test_a_conversation(agent: Agent, book: Book) -> None:
    assert agent.sign_in() == wire.Welcome(version=wire.VERSION, node="node-1")
    assert agent.say(NOTE) == wire.Answer(reference=NOTE.reference, verdict=wire.Verdict.ACCEPTED)
    answer = agent.say(wire.Heartbeat(waiting=7, oldest=1234))
    assert answer == wire.Answer(reference="", verdict=wire.Verdict.LATER, reason="not yet", delay=30)
    assert book.told == [NOTE]
    assert book.waiting == [7]
    agent.socket.shutdown(socket.SHUT_WR)
    assert agent.hung_up(), "so what comes after the answer is done"
    assert book.heard_of == [("dc1.corp.example.com", None, 0), ("dc1.corp.example.com", 7, 1234)]
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
    agent.send(agent.channel.seal(wire.encode(wire.Notification(**{**fields_of(NOTE), "account": account}))))
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
