"""The file of the queue: sealed entries, one after the other, and a header that says which file it is. Knows nothing of what an entry means.

The rules this module keeps:
  (1) The key comes from a file of mode 0600 that was made with random bytes at the first start; there is no default.
  (2) Each file has an identity of its own; the key of its entries is made from it, so that entries of another file do not fit.
  (3) An entry verifies only in its place: its number is part of what is authenticated. Swapped, repeated and missing entries are found.
  (4) Nothing counts before it is on the disk. What could not be written whole is cut off again.
  (5) A damaged file is never repaired in place: what verifies goes into a new one, the old one stays beside it under a new name.

What it does not find: entries cut off at the end exactly between two of them, and a whole older file put back. Both lose or repeat changes, and a repeated one has its old reference.
"""

import errno
import os
import secrets
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bastide_agent.failures import SpoolFull, Stop

KEY_BYTES = 32
_MAGIC = b"BASTIDEQ"
_FORMAT = 1
_TAG = 16
_NONCE = 12
_ID = 16
_FIXED = struct.Struct(">8sHH")
_HEADER = _FIXED.size + _ID + _NONCE + _TAG
_LENGTH = struct.Struct(">I")
_LARGEST = 128 * 1024
_INFO = b"bastide-agent queue 1"


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file, as an event."""

    number: int
    detail: str
    requested: int = 0
    read: int = 0


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds up to its end or its damage."""

    entries: tuple[bytes, ...]
    damage: Damage | None = None


def load_key(path: Path) -> bytes:
    """(1) The key, made if there is none. Raises Stop (6022)."""
    if not path.exists():
        _make_key(path)
    return _existing_key(path)


def _make_key(path: Path) -> None:
    """Whole or not at all: half a key would stop every later start."""
    partial = path.with_suffix(".new-key")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise Stop(6022, f"the key {path} cannot be made: {error.strerror}") from None


def _existing_key(path: Path) -> bytes:
    try:
        found = path.stat()
        key = path.read_bytes()
    except OSError as error:
        raise Stop(6022, f"the key {path} cannot be read: {error.strerror}") from None
    if found.st_mode & 0o077:
        raise Stop(
            6022, f"the key {path} is open to others: chmod 0600, and think about who may have read it"
        )
    if len(key) != KEY_BYTES or len(set(key)) == 1:
        raise Stop(6022, f"the key {path} is no key: delete it, and the queue with it, to begin anew")
    return key


def sync_directory(path: Path) -> None:
    """Make names durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cipher(key: bytes, identity: bytes) -> AESGCM:
    """(2)."""
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=identity, info=_INFO).derive(key))


# --------------------------------------------------------------------------------------------------------------- reading


def read(path: Path, key: bytes) -> Contents | None:
    """All entries that verify, in order; None: there is no file. Raises Stop (6013) if it cannot be read, and then nothing is touched."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Stop(6013, f"{path} cannot be read: {error.strerror}") from None
    damage = _header_damage(raw)
    if damage:
        return Contents((), damage)
    identity = raw[_FIXED.size : _FIXED.size + _ID]
    cipher = _cipher(key, identity)
    sealed = raw[_FIXED.size + _ID : _HEADER]
    try:
        cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], raw[: _FIXED.size + _ID])
    except InvalidTag:
        return Contents((), Damage(6016, "the header was not sealed with this key"))
    return _entries(raw, cipher, identity)


def _header_damage(raw: bytes) -> Damage | None:
    if not raw.startswith(_MAGIC):
        return Damage(6014, "this is no queue of the agent")
    if len(raw) < _HEADER:
        return Damage(6016, "the header is cut off")
    _, version, tag = _FIXED.unpack_from(raw)
    if tag != _TAG:
        return Damage(6015, "the header's tag has another length")
    return None if version == _FORMAT else Damage(6016, "the format is not known")


def _entries(raw: bytes, cipher: AESGCM, identity: bytes) -> Contents:
    """(3)."""
    found: list[bytes] = []
    at = _HEADER
    while at < len(raw):
        left = len(raw) - at
        size = _LENGTH.unpack_from(raw, at)[0] if left >= _LENGTH.size else _LENGTH.size
        if not _NONCE + _TAG <= size <= _LARGEST and left >= _LENGTH.size:
            return Contents(tuple(found), Damage(6017, "an entry has a length that none can have"))
        if left < _LENGTH.size + size:
            return Contents(
                tuple(found), Damage(6011, "the file ends within an entry", size, max(left - _LENGTH.size, 0))
            )
        at += _LENGTH.size
        sealed = raw[at : at + size]
        try:
            found.append(cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _place(identity, len(found))))
        except InvalidTag:
            return Contents(tuple(found), Damage(6017, f"entry {len(found)} does not verify"))
        at += size
    return Contents(tuple(found))


def _place(identity: bytes, number: int) -> bytes:
    return identity + number.to_bytes(8, "big")


# --------------------------------------------------------------------------------------------------------------- writing


class SealedFile:
    """The queue file, open for writing at its end. Not safe to use from several threads."""

    def __init__(self, path: Path, key: bytes, limit: int) -> None:
        self.path = path
        self._key = key
        self._limit = limit
        self._descriptor = -1
        self._identity = b""
        self._cipher: AESGCM | None = None
        self._count = 0
        self.size = 0
        self._unsynced = False

    def rewrite(self, entries: Iterable[bytes]) -> None:
        """A new file with these entries in the place of the old one, whole or not at all. Raises SpoolFull; `broken` may be true then, and if it is not, the old file goes on."""
        identity = secrets.token_bytes(_ID)
        cipher = _cipher(self._key, identity)
        partial = self.path.with_suffix(".new")
        parts = [_new_header(cipher, identity)]
        parts += [_sealed(cipher, identity, number, entry) for number, entry in enumerate(entries)]
        descriptor = _written(partial, b"".join(parts))
        try:
            partial.rename(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            os.close(descriptor)
            self.close()  # the old descriptor may be that of a file that has no name any more
            raise _cannot(error) from None
        self._take(descriptor, identity, cipher, parts)

    def _take(self, descriptor: int, identity: bytes, cipher: AESGCM, parts: Sequence[bytes]) -> None:
        self.close()
        self._descriptor, self._identity, self._cipher = descriptor, identity, cipher
        self._count, self.size, self._unsynced = len(parts) - 1, sum(map(len, parts)), False

    def set_aside(self, name: str) -> Path:
        """(5) The file as it is also has that name from now on. Raises SpoolFull."""
        aside = self.path.with_name(name)
        try:
            aside.hardlink_to(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise SpoolFull(f"{self.path} cannot be set aside: {error.strerror}") from None
        return aside

    def append(self, entries: Sequence[bytes], *, sync: bool) -> None:
        """(4) All or nothing. Raises SpoolFull; `broken` may be true then, and the next thing must be `rewrite`."""
        cipher = self._cipher
        if cipher is None or self.broken:
            raise SpoolFull("the queue is not open")
        parts = [
            _sealed(cipher, self._identity, self._count + number, entry)
            for number, entry in enumerate(entries)
        ]
        data = b"".join(parts)
        if self.size + len(data) > self._limit:
            raise SpoolFull("the queue has reached its largest size")
        try:
            _write_all(self._descriptor, data)
            if sync:
                os.fsync(self._descriptor)
        except OSError as error:
            self._cut_off(error)
        self._unsynced = not sync
        self.size += len(data)
        self._count += len(parts)

    def _cut_off(self, error: OSError) -> None:
        """A later entry in the place of a torn one must not follow it. After a failed fsync the kernel may have dropped what it held: begin anew."""
        try:
            os.ftruncate(self._descriptor, self.size)
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                self.close()
        except OSError:
            self.close()
        raise _cannot(error) from None

    @property
    def broken(self) -> bool:
        """Only `rewrite` helps."""
        return self._descriptor < 0

    def sync(self) -> None:
        """What was appended without. Raises SpoolFull."""
        if self._unsynced and not self.broken:
            self._unsynced = False
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self.close()
                raise _cannot(error) from None

    def close(self) -> None:
        """Nothing is written any more."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _new_header(cipher: AESGCM, identity: bytes) -> bytes:
    clear = _FIXED.pack(_MAGIC, _FORMAT, _TAG) + identity
    nonce = secrets.token_bytes(_NONCE)
    return clear + nonce + cipher.encrypt(nonce, b"", clear)


def _sealed(cipher: AESGCM, identity: bytes, number: int, entry: bytes) -> bytes:
    """The nonce is random: after a write that was cut off, another entry gets the same number."""
    nonce = secrets.token_bytes(_NONCE)
    body = nonce + cipher.encrypt(nonce, entry, _place(identity, number))
    return _LENGTH.pack(len(body)) + body


def _written(path: Path, data: bytes) -> int:
    """A descriptor of a new file with this, on the disk. Raises SpoolFull, and leaves none behind: what it took of a full disk is free again."""
    descriptor = -1
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        _write_all(descriptor, data)
        os.fsync(descriptor)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()
        raise _cannot(error) from None
    return descriptor


def _cannot(error: OSError) -> SpoolFull:
    return SpoolFull(f"the queue cannot be written: {error.strerror}")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
