"""One caller after the other at the filter's pipe. Pure but for what `Pipe` does: the real one is in host.py, and its twin for the tests a Unix socket.

A caller who says something else, or nothing for too long, or goes, is hung up on, and the next one is heard. Who may call is decided by the pipe (host.py), before anything is read.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from time import sleep
from typing import NoReturn, Protocol

from bastide_agent.windows.frames import HEAD, FrameError, size_of

NAP = 0.005
#: Naps that a caller has, all its silences together: a second. The filter allows itself a quarter of one (windows/agent.c); behind a caller that hangs
#: the next ones would wait, and their changes be lost. A read that waits has no time limit on Windows, so we look now and then.
NAPS = 200


class Caller(AbstractContextManager["Caller"], Protocol):
    """Somebody at the other end; hung up on at the end of the block, and then what it has not read is gone."""

    def there(self) -> int:
        """How many bytes can be read at once. Raises OSError when there will be no more."""

    def read(self, size: int) -> bytes:
        """At most so many of them. Raises OSError."""

    def write(self, answer: bytes) -> None:
        """All of it is on its way when it returns. Raises OSError."""


class Pipe(Protocol):
    """Serves one caller at a time."""

    def next(self) -> Caller | None:
        """Wait for the next one; None after `close`. Raises OSError if there is no pipe any more."""

    def close(self) -> None:
        """From any thread: whoever waits in `next` gets None."""


def serve(pipe: Pipe, take: Callable[[bytes], bytes], naps: int = NAPS) -> None:
    """Until the pipe is closed. `take` makes the answer to a frame, or raises FrameError: then there is none. Raises OSError, and what else `take` raises."""
    while (caller := pipe.next()) is not None:
        with caller, suppress(FrameError):
            patience = _Patience(caller, naps)
            answer = take(_heard(patience))
            with suppress(OSError):  # gone: it comes again, and is told the same
                caller.write(answer)
                patience.until_it_went()


class _Patience:
    """A caller, and how long it is waited for."""

    def __init__(self, caller: Caller, naps: int) -> None:
        self._caller = caller
        self._left = naps

    def read(self, size: int) -> bytes:
        """At least one byte. Raises OSError."""
        while not (there := self._caller.there()):
            self._nap()
        return self._caller.read(min(size, there))

    def until_it_went(self) -> NoReturn:
        """It has read its answer then. Always raises OSError: it went, or its time is over."""
        while True:
            self._caller.there()
            self._nap()

    def _nap(self) -> None:
        if self._left == 0:
            raise TimeoutError("the caller's time is over")
        self._left -= 1
        sleep(NAP)


def _heard(caller: _Patience) -> bytes:
    """A frame of the size that it says. Raises FrameError."""
    head = _exactly(caller, HEAD)
    return head + _exactly(caller, size_of(head) - HEAD)


def _exactly(caller: _Patience, size: int) -> bytes:
    found = b""
    while len(found) < size:
        try:
            found += caller.read(size - len(found))
        except OSError:
            raise FrameError("the filter hung up, or says no more") from None
    return found
