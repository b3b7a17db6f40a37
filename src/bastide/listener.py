"""What the doors that speak no HTTP share: to listen, a thread for each connection, few of them, each with an end. A door adds what is said, and who may stay.

(1) Of all connections there are at most so many: one more is hung up on before anything is read. Who has not shown who they are is a stranger. Strangers have few
    places of their own, and an address few of those: a new one takes the place of the oldest of its address, or else of the address that has most. So nobody can
    keep others out by saying nothing.
(2) Each is kept alive: one that has nothing to say stays, one that is gone is noticed.
(3) Whatever goes wrong in one ends that one; nobody who calls can end the listener.
(4) Who is hung up on is still in the list, and leaves it in one step with the end of its descriptor, which may be somebody else's then. It is done below TLS:
    a channel whose own `shutdown` is called gives the bytes that had arrived to its reader as they are, ciphertext taken for words.
(5) To stop is to take nobody new, then to end all reading: what is being taken in is finished, and answered where the door answers. All of them together have
    `timeout` seconds, however many there are.
"""

import itertools
import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C", bound=socket.socket)
#: Seconds until it is tried again to take a connection where none could be taken.
_PAUSE = 1.0
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


#: Places of those who have not shown who they are, and those of one address among them.
STRANGERS = 32
STRANGERS_OF_ONE_ADDRESS = 8
#: Of those who were told to go and have not gone yet.
LEAVING = 16


class Strangers:
    """(1). Knows connections by their numbers only; not for two threads at a time."""

    def __init__(self) -> None:
        self._held: dict[int, str] = {}

    def enter(self, number: int, address: str) -> tuple[int, ...]:
        """One comes. Who has to go for it."""
        found = Counter(self._held.values())
        gone: tuple[int, ...] = ()
        if found[address] >= STRANGERS_OF_ONE_ADDRESS:
            gone = (self._oldest(address),)
        elif len(self._held) >= STRANGERS:
            gone = (self._oldest(found.most_common(1)[0][0]),)
        for one in gone:
            self.leave(one)
        self._held[number] = address
        return gone

    def leave(self, number: int) -> bool:
        """Its place is free. False: it had none, or somebody else has it."""
        return self._held.pop(number, None) is not None

    def _oldest(self, address: str) -> int:
        return next(number for number, one in self._held.items() if one == address)


@dataclass(frozen=True, slots=True)
class _Talk(Generic[C]):
    """One connection and the thread that serves it."""

    connection: C
    thread: threading.Thread


class Listener(ABC, Generic[C]):
    """Listens until `stop`. C: what a door reads and writes, the socket itself or a channel over it."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        name: str,
        whom: str,
        most: int,
        answers: bool,
        monotonic: Callable[[], float],
    ) -> None:
        """`name`: of its threads; `whom`: whom it listens for, in the log; `most`: connections of those who have shown who they are, which the door sees to;
        `answers`: whether it has something to say itself. Raises OSError.
        """
        #: A line of the journal names the door.
        self._log = logging.getLogger(type(self).__module__)
        self._name = name
        self._whom = whom
        self._most = most + STRANGERS + LEAVING
        self._strangers = Strangers()
        #: Where nothing is answered the caller hears at once that it is over; OpenSSL, which finds an end where it reads, would send an alert first.
        self._at_the_end = socket.SHUT_RD if answers else socket.SHUT_RDWR
        self._monotonic = monotonic
        self._listener = socket.create_server((address, port), backlog=most)
        #: Held for the list, and for what a door notes of those that are in it.
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, _Talk[C]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=name, daemon=True)

    @abstractmethod
    def _made(self, plain: socket.socket) -> C:
        """What is talked over, without a word to the caller: this is the listener's thread. Raises OSError."""

    @abstractmethod
    def _serve(self, number: int, connection: C, address: str) -> None:
        """The whole conversation, in a thread of its own; the connection is closed after it."""

    def _shown(self, number: int) -> bool:
        """It has shown who it is, and is no stranger any more. False: it was hung up on meanwhile. Call with the lock held."""
        return self._strangers.leave(number)

    def _left(self, number: int) -> None:
        """It is over. Called with the lock held."""

    @property
    def port(self) -> int:
        """The port it got, where 0 was asked for."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen, in a thread of its own. Raises RuntimeError if there can be none; then it has stopped."""
        try:
            self._thread.start()
        except RuntimeError:
            self.stop()
            raise
        self._log.info("listening for %s on port %s", self._whom, self.port)

    def stop(self, timeout: float = 5.0) -> None:
        """(5). Seconds. May be called before `start`, and again."""
        until = self._monotonic() + timeout
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join(timeout)
        with self._lock:
            talking = tuple(self._open.values())
            self._hang_up(tuple(self._open), self._at_the_end)
        for talk in talking:
            if talk.thread.is_alive():
                talk.thread.join(max(0.0, until - self._monotonic()))

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                plain, peer = self._listener.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    self._log.warning("no connection can be taken: %s", error)
                    self._stopping.wait(_PAUSE)
                continue
            try:
                self._begin(plain, str(peer[0]))
            except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
                plain.close()
                self._log.warning("the connection from %s cannot be served: %s", peer[0], error)

    def _begin(self, plain: socket.socket, address: str) -> None:
        """(1), (2). Raises OSError, RuntimeError; then the connection has no place."""
        with self._lock:
            if len(self._open) >= self._most:
                raise ConnectionRefusedError("too many connections are open")
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            plain.setsockopt(socket.IPPROTO_TCP, option, value)
        connection, number = self._made(plain), next(self._numbers)
        thread = threading.Thread(
            target=self._run,
            args=(number, connection, address),
            name=f"{self._name}-{address}",
            daemon=True,
        )
        with self._lock:
            self._open[number] = _Talk(connection, thread)
            self._hang_up(self._strangers.enter(number, address), socket.SHUT_RDWR)
        try:
            thread.start()
        except RuntimeError:
            self._leave(number, connection)
            raise

    def _run(self, number: int, connection: C, address: str) -> None:
        """(3)."""
        try:
            self._serve(number, connection, address)
        except Exception:  # noqa: BLE001  # a caller must not be able to end the listener
            self._log.exception("unexpected, in the conversation with %s", address)
        finally:
            self._leave(number, connection)

    def _hang_up(self, numbers: Iterable[int], how: int) -> None:
        """(4). Call with the lock held. Who is not in the list has gone already."""
        for number in numbers:
            talk = self._open.get(number)
            if talk is not None:
                with suppress(OSError):
                    socket.socket.shutdown(talk.connection, how)

    def _leave(self, number: int, connection: C) -> None:
        """(4)."""
        with self._lock:
            del self._open[number]
            self._strangers.leave(number)
            self._left(number)
            connection.close()
