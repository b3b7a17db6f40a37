"""The twin of a share: a file server in memory, and what can go wrong with it, chosen by the test."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bastide.backup.remote import Busy, Lost, Missing, Taken
from bastide.domain.errors import StoreUnavailable

Fault = Callable[[str, str], None]


@dataclass
class MemoryServer:
    """`keeps`: open files outlive a connection. `room`: in bytes, None: without end. `faults` are asked before and after each verb ("write", "write done") with
    the file's name, and may raise.
    """

    keeps: bool = True
    room: int | None = None
    files: dict[str, bytearray] = field(default_factory=dict)
    holders: dict[int, "MemoryFile"] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    verbs: list[str] = field(default_factory=list)

    def ask(self, verb: str, name: str) -> None:
        self.verbs.append(verb)
        for fault in list(self.faults):
            fault(verb, name)

    def holder(self, name: str) -> "MemoryFile | None":
        return next((one for one in self.holders.values() if self.files.get(name) is one.data), None)


class MemoryFile:
    def __init__(self, folder: "MemoryFolder", name: str, data: bytearray, *, kept: bool) -> None:
        self._folder = folder
        self._removed = False
        self.name = name
        self.data = data
        self.kept = kept

    def size(self) -> int:
        return len(self.data)

    def write(self, offset: int, data: bytes) -> None:
        with self._folder.doing("write", self.name, self) as server:
            end = offset + len(data)
            if server.room is not None and end > server.room:
                raise StoreUnavailable("there is no room left on the share", remedy="make room")
            self.data.extend(bytes(max(0, end - len(self.data))))
            self.data[offset:end] = data

    def read(self, offset: int, length: int) -> bytes:
        with self._folder.doing("read", self.name, self):
            return bytes(self.data[offset : offset + length])

    def rename(self, name: str) -> None:
        with self._folder.doing("rename", self.name, self) as server:
            if name in server.files:
                raise Taken(f"{name} is there already")
            old = next(one for one, data in server.files.items() if data is self.data)
            server.files[name] = server.files.pop(old)

    def remove(self) -> None:
        with self._folder.doing("remove", self.name, self):
            self._removed = True

    @property
    def is_open(self) -> bool:
        """For whoever asks over the connection that it was opened on."""
        return self._folder.connected and self in self._folder.open

    def close(self) -> None:
        if not self.is_open:
            return
        server = self._folder.server
        self._folder.open.remove(self)
        server.holders.pop(id(self), None)
        if self._removed:
            for name in [one for one, data in server.files.items() if data is self.data]:
                del server.files[name]


class _Doing:
    def __init__(self, folder: "MemoryFolder", verb: str, name: str, file: MemoryFile | None) -> None:
        self._folder, self._verb, self._name, self._file = folder, verb, name, file

    def __enter__(self) -> MemoryServer:
        folder = self._folder
        if not folder.connected or (self._file is not None and not self._file.is_open):
            raise Lost("the connection is gone")
        self._tell(self._verb)
        return folder.server

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._tell(f"{self._verb} done")

    def _tell(self, verb: str) -> None:
        try:
            self._folder.server.ask(verb, self._name)
        except Lost:
            self._folder.cut()
            raise


class MemoryFolder:
    """One connection to it."""

    name = "memory://server/share"

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.connected = False
        self.open: list[MemoryFile] = []

    def doing(self, verb: str, name: str, file: MemoryFile | None = None) -> _Doing:
        return _Doing(self, verb, name, file)

    def connect(self) -> None:
        self.cut()
        self.server.ask("connect", "")
        self.connected = True

    def cut(self) -> None:
        """What was open is the server's to keep, or gone."""
        self.connected = False
        for file in self.open:
            if not file.kept:
                self.server.holders.pop(id(file), None)
        self.open = []

    def close(self) -> None:
        for file in list(self.open):
            file.close()
        self.cut()

    def create(self, name: str) -> MemoryFile:
        with self.doing("create", name) as server:
            if name in server.files:
                raise Taken(f"{name} is there already")
            data = server.files[name] = bytearray()
            return self._held(name, data, kept=server.keeps)

    def reopen(self, name: str) -> MemoryFile:
        with self.doing("reopen", name) as server:
            return self._held(name, self._found(name), kept=server.keeps)

    def resume(self, file: MemoryFile) -> MemoryFile:
        with self.doing("resume", file.name) as server:
            if server.holders.get(id(file)) is not file:
                raise Missing(f"{file.name}: the server kept nothing")
            self.open.append(file)
            return file

    def look(self, name: str) -> MemoryFile:
        with self.doing("look", name):
            file = MemoryFile(self, name, self._found(name), kept=False)
            self.open.append(file)
            return file

    def names(self) -> list[str]:
        with self.doing("names", "") as server:
            return list(server.files)

    def _found(self, name: str) -> bytearray:
        server = self.server
        if name not in server.files:
            raise Missing(f"{name} is not there")
        holder = server.holder(name)
        if holder is not None and not holder.is_open:
            server.holders.pop(
                id(holder)
            )  # a durable handle is no lock: whoever opens the file takes it away
        elif holder is not None:
            raise Busy(f"{name} is open somewhere else")
        return server.files[name]

    def _held(self, name: str, data: bytearray, *, kept: bool) -> MemoryFile:
        file = MemoryFile(self, name, data, kept=kept)
        self.server.holders[id(file)] = file
        self.open.append(file)
        return file
