"""Compressed and encrypted with age (https://age-encryption.org/v1) to public keys: a server cannot open its own backups, and `age` itself can."""

import gzip
import io
import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

import pyrage

from bastide.backup.place import Sink
from bastide.domain.errors import InvalidInput, StoreError, StoreUnavailable

KEY = "backup.key"
#: zlib's own format with gzip's header.
_GZIP = 31
_LINE = "AGE-SECRET-KEY-"


def generate(directory: Path) -> str:
    """A new identity in backup.key, mode 0600, as `age-keygen` writes it; the public key. Raises FileExistsError, OSError."""
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    fd = os.open(directory / KEY, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(f"# public key: {public}\n{identity}\n")
    return public


def recipients(names: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    """Raises InvalidInput for one that is no public key of age, or if there is none."""
    if not names:
        raise InvalidInput("recipient", "is missing", remedy="`bastide keys generate --backup` makes a key")
    found = []
    for name in names:
        try:
            found.append(pyrage.x25519.Recipient.from_str(name))
        except pyrage.RecipientError:
            raise _no_recipient(name) from None
    return found


def _no_recipient(name: str) -> InvalidInput:
    """What was given is not repeated: it may be the key that opens all backups."""
    if name.upper().startswith(_LINE):
        return InvalidInput(
            "recipient",
            "this is the PRIVATE key, which opens all backups",
            remedy="give the public one, which begins with age1, and make a new pair if others may have seen this",
        )
    return InvalidInput(
        "recipient",
        "this is no public key of age",
        remedy="it begins with age1 and has 62 characters: is it mistyped or cut off?",
    )


def identities(path: Path) -> list[pyrage.x25519.Identity]:
    """The private keys in a file. Raises StoreUnavailable."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return [pyrage.x25519.Identity.from_str(line.strip()) for line in lines if line.startswith(_LINE)]
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        kind = error.strerror if isinstance(error, OSError) else "it holds no private key of age"
        raise StoreUnavailable(f"{path} cannot be used: {kind}", remedy="name the file backup.key") from None


def seal(frames: Iterable[bytes], target: Sink, to: Sequence[pyrage.x25519.Recipient]) -> None:
    """Write all frames, sealed, without a clear copy anywhere. Raises OSError, and what the frames raise."""
    stream = _Stream(_compressed(frames))
    try:
        pyrage.encrypt_io(stream, target, list(to))
    except pyrage.EncryptError as error:
        if stream.problem is not None:
            raise stream.problem from None
        raise OSError(f"the backup cannot be written: {error}") from None


@contextmanager
def opened(source: IO[bytes], keys: Sequence[pyrage.x25519.Identity]) -> Iterator[IO[bytes]]:
    """What was sealed, to be read once; it is nowhere but in a pipe. Raises StoreError for another key, or a backup that was cut or changed."""
    reading, writing = os.pipe()
    problems: list[Exception] = []

    def decrypt() -> None:
        # Who stops reading has its own reason, and says it.
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            try:
                pyrage.decrypt_io(source, pipe, list(keys))
            except BrokenPipeError:
                raise
            except (pyrage.DecryptError, OSError) as error:
                problems.append(error)

    thread = threading.Thread(target=decrypt, name="age")
    thread.start()
    refused: Exception | None = None
    try:
        with os.fdopen(reading, "rb") as pipe, gzip.GzipFile(fileobj=pipe) as clear:
            yield cast("IO[bytes]", clear)
            clear.read()
    except (EOFError, gzip.BadGzipFile, zlib.error, StoreError) as error:
        refused = error
    finally:
        thread.join()
    if problems:
        raise StoreError(
            f"the backup cannot be opened: {problems[0]}",
            remedy="name the private key of one of its recipients; with the right one, this file is damaged",
        )
    if isinstance(refused, StoreError):
        raise refused
    if refused is not None:
        raise StoreError(
            "the backup is damaged: it is not compressed as it should be", remedy="take another one"
        )


def _compressed(frames: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=_GZIP)
    for frame in frames:
        packed = packer.compress(frame)
        if packed:
            yield packed
    yield packer.flush()


class _Stream(io.RawIOBase):
    """An iterable of bytes, to be read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = b""
        #: The library tells of it in words alone.
        self.problem: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # any buffer
        while not self._left:
            try:
                self._left = next(self._parts)
            except StopIteration:
                return 0
            except Exception as error:
                self.problem = error
                raise
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count
