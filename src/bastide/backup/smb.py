"""A folder on an SMB share: SMB 3.1.1, encrypted and signed, or not at all. The one door for smbprotocol's errors.

What [MS-SMB2] calls a durable handle is asked for with each file that is made (3.2.4.3.5), and resumed after a new connection (3.2.4.4). A persistent handle is
never asked for: Samba grants none, and nothing here would rely on one.
"""

import logging
import struct
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidTag
from smbprotocol.connection import Ciphers, Dialects, SigningAlgorithms
from smbprotocol.create_contexts import (
    SMB2CreateContextRequest,
    SMB2CreateDurableHandleReconnectV2,
    SMB2CreateDurableHandleRequestV2,
    SMB2CreateDurableHandleResponseV2,
)
from smbprotocol.exceptions import NoMoreFiles, SMBAuthenticationError, SMBException, SMBResponseException
from smbprotocol.file_info import FileDispositionInformation, FileInformationClass, FileRenameInformation
from smbprotocol.header import NtStatus
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    DirectoryAccessMask,
    FileAttributes,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    RequestedOplockLevel,
    ShareAccess,
    SMB2SetInfoRequest,
)
from smbprotocol.tree import ShareCapabilities, TreeConnect

from bastide.backup.lookout import Lookout
from bastide.backup.remote import Busy, Lost, Missing, Taken
from bastide.backup.smb_connection import SmbConnection
from bastide.backup.smb_login import Login, signed_in
from bastide.backup.witness import Notice, Witness
from bastide.domain.errors import InvalidInput, StoreUnavailable

# They log session ids and whole messages, and print the traceback of every connection that ends.
for _name in ("smbprotocol", "spnego"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

SCHEME = "smb://"
PORT = 445
CIPHERS = MappingProxyType(
    {
        Ciphers.AES_256_GCM: "AES-256-GCM",
        Ciphers.AES_128_GCM: "AES-128-GCM",
        Ciphers.AES_256_CCM: "AES-256-CCM",
        Ciphers.AES_128_CCM: "AES-128-CCM",
    }
)
SIGNING = MappingProxyType(
    {
        SigningAlgorithms.AES_GMAC: "AES-GMAC",
        SigningAlgorithms.AES_CMAC: "AES-CMAC",
        SigningAlgorithms.HMAC_SHA256: "HMAC-SHA256",
    }
)
#: Seconds. To each address of the server; and for one answer, after which the connection is given up.
_CONNECT, _ANSWER = 3.0, 10.0
#: How long the server is asked to keep an open file whose connection is gone, in milliseconds.
_KEPT = 120_000
#: How often a witness is believed.
_NOTICES = 8
_NOTICED = "the witness says"
_READ_WRITE = (
    FilePipePrinterAccessMask.GENERIC_READ
    | FilePipePrinterAccessMask.GENERIC_WRITE
    | FilePipePrinterAccessMask.DELETE
)
#: [MS-ERREF] 2.3.1, as the library does not name it.
_QUOTA_EXCEEDED, _SESSION_EXPIRED, _CONNECTION_GONE = 0xC0000044, 0xC000035C, 0xC000020C
_FULL = frozenset({NtStatus.STATUS_DISK_FULL, _QUOTA_EXCEEDED})
_GONE = frozenset(
    {
        _SESSION_EXPIRED,
        _CONNECTION_GONE,
        NtStatus.STATUS_NETWORK_NAME_DELETED,
        NtStatus.STATUS_USER_SESSION_DELETED,
        NtStatus.STATUS_FILE_CLOSED,
        NtStatus.STATUS_IO_TIMEOUT,
        NtStatus.STATUS_INSUFF_SERVER_RESOURCES,
        NtStatus.STATUS_SERVER_UNAVAILABLE,
    }
)
_MISSING = frozenset({NtStatus.STATUS_OBJECT_NAME_NOT_FOUND, NtStatus.STATUS_NO_SUCH_FILE})
#: What the library raises; some of it in its own thread, for an answer that is none or was changed on its way.
_ANYTHING = (SMBException, OSError, ValueError, KeyError, struct.error, InvalidTag)
#: What does not belong in a name: [MS-FSCC] 2.1.5.
_FORBIDDEN = frozenset('"\\:|<>*?')


@dataclass(frozen=True, slots=True)
class Address:
    """`smb://server/share/folder`. `folder`: as the protocol has it, with backslashes, empty for the share itself."""

    server: str
    share: str
    folder: str

    def __str__(self) -> str:
        return "/".join((f"{SCHEME}{self.server}", self.share, *self.folder.split("\\"))).rstrip("/")


def address(text: str) -> Address:
    """Raises InvalidInput."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _no_address("the server cannot be read") from None
    if parts.username is not None or parts.password is not None:
        raise _no_address("it names a user; who signs in stands in the settings")
    if parts.scheme != "smb" or not parts.hostname or port or parts.query or parts.fragment:
        raise _no_address("it is smb://server/share/folder, and nothing more")
    names = [unquote(name) for name in parts.path.split("/") if name]
    if not names:
        raise _no_address("it names no share")
    for name in names:
        if name in {".", ".."} or not name.isprintable() or _FORBIDDEN & set(name):
            raise _no_address(f"{name!r} is no name of a share or folder")
    return Address(parts.hostname, names[0], "\\".join(names[1:]))


def _no_address(why: str) -> InvalidInput:
    return InvalidInput("share", why, remedy="give it as in smb://files.priv.example.com/backups/bastide")


class SmbFile:
    """An open file. `kept`: for how long the server promised to keep it without a connection, in milliseconds."""

    def __init__(self, folder: "SmbFolder", name: str, opened: Any, guid: uuid.UUID, kept: int) -> None:
        self._folder = folder
        self._open = opened
        self.name = name
        self.guid = guid
        self.kept = kept

    @property
    def id(self) -> bytes:
        """As the server knows it."""
        return bytes(self._open.file_id)

    def size(self) -> int:
        """In bytes, when it was opened."""
        return int(self._open.end_of_file)

    def write(self, offset: int, data: bytes) -> None:
        """On the server's disk when it returns."""
        with self._folder.asked(self.name):
            self._open.write(data, offset, write_through=True)

    def read(self, offset: int, length: int) -> bytes:
        """Fewer bytes at the end of the file; none behind it."""
        with self._folder.asked(self.name):
            try:
                return bytes(self._open.read(offset, length))
            except SMBResponseException as error:
                if error.status == NtStatus.STATUS_END_OF_FILE:
                    return b""
                raise

    def rename(self, name: str) -> None:
        """Raises Taken: nothing is replaced."""
        order = FileRenameInformation()
        order["replace_if_exists"] = False
        order["file_name"] = self._folder.path(name)
        self._set(order)

    def remove(self) -> None:
        """When it is closed."""
        order = FileDispositionInformation()
        order["delete_pending"] = True
        self._set(order)

    def close(self) -> None:
        """Without an error where the connection is gone."""
        with suppress(StoreUnavailable), self._folder.asked(self.name):
            self._open.close()

    def control(self, request: Any, *, of_file: bool) -> bytes:
        """FSCTL, of the file or of the server: the answer. Raises StoreUnavailable for what it does not know."""
        request["file_id"] = self._open.file_id if of_file else b"\xff" * 16
        with self._folder.asked(self.name):
            return self._folder.exchange(request)

    def _set(self, order: Any) -> None:
        """[MS-SMB2] 2.2.39."""
        request = SMB2SetInfoRequest()
        request["info_type"] = order.INFO_TYPE
        request["file_info_class"] = order.INFO_CLASS
        request["file_id"] = self._open.file_id
        request["buffer"] = order
        with self._folder.asked(self.name):
            self._folder.exchange(request)


class SmbFolder:
    """One connection at a time to a folder of a share. `witness`: who is asked to tell early that the server is gone, where the share offers it; None: silence tells."""

    def __init__(self, where: Address, login: Login, witness: Witness | None = None) -> None:
        self.where = where
        self.name = str(where)
        self.login = login
        #: The server knows by it who resumes.
        self._client = uuid.uuid4()
        self._connection: Any = None
        self._session: Any = None
        self.tree: Any = None
        self._witness = witness
        self._lookout: Lookout | None = None
        self._notices = 0
        #: Where the witness sent us; empty: to the server's name.
        self._elsewhere = ""

    def connect(self) -> None:
        """Anew. The server is told which session this one replaces: it need not find out by itself that the other is gone."""
        previous = self._session.session_id if self._session else 0
        self._drop()
        # Once: if nobody is there, the name leads on.
        server, self._elsewhere = self._elsewhere or self.where.server, ""
        self._connection = SmbConnection(self._client, server, PORT, previous)
        try:
            self._negotiate()
            self._look_out()
        except BaseException:
            self._drop()
            raise

    def _negotiate(self) -> None:
        with self.asked(""):
            self._connection.connect(
                Dialects.SMB_3_1_1, timeout=_CONNECT, preferred_encryption_algos=[*CIPHERS]
            )
            if self._connection.cipher_id not in CIPHERS:  # before anybody signs in
                raise StoreUnavailable(f"{self.name} does not encrypt", remedy=_MODERN)
            self._session = signed_in(self._connection, self.login, self.where.server)
            self.tree = TreeConnect(self._session, rf"\\{self.where.server}\{self.where.share}")
            self.tree.connect()

    def _look_out(self) -> None:
        """Whoever tells too often is not listened to: giving up a connection costs time."""
        if self._witness is None or not self.is_witnessed or self._notices >= _NOTICES:
            return
        connection = self._connection

        def told(notice: Notice) -> None:
            connection.notice = notice
            self._notices += 1
            self._elsewhere = next(iter(notice.addresses), "")
            connection.cut()

        self._lookout = Lookout(self._witness, self.where.server, self.peer, told)

    def close(self) -> None:
        """Without an error where the connection is gone already."""
        if self._connection is not None:
            with suppress(StoreUnavailable), self.asked(""):
                self._connection.disconnect()
        self._drop()
        self._session = None

    def create(self, name: str) -> SmbFile:
        """Raises Taken."""
        return self._durable(name, CreateDisposition.FILE_CREATE)

    def reopen(self, name: str) -> SmbFile:
        """Raises Missing, Busy."""
        return self._durable(name, CreateDisposition.FILE_OPEN)

    def _durable(self, name: str, how: int) -> SmbFile:
        """With the wish that the server keeps it through a cut connection."""
        wanted = SMB2CreateDurableHandleRequestV2()
        guid = uuid.uuid4()
        wanted["timeout"] = _KEPT
        wanted["create_guid"] = guid
        return self._opened(name, how, guid, wanted)

    def resume(self, file: SmbFile) -> SmbFile:
        """Raises Missing if the server kept nothing of it."""
        if not file.kept:
            raise Missing(f"{self.name}/{file.name}: the server did not promise to keep it")
        wanted = SMB2CreateDurableHandleReconnectV2()
        wanted["file_id"] = file.id
        wanted["create_guid"] = file.guid
        resumed = self._opened(file.name, CreateDisposition.FILE_OPEN, file.guid, wanted)
        resumed.kept = file.kept
        return resumed

    def look(self, name: str) -> SmbFile:
        """Raises Missing, Busy."""
        with self.asked(name):
            opened = Open(self.tree, self.path(name))
            opened.create(
                ImpersonationLevel.Impersonation,
                FilePipePrinterAccessMask.GENERIC_READ,
                FileAttributes.FILE_ATTRIBUTE_NORMAL,
                ShareAccess.FILE_SHARE_READ,
                CreateDisposition.FILE_OPEN,
                CreateOptions.FILE_NON_DIRECTORY_FILE,
            )
        return SmbFile(self, name, opened, uuid.uuid4(), 0)

    def names(self) -> list[str]:
        """Of all files in it."""
        found: list[str] = []
        folder = self.itself()
        with self.asked(""), suppress(NoMoreFiles):
            while True:
                entries = folder.query_directory("*", FileInformationClass.FILE_NAMES_INFORMATION)
                found += (entry["file_name"].get_value().decode("utf-16-le") for entry in entries)
        with self.asked(""):
            folder.close()
        return [name for name in found if name not in {".", ".."}]

    def itself(self) -> Any:
        """The folder, open."""
        with self.asked(""):
            opened = Open(self.tree, self.where.folder)
            opened.create(
                ImpersonationLevel.Impersonation,
                DirectoryAccessMask.FILE_LIST_DIRECTORY | DirectoryAccessMask.FILE_READ_ATTRIBUTES,
                FileAttributes.FILE_ATTRIBUTE_DIRECTORY,
                ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE,
                CreateDisposition.FILE_OPEN,
                CreateOptions.FILE_DIRECTORY_FILE,
            )
        return opened

    def path(self, name: str) -> str:
        """From the share's root."""
        return "\\".join(part for part in (self.where.folder, name) if part)

    def exchange(self, request: Any) -> bytes:
        """One message and its answer; within `asked`."""
        sent = self._connection.send(request, self._session.session_id, self.tree.tree_connect_id)
        return bytes(self._connection.receive(sent)["data"].get_value())

    @contextmanager
    def asked(self, name: str) -> Iterator[None]:
        """Whatever fails within is one of ours. Who has no answer in time has no connection any more."""
        connection, late = self._connection, threading.Event()
        if connection is None:
            raise Lost(f"{self.name} is not connected", remedy=_REACH)

        def give_up() -> None:
            late.set()
            connection.cut()

        timer = threading.Timer(_ANSWER, give_up)
        timer.start()
        try:
            yield
        except _ANYTHING as error:
            what = f"{self.name}/{name}" if name else self.name
            if connection.notice is not None:
                raise Lost(
                    f"{what}: the connection was given up: {_NOTICED} {connection.notice}", remedy=_REACH
                ) from None
            _tell(error, what, late=late.is_set())
        finally:
            timer.cancel()

    @property
    def cipher(self) -> int:
        """Of `CIPHERS`."""
        return int(self._connection.cipher_id)

    @property
    def signing(self) -> int:
        """Of `SIGNING`; -1: the server chose none, and [MS-SMB2] says which it is then."""
        chosen = self._connection.signing_algorithm_id
        return -1 if chosen is None else int(chosen)

    @property
    def capabilities(self) -> int:
        """Of the share: `ShareCapabilities` of the library."""
        return int(self._connection.share_capabilities)

    @property
    def is_witnessed(self) -> bool:
        """Whether the share says that somebody would tell early of its server's end: [MS-SMB2] 2.2.10."""
        return bool(self.capabilities & ShareCapabilities.SMB2_SHARE_CAP_CLUSTER)

    @property
    def peer(self) -> str:
        """The address that the connection goes to. Raises Lost."""
        with self.asked(""):
            return str(self._connection.peer())

    def cut(self) -> None:
        """As if somebody had pulled the cable."""
        self._connection.cut()

    def _opened(self, name: str, how: int, guid: uuid.UUID, wanted: Any) -> SmbFile:
        """For nobody else while it is open."""
        context = SMB2CreateContextRequest()
        context["buffer_name"] = wanted.NAME
        context["buffer_data"] = wanted
        with self.asked(name):
            opened = Open(self.tree, self.path(name))
            granted = opened.create(
                ImpersonationLevel.Impersonation,
                _READ_WRITE,
                FileAttributes.FILE_ATTRIBUTE_NORMAL,
                0,
                how,
                CreateOptions.FILE_NON_DIRECTORY_FILE,
                create_contexts=[context],
                oplock_level=RequestedOplockLevel.SMB2_OPLOCK_LEVEL_BATCH,
            )
        kept = [one for one in granted or () if isinstance(one, SMB2CreateDurableHandleResponseV2)]
        return SmbFile(self, name, opened, guid, int(kept[0]["timeout"].get_value()) if kept else 0)

    def _drop(self) -> None:
        if self._lookout is not None:
            self._lookout.end()
        self._lookout = None
        if self._connection is not None:
            self._connection.cut()
            with suppress(SMBException, OSError):
                self._connection.disconnect(close=False)
        self._connection = None


_MODERN = "let the server speak SMB 3.1.1 with encryption; nothing less is used"
_REACH = "is the server up, is its name right, and is port 445 open to it?"


def _tell(error: Exception, what: str, *, late: bool) -> NoReturn:
    """The one door."""
    if isinstance(error, SMBAuthenticationError):
        raise StoreUnavailable(
            f"{what}: the server did not take the sign-in: {error}",
            remedy="may this account sign in there, and does the server's name have a service principal cifs/ in the domain?",
        ) from None
    if not isinstance(error, SMBResponseException):
        said = "no answer in time" if late else str(error) or type(error).__name__
        if type(error) is SMBException and not late and "timeout" not in said:
            raise StoreUnavailable(f"{what}: {said}", remedy=_MODERN) from None
        raise Lost(f"{what}: the connection is gone: {said}", remedy=_REACH) from None
    status = error.status
    if status in _GONE:
        raise Lost(f"{what}: the server gave the connection up ({status:#010x})", remedy=_REACH) from None
    if status in _MISSING:
        raise Missing(f"{what} is not there", remedy="`bastide storage test` shows what a share is") from None
    if status == NtStatus.STATUS_OBJECT_NAME_COLLISION:
        raise Taken(f"{what} is there already", remedy="another backup runs, or was killed: look") from None
    if status == NtStatus.STATUS_SHARING_VIOLATION:
        raise Busy(f"{what} is open somewhere else", remedy="wait, or see who has it open") from None
    message, remedy = _REFUSALS.get(status, (f"the server refuses ({status:#010x})", _MODERN))
    raise StoreUnavailable(f"{what}: {message}", remedy=remedy) from None


_NO_ROOM = ("there is no room left on the share", "make room, or keep fewer backups (--keep)")
_REFUSALS = MappingProxyType(
    {
        **dict.fromkeys(_FULL, _NO_ROOM),
        NtStatus.STATUS_ACCESS_DENIED: (
            "this account may not do that",
            "let it create, write, rename and delete in that folder, on the share and in the file system",
        ),
        NtStatus.STATUS_BAD_NETWORK_NAME: ("there is no such share", "name one that the server has"),
        NtStatus.STATUS_OBJECT_PATH_NOT_FOUND: ("there is no such folder", "make it first"),
        NtStatus.STATUS_LOGON_FAILURE: (
            "the server did not take the sign-in",
            "is the account right, and may it sign in there?",
        ),
        NtStatus.STATUS_NOT_SUPPORTED: ("the server does not speak SMB 3.1.1", _MODERN),
    }
)
