"""What the doors for agents and forwarders share (listener.py), each number, with doors that do next to nothing."""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bastide import listener
from bastide.listener import STRANGERS, STRANGERS_OF_ONE_ADDRESS, Listener, Strangers
from bastide_lab.targets import Pair
from tests.support.certificates import issue

SOON = 10.0


class Door(Listener[socket.socket]):
    """Answers a byte with a byte, when it may; `!` breaks it."""

    def __init__(self, most: int = 50) -> None:
        super().__init__(
            "127.0.0.1", 0, name="door", whom="nobody", most=most, answers=True, monotonic=time.monotonic
        )
        self.taken = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.served: list[socket.socket] = []

    def _made(self, plain: socket.socket) -> socket.socket:
        return plain

    def _serve(self, number: int, connection: socket.socket, address: str) -> None:
        del number, address
        self.served.append(connection)
        while said := connection.recv(1):
            if said == b"!":
                raise ZeroDivisionError
            self.taken.set()
            assert self.may_answer.wait(SOON)
            connection.sendall(said)


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    made.start()
    yield made
    made.may_answer.set()
    made.stop()
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("door")])


def calling(door: Listener[socket.socket]) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", door.port), SOON))


def answered(caller: socket.socket) -> bool:
    with suppress(OSError):
        caller.sendall(b".")
        return caller.recv(1) == b"."
    return False


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_1_above_all_places_a_new_connection_is_hung_up_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "STRANGERS", 1)
    monkeypatch.setattr(listener, "LEAVING", 0)
    door = Door(most=0)
    door.start()
    with calling(door) as first:
        assert answered(first)
        with calling(door) as second:
            assert not answered(second)
        assert answered(first)
    until(lambda: not door._open)
    with calling(door) as third:
        assert answered(third), "the place is free again"
    door.stop()
    assert "the connection from 127.0.0.1 cannot be served: too many connections are open" in caplog.text
    assert {one.name for one in caplog.records} == {__name__}, "the journal names the door"


def test_1_an_address_has_few_places_and_the_oldest_makes_room() -> None:
    made = Strangers()
    for number in range(STRANGERS_OF_ONE_ADDRESS):
        assert made.enter(number, "a") == ()
    assert made.enter(50, "b") == ()
    assert made.enter(100, "a") == (0,)
    assert made.enter(101, "a") == (1,)
    assert made.enter(51, "b") == ()


def test_1_when_all_places_of_strangers_are_taken_who_has_most_makes_room() -> None:
    made = Strangers()
    for number in range(STRANGERS_OF_ONE_ADDRESS):
        made.enter(number, "greedy")
    for number in range(STRANGERS_OF_ONE_ADDRESS, STRANGERS):
        assert made.enter(number, f"address {number}") == ()
    assert made.enter(100, "somebody") == (0,)
    assert made.enter(101, "another") == (1,)


def test_1_who_has_shown_who_they_are_takes_no_place_and_loses_none() -> None:
    made = Strangers()
    made.enter(1, "a")
    assert made.leave(1)
    assert not made.leave(1), "it is no stranger any more, or was hung up on meanwhile"
    gone = [one for number in range(100, 1000) for one in made.enter(number, f"address {number}")]
    assert min(gone) >= 100


def test_1_a_thread_that_cannot_be_started_takes_no_place(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        with calling(door) as caller:
            assert not answered(caller)
    assert not door._open
    with calling(door) as caller:
        assert answered(caller)


def test_2_connections_are_kept_alive(door: Door) -> None:
    with calling(door) as caller:
        assert answered(caller)
        (served,) = door.served
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_3_what_goes_wrong_in_one_ends_that_one(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    with calling(door) as other, calling(door) as caller:
        assert answered(other)
        caller.sendall(b"!")
        assert caller.recv(1) == b""
        assert answered(other)
    assert "unexpected, in the conversation with 127.0.0.1" in caplog.text
    with calling(door) as next_one:
        assert answered(next_one)


def test_4_who_is_hung_up_on_for_another_hears_so(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "STRANGERS_OF_ONE_ADDRESS", 1)
    with calling(door) as first:
        assert answered(first)
        with calling(door) as second:
            assert answered(second)
            assert first.recv(1) == b""


def test_4_who_is_in_the_list_is_open(door: Door) -> None:
    """Whoever looks with the lock held: so nobody else's descriptor is hung up on."""
    over = threading.Event()
    closed: list[int] = []

    def look() -> None:
        while not over.is_set():
            with door._lock:
                closed.extend(number for number, talk in door._open.items() if talk.connection.fileno() == -1)

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(200):
        with calling(door) as caller:
            assert answered(caller)
    until(lambda: not door._open)
    over.set()
    looking.join(SOON)
    assert closed == []
    assert [one for one in door.served if one.fileno() != -1] == []


class Secret(Listener[ssl.SSLSocket]):
    """Reads once before it is hung up on, and to the end after it."""

    def __init__(self, ours: Pair) -> None:
        super().__init__(
            "127.0.0.1", 0, name="secret", whom="nobody", most=5, answers=False, monotonic=time.monotonic
        )
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(ours.certificate, ours.key)
        self.heard = b""
        self.heard_first = threading.Event()
        self.more_is_there = threading.Event()
        self.go_on = threading.Event()
        self.over = threading.Event()

    def _made(self, plain: socket.socket) -> ssl.SSLSocket:
        return self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)

    def _serve(self, number: int, connection: ssl.SSLSocket, address: str) -> None:
        del number, address
        connection.do_handshake()
        self.heard += connection.recv(5)
        self.heard_first.set()
        assert select.select([connection], [], [], SOON)[0]
        self.more_is_there.set()
        assert self.go_on.wait(SOON)
        with suppress(OSError):
            while said := connection.recv(100):
                self.heard += said
        self.over.set()


def test_4_what_had_arrived_over_tls_is_never_read_as_ciphertext(tmp_path: Path) -> None:
    ours = issue(tmp_path, "server", "localhost")
    door = Secret(ours)
    door.start()
    trusted = ssl.create_default_context(cafile=str(ours.certificate))
    with (
        calling(door) as plain,  # type: ignore[arg-type]  # a door is a door
        trusted.wrap_socket(plain, server_hostname="localhost") as caller,
    ):
        caller.sendall(b"first")
        assert door.heard_first.wait(SOON)
        caller.sendall(b"second")
        assert door.more_is_there.wait(SOON)
        stopping = threading.Thread(target=door.stop, args=(SOON,))
        stopping.start()
        time.sleep(0.1)  # it hangs up, and waits for the reader
        door.go_on.set()
        stopping.join(SOON)
        assert door.over.is_set()
        assert not stopping.is_alive()
    assert door.heard == b"firstsecond"


def test_5_what_is_being_taken_in_is_finished_and_answered(door: Door) -> None:
    door.may_answer.clear()
    with calling(door) as caller:
        caller.sendall(b".")
        assert door.taken.wait(SOON)
        stopping = threading.Thread(target=door.stop, args=(SOON,))
        stopping.start()
        stopping.join(0.1)
        assert stopping.is_alive()
        door.may_answer.set()
        stopping.join(SOON)
        assert not stopping.is_alive()
        assert caller.recv(2) == b"."
        assert caller.recv(1) == b""
    with pytest.raises(OSError):  # noqa: PT011  # refused or reset
        calling(door)


def test_5_all_together_have_the_time_and_no_more(door: Door) -> None:
    door.may_answer.clear()
    callers = [socket.create_connection(("127.0.0.1", door.port), SOON) for _ in range(20)]
    for one in callers:
        one.sendall(b".")
    until(lambda: len(door.served) == len(callers))
    began = time.monotonic()
    door.stop(0.3)
    assert 0.25 < time.monotonic() - began < 3
    door.may_answer.set()
    until(lambda: not door._open)
    for one in callers:
        one.close()


def test_5_who_says_nothing_holds_up_nothing(door: Door) -> None:
    with calling(door) as caller:
        assert answered(caller)
        began = time.monotonic()
        door.stop(SOON)
        assert time.monotonic() - began < SOON / 2
        assert caller.recv(1) == b""


def test_one_that_was_never_started_can_be_stopped_and_one_that_was_twice() -> None:
    door = Door()
    door.stop()
    door = Door()
    door.start()
    door.stop()
    door.stop()


def test_a_start_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    door = Door()
    port = door.port
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="new thread"):
        door.start()
    with pytest.raises(OSError):  # noqa: PT011  # refused or reset
        socket.create_connection(("127.0.0.1", port), 1)
