"""What a share really offers: asked for, and where it can be, tried. A file of its own is written, read back and removed.

A persistent handle would live on when its server dies. Samba grants none, so nothing here counts on one; a share that says it has them is told apart, and
backups do not use them.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from smbprotocol.ioctl import (
    CtlCode,
    IOCTLFlags,
    SMB2IOCTLRequest,
    SMB2IOCTLResponse,
    SMB2NetworkInterfaceInfo,
    SMB2SrvSnapshotArray,
)
from smbprotocol.tree import ShareCapabilities

from bastide.backup.remote import Missing
from bastide.backup.smb import CIPHERS, SIGNING, SmbFile, SmbFolder
from bastide.backup.spool import CHUNK
from bastide.backup.witness import Unwatched, Witness
from bastide.domain.errors import StoreUnavailable

#: What the levels mean, each with those before it.
LEVELS = (
    "a connection that is cut costs time: the file is opened again, and compared chunk by chunk",
    "a connection that is cut goes on where it was: the server keeps the open file (durable handle)",
    "a server that dies is replaced by another one under the same name; the file is opened again there, and compared",
    "another server tells at once that one is gone (Witness), where silence would take ten seconds",
)
_PREFIX = ".bastide-storage-test-"
#: [MS-SMB2] 2.2.32.2: how many there are fits, without their names.
_COUNT_ONLY = 16
_INTERFACES = 64 * 1024
#: Of an interface that says it has no link speed: [MS-SMB2] 2.2.32.5, in bits a second.
_GIGA = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Offers:
    """What was found. `durable`: for how many seconds the server promised to keep an open file; `witness`: the share says that it is watched; `watched_by`: who
    took our registration, or `unwatched`: why nobody did; `snapshots` -1: the server does not tell; speeds in bytes a second.
    """

    dialect: str
    cipher: str
    signing: str
    durable: float
    resumed: bool
    persistent: bool
    clustered: bool
    witness: bool
    watched_by: str
    unwatched: str
    interfaces: tuple[str, ...]
    snapshots: int
    writes: float
    reads: float

    @property
    def level(self) -> int:
        """Of LEVELS."""
        if not self.resumed:
            return 0
        if not self.clustered:
            return 1
        return 3 if self.watched_by else 2


def probe(folder: SmbFolder, witness: Witness, size: int, now: Callable[[], float]) -> Offers:
    """`size`: of the file, in bytes. Raises StoreUnavailable for a share that backups cannot use."""
    folder.connect()
    try:
        name = f"{_PREFIX}{secrets.token_hex(8)}"
        file = folder.create(name)
        try:
            speeds = _speeds(file, size, now)
            snapshots, interfaces = _snapshots(file), _interfaces(file)
            resumed, file = _resumed(folder, file)
        finally:
            _tidy_up(folder, file, name)
        share = folder.capabilities
        watched_by, unwatched = _watched(folder, witness)
        return Offers(
            dialect="3.1.1",
            cipher=CIPHERS[folder.cipher],
            signing=SIGNING.get(folder.signing, "AES-CMAC"),
            durable=file.kept / 1000,
            resumed=resumed,
            persistent=bool(share & ShareCapabilities.SMB2_SHARE_CAP_CONTINUOUS_AVAILABILITY),
            clustered=bool(share & ShareCapabilities.SMB2_SHARE_CAP_SCALEOUT),
            witness=folder.is_witnessed,
            watched_by=watched_by,
            unwatched=unwatched,
            interfaces=interfaces,
            snapshots=snapshots,
            writes=speeds[0],
            reads=speeds[1],
        )
    finally:
        folder.close()


def _speeds(file: SmbFile, size: int, now: Callable[[], float]) -> tuple[float, float]:
    chunk = secrets.token_bytes(CHUNK)
    wanted = hashlib.sha256(chunk).digest()
    offsets = range(0, max(size, CHUNK), CHUNK)
    began = now()
    for offset in offsets:
        file.write(offset, chunk)
    wrote = now()
    wrong = [at for at in offsets if hashlib.sha256(file.read(at, CHUNK)).digest() != wanted]
    read = now()
    if wrong:
        raise StoreUnavailable(
            "the share gives back something else than what was written",
            remedy="look at the disk of the file server",
        )
    total = len(offsets) * CHUNK
    return total / max(wrote - began, 1e-9), total / max(read - wrote, 1e-9)


def _resumed(folder: SmbFolder, file: SmbFile) -> tuple[bool, SmbFile]:
    """Cut the own connection, and see whether the open file is still ours."""
    folder.cut()
    folder.connect()
    try:
        again = folder.resume(file)
        again.write(0, b"resumed")
    except Missing:
        return False, file
    return True, again


def _watched(folder: SmbFolder, witness: Witness) -> tuple[str, str]:
    """Register, as a backup would: by whom, or why not."""
    if not folder.is_witnessed:
        return "", "the share does not offer it"
    try:
        watch = witness.watch(folder.where.server, folder.peer)
    except Unwatched as error:
        return "", f"{error.message} ({error.remedy})"
    watch.close()
    return watch.by, ""


def _tidy_up(folder: SmbFolder, file: SmbFile, name: str) -> None:
    file.close()
    left = folder.reopen(name)
    left.remove()
    left.close()


def _snapshots(file: SmbFile) -> int:
    """-1: the server does not tell."""
    answer = _asked(file, CtlCode.FSCTL_SRV_ENUMERATE_SNAPSHOTS, _COUNT_ONLY)
    if not answer:
        return -1
    array = SMB2SrvSnapshotArray()
    array.unpack(answer)
    return int(array["number_of_snapshots"].get_value())


def _interfaces(file: SmbFile) -> tuple[str, ...]:
    """Where the server can be reached too: address and speed."""
    answer = _asked(file, CtlCode.FSCTL_QUERY_NETWORK_INTERFACE_INFO, _INTERFACES, of_file=False)
    found = []
    for one in SMB2NetworkInterfaceInfo.unpack_multiple(answer):
        address = one["sock_addr_storage"].get_value()["buffer"].get_value().get_ipaddress()
        found.append(f"{address} ({one['link_speed'].get_value() / _GIGA:g} Gbit/s)")
    return tuple(found)


def _asked(file: SmbFile, code: int, room: int, *, of_file: bool = True) -> bytes:
    """Empty: the server does not know it."""
    request = SMB2IOCTLRequest()
    request["ctl_code"] = code
    request["max_output_response"] = room
    request["flags"] = IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL
    try:
        answer = SMB2IOCTLResponse()
        answer.unpack(file.control(request, of_file=of_file))
    except Missing:
        raise
    except StoreUnavailable:
        return b""
    return bytes(answer["buffer"].get_value())
