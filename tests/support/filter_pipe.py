"""The filter's pipe as a Unix socket, and who speaks into it: what a Windows controller has, as far as Linux goes."""

import socket
from pathlib import Path
from typing import Self
from uuid import UUID

from bastide_agent.windows.frames import ANSWER_BYTES, FRAME_LIMIT, Reply, answer

MARKER = UUID("00112233-4455-6677-8899-aabbccddeeff")


def frame_of(
    rid: int,
    name: str,
    password: str,
    *,
    number: int = 1,
    changed_at: int = 0x01DC83B1B85F8000,
    lost: int = 0,
    marker: UUID = MARKER,
) -> bytes:
    """As windows/README.md describes it."""
    text, secret = name.encode("utf-16-le"), password.encode("utf-16-le")
    return b"".join((
        b"BSPW", (1).to_bytes(2, "little"), (56 + len(text) + len(secret)).to_bytes(2, "little"),
        rid.to_bytes(4, "little"), lost.to_bytes(4, "little"), marker.bytes_le,
        number.to_bytes(8, "little"), changed_at.to_bytes(8, "little"),
        len(text).to_bytes(2, "little"), len(secret).to_bytes(2, "little"), bytes(4), text, secret,
    ))  # fmt: skip


class SocketCaller:
    """As the port Caller."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def there(self) -> int:
        try:
            found = len(self._connection.recv(FRAME_LIMIT, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return 0
        if not found:
            raise ConnectionResetError("the other end hung up")
        return found

    def read(self, size: int) -> bytes:
        return self._connection.recv(size)

    def write(self, answer: bytes) -> None:
        self._connection.sendall(answer)


class SocketPipe:
    """As the port Pipe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._closed = False

    def next(self) -> SocketCaller | None:
        if not self._closed:
            connection, _ = self._listener.accept()
            if not self._closed:
                return SocketCaller(connection)
            connection.close()
        self._listener.close()
        return None

    def close(self) -> None:
        self._closed = True
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect_ex(str(self.path))

    def gone(self) -> None:
        """There is no pipe any more: who waits for a caller gets an OSError."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def say(path: Path, *parts: bytes) -> bytes:
    """What is answered, until the other end hangs up."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(10)
        caller.connect(str(path))
        for part in parts:
            caller.sendall(part)
        caller.shutdown(socket.SHUT_WR)
        found = b""
        while len(found) < ANSWER_BYTES and (more := caller.recv(ANSWER_BYTES)):
            found += more
        return found


def tell(path: Path, frame: bytes, number: int) -> Reply:
    """One change, as the filter tells it. Fails without an answer to that change."""
    said = say(path, frame)
    return next(reply for reply in Reply if answer(number, reply) == said)
