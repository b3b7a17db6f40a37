"""A receiver for tests of the agent: the server's side of the wire over real Kerberos, with answers that a test chooses. The product's own is bastide.receiver."""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import gssapi

from bastide import wire
from bastide.wire import Answer, FromAgent, FromServer, Heartbeat, Hello, Notification, Verdict, Welcome

Decide = Callable[[Notification], Answer | None]


def accept_all(notification: Notification) -> Answer:
    return Answer(reference=notification.reference, verdict=Verdict.ACCEPTED)


class GssServer:
    """Listens where its thread is. What it heard is in `notifications`, one after the other, of all connections."""

    def __init__(self, address: str, keytab: Path, port: int = wire.PORT) -> None:
        self.address = address
        self.port = port
        self.decide: Decide = accept_all
        self.callers: list[str] = []
        self.hellos: list[Hello] = []
        self.notifications: list[Notification] = []
        self.heartbeats: list[Heartbeat] = []
        self._keytab = keytab
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def start(self) -> None:
        self._listener = socket.create_server((self.address, self.port))
        Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """As a machine that loses power: connections too."""
        for one in (self._listener, *self._open):
            if one is not None:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._listener, self._open = None, []

    def references(self) -> list[str]:
        return [notification.reference for notification in self.notifications]

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._open.append(connection)
                Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection:
            own = gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{self._keytab}"})
            context = gssapi.SecurityContext(creds=own, usage="accept")
            while not context.complete:
                if token := context.step(_frame(connection)):
                    connection.sendall(wire.frame(token))
            self.callers.append(str(context.initiator_name))
            while True:
                opened = context.unwrap(_frame(connection))
                assert opened.encrypted
                answer = self._answer(wire.from_agent(opened.message))
                if answer is None:
                    return
                connection.sendall(wire.frame(context.wrap(wire.encode(answer), True).message))

    def _answer(self, message: FromAgent) -> FromServer | None:
        match message:
            case Hello():
                self.hellos.append(message)
                return Welcome(version=wire.common_version(message.version), node="test")
            case Heartbeat():
                self.heartbeats.append(message)
                return Answer(reference="", verdict=Verdict.ACCEPTED)
            case Notification():
                self.notifications.append(message)
                return self.decide(message)


def _frame(connection: socket.socket) -> bytes:
    return _exactly(connection, wire.length(_exactly(connection, 4)))


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts
