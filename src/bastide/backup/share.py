"""Backups on a share (SMB3), whole although the connection is cut, the address moves or a server of a cluster dies.

Making one, in order:
  (1) It is spooled on this machine, sealed; each chunk's SHA-256 goes into a manifest.
  (2) A file beside its name is made, which nobody else may open, and the chunks are written at their offsets.
  (3) It is read back; a chunk that does not fit the manifest is written once more, and read once more.
  (4) It is given its name. One that is there already is not replaced.

After a connection that was lost:
  (5) The open file is resumed if the server kept it (a durable handle). That saves time and proves nothing.
  (6) Else it is opened again, and every chunk that was written is compared with the manifest: what is torn or missing is written anew.
  (7) Where it is gone, it was renamed without an answer, or removed: if what has its name is it, all is done, else it is written from the beginning.

A durable handle is no lock: it is lost if another client opens the file. Only the manifest counts.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Generic, Literal

from bastide.backup.place import Sink, Written, is_of_node, is_part_of_node, part_of, too_old
from bastide.backup.remote import Busy, F, File, Lost, Missing, Remote, Taken
from bastide.backup.spool import CHUNK, Manifest, Spool, nameless, spooled, told
from bastide.clock import SystemClock
from bastide.domain.errors import StoreUnavailable

_RUNS = "another backup runs, or was killed: look, and remove it"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may be gone, in seconds since something was done last; and how time passes."""

    seconds: float = 120
    pause: float = 0.25
    now: Callable[[], float] = SystemClock().monotonic
    sleep: Callable[[float], None] = time.sleep


class Share(Generic[F]):
    """A folder of a share."""

    def __init__(self, remote: Remote[F], patience: Patience | None = None) -> None:
        self._remote = remote
        self._patience = patience or Patience()

    def write(self, name: str, fill: Callable[[Sink], None]) -> "Written[ShareFile]":
        """Raises StoreUnavailable, and what `fill` raises."""
        with spooled() as spool:
            fill(spool)
            spool.end()  # (1)
            upload = _Upload(self._remote, name, spool)
            try:
                lost = persistently(self._remote, self._patience, upload.run, upload.progress)
            except BaseException:
                upload.give_up()
                raise
            finally:
                self._remote.close()
        return Written(self.file(name), spool.manifest.size, spool.manifest.sha256, lost)

    def prune(self, node: str, keep: int, *, new: str) -> "tuple[ShareFile, ...]":
        """Raises StoreUnavailable."""
        removed: dict[str, None] = {}

        def run() -> None:
            names = self._remote.names()
            for name in too_old([one for one in names if is_of_node(one, node)], keep, new=new):
                removed[name] = None
                with suppress(Missing):  # an answer that was lost
                    _remove(self._remote, name)
            for name in names:
                if is_part_of_node(name, node):
                    with suppress(Missing, Busy):  # whoever writes has it open
                        _remove(self._remote, name)

        try:
            persistently(self._remote, self._patience, run)
        finally:
            self._remote.close()
        return tuple(map(self.file, removed))

    def file(self, name: str) -> "ShareFile":
        """One of it; whether it is there shows when it is opened."""
        return ShareFile(self._remote, name, self._patience)


@dataclass(frozen=True, slots=True)
class ShareFile:
    """A backup on a share."""

    _remote: Remote[Any]
    name: str
    _patience: Patience

    def __str__(self) -> str:
        return f"{self._remote.name}/{self.name}"

    def open(self, mode: Literal["rb"]) -> IO[bytes]:  # noqa: ARG002  # as a path has it
        """The whole of it, brought to this machine: sealed, below $TMPDIR, without a name. Raises StoreUnavailable."""
        target = nameless()
        try:
            with told():
                persistently(self._remote, self._patience, lambda: self._fetch(target), target.tell)
                target.seek(0)
        except BaseException:
            target.close()
            raise
        finally:
            self._remote.close()
        return target

    def _fetch(self, target: IO[bytes]) -> None:
        """From where it was interrupted."""
        file = self._remote.look(self.name)
        while data := file.read(target.tell(), CHUNK):
            target.write(data)
        file.close()


def persistently(
    remote: Remote[Any], patience: Patience, run: Callable[[], None], progress: Callable[[], int] = lambda: 0
) -> tuple[str, ...]:
    """Connect, and run to the end, again and again while the connection is lost. Whoever cannot connect at first is told at once.

    `progress`: how much is done; when it grows, patience begins anew. Returns why the connection was lost, each time. Raises StoreUnavailable with the last reason.
    """
    lost: list[str] = []
    since, most, served = patience.now(), progress(), False
    while True:
        connected = False
        try:
            remote.connect()
            connected = served = True
            run()
        except StoreUnavailable as error:
            if progress() > most:
                since, most = patience.now(), progress()
            # A server that is only just coming up refuses whom it knows.
            worth = served and (isinstance(error, Lost) or not connected)
            if not worth or patience.now() - since > patience.seconds:
                raise
            if connected:
                lost.append(error.message)
        else:
            return tuple(lost)
        patience.sleep(patience.pause)


def _remove(remote: Remote[Any], name: str) -> None:
    file = remote.reopen(name)
    file.remove()
    file.close()


class _Upload(Generic[F]):
    """What of a backup is on the share, over all connections."""

    def __init__(self, remote: Remote[F], name: str, spool: Spool) -> None:
        self._remote = remote
        self._name = name
        self._part = part_of(name)
        self._spool = spool
        self._file: F | None = None
        #: Whether the server was asked for the file: its answer may be lost.
        self._asked = False
        self._begin()

    def _begin(self) -> None:
        self._written: set[int] = set()
        self._proved: set[int] = set()

    def progress(self) -> int:
        """In chunks, written and proved."""
        return len(self._written) + len(self._proved)

    def run(self) -> None:
        """All of it, or what is left of it. Raises StoreUnavailable."""
        file = self._file = self._create() if self._file is None else self._recover(self._file)
        if file is None:
            return
        chunks = range(len(self._manifest.digests))
        for _ in range(2):
            for number in chunks:
                if number not in self._written:  # (2)
                    file.write(number * CHUNK, self._spool.chunk(number))
                    self._written.add(number)
            self._prove(file)
            if self._proved.issuperset(chunks):
                break
        else:
            raise StoreUnavailable(
                f"{self._remote.name} gives back something else than what was written",
                remedy="look at the disk of the file server",
            )
        self._rename(file)

    def give_up(self) -> None:
        """Leave nothing behind, as far as the connection lets. By its name: the open file may have been renamed without an answer."""
        if self._file is not None:
            with suppress(StoreUnavailable):
                self._file.close()
                _remove(self._remote, self._part)

    @property
    def _manifest(self) -> Manifest:
        return self._spool.manifest

    def _create(self) -> F:
        again, self._asked = self._asked, True
        try:
            return self._remote.create(self._part)
        except Taken:
            if not again:
                raise self._taken(self._part) from None
        file = self._reopen()
        if file.size():
            file.close()
            raise self._taken(self._part)
        return file

    def _recover(self, file: F) -> F | None:
        """None: it has its name already."""
        try:
            return self._remote.resume(file)  # (5)
        except Missing:
            pass
        try:
            file = self._reopen()
        except Missing:
            if self._is_there():  # (7)
                return None
            self._begin()
            return self._remote.create(self._part)
        self._written = {number for number in self._written if self._fits(file, number)}  # (6)
        self._proved = set()
        return file

    def _reopen(self) -> F:
        try:
            return self._remote.reopen(self._part)
        except Busy as busy:
            raise Lost(busy.message, remedy=busy.remedy) from None

    def _prove(self, file: File) -> None:
        for number in sorted(self._written - self._proved):  # (3)
            if self._fits(file, number):
                self._proved.add(number)
            else:
                self._written.discard(number)

    def _fits(self, file: File, number: int) -> bool:
        return self._manifest.fits(number, file.read(number * CHUNK, self._manifest.length(number)))

    def _rename(self, file: File) -> None:
        try:
            file.rename(self._name)  # (4)
        except Taken:
            file.close()
            if not self._is_there():
                raise self._taken(self._name) from None
        else:
            file.close()

    def _is_there(self) -> bool:
        """Whether what has its name is it."""
        try:
            file = self._remote.look(self._name)
        except Missing:
            return False
        except Busy as busy:
            raise Lost(busy.message, remedy=busy.remedy) from None
        chunks = range(len(self._manifest.digests))
        fits = file.size() == self._manifest.size and all(self._fits(file, number) for number in chunks)
        file.close()
        return fits

    def _taken(self, name: str) -> StoreUnavailable:
        return StoreUnavailable(f"{self._remote.name}/{name} is there already", remedy=_RUNS)
