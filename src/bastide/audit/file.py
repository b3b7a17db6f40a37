"""Audit records into a file, one JSON object a line.

The file is opened anew for each batch, so logrotate may move it or cut it at any time without telling anybody. A batch is on disk when
`write` returns; after an error or a crash it is written again, so a reader takes `seq` for the identity of a record.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bastide.audit.export import json_line
from bastide.domain.audit import Record

_MODE = 0o640


class FileSink:
    """Appends to `path`, mode 0640. Its directory must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"file:{path}"

    def write(self, records: Sequence[Record]) -> None:
        """Append and flush to disk. Raises OSError; then nothing of the batch is left in the file, if that could be helped."""
        if not records:
            return
        text = "".join(f"{json_line(record)}\n" for record in records).encode()
        descriptor = os.open(
            self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE
        )
        try:
            _append(descriptor, text)
        finally:
            os.close(descriptor)


def _append(descriptor: int, text: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        text = b"\n" + text
    try:
        left = memoryview(text)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
