"""What a connection of smbprotocol lacks: it says which session it replaces, lets go of an open file that others want, knows what a share is, and ends at once."""

import socket
import struct
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBException
from smbprotocol.header import Commands, SMB2HeaderRequest
from smbprotocol.session import SMB2SessionSetupRequest
from smbprotocol.structure import BytesField, IntField, Structure
from smbprotocol.tree import SMB2TreeConnectResponse

from bastide.backup.witness import Notice

#: [MS-SMB2] 2.2.23.1: the message id of what the server says unasked.
_UNASKED = (1 << 64) - 1
#: Structure size, level, two reserved fields, file id.
_BREAK = struct.Struct("<HBBI16s")


class SmbConnection(Connection):  # type: ignore[misc]  # the library has no types
    """`previous`: the session that this one replaces ([MS-SMB2] 2.2.5, PreviousSessionId); 0: none."""

    def __init__(self, client: object, server: str, port: int, previous: int) -> None:
        super().__init__(client, server, port, require_signing=True)
        self._previous = previous
        #: [MS-SMB2] 2.2.10, of the share that was connected to last.
        self.share_capabilities = 0
        #: Why it was cut, if a witness had it cut.
        self.notice: Notice | None = None
        self.outstanding_requests[_UNASKED] = _Unasked(self)

    def send(self, message: Any, *given: Any, **named: Any) -> Any:
        """One message."""
        if isinstance(message, SMB2SessionSetupRequest):
            message["previous_session_id"] = self._previous
        return super().send(message, *given, **named)

    def receive(self, *given: Any, **named: Any) -> Any:
        """One answer. That to the connection to a share says more than the library keeps."""
        answer = super().receive(*given, **named)
        if answer["command"].get_value() == Commands.SMB2_TREE_CONNECT:
            told = SMB2TreeConnectResponse()
            told.unpack(answer["data"].get_value())
            self.share_capabilities = int(told["capabilities"].get_value())
        return answer

    def let_go(self, answer: Any) -> None:
        """Somebody wants to open a file that we have open: the server waits for our word, and whoever asks waits for the server."""
        body = bytes(answer["data"].get_value())
        if answer["command"].get_value() != Commands.SMB2_OPLOCK_BREAK or len(body) != _BREAK.size:
            return
        word = _LetGo()
        word["file_id"] = _BREAK.unpack(body)[-1]
        for number, session in list(self.session_table.items()):
            for tree in list(session.tree_connect_table):
                with suppress(SMBException, OSError):
                    self.send(word, number, tree)

    def cut(self) -> None:
        """As if somebody had pulled the cable. The library's own end waits for whoever is sending, for ever if nobody takes it."""
        sock = self._socket()
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def peer(self) -> str:
        """The address that it goes to. Raises OSError if it goes nowhere."""
        sock = self._socket()
        if sock is None:
            raise OSError("there is no connection")
        return str(sock.getpeername()[0])

    def _socket(self) -> socket.socket | None:
        return self.transport._sock if self.transport else None  # noqa: SLF001  # the library gives no other way


class _LetGo(Structure):  # type: ignore[misc]  # the library has no types
    """[MS-SMB2] 2.2.24.1, with level none."""

    COMMAND = Commands.SMB2_OPLOCK_BREAK

    def __init__(self) -> None:
        self.fields = OrderedDict(
            [
                ("structure_size", IntField(size=2, default=_BREAK.size)),
                ("oplock_level", IntField(size=1)),
                ("reserved", IntField(size=1)),
                ("reserved2", IntField(size=4)),
                ("file_id", BytesField(size=16)),
            ]
        )
        super().__init__()


class _Unasked:
    """Stands where the library looks for the request of an answer: it knows of no answer without one."""

    session_id = None
    async_id = None
    related_ids: tuple[int, ...] = ()

    def __init__(self, connection: SmbConnection) -> None:
        self._connection = connection
        self.message = SMB2HeaderRequest()
        self.response_event = threading.Event()
        self.response_event_lock = threading.Lock()

    @property
    def response(self) -> None:
        """Nobody waits for one."""

    @response.setter
    def response(self, answer: Any) -> None:
        self._connection.let_go(answer)
