"""What has arrived is taken in together: how much at a time, in which order, and what counts when something breaks in between (conversation.py, steps 5 and 6)."""

import socket
import threading
from dataclasses import replace

import pytest

from bastide import wire
from bastide.receiver import conversation
from bastide.receiver.server import Receiver
from tests.support.receiver import (
    NOTE,
    Agent,
    Book,
    Handshakes,
    accepted,
    fields_of,
    held_up,
    hosting,
    name_of,
    notes,
)
from tests.support.sync_world import SyncWorld

pytest_plugins = ["tests.support.receiver"]


def test_5_what_has_arrived_is_taken_in_together_and_answered_in_order(agent: Agent, book: Book) -> None:
    told = notes(20)
    told[7] = wire.Notification(**{**fields_of(told[7]), "account": "bad"})
    held_up(agent, book, told)
    answers = [agent.hear() for _ in told]
    assert [one.reference for one in answers if isinstance(one, wire.Answer)] == [
        one.reference for one in told
    ]
    assert [one.verdict.value for one in answers if isinstance(one, wire.Answer)].index("discard") == 7
    assert book.commits == [1, 20]
    assert book.told == [NOTE, *told]


def test_5_at_most_a_batch_at_a_time(agent: Agent, book: Book) -> None:
    number = 2 * conversation.BATCH + 20
    held_up(agent, book, notes(number))
    assert [agent.hear() for _ in range(number)] == [accepted(name_of(n)) for n in range(number)]
    assert book.commits == [1, conversation.BATCH, conversation.BATCH, 20]


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
