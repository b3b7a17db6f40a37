"""A backup on its way to a share lies here first, sealed and without a name; and what each of its chunks must be when it is read back."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO

from bastide.domain.errors import StoreUnavailable

#: Of a chunk, in bytes: every server that speaks SMB 3 takes as much in one message.
CHUNK = 1024 * 1024


@dataclass(slots=True)
class Manifest:
    """The SHA-256 of each chunk and of all. All chunks but the last are whole."""

    digests: list[bytes] = field(default_factory=list)
    size: int = 0
    sha256: str = ""

    def fits(self, number: int, data: bytes) -> bool:
        """Whether that is what was to be at `number`."""
        return len(data) == self.length(number) and hashlib.sha256(data).digest() == self.digests[number]

    def length(self, number: int) -> int:
        """Of a chunk, in bytes."""
        return min(CHUNK, self.size - number * CHUNK)


class Spool:
    """Written once, from its beginning to its end; then read, chunk by chunk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._all = hashlib.sha256()
        self._chunk = bytearray()
        self.manifest = Manifest()

    def write(self, data: bytes) -> int:
        """Raises OSError."""
        self._all.update(data)
        self._chunk += data
        while len(self._chunk) >= CHUNK:
            self._put(bytes(self._chunk[:CHUNK]))
            del self._chunk[:CHUNK]
        return len(data)

    def flush(self) -> None:
        """Nothing to do: what counts is `end`."""

    def end(self) -> None:
        """There is no more. Raises OSError."""
        if self._chunk:
            self._put(bytes(self._chunk))
            self._chunk.clear()
        self._file.flush()
        self.manifest.sha256 = self._all.hexdigest()

    def chunk(self, number: int) -> bytes:
        """Raises StoreUnavailable if this machine's own disk does not give back what was written."""
        self._file.seek(number * CHUNK)
        data = self._file.read(self.manifest.length(number))
        if not self.manifest.fits(number, data):
            raise StoreUnavailable(
                "this machine's own disk gives back something else than what was written",
                remedy="look at the disk below $TMPDIR and the kernel log",
            )
        return data

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self.manifest.digests.append(hashlib.sha256(data).digest())
        self.manifest.size += len(data)


@contextmanager
def spooled() -> Iterator[Spool]:
    """Below $TMPDIR. Raises StoreUnavailable."""
    with nameless() as file, told():
        yield Spool(file)


def nameless() -> IO[bytes]:
    """A file without a name below $TMPDIR: whatever happens, nothing of it stays. Raises StoreUnavailable."""
    with told():
        return TemporaryFile(prefix="bastide-backup-")


@contextmanager
def told() -> Iterator[None]:
    """What this machine's disk refuses, as StoreUnavailable."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"the backup cannot be spooled on this machine: {error.strerror or error}",
            remedy="it needs as much room below $TMPDIR as a backup has: make room, or name another folder there",
        ) from None
