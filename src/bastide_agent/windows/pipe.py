"""One caller after the other at the filter's pipe. Pure but for what `Pipe` does: the real one is in host.py, and its twin for the tests a Unix socket.

A caller who says something else, or goes, is hung up on, and the next one is heard. Who may call is decided by the pipe (host.py), before anything is read.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from bastide_agent.windows.frames import HEAD, FrameError, size_of


class Caller(AbstractContextManager["Caller"], Protocol):
    """Somebody at the other end; hung up on at the end of the block."""

    def read(self, size: int) -> bytes:
        """Wait for something, and take at most so many bytes of it; nothing: the end. Raises OSError."""

    def write(self, answer: bytes) -> None:
        """All of it is on its way when it returns. Raises OSError."""


class Pipe(Protocol):
    """Serves one caller at a time."""

    def next(self) -> Caller | None:
        """Wait for the next one; None after `close`. Raises OSError if there is no pipe any more."""

    def close(self) -> None:
        """From any thread: whoever waits in `next` gets None."""


def serve(pipe: Pipe, take: Callable[[bytes], bytes]) -> None:
    """Until the pipe is closed. `take` makes the answer to a frame, or raises FrameError: then there is none. Raises OSError, and what else `take` raises."""
    while (caller := pipe.next()) is not None:
        with caller, suppress(FrameError):
            answer = take(_heard(caller))
            with suppress(OSError):  # gone: it comes again, and is told the same
                caller.write(answer)


def _heard(caller: Caller) -> bytes:
    """A frame of the size that it says. Raises FrameError."""
    head = _exactly(caller, HEAD)
    return head + _exactly(caller, size_of(head) - HEAD)


def _exactly(caller: Caller, size: int) -> bytes:
    found = b""
    while len(found) < size:
        try:
            more = caller.read(size - len(found))
        except OSError:
            more = b""
        if not more:
            raise FrameError("the filter hung up")
        found += more
    return found
