"""The Witness service of a file cluster: [MS-SWN], version 2, over rpc.py.

Being watched, in order:
  (1) The server that carries the connection says which nodes there are. What it says has to be whole, to the last byte.
  (2) One is chosen that is available, that watches others, and at another address than the connection's.
  (3) There we register, for the server's name and the connection's address, and ask to be told. Nothing is believed that is not encrypted (rpc.py).
  (4) Only a resource that is unavailable, and an order to go elsewhere, are told on. A node that has nothing to tell says so in time, or it is gone itself.
"""

import ipaddress
import re
import socket
import struct
import threading
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TypeVar

from spnego.exceptions import SpnegoError

from bastide.backup.ndr import BadNdr, Reader, Writer
from bastide.backup.rpc import Caller, port_of
from bastide.backup.rpc_pdu import Interface
from bastide.backup.rpc_security import Security
from bastide.backup.smb_login import Login
from bastide.backup.witness import Notice, Unwatched
from bastide.domain.errors import StoreUnavailable

T = TypeVar("T")

WITNESS = Interface("the Witness service", uuid.UUID("ccd8c074-d0e5-4a40-92b4-d074faa6ba28"), 1, 1)
#: [MS-SWN] 3.1.4.
_GET_INTERFACE_LIST, _UNREGISTER, _ASYNC_NOTIFY, _REGISTER_EX = 0, 2, 3, 4
_VERSION_2, _IP_NOTIFICATION = 0x00020000, 1
#: Seconds: how often a node says that it has nothing to tell, and by how much it may be late.
_KEEP_ALIVE, _LATE = 20, 10.0
#: Seconds for a node that is to be left.
_PATIENCE = 2.0
_HANDLE = 20
#: [MS-SWN] 2.2.2.1: the name, the version, the state, the addresses, the flags. In one array, so each begins at four.
_NODE = struct.Struct("<520sIH2x4s16sI")
#: What a node may be called; it goes into a service principal and into what people read.
_HOST = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_])?"
_AVAILABLE, _UNAVAILABLE = 0x0001, 0x00FF
_IPV4, _IPV6, _WATCHES = 0x1, 0x2, 0x4
#: Bounds: of nodes that are tried, of answers that tell nothing, of nodes, of one notice in bytes, of notices at once, of the addresses of one.
_TRIED, _ANSWERS, _NODES, _BYTES, _NOTICES, _ADDRESSES = 3, 10_000, 128, 64 * 1024, 64, 64
#: [MS-SWN] 2.2.2.4.
_RESOURCE_CHANGE = 1
_MOVES = {2: "CLIENT_MOVE", 3: "SHARE_MOVE", 4: "IP_CHANGE"}
#: [MS-SWN] 2.2.2.2 and 2.2.2.3: what stands before a name, before addresses; and an address.
_PREFIX, _LIST = 8, 12
_ADDRESS = struct.Struct("<I4s16s")
_OFFLINE = 0x10
#: [MS-ERREF] 2.2.
_TIMEOUT = 1460
_REFUSALS = {
    5: "access is denied",
    87: "it does not take what we say of the server",
    1168: "it does not know our registration any more",
    1306: "it does not speak version 2",
    5023: "it does not serve that name, or not now",
}

_ALONE = "a cluster needs a second node that is up; on Samba, with a public address of its own"
_REFUSED = "nothing: backups go on without it. What the service logs on that node says more"


class Status(Exception):
    """The service says no: [MS-ERREF] 2.2."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(_REFUSALS.get(code, f"error {code}"))


@dataclass(frozen=True, slots=True)
class Node:
    """[MS-SWN] 2.2.2.1. `can_watch`: available, of version 2, and a witness for others."""

    name: str
    addresses: tuple[str, ...]
    can_watch: bool


class RpcWitness:
    """Signed in as `login`."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def watch(self, server: str, address: str) -> "RpcWatch":
        """Raises Unwatched."""
        with closing(self._caller(server, address)) as asked:
            nodes = _understood(nodes_in, asked.call(_GET_INTERFACE_LIST, b""), asked)  # (1)
        others = [
            (node.name, at)
            for node in nodes
            if node.can_watch
            for at in node.addresses
            if not _same(at, address)
        ]
        if not others:
            raise Unwatched(
                f"no other node of {server} watches, of {len(nodes)} addresses that it names", remedy=_ALONE
            )
        *first, (last, at) = others[:_TRIED]
        for name, one in first:
            with suppress(Unwatched):
                return self._registered(server, address, name, one)
        return self._registered(server, address, last, at)

    def _registered(self, server: str, address: str, name: str, at: str) -> "RpcWatch":
        caller = self._caller(_host(name, server), at)  # (2)
        try:
            said = caller.call(_REGISTER_EX, registration(server, address, socket.gethostname()))  # (3)
            return RpcWatch(caller, _understood(handle_in, said, caller), f"{name} ({at})", address)
        except BaseException:
            caller.close()
            raise

    def _caller(self, host: str, address: str) -> Caller:
        try:
            security = Security(self._login, host)
        except (StoreUnavailable, SpnegoError) as error:
            raise Unwatched(f"{WITNESS.name}: nobody can sign in: {error}", remedy=_REFUSED) from None
        return Caller(WITNESS, address, port_of(WITNESS, address), security)


class RpcWatch:
    """Registered, as `handle`. All but `close` is done by the thread that waits."""

    def __init__(self, caller: Caller, handle: bytes, by: str, address: str) -> None:
        self.by = by
        self._caller = caller
        self._handle = handle
        self._address = address
        self._used = threading.Lock()
        self._is_over = False
        self._woken, self._wake = socket.socketpair()

    def wait(self) -> Notice | None:
        """Raises Unwatched."""
        with self._used:
            try:
                return None if self._is_over else self._told()
            finally:
                self._end()

    def close(self) -> None:
        """Without an error, and without waiting long for a node that is silent."""
        with suppress(OSError):
            self._wake.send(b"\0")
        if self._used.acquire(timeout=_PATIENCE):
            try:
                self._end()
            finally:
                self._used.release()

    def _told(self) -> Notice | None:
        for _ in range(_ANSWERS):
            number = self._caller.begin(_ASYNC_NOTIFY, self._handle)
            if not self._caller.told(self._woken, _KEEP_ALIVE + _LATE):
                return None
            said = self._caller.answer(number)
            notice = _understood(lambda stub: notice_in(stub, self._address), said, self._caller)  # (4)
            if notice is not None:
                return notice
        raise Unwatched(f"{self._caller.where}: it tells too much", remedy=_REFUSED)

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        with suppress(Unwatched):
            self._caller.call(_UNREGISTER, self._handle)
        self._caller.close()
        self._woken.close()
        self._wake.close()


def registration(server: str, address: str, own: str) -> bytes:
    """[MS-SWN] 3.1.4.5. For all shares of the server."""
    writer = Writer().u32(_VERSION_2)
    for text in (server, None, address, own):
        writer.text(text)
    return bytes(writer.u32(_IP_NOTIFICATION, _KEEP_ALIVE))


def nodes_in(said: bytes) -> tuple[Node, ...]:
    """[MS-SWN] 3.1.4.1. Raises BadNdr, Status."""
    reader = Reader(said)
    found: tuple[Node, ...] = ()
    if reader.pointer():
        count = reader.count(_NODES)
        if reader.pointer():
            if reader.u32() != count:
                raise BadNdr("nodes that are not counted")
            found = tuple(_node(reader.raw(_NODE.size)) for _ in range(count))
        elif count:
            raise BadNdr("nodes that are not there")
    _close(reader)
    return found


def handle_in(said: bytes) -> bytes:
    """[MS-SWN] 3.1.4.5. Raises BadNdr, Status."""
    reader = Reader(said)
    handle = reader.raw(_HANDLE)
    _close(reader)
    return handle


def notice_in(said: bytes, address: str) -> Notice | None:
    """[MS-SWN] 3.1.4.4: what concerns whoever is connected to the address; None: nothing does. Raises BadNdr, Status."""
    reader = Reader(said)
    kind, count, body = _response(reader) if reader.pointer() else (0, 0, b"")
    try:
        _close(reader)
    except Status as status:
        if status.code == _TIMEOUT:
            return None
        raise
    messages = Reader(body)
    if kind == _RESOURCE_CHANGE:
        states = [_resource(messages) for _ in range(count)]
        messages.end()
        return Notice("RESOURCE_CHANGE") if _UNAVAILABLE in states else None
    if kind not in _MOVES:
        raise BadNdr(f"a notice of kind {kind}")
    moves = [_addresses(messages) for _ in range(count)]
    messages.end()
    return _move(_MOVES[kind], [one for move in moves for one in move], address)


def _response(reader: Reader) -> tuple[int, int, bytes]:
    """[MS-SWN] 2.2.2.4, RESP_ASYNC_NOTIFY: of which kind, how many messages, and they."""
    kind, length, count = reader.u32(), reader.count(_BYTES), reader.count(_NOTICES)
    if not reader.pointer():
        if length:
            raise BadNdr("a notice that is not there")
        return kind, count, b""
    if reader.u32() != length:
        raise BadNdr("a notice of two lengths")
    body = reader.raw(length)
    reader.align(4)
    return kind, count, body


def _move(kind: str, told: "list[tuple[int, tuple[str, ...]]]", address: str) -> Notice | None:
    online = tuple(dict.fromkeys(at for flags, ats in told if not flags & _OFFLINE for at in ats))
    offline = [at for flags, ats in told if flags & _OFFLINE for at in ats]
    if kind == "IP_CHANGE" and not any(_same(at, address) for at in offline):
        return None
    return Notice(kind, online)


def _resource(reader: Reader) -> int:
    """[MS-SWN] 2.2.2.2: what became of it. Its name is nobody's business."""
    length = reader.count(_BYTES)
    state = reader.u32()
    reader.raw(length - _PREFIX)
    return state


def _addresses(reader: Reader) -> "list[tuple[int, tuple[str, ...]]]":
    """[MS-SWN] 2.2.2.3: flags and addresses of each entry."""
    length = reader.count(_BYTES)
    reader.u32()
    count = reader.count(_ADDRESSES)
    if length != _LIST + count * _ADDRESS.size:
        raise BadNdr("addresses that are not counted")
    found = []
    for _ in range(count):
        flags, v4, v6 = _ADDRESS.unpack(reader.raw(_ADDRESS.size))
        found.append((flags, _valid(flags, v4, v6)))
    return found


def _node(data: bytes) -> Node:
    name, version, state, v4, v6, flags = _NODE.unpack(data)
    try:
        text = name.decode("utf-16-le").partition("\0")[0]
    except UnicodeDecodeError:
        raise BadNdr("a name that is none") from None
    if not re.fullmatch(_HOST, text):
        raise BadNdr("a name that is none")
    can_watch = state == _AVAILABLE and version >= _VERSION_2 and bool(flags & _WATCHES)
    return Node(text, _valid(flags, v4, v6), can_watch)


def _valid(flags: int, v4: bytes, v6: bytes) -> tuple[str, ...]:
    both = ((_IPV4, v4), (_IPV6, v6))
    return tuple(str(ipaddress.ip_address(data)) for flag, data in both if flags & flag)


def _close(reader: Reader) -> None:
    """The code of the answer, and nothing behind it. Raises BadNdr, Status."""
    code = reader.u32()
    reader.end()
    if code:
        raise Status(code)


def _understood(read: Callable[[bytes], T], said: bytes, caller: Caller) -> T:
    """Raises Unwatched."""
    try:
        return read(said)
    except BadNdr as error:
        raise Unwatched(
            f"{caller.where}: it says what cannot be understood: {error}", remedy=_REFUSED
        ) from None
    except Status as error:
        raise Unwatched(f"{caller.where}: {error}", remedy=_REFUSED) from None


def _same(one: str, other: str) -> bool:
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)


def _host(node: str, server: str) -> str:
    """A node gives its short name or its full one; its service principal is in the domain of the server."""
    domain = server.partition(".")[2]
    return f"{node}.{domain}" if domain and "." not in node else node
