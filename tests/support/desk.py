"""`bastide` as a program of its own on a terminal of its own, and somebody who sits before it."""

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.patience import PATIENCE


class Desk:
    """A program on a terminal: what is typed, what it shows, and what the system sees of it."""

    def __init__(self, *words: str, env: Mapping[str, str], before: Sequence[str] = ()) -> None:
        """`before`: a program that runs it."""
        self.shown = b""
        self._read = 0
        command = [*before, sys.executable, "-m", "bastide.cli.main", *words]
        around = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "25", **env}
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            # What is run in the background of a shell ignores it, and so would the program.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.execvpe(command[0], command, around)

    def until(self, text: str) -> str:
        """What came since what was waited for before, up to this text."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.shown[self._read :]:
            assert time.monotonic() < deadline, self.shown.decode()
            if select.select([self._fd], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self._fd, 65536)
                except OSError:
                    break
        assert text.encode() in self.shown[self._read :], self.shown.decode()
        before, self._read = self._read, self.shown.index(text.encode(), self._read) + len(text.encode())
        return self.shown[before : self._read].decode()

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode() + b"\n")

    def end(self) -> int:
        """Its exit code. One that does not end is killed."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                if select.select([self._fd], [], [], 0.2)[0]:
                    self.shown += os.read(self._fd, 65536)
            except OSError:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)

    def seen_by_the_system(self) -> bytes:
        folder = Path(f"/proc/{self.pid}")
        return (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()

    def core_limit(self) -> str:
        limits = Path(f"/proc/{self.pid}/limits").read_text(encoding="ascii")
        return next(line for line in limits.splitlines() if line.startswith("Max core file size"))
