"""A host that speaks DCE/RPC on the loopback: an endpoint mapper and a Witness service, sealed with NTLM, as well behaved as a test wants it.

All of 127.0.0.0/8 leads to it: 127.0.0.1 is the server, 127.0.0.2 the node that watches.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import spnego
from spnego.iov import BufferType

from bastide.backup import rpc
from bastide.backup import rpc_pdu as pdus

ACCOUNT, PASSWORD = "FILES\\writer", "Just-For-This-Test-1"
SERVER, NODE = "127.0.0.1", "127.0.0.2"
_NTLM, _PRIVACY = 10, 6
_HANDLE = bytes(range(20))
_DENIED = 5


def node(name: str, address: str, *, state: int = 1, version: int = 0x20000, flags: int = 5) -> bytes:
    """[MS-SWN] 2.2.2.1."""
    packed = name.encode("utf-16-le").ljust(520, b"\0") + struct.pack("<IHH", version, state, 0)
    return packed + socket.inet_aton(address) + bytes(16) + struct.pack("<I", flags)


def nodes(*each: bytes) -> bytes:
    """[MS-SWN] 3.1.4.1."""
    return struct.pack("<IIII", 0x20000, len(each), 0x20004, len(each)) + b"".join(each) + bytes(4)


def notice(kind: int, *messages: bytes) -> bytes:
    """[MS-SWN] 3.1.4.4."""
    body = b"".join(messages)
    head = struct.pack("<IIIIII", 0x20000, kind, len(body), len(messages), 0x20004, len(body))
    return head + body + bytes(-len(body) % 4) + bytes(4)


def resource(state: int, name: str = SERVER) -> bytes:
    """[MS-SWN] 2.2.2.2."""
    text = f"{name}\0".encode("utf-16-le")
    return struct.pack("<II", 8 + len(text), state) + text


def addresses(*each: tuple[str, int]) -> bytes:
    """[MS-SWN] 2.2.2.3."""
    body = b"".join(struct.pack("<I", flags) + socket.inet_aton(at) + bytes(16) for at, flags in each)
    return struct.pack("<III", 12 + len(body), 0, len(each)) + body


def tower(port: int) -> bytes:
    """[C706] O: what ept_map answers."""
    floors = ((b"\x0d" + bytes(18), bytes(2)),) * 2 + (
        (b"\x0b", bytes(2)),
        (b"\x07", struct.pack(">H", port)),
        (b"\x09", bytes(4)),
    )
    packed = struct.pack("<H", len(floors))
    for left, right in floors:
        packed += struct.pack("<H", len(left)) + left + struct.pack("<H", len(right)) + right
    sized = struct.pack("<II", len(packed), len(packed)) + packed
    return bytes(20) + struct.pack("<IIIII", 1, 4, 0, 1, 3) + sized + bytes(-len(sized) % 4) + bytes(4)


@dataclass
class RpcServer:
    """`nodes`: what it says there is; `register`: its code for a registration; `signs`: it signs headers; `spoil`: what it does to an answer before it is sealed,
    or to the sealed one (`spoil_sealed`); `pieces`: in how many fragments it answers.
    """

    port: int = 0
    nodes: bytes = nodes(node("files", SERVER, flags=1), node("files2", NODE))
    register: int = 0
    signs: bool = True
    seals: bool = True
    pieces: int = 1
    fault: int = 0
    spoil: Callable[[bytes], bytes] = bytes
    spoil_sealed: Callable[[bytes], bytes] = bytes
    offers: bool = True
    registered: list[bytes] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    waiting: "dict[_Connection, int]" = field(default_factory=dict)
    waits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def tell(self, stub: bytes) -> None:
        """To who waits; and if nobody does, when somebody does."""
        assert self.waits.acquire(timeout=30)
        connection, call = self.waiting.popitem()
        connection.answer(call, stub)


class _Connection(threading.Thread):
    def __init__(self, server: RpcServer, sock: socket.socket) -> None:
        super().__init__(daemon=True)
        self.server, self.sock = server, sock
        self.context: spnego.ContextProxy | None = None

    def run(self) -> None:
        with self.sock, suppress(ConnectionError, OSError):
            while True:
                self._serve(self._fragment())

    def _fragment(self) -> pdus.Pdu:
        header = self._bytes(pdus.HEADER.size)
        return pdus.split(header, self._bytes(pdus.rest_of(header)))

    def _bytes(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            found += (more := self.sock.recv(length - len(found)))
            if not more:
                raise ConnectionError
        return found

    def _serve(self, pdu: pdus.Pdu) -> None:
        if pdu.kind == pdus.BIND:
            self._bind(pdu)
        elif pdu.kind == pdus.AUTH3:
            assert self.context is not None
            with suppress(spnego.exceptions.SpnegoError):
                self.context.step(pdu.token)
        else:
            self._request(pdu)

    def _bind(self, pdu: pdus.Pdu) -> None:
        body = struct.pack("<HHIH", 5840, 5840, 1, 0) + bytes(2) + struct.pack("<B3xHH", 1, 0, 0)
        body += pdus.NDR.syntax()
        token, flags = b"", 0
        if pdu.token:
            self.context = spnego.server(protocol="ntlm")
            token = self.context.step(pdu.token) or b""
            body += struct.pack("<BBBBI", _NTLM, _PRIVACY, 0, 0, 0)
            flags = pdus.SIGNED_HEADERS if self.server.signs else 0
        self.sock.sendall(pdus.joined(pdus.BIND_ACK, pdu.call, body, token, flags=flags))

    def _request(self, pdu: pdus.Pdu) -> None:
        verb = pdus.CALL.unpack_from(pdu.body)[2]
        if self.context is None:
            offered = tower(self.server.port) if self.server.offers else bytes(36) + struct.pack("<I", 1)
            self.answer(pdu.call, offered)
            return
        try:
            clear = self._opened(pdu)
        except spnego.exceptions.SpnegoError:
            self._fault(pdu.call, _DENIED)
            return
        self.server.asked.append(verb)
        if self.server.fault:
            self._fault(pdu.call, self.server.fault)
        elif verb == 3:
            self.server.waiting[self] = pdu.call
            self.server.waits.release()
        else:
            self.answer(pdu.call, self._said(verb, clear))

    def _fault(self, call: int, status: int) -> None:
        body = pdus.CALL.pack(0, 0, 0) + struct.pack("<II", status, 0)
        self.sock.sendall(pdus.joined(pdus.FAULT, call, body))

    def _said(self, verb: int, clear: bytes) -> bytes:
        code = struct.pack("<I", self.server.register if verb == 4 else 0)
        if verb == 0:
            return self.server.nodes
        if verb == 4:
            self.server.registered.append(clear)
            return _HANDLE + code
        assert clear == _HANDLE
        self.server.registered.pop()
        return code

    def _opened(self, pdu: pdus.Pdu) -> bytes:
        assert self.context is not None
        begin = pdus.CALL.size
        done = self.context.unwrap_iov(
            [
                (BufferType.sign_only, pdu.header + pdu.body[:begin]),
                (BufferType.data, pdu.body[begin:]),
                (BufferType.sign_only, pdu.trailer),
                (BufferType.header, pdu.token),
            ]
        )
        clear = done.buffers[1].data or b""
        return clear[: len(clear) - pdu.trailer[2]]

    def answer(self, call: int, stub: bytes) -> None:
        if self.context is None:
            self.sock.sendall(pdus.joined(pdus.RESPONSE, call, pdus.CALL.pack(len(stub), 0, 0) + stub))
            return
        stub = self.server.spoil(stub)
        size = -(-len(stub) // self.server.pieces)
        parts = [stub[at : at + size] for at in range(0, len(stub), size)] or [b""]
        for number, part in enumerate(parts):
            flags = (number == 0) * pdus.FIRST | (number == len(parts) - 1) * pdus.LAST
            self.sock.sendall(self.server.spoil_sealed(self._sealed(call, part, flags)))

    def _sealed(self, call: int, part: bytes, flags: int) -> bytes:
        assert self.context is not None
        begin = pdus.CALL.pack(len(part), 0, 0)
        if not self.server.seals:
            return pdus.joined(pdus.RESPONSE, call, begin + part)
        padding = -len(part) % 16
        trailer = struct.pack("<BBBBI", _NTLM, _PRIVACY, padding, 0, 0)
        bare = bytearray(pdus.joined(pdus.RESPONSE, call, begin + part + bytes(padding) + trailer, bytes(16)))
        bare[3] = flags
        at = pdus.HEADER.size + len(begin)
        done = self.context.wrap_iov(
            [
                (BufferType.sign_only, bytes(bare[:at])),
                (BufferType.data, bytes(bare[at:-24])),
                (BufferType.sign_only, trailer),
                BufferType.header,
            ]
        )
        return bytes(bare[:at]) + (done.buffers[1].data or b"") + trailer + (done.buffers[3].data or b"")


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, users: Path) -> Iterator[RpcServer]:
    """One that is up. `users`: a file, for the accounts that it knows."""
    domain, _, name = ACCOUNT.partition("\\")
    users.write_text(f"{domain}:{name}:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    listening = socket.create_server(("0.0.0.0", 0))
    server = RpcServer(port=listening.getsockname()[1])
    monkeypatch.setattr(rpc, "MAPPER_PORT", server.port)
    threads: list[_Connection] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                thread = _Connection(server, listening.accept()[0])
                threads.append(thread)
                thread.start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join(30)
        for thread in threads:
            with suppress(OSError):
                thread.sock.shutdown(socket.SHUT_RDWR)
            thread.join(30)
