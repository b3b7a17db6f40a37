"""The conversation with the filter, over a Unix socket in place of the pipe: what is heard, what gets no answer, and how it ends."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from bastide.pcns import Configuration, ServiceSettings
from bastide_agent.failures import Stop
from bastide_agent.spool import QUEUE, Spool
from bastide_agent.windows import source as source_module
from bastide_agent.windows.capture import WindowsCapture
from bastide_agent.windows.frames import FrameError, Reply, answer, parse
from bastide_agent.windows.pipe import NAPS, serve
from bastide_agent.windows.seal import seal
from bastide_agent.windows.source import FilterSource
from tests.support.agent import BASE, MemoryLog, target
from tests.support.filter_pipe import SocketPipe, frame_of, say, tell
from tests.unit.test_windows_capture import CERTIFICATES, INVOCATION, KEYS, RID, Accounts, opened

FRAME = frame_of(RID, "ann", "Sesam-1")


class Serving:
    """A pipe that is served; answers are `taken`, unless `take` says otherwise."""

    def __init__(self, path: Path, naps: int = NAPS) -> None:
        self.pipe = SocketPipe(path)
        self.naps = naps
        self.heard: list[bytes] = []
        self.error: BaseException | None = None
        self.died: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            serve(self.pipe, self.take, self.naps)
        except OSError as error:
            self.died = error

    def take(self, raw: bytes) -> bytes:
        if self.error is not None:
            raise self.error
        frame = parse(raw)
        self.heard.append(raw)
        return answer(frame.number, Reply.TAKEN)

    def end(self) -> None:
        self.pipe.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    made = Serving(tmp_path / "pipe")
    yield made
    made.end()


def test_a_change_is_answered(serving: Serving) -> None:
    assert tell(serving.pipe.path, FRAME, 1) is Reply.TAKEN
    assert serving.heard == [FRAME]


def test_a_frame_may_come_byte_by_byte(serving: Serving) -> None:
    said = say(serving.pipe.path, *(bytes([one]) for one in FRAME))
    assert said == answer(1, Reply.TAKEN)
    assert serving.heard == [FRAME]


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"BSPW", FRAME[:-1], b"GET / HTTP/1.1\r\n\r\n", b"BSPW\2\0" + FRAME[6:], b"BSPW\1\0\xff\xff" + FRAME[8:],
        FRAME[:32] + bytes(8) + FRAME[40:], bytes(2000),
    ],
    ids=["nothing", "a part of the head", "cut off", "another language", "another version", "too long", "no number", "zeros"],
)  # fmt: skip
def test_what_is_no_frame_gets_no_answer_and_the_next_caller_does(serving: Serving, wrong: bytes) -> None:
    with suppress(ConnectionResetError, BrokenPipeError):  # hung up on before all was said
        assert say(serving.pipe.path, wrong) == b""
    assert tell(serving.pipe.path, FRAME, 1) is Reply.TAKEN
    assert serving.heard == [FRAME]


def test_a_filter_that_went_before_the_answer_harms_nobody(serving: Serving) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(serving.pipe.path))
        caller.sendall(FRAME)
    assert tell(serving.pipe.path, frame_of(RID, "ann", "Sesam-2", number=2), 2) is Reply.TAKEN


@pytest.mark.parametrize(
    ("rhythm", "heard"),
    [([], [FRAME]), ([bytes([one]) for one in FRAME], [FRAME]), ([FRAME], [FRAME, FRAME])],
    ids=["silent", "slow", "stays"],
)
def test_a_caller_that_takes_its_time_is_hung_up_on_and_the_next_one_is_heard(
    tmp_path: Path, rhythm: list[bytes], heard: list[bytes]
) -> None:
    """One that hangs, or is held in a debugger, must not cost the changes of all others."""
    serving = Serving(tmp_path / "pipe", naps=40)
    with socket.socket(socket.AF_UNIX) as slow, ThreadPoolExecutor() as other:
        slow.connect(str(serving.pipe.path))
        told = other.submit(tell, serving.pipe.path, FRAME, 1)
        for part in rhythm:
            with suppress(BrokenPipeError):
                slow.sendall(part)
            wait([told], 0.02)
        assert told.result(5) is Reply.TAKEN
    assert serving.heard == heard
    serving.end()


class SlowReader:
    """A pipe with one caller, who says a frame and goes when it has read the answer, after a while. As on Windows, hanging up takes away what was not read."""

    def __init__(self) -> None:
        self.callers = [self]
        self.left, self.answer, self.looks = FRAME, b"", 0
        self.read_it = b""

    def next(self) -> "SlowReader | None":
        return self.callers.pop() if self.callers else None

    def close(self) -> None:
        """Nobody waits."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer = b""

    def there(self) -> int:
        self.looks += bool(self.answer)
        if self.looks == 3:
            self.read_it = self.answer
            raise BrokenPipeError
        return len(self.left)

    def read(self, size: int) -> bytes:
        found, self.left = self.left[:size], self.left[size:]
        return found

    def write(self, answer: bytes) -> None:
        self.answer = answer


def test_nobody_is_hung_up_on_before_the_answer_was_read() -> None:
    pipe = SlowReader()
    serve(pipe, lambda raw: answer(parse(raw).number, Reply.TAKEN))
    assert pipe.read_it == answer(1, Reply.TAKEN)


def test_what_cannot_be_parsed_further_down_gets_no_answer(serving: Serving) -> None:
    serving.error = FrameError("that is no frame")
    assert say(serving.pipe.path, FRAME) == b""
    serving.error = None
    assert tell(serving.pipe.path, FRAME, 1) is Reply.TAKEN


def test_an_error_that_nobody_foresaw_is_not_hidden(tmp_path: Path) -> None:
    serving = Serving(tmp_path / "pipe")
    serving.error = OSError(5, "the disk fails")
    assert say(serving.pipe.path, FRAME) == b""
    serving.thread.join(10)
    assert serving.died is serving.error
    serving.pipe.gone()


# --------------------------------------------------------------------------------------------------------- the whole source


@pytest.fixture
def source(tmp_path: Path) -> Iterator[tuple[FilterSource, SocketPipe, Spool, MemoryLog]]:
    log = MemoryLog()
    (tmp_path / "state").mkdir()
    spool = Spool(tmp_path / "state", log, limit=1 << 24, aside=lambda: "now")
    pipe = SocketPipe(tmp_path / "pipe")
    made = FilterSource(WindowsCapture(Accounts(), spool, seal, log), pipe)
    made.begin(BASE, INVOCATION)
    yield made, pipe, spool, log
    made.flush()


ONE = target(certificate=CERTIFICATES[0])
CONFIGURATION = Configuration(ServiceSettings(), (ONE,))


def test_two_hundred_changes_are_in_the_queue_in_their_order(
    source: tuple[FilterSource, SocketPipe, Spool, MemoryLog], tmp_path: Path
) -> None:
    made, pipe, spool, _ = source
    made.round(CONFIGURATION)
    canary = "Kanarienvogel-{}"
    for number in range(1, 201):
        frame = frame_of(RID, "ann", canary.format(number), number=number, changed_at=10**17 + number)
        assert tell(pipe.path, frame, number) is Reply.TAKEN
    assert made.round(CONFIGURATION) == 200
    held: list[str] = []
    for number in range(1, 201):
        (found,) = spool.next_few(str(ONE.guid), (), 1, passed=held)
        assert opened(KEYS[0], found.change.secret) == canary.format(number).encode("utf-16-le")
        held.append(found.change.reference)
    for file in (tmp_path / "state").iterdir():
        assert b"Kanarienvogel" not in file.read_bytes()
        assert "Kanarienvogel".encode("utf-16-le") not in file.read_bytes()


def test_until_the_first_round_the_filter_keeps_what_it_has(
    source: tuple[FilterSource, SocketPipe, Spool, MemoryLog],
) -> None:
    made, pipe, spool, _ = source
    assert tell(pipe.path, FRAME, 1) is Reply.LATER
    assert spool.waiting() == 0
    made.round(CONFIGURATION)
    assert tell(pipe.path, FRAME, 1) is Reply.TAKEN


def test_after_the_end_nothing_is_answered(
    source: tuple[FilterSource, SocketPipe, Spool, MemoryLog],
) -> None:
    made, pipe, spool, _ = source
    made.round(CONFIGURATION)
    made.flush()
    with pytest.raises(OSError, match="refused"):
        say(pipe.path, FRAME)
    assert spool.waiting() == 0


def test_a_change_that_the_end_overtakes_is_kept_by_the_filter(
    source: tuple[FilterSource, SocketPipe, Spool, MemoryLog],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The directory is slow about it; when it answers the queue may be another agent's."""
    made, pipe, spool, _ = source
    made.round(CONFIGURATION)
    asked, goes_on, by_rid = threading.Event(), threading.Event(), Accounts.by_rid

    def slow(self: Accounts, rid: int, names: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        asked.set()
        goes_on.wait(10)
        return by_rid(self, rid, names)

    monkeypatch.setattr(Accounts, "by_rid", slow)
    monkeypatch.setattr(source_module, "_PATIENCE", 0.05)
    with ThreadPoolExecutor() as lsa:
        told = lsa.submit(tell, pipe.path, FRAME, 1)
        assert asked.wait(10)
        made.flush()
        spool.close()
        before = (tmp_path / "state" / QUEUE).read_bytes()
        goes_on.set()
        assert told.result(10) is Reply.LATER
    assert (tmp_path / "state" / QUEUE).read_bytes() == before


def test_a_pipe_that_broke_stops_the_agent(
    source: tuple[FilterSource, SocketPipe, Spool, MemoryLog],
) -> None:
    made, pipe, _, _ = source
    made.round(CONFIGURATION)
    pipe.gone()
    deadline = time.monotonic() + 10
    with pytest.raises(Stop) as stopped:  # noqa: PT012
        while time.monotonic() < deadline:
            made.round(CONFIGURATION)
            time.sleep(0.01)
    assert stopped.value.number == 6028
