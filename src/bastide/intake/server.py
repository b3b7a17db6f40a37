"""The listener for forwarders of events. In order:

(1) TLS 1.2 or later, and a certificate of the authority that the settings name; without one there is no conversation.
(2) The DNS name in the certificate says which source it is: exactly one, or it is hung up on.
(3) Of each source there are few connections, of all not many, and who has shown no certificate yet takes none of their places (listener.py); what is longer than a
    line may be ends the connection.
(4) A source may say so many lines a second: the rest waits in its own buffers, and nothing of ours grows.
(5) Lines are taken in batches, each in one commit. While the database takes nothing, nothing is read; then the same batch is given again.

Syslog has no answer: what was sent and not committed when this process dies is lost, unless the forwarder sends it again. That shows where a source brings all its records.
"""

import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, cast

from bastide.domain.errors import StoreError
from bastide.intake.frames import BadFrameError, Frames
from bastide.listener import Listener
from bastide.services.intake.accept import Accept
from bastide.services.intake.ports import Source

_log = logging.getLogger(__name__)
#: Of all sources.
CONNECTIONS = 64
PER_SOURCE = 4
#: Lines a second of one connection.
RATE = 2000
_BATCH = 500
_PIECE = 65_536
_SHAKING = 10.0
_PAUSE = 1.0


class Intake(Listener[ssl.SSLSocket]):
    """Listens until `stop`; a batch that is being taken in then is finished. `sources`: by the DNS name of their certificate, in lower case."""

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
        super().__init__(
            address, port, name="intake", whom="events", most=CONNECTIONS, answers=False, monotonic=monotonic
        )  # (3)
        self._tls = tls
        self._sources = sources
        self._accept = accept
        #: Which source each connection is of; who has not said so yet is not there.
        self._admitted: dict[int, str] = {}

    def _made(self, plain: socket.socket) -> ssl.SSLSocket:
        return self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)

    def _serve(self, number: int, connection: ssl.SSLSocket, address: str) -> None:
        try:
            connection.settimeout(_SHAKING)
            connection.do_handshake()
            source = self._admit(number, connection)
            connection.settimeout(None)
            self._talk(connection, source)
        except (OSError, BadFrameError, PermissionError) as error:
            if not self._stopping.is_set():
                _log.warning("the forwarder at %s is hung up on: %s", address, error)

    def _admit(self, number: int, channel: ssl.SSLSocket) -> Source:
        """(2), (3). Raises PermissionError."""
        shown = cast("dict[str, Any]", channel.getpeercert() or {})
        names = {str(value).lower() for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"}
        found = [self._sources[name] for name in sorted(names) if name in self._sources]
        if len(found) != 1:
            raise PermissionError("its certificate names no source of ours, or several")
        with self._lock:
            if not self._shown(number):
                raise PermissionError("it was hung up on for others")
            if len(self._admitted) >= CONNECTIONS:
                raise PermissionError("all sources together have too many connections")
            if list(self._admitted.values()).count(found[0].name) >= PER_SOURCE:
                raise PermissionError("its source has too many connections")
            self._admitted[number] = found[0].name
        return found[0]

    def _left(self, number: int) -> None:
        self._admitted.pop(number, None)

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
