"""A program of somebody else's that gets passwords: how it is checked, started, spoken to and ended.

1. The path is absolute and no link; the file and every directory above it belong to root, and nobody else may write there. Asked before each start.
2. No shell: the program and its arguments are what the settings say, and no secret is among them.
3. A clean environment, a session and a working directory of its own; of our open files it gets none but the two pipes.
4. Secrets go to its standard input. What it writes to standard error is dropped: it could hold one.
5. Every wait has an end, and every line a longest length. A program that breaks a rule is killed with all it has started.
"""

import os
import selectors
import signal
import stat
import subprocess
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bastide.domain.errors import TargetDenied, TargetUnavailable

ROOT_ONLY = frozenset({0})
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
#: Longest line that it may write. A page of an import is one line.
LINE_LIMIT = 4 * 1024 * 1024
_CHUNK = 64 * 1024
#: Seconds that it has to end after its input has ended.
_FAREWELL = 3.0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_program(path: str, owners: Collection[int] = ROOT_ONLY) -> None:
    """Step 1. Raises TargetDenied."""
    program = Path(path)
    try:
        if not program.is_absolute() or program.resolve(strict=True) != program:
            raise _refused(path, "name the file itself, by its full path and without links")
        found = program.lstat()
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & stat.S_IXUSR:
            raise _refused(path, "it is no program")
        if found.st_uid not in owners or found.st_mode & _OTHERS_WRITE:
            raise _refused(path, "it must belong to root, and nobody else may write it")
        for directory in program.parents:
            held = directory.lstat()
            # In a sticky directory nobody can put another file in the place of root's (unlink(2)).
            open_to_all = held.st_mode & _OTHERS_WRITE and not held.st_mode & stat.S_ISVTX
            if held.st_uid not in {*owners, *ROOT_ONLY} or open_to_all:
                raise _refused(path, f"{directory} must belong to root, and nobody else may write it")
    except OSError as error:
        raise _refused(path, error.strerror or type(error).__name__) from error


def _refused(path: str, why: str) -> TargetDenied:
    return TargetDenied(
        f"{path} will not be run: {why}",
        remedy="run: chown root:root FILE; chmod 755 FILE; the same above it",
    )


class Child:
    """One running program. Lines in, lines out. Not for two threads at a time."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        monotonic: Callable[[], float],
        owners: Collection[int] = ROOT_ONLY,
        line_limit: int = LINE_LIMIT,
    ) -> None:
        """Raises TargetDenied, TargetUnavailable."""
        check_program(command[0], owners)
        self.name = command[0]
        self._timeout = timeout
        self._monotonic = monotonic
        self._limit = line_limit
        self._outgoing: deque[memoryview] = deque()
        self._incoming = bytearray()
        self._ended = False
        try:
            self._process = subprocess.Popen(  # noqa: S603  # steps 1 and 2
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                close_fds=True,
                start_new_session=True,
                umask=0o077,
                bufsize=0,
            )
        except OSError as error:
            raise TargetUnavailable(f"{self.name} did not start: {error.strerror}") from error
        self._in, self._out = self._pipes()

    def _pipes(self) -> tuple[int, int]:
        pipes = (self._process.stdin, self._process.stdout)
        numbers = [pipe.fileno() for pipe in pipes if pipe is not None]
        for number in numbers:
            os.set_blocking(number, False)
        return numbers[0], numbers[1]

    def send(self, line: bytes) -> None:
        """Queue a line; it goes out while `lines` waits."""
        self._outgoing.append(memoryview(line + b"\n"))

    def lines(self) -> Iterator[bytes]:
        """What it writes, line by line. Raises TargetUnavailable: it has ended, is silent for too long, or says too much."""
        deadline = self._monotonic() + self._timeout
        while True:
            end = self._incoming.find(b"\n")
            if end >= 0:
                line = bytes(self._incoming[:end])
                del self._incoming[: end + 1]
                yield line
                deadline = self._monotonic() + self._timeout
                continue
            if len(self._incoming) > self._limit:
                raise self._broken(f"wrote a line of more than {self._limit} bytes")
            self._move(deadline)

    def close(self) -> None:
        """Its input ends; soon after, so does it. Never raises."""
        self._ended = True
        self._outgoing.clear()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_FAREWELL)
        self._kill()

    def _move(self, deadline: float) -> None:
        """Write what can be written, read what is there, or wait; step 5."""
        if self._ended:
            raise TargetUnavailable(f"{self.name} is not running any more")
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if self._outgoing:
                selector.register(self._in, selectors.EVENT_WRITE)
            ready = selector.select(max(0.0, deadline - self._monotonic()))
        if not ready:
            raise self._broken(f"gave no answer in {self._timeout:g} s")
        for key, _ in ready:
            if key.fd == self._in:
                self._write()
            else:
                self._read()

    def _write(self) -> None:
        head = self._outgoing[0]
        try:
            written = os.write(self._in, head[:_CHUNK])
        except BlockingIOError:
            return
        except OSError:
            raise self._broken("closed its input") from None
        if written == len(head):
            self._outgoing.popleft()
        else:
            self._outgoing[0] = head[written:]

    def _read(self) -> None:
        try:
            received = os.read(self._out, _CHUNK)
        except BlockingIOError:
            return
        if not received:
            raise self._broken("ended")
        self._incoming += received

    def _broken(self, what: str) -> TargetUnavailable:
        self._ended = True
        self._outgoing.clear()
        self._kill()
        return TargetUnavailable(f"{self.name} {what}", remedy="look at the program's own log")

    def _kill(self) -> None:
        """With everything it has started, even if it has ended itself."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
