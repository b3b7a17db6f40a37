"""The listener for forwarders of events. In order:

(1) TLS 1.2 or later, and a certificate of the authority that the settings name; without one there is no conversation.
(2) The DNS name in the certificate says which source it is: exactly one, or it is hung up on.
(3) Of each source there are few connections, of all not many; what is longer than a line may be ends the connection.
(4) A source may say so many lines a second: the rest waits in its own buffers, and nothing of ours grows.
(5) Lines are taken in batches, each in one commit. While the database takes nothing, nothing is read; then the same batch is given again.

Syslog has no answer: what was sent and not committed when this process dies is lost, unless the forwarder sends it again. That shows where a source brings all its records.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from bastide.domain.errors import StoreError
from bastide.intake.frames import BadFrameError, Frames
from bastide.services.intake.accept import Accept
from bastide.services.intake.ports import Source

_log = logging.getLogger(__name__)
CONNECTIONS = 64
PER_SOURCE = 4
#: Lines a second of one connection.
RATE = 2000
_BATCH = 500
_PIECE = 65_536
_SHAKING = 10.0
_PAUSE = 1.0
#: A forwarder that has nothing to say keeps its connection; one that is gone is noticed by keep-alive.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


class Intake:
    """Listens until `stop`. `sources`: by the DNS name of their certificate, in lower case."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        tls: ssl.SSLContext,
        sources: Mapping[str, Source],
        accept: Accept,
        monotonic: Callable[[], float],
    ) -> None:
        if tls.verify_mode is not ssl.CERT_REQUIRED:
            raise ValueError("a door for forwarders asks for their certificates")  # (1)
        self._tls = tls
        self._sources = sources
        self._accept = accept
        self._monotonic = monotonic
        self._listener = socket.create_server((address, port), backlog=CONNECTIONS)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        #: What each thread talks to, and which source that is; empty: it has not said so yet.
        self._open: dict[threading.Thread, tuple[socket.socket, str]] = {}
        self._thread = threading.Thread(target=self._listen, name="intake", daemon=True)

    @property
    def port(self) -> int:
        """The port it got, where 0 was asked for."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen, in a thread of its own."""
        self._thread.start()
        _log.info("listening for events on port %s", self.port)

    def stop(self, timeout: float = 5.0) -> None:
        """Hang up. A batch that is being taken in is finished."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            talking = dict(self._open)
        for one, _ in talking.values():
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in talking:
            thread.join(timeout)
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                plain, peer = self._listener.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    _log.warning("no connection can be taken: %s", error)
                    self._stopping.wait(_PAUSE)
                continue
            self._begin(plain, str(peer[0]))

    def _begin(self, plain: socket.socket, address: str) -> None:
        """(3)."""
        thread = threading.Thread(
            target=self._serve, args=(plain, address), name=f"intake-{address}", daemon=True
        )
        with self._lock:
            full = len(self._open) >= CONNECTIONS
            if not full:
                self._open[thread] = (plain, "")
        if full:
            plain.close()
            _log.warning("the connection from %s finds no place", address)
            return
        try:
            thread.start()
        except RuntimeError:  # no thread can be started
            self._leave(thread)
            plain.close()

    def _serve(self, plain: socket.socket, address: str) -> None:
        try:
            plain.settimeout(_SHAKING)
            with plain, self._tls.wrap_socket(plain, server_side=True) as channel:
                source = self._admitted(channel)
                for option, value in _KEEPALIVE:
                    channel.setsockopt(socket.IPPROTO_TCP, option, value)
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                channel.settimeout(None)
                self._talk(channel, source)
        except (OSError, BadFrameError, PermissionError) as error:
            if not self._stopping.is_set():
                _log.warning("the forwarder at %s is hung up on: %s", address, error)
        except Exception:  # noqa: BLE001  # a caller must not be able to end the listener
            _log.exception("unexpected, of the forwarder at %s", address)
        finally:
            self._leave(threading.current_thread())

    def _admitted(self, channel: ssl.SSLSocket) -> Source:
        """(2), (3). Raises PermissionError."""
        shown = cast("dict[str, Any]", channel.getpeercert() or {})
        names = {str(value).lower() for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"}
        found = [self._sources[name] for name in sorted(names) if name in self._sources]
        if len(found) != 1:
            raise PermissionError("its certificate names no source of ours, or several")
        with self._lock:
            if sum(name == found[0].name for _, name in self._open.values()) >= PER_SOURCE:
                raise PermissionError("its source has too many connections")
            # The plain socket has given its descriptor away: to hang up on it would do nothing.
            self._open[threading.current_thread()] = (channel, found[0].name)
        return found[0]

    def _talk(self, channel: ssl.SSLSocket, source: Source) -> None:
        """Until the other side ends it. Raises OSError, BadFrameError."""
        frames, began, said = Frames(), self._monotonic(), 0
        while not self._stopping.is_set() and (piece := channel.recv(_PIECE)):
            lines = frames.feed(piece)
            for start in range(0, len(lines), _BATCH):
                self._take(source, lines[start : start + _BATCH])
            said += len(lines)
            ahead = said / RATE - (self._monotonic() - began)
            if ahead > 0:
                self._stopping.wait(ahead)  # (4)
            elif ahead < -_PAUSE:
                began, said = self._monotonic(), 0

    def _take(self, source: Source, lines: list[bytes]) -> None:
        """(5)."""
        while not self._stopping.is_set():
            try:
                self._accept.lines(source, lines)
            except StoreError as error:
                _log.warning("events of %s wait: %s", source.name, error.message)
                self._stopping.wait(_PAUSE)
            else:
                return

    def _leave(self, thread: threading.Thread) -> None:
        with self._lock:
            self._open.pop(thread, None)
