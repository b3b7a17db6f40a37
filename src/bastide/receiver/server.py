"""The listener for agents: a thread for each connection, few of them, each with an end."""

import logging
import socket
import threading
from contextlib import suppress

from bastide.receiver.conversation import Conversation, Host

_log = logging.getLogger(__name__)
#: More domain controllers than that are served in turn: the rest wait in the kernel's queue.
CONNECTIONS = 128
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


class Receiver:
    """Listens until `stop`."""

    def __init__(self, address: str, port: int, host: Host) -> None:
        self._host = host
        self._listener = socket.create_server((address, port), backlog=CONNECTIONS)
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="receiver", daemon=True)

    @property
    def port(self) -> int:
        """The port it got, where 0 was asked for."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen, in a thread of its own."""
        self._thread.start()
        _log.info("listening for agents on port %s", self.port)

    def stop(self, timeout: float = 5.0) -> None:
        """Hang up. A notification that is being taken in is finished: the agent has no answer yet, and would send it again."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            talking = dict(self._open)
        for connection in talking:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for thread in talking.values():
            thread.join(timeout)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            self._free.acquire()
            try:
                connection, peer = self._listener.accept()
            except OSError as error:
                self._free.release()
                if not self._stopping.is_set():
                    _log.warning("no connection can be taken: %s", error)
                    self._stopping.wait(1.0)
                continue
            self._talk(connection, str(peer[0]))

    def _talk(self, connection: socket.socket, address: str) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        thread = threading.Thread(
            target=self._serve, args=(connection, address), name=f"agent-{address}", daemon=True
        )
        with self._lock:
            self._open[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket, address: str) -> None:
        try:
            with connection:
                Conversation(connection, address, self._host, self._stopping.is_set).run()
        except Exception:  # noqa: BLE001  # a caller must not be able to end the listener
            _log.exception("unexpected, in the conversation with %s", address)
        finally:
            with self._lock:
                self._open.pop(connection, None)
            self._free.release()
