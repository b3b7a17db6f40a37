"""Who writes down which controllers were heard: beside the conversations, through failures, and to an end."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bastide import wire
from bastide.domain.contacts import EVERY, GAP, Contact
from bastide.domain.errors import StoreUnavailable
from bastide.receiver import recorder
from bastide.receiver.recorder import Recorder
from bastide.receiver.server import Receiver
from bastide.store import migrations
from tests.support.receiver import NOTE, Agent, Book, Handshakes, accepted, hosting
from tests.support.sync_world import SyncWorld

pytest_plugins = ["tests.support.receiver"]
OURS = ("receiver", "contacts")


class Silence:
    """Fails as it is told, one failure a call; then writes."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.written = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.begun = threading.Event()

    def write_down(self) -> None:
        self.begun.set()
        assert self.goes_on.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        self.written.set()


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in OURS]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    assert not running()
    yield
    assert not running()


@pytest.fixture
def made() -> Iterator[Callable[..., Recorder]]:
    several: list[Recorder] = []

    def make(silence: Silence, **seconds: float) -> Recorder:
        several.append(Recorder(silence, **seconds))  # type: ignore[arg-type]
        several[-1].start()
        return several[-1]

    yield make
    for one in several:
        one.stop()


def test_it_writes_again_and_again(made: Callable[..., Recorder]) -> None:
    silence = Silence()
    made(silence, pace=0.01)
    for _ in range(3):
        assert silence.written.wait(5)
        silence.written.clear()


@pytest.mark.parametrize(
    ("failure", "said"),
    [(StoreUnavailable("the database is gone"), "the database is gone"), (ZeroDivisionError(), "unexpected")],
)
def test_a_failure_is_said_and_tried_again(
    made: Callable[..., Recorder], caplog: pytest.LogCaptureFixture, failure: Exception, said: str
) -> None:
    """A thread that ended here would make all controllers silent."""
    silence = Silence(failure)
    made(silence, pace=60, pause=0.01)
    assert silence.written.wait(5)
    assert said in caplog.text


def test_after_a_failure_it_pauses(made: Callable[..., Recorder]) -> None:
    silence = Silence(StoreUnavailable("the database is gone"))
    made(silence, pace=0.01, pause=60)
    assert silence.begun.wait(5)
    assert not silence.written.wait(0.2)


def test_stop_ends_a_pause_at_once_and_waits_for_a_commit(made: Callable[..., Recorder]) -> None:
    silence = Silence()
    silence.goes_on.clear()
    one = made(silence, pace=600)
    assert silence.begun.wait(5)
    ending = threading.Thread(target=one.stop, args=(10,))
    ending.start()
    ending.join(0.1)
    assert ending.is_alive(), "the commit that has begun is finished"
    silence.goes_on.set()
    ending.join(5)
    assert not ending.is_alive()
    assert silence.written.is_set()


def test_stop_does_not_wait_for_ever(made: Callable[..., Recorder]) -> None:
    silence = Silence()
    silence.goes_on.clear()
    one = made(silence)
    assert silence.begun.wait(5)
    one.stop(0.05)
    assert "contacts" in running()
    silence.goes_on.set()


# --------------------------------------------------------------------------------------------------------- the receiver


def test_a_receiver_has_one_from_its_start_to_its_end(book: Book, handshakes: Handshakes) -> None:
    receiver = Receiver("127.0.0.1", 0, hosting(handshakes, book))
    assert not running()
    receiver.start()
    deadline = time.monotonic() + 5
    while not book.written_down and time.monotonic() < deadline:
        time.sleep(0.005)
    assert sorted(running()) == ["contacts", "receiver"]
    receiver.stop()
    receiver.stop()  # once more does no harm
    assert book.written_down == 1


@pytest.mark.parametrize("which", OURS)
def test_a_start_that_fails_leaves_nothing(
    book: Book, handshakes: Handshakes, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == which:
            raise RuntimeError("can't start new thread")
        start(thread)

    receiver = Receiver("127.0.0.1", 0, hosting(handshakes, book))
    port = receiver.port
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="new thread"):
        receiver.start()
    assert not running()
    with pytest.raises(OSError):  # noqa: PT011  # refused or reset
        Agent(port)


def test_one_that_was_never_started_can_be_stopped(book: Book, handshakes: Handshakes) -> None:
    receiver = Receiver("127.0.0.1", 0, hosting(handshakes, book))
    receiver.stop()
    assert book.written_down == 0


# ----------------------------------------------------------------------------------------------------- the conversation


def test_what_was_said_is_answered_before_it_is_noted(
    agent: Agent, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noting waits for nothing; but if ever it did, no agent would."""
    heard = threading.Event()
    go_on = threading.Event()

    def slowly(*_: object) -> None:
        heard.set()
        assert go_on.wait(5)

    monkeypatch.setattr(book, "heard", slowly)
    agent.sign_in()
    try:
        assert agent.say(NOTE) == accepted(NOTE.reference)
        assert heard.wait(5)
        go_on.set()
        heard.clear()
        go_on.clear()
        assert isinstance(agent.say(wire.Heartbeat(waiting=1, oldest=0)), wire.Answer)
        assert heard.wait(5)
    finally:
        go_on.set()


def test_a_recorder_that_hangs_holds_up_no_conversation(
    book: Book, handshakes: Handshakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(book, "write_down", lambda: go_on.wait(10))
    receiver = Receiver("127.0.0.1", 0, hosting(handshakes, book))
    receiver.start()
    agent = Agent(receiver.port)
    try:
        agent.sign_in()
        assert agent.say(NOTE) == accepted(NOTE.reference)
    finally:
        go_on.set()
        agent.socket.close()
        receiver.stop()


def test_what_an_agent_says_is_on_record_soon(book: Book, handshakes: Handshakes, tmp_path: Path) -> None:
    """From the socket to the row, with the real use case and a database in a file."""
    migrations.upgrade(url := f"sqlite:///{tmp_path / 'bastide.db'}")
    world = SyncWorld(url=url)
    silence = world.passwords.silence
    receiver = Receiver("127.0.0.1", 0, replace(hosting(handshakes, book), silence=silence))
    receiver._recorder = Recorder(silence, pace=0.01)
    receiver.start()
    agent = Agent(receiver.port)
    try:
        agent.sign_in()
        agent.say(wire.Heartbeat(waiting=3, oldest=0))
        deadline = time.monotonic() + 5
        found: tuple[Contact, ...] = ()
        while not found and time.monotonic() < deadline:
            time.sleep(0.01)
            with world.store.read() as uow:
                found = uow.contacts.all()
    finally:
        agent.socket.close()
        receiver.stop()
        world.close()
    now = world.clock.now()
    wanted = Contact(
        domain="corp.example.com",
        account="dc1$",
        host="dc1.corp.example.com",
        heard_at=now,
        waiting=3,
        beat_at=now,
    )
    assert found == (wanted,)


def test_the_times_are_short_enough_for_the_record() -> None:
    """A failure must not look like a gap in which nobody listened."""
    assert EVERY.total_seconds() + recorder.PACE + recorder.PAUSE < GAP.total_seconds()
