"""How a waiting worker hears of a poke. A wake-up may come for nothing; the table is the truth.

Each thread has a watch. `mark` resets it, just before the thread looks at the table; `wait` returns as soon as it was rung since. So a ring
between the look and the wait is never lost. A poke in this process rings only for whom it concerns: of the kinds that the thread looked for,
and sooner than what it waits for anyway. What comes from elsewhere rings for everybody. A bell that cannot hear rings from elsewhere
(`deaf`) lets nobody wait longer than a second.
"""

import errno
import logging
import os
import secrets
import select
import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)
_DEAF_WAIT = 1.0
#: Seconds of silence after which a database is asked whether it still listens: one that was stopped breaks no connection.
_SILENCE = 30.0


#: Kind of work to the earliest moment it was poked for, in microseconds since the epoch.
Pokes = Mapping[str, int]


#: PostgreSQL takes less than 8,000 bytes with a NOTIFY.
_PAYLOAD_LIMIT = 4000


def to_payload(pokes: Pokes) -> str:
    """What a notification says; empty: everybody is to look."""
    said = " ".join(f"{kind}={due}" for kind, due in sorted(pokes.items()))
    return said if len(said.encode()) <= _PAYLOAD_LIMIT else ""


def from_payload(said: str) -> Pokes | None:
    """None: it concerns everybody, or is nothing that `to_payload` makes."""
    try:
        return {kind: int(due) for kind, due in (one.rsplit("=", 1) for one in said.split())} or None
    except ValueError:
        return None


class _Watch:
    """What one thread waits for."""

    def __init__(self) -> None:
        self.rung = False
        self.reset(())

    def reset(self, kinds: Collection[str]) -> None:
        self.kinds = kinds
        self.until: int | None = None

    def concerns(self, pokes: Pokes) -> bool:
        """Without kinds, everything does; without a moment, any."""
        if not self.kinds:
            return True
        return any(
            kind in self.kinds and (self.until is None or due < self.until) for kind, due in pokes.items()
        )


class Bell:
    """Between the threads of one process; enough for a database in memory."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._mine = threading.local()
        self._watches: weakref.WeakSet[_Watch] = weakref.WeakSet()
        self._deaf = False

    def mark(self, kinds: Collection[str] = ()) -> None:
        """What rings from now on, about these kinds, ends this thread's next `wait`."""
        with self._condition:
            watch = self._watch()
            watch.rung = False
            watch.reset(kinds)

    def expect(self, due: int | None) -> None:
        """The thread comes back at that moment by itself: a poke for later is nothing new to it. None: any poke is."""
        with self._condition:
            self._watch().until = due

    def ring(self) -> None:
        """Wake everybody who waits in this process."""
        with self._condition:
            for watch in self._watches:
                watch.rung = True
            self._condition.notify_all()

    def announce(self, pokes: Pokes) -> None:
        """After a commit with pokes: wake whom they concern, wherever."""
        with self._condition:
            concerned = [watch for watch in self._watches if watch.concerns(pokes)]
            for watch in concerned:
                watch.rung = True
            if concerned:
                self._condition.notify_all()

    def wait(self, timeout: float | None) -> bool:
        """Sleep until the next ring after this thread's mark, at most `timeout` seconds (None: for ever); whether the table is to be looked at."""
        if self._deaf:
            timeout = _DEAF_WAIT if timeout is None else min(timeout, _DEAF_WAIT)
        with self._condition:
            watch = self._watch()
            rung = self._condition.wait_for(lambda: watch.rung, timeout)
            watch.rung = False
        return rung or self._deaf

    def disregard(self) -> None:
        """What was committed just now changed nothing that anybody waits for."""

    def _watch(self) -> _Watch:
        watch: _Watch | None = getattr(self._mine, "watch", None)
        if watch is None:
            watch = self._mine.watch = _Watch()
            self._watches.add(watch)
        return watch

    def listen(self) -> None:
        """Begin to hear rings from elsewhere."""

    def close(self) -> None:
        """Stop hearing, and wake everybody."""
        self.ring()


class Listener(Bell):
    """A bell with a thread that hears rings from elsewhere; the thread starts when somebody first wants to wait."""

    def __init__(self) -> None:
        super().__init__()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = -1
        self._closed = False

    def listen(self) -> None:
        """Begin to hear rings from elsewhere, if that is not so yet."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None and not self._closed:
                self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._prepare()
                self._thread = threading.Thread(target=self._hear, name="store-wakeup", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop the thread, and wake everybody."""
        with self._starting:
            self._closed, thread, self._thread = True, self._thread, None
        if thread is not None:
            os.eventfd_write(self._stop, 1)
            thread.join()
            os.close(self._stop)
        super().close()

    def _prepare(self) -> None:
        """Before the thread starts: what must be there before the first look at the table."""

    def _hear(self) -> None:
        raise NotImplementedError

    def _stopped(self, *others: int, timeout: float | None) -> bool:
        """Sleep until one of the descriptors is readable; true when it is time to stop."""
        ready, _, _ = select.select([self._stop, *others], [], [], timeout)
        return self._stop in ready


class FifoBell(Listener):
    """Between the processes of one host: each waiter has a FIFO in a directory beside the database, open for reading as long as it lives.

    The kernel says which FIFO has no reader any more (ENXIO), so what a killed process left behind is removed by the next who rings.
    A process that is killed between its commit and its ring is noticed by the change of the write-ahead log, looked at once a second.
    """

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._folder = database.with_name(f"{database.name}.wake")
        self._log_file = database.with_name(f"{database.name}-wal")
        self._name = ""
        self._fifo = -1
        self._seen = (0, 0)

    def disregard(self) -> None:
        """A heartbeat: the change of the log that it made is none to look for. Who is killed in this very moment between a commit and its ring is
        noticed when the workers look at the clock, within a minute.
        """
        self._seen = self._fingerprint()

    def announce(self, pokes: Pokes) -> None:
        """Wake whom they concern in this process, and everybody who waits in another one on this host."""
        super().announce(pokes)
        with suppress(FileNotFoundError):
            for fifo in self._folder.iterdir():
                if fifo.suffix == ".fifo" and fifo.name != self._name:
                    _knock(fifo)

    def close(self) -> None:
        """Stop hearing, and wake everybody in this process."""
        super().close()
        if self._fifo >= 0:
            os.close(self._fifo)
            self._fifo = -1
            (self._folder / self._name).unlink(missing_ok=True)

    def _prepare(self) -> None:
        try:
            self._open()
        except OSError as error:
            self._deaf = True
            _log.warning("wake-ups from other processes may take a second: %s", error)

    def _open(self) -> None:
        """Made under another name and renamed once it has its reader: nobody ever finds a living FIFO without one."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(8)}.fifo"
        new = self._folder / f"{name}.new"
        os.mkfifo(new, 0o600)
        # Open for writing too: else it would be at its end whenever nobody knocks.
        self._fifo = os.open(new, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        new.rename(self._folder / name)
        self._name = name

    def _hear(self) -> None:
        self._seen = self._fingerprint()
        others = [self._fifo] if self._fifo >= 0 else []
        while not self._stopped(*others, timeout=_DEAF_WAIT):
            knocked = self._drain()
            after = self._fingerprint()
            changed, self._seen = after != self._seen, after
            if knocked or changed:
                self.ring()

    def _drain(self) -> bool:
        with suppress(BlockingIOError):
            return self._fifo >= 0 and bool(os.read(self._fifo, 65536))
        return False

    def _fingerprint(self) -> tuple[int, int]:
        try:
            found = self._log_file.stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_size


def _knock(fifo: Path) -> None:
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ENXIO:
            fifo.unlink(missing_ok=True)
        return
    try:
        # A full pipe is a wake-up nobody has taken yet.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(descriptor, b"!")
    finally:
        os.close(descriptor)


class NotifyBell(Listener):
    """LISTEN on a connection of its own. `connect` opens one that listens already; it is called again when the connection breaks."""

    _RETRY = 1.0

    def __init__(self, connect: Callable[[], "Listening"]) -> None:
        super().__init__()
        self._connect = connect
        self._listening: Listening | None = None

    def announce(self, pokes: Pokes) -> None:
        """Nothing to do: NOTIFY was part of the commit."""

    def _prepare(self) -> None:
        """The first connection is made here, so that LISTEN is in force before the first look at the table."""
        self._open()

    def _open(self) -> None:
        try:
            self._listening = self._connect()
            self._deaf = False
        except OSError as error:
            if not self._deaf:
                _log.warning("no wake-ups from the database, asking it once a second: %s", error)
            self._deaf = True

    def _hear(self) -> None:
        while True:
            if self._listening is None:
                if self._stopped(timeout=self._RETRY):
                    return
                self._open()
                # Whoever was notified while nobody listened must look for himself.
                self.ring()
                continue
            if self._stopped(self._listening.fileno(), timeout=_SILENCE):
                self._listening.close()
                return
            self._take(self._listening)

    def _take(self, listening: "Listening") -> None:
        try:
            heard = set(listening.take())
            if not heard:
                listening.ask()
                heard = set(listening.take())  # what came with the answer makes nothing readable any more
        except OSError:
            listening.close()
            self._listening = None
            self._deaf = True
            _log.warning("the connection for wake-ups broke; a new one is made")
            self.ring()
            return
        for said in heard:
            self._pass_on(from_payload(said))

    def _pass_on(self, pokes: Pokes | None) -> None:
        if pokes is None:
            self.ring()
        else:
            super().announce(pokes)


class Listening:
    """A connection that listens. Its errors are OSError, whatever the driver calls them."""

    def fileno(self) -> int:
        """Readable when there is something to take."""
        raise NotImplementedError

    def take(self) -> tuple[str, ...]:
        """The payloads of what has come, without waiting. Raises OSError if the connection broke."""
        raise NotImplementedError

    def ask(self) -> None:
        """Return when the server has answered something. Raises OSError if it does not."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection."""
        raise NotImplementedError
