"""The listener for agents: a thread for each connection, few of them, each with an end. Who gets a place is decided in places.py."""

import itertools
import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from bastide.receiver.conversation import Conversation, Host
from bastide.receiver.places import Places
from bastide.receiver.recorder import Recorder
from bastide.services.passwords.callers import Caller

_log = logging.getLogger(__name__)
#: Threads, with those that were told to go and have not gone yet. Above it, a new connection is hung up on.
CONNECTIONS = 128
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


@dataclass(frozen=True, slots=True)
class _Talk:
    """One connection and the thread that serves it."""

    connection: socket.socket
    thread: threading.Thread


class Receiver:
    """Listens until `stop`."""

    def __init__(self, address: str, port: int, host: Host) -> None:
        self._host = host
        self._listener = socket.create_server((address, port), backlog=CONNECTIONS)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, _Talk] = {}
        self._places = Places()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="receiver", daemon=True)
        self._recorder = Recorder(host.silence)

    @property
    def port(self) -> int:
        """The port it got, where 0 was asked for."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen, in a thread of its own, with another one for who was heard. Raises RuntimeError if there can be no thread; then it has stopped."""
        try:
            self._thread.start()
            self._recorder.start()
        except RuntimeError:
            self.stop()
            raise
        _log.info("listening for agents on port %s", self.port)

    def stop(self, timeout: float = 5.0) -> None:
        """Hang up. A notification that is being taken in is finished: the agent has no answer yet, and would send it again."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            talking = list(self._open.values())
        for talk in talking:
            with suppress(OSError):
                talk.connection.shutdown(socket.SHUT_RD)
        for talk in talking:
            if talk.thread.is_alive():
                talk.thread.join(timeout)
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._recorder.stop(timeout)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, peer = self._listener.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    _log.warning("no connection can be taken: %s", error)
                    self._stopping.wait(1.0)
                continue
            try:
                self._talk(connection, str(peer[0]))
            except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
                connection.close()
                _log.warning("the connection from %s cannot be served: %s", peer[0], error)

    def _talk(self, connection: socket.socket, address: str) -> None:
        """Raises OSError, RuntimeError; then the connection has no place."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        number = next(self._numbers)
        thread = threading.Thread(
            target=self._serve, args=(number, connection, address), name=f"agent-{address}", daemon=True
        )
        with self._lock:
            if len(self._open) >= CONNECTIONS:
                raise ConnectionRefusedError("too many connections are open")
            self._open[number] = _Talk(connection, thread)
            self._hang_up(self._places.enter(number, address), socket.SHUT_RDWR)
        try:
            thread.start()
        except RuntimeError:
            self._leave(number)
            raise

    def _serve(self, number: int, connection: socket.socket, address: str) -> None:
        def admitted(caller: Caller) -> None:
            with self._lock:
                gone = self._places.admit(number, f"{caller.account}@{caller.domain}")
                # What it is saying is taken in and answered; it only says nothing new.
                self._hang_up(gone, socket.SHUT_RD)

        try:
            with connection:
                Conversation(connection, address, self._host, self._stopping.is_set, admitted).run()
        except Exception:  # noqa: BLE001  # a caller must not be able to end the listener
            _log.exception("unexpected, in the conversation with %s", address)
        finally:
            self._leave(number)

    def _hang_up(self, numbers: Sequence[int], how: int) -> None:
        """Call with the lock held: so the descriptor is still theirs."""
        for number in numbers:
            talk = self._open.get(number)
            if talk is not None:
                with suppress(OSError):
                    talk.connection.shutdown(how)

    def _leave(self, number: int) -> None:
        with self._lock:
            self._open.pop(number, None)
            self._places.leave(number)
