"""The OpenPGP key that domain controllers encrypt changed passwords to. They have the certificate; only the server has the private key.

Version 4 keys on Curve25519 (RFC 9580 profile "RFC 4880"): what GnuPG 2.2 on a domain controller understands. The certificate does not expire:
Samba refuses every password change while it cannot encrypt.

Messages are opened in a process of their own (openpgp_child.py), which has little memory and little time: what it opens was written by somebody else.
"""

import os
import select
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from pysequoia import Cert, CipherSuite, Profile, Tsk

from bastide import durable
from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.store import openpgp_child as child
from bastide.store.keys import read_guarded

PRIVATE = "openpgp.key"
PUBLIC = "openpgp.pgp"
_NAME = "Bastide password synchronization"
#: Longest message, in bytes. One of a password of 256 characters has about 700; each further recipient adds about 100, one with an RSA key 530.
MESSAGE_LIMIT = 4096
#: Longest password, in bytes of UTF-16: what Active Directory takes.
PASSWORD_LIMIT = 512
#: Memory that the process may have for a message beyond what it began with, in bytes.
_ROOM = 64 * 1024 * 1024
#: Seconds for a message; for the start of the process, on a busy node.
_TIME = 2.0
_START = 20.0
#: Read at once, in bytes: what a pipe holds.
_PIECE = 64 * 1024
_LONGEST_ANSWER = 1 + child.LENGTH.size + PASSWORD_LIMIT


def generate_openpgp(directory: Path) -> str:
    """Make openpgp.key (mode 0600) and openpgp.pgp, the certificate for domain controllers (both binary). Returns the fingerprint in upper
    case, as GnuPG prints it and Samba's `password hash gpg key ids` takes it. Raises FileExistsError before anything is made, OSError.
    """
    for name in (PRIVATE, PUBLIC):
        if (directory / name).exists():
            raise FileExistsError(17, "exists", str(directory / name))
    key = Tsk.generate(user_id=_NAME, profile=Profile.RFC4880, cipher_suite=CipherSuite.Cv25519)
    certificate = key.extract_certificate()
    durable.create(directory / PRIVATE, [bytes(key)])
    durable.create(directory / PUBLIC, [bytes(certificate)], 0o644)
    durable.sync(directory)
    return str(certificate.fingerprint).upper()


def read_certificate(path: Path) -> bytes:
    """The certificate in a file, binary or armored, as binary and without anything private. Raises StoreUnavailable."""
    try:
        raw = path.read_bytes()
        if _private(raw) is not None:
            raise StoreUnavailable(f"{path} holds a private key", remedy=f"name the {PUBLIC} beside it")
        return bytes(Cert.from_bytes(raw))
    except (OSError, RuntimeError, ValueError):
        raise StoreUnavailable(
            f"{path} is not an OpenPGP certificate",
            remedy=f"name the {PUBLIC} that belongs to the server's key",
        ) from None


def _private(raw: bytes) -> Tsk | None:
    """The key in it that decrypts, if there is one. The library takes a certificate for a key until it is used."""
    try:
        key = Tsk.from_bytes(raw)
        key.decryptor()
    except (RuntimeError, ValueError):
        return None
    return key


class _Child:
    """The process. Not for several threads."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own file
            [sys.executable, "-I", child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            bufsize=0,
        )
        self._in: int = self._process.stdin.fileno()  # type: ignore[union-attr]  # PIPE
        self._out: int = self._process.stdout.fileno()  # type: ignore[union-attr]  # PIPE
        #: Answers that it was asked for and has not given.
        self.owed = 0
        self._started = False
        self.end = weakref.finalize(self, _end, self._process)
        head = struct.pack(">III", PASSWORD_LIMIT, _ROOM, len(keys))
        # What a pipe holds (pipe(7)) is more than that.
        os.write(self._in, head + b"".join(map(_with_length, keys)))
        os.set_blocking(self._in, False)

    def ask(self, messages: Sequence[bytes]) -> Generator[bytes, None, None]:
        """What it says of each, as soon as it says it. All are written ahead, as far as the pipe takes them. Fewer answers (`owed` is not 0 then): it did not live
        to say more, or would not have.
        """
        left = b"".join(map(_with_length, messages))
        got = bytearray()
        self.owed = len(messages)
        while self.owed and len(got) < _LONGEST_ANSWER:
            can_write = self._wait(writing=bool(left))
            if can_write is None:
                return
            if can_write:
                left = left[self._write(left) :]
                continue
            piece = os.read(self._out, _PIECE)
            if not piece:
                return
            got += piece
            while self.owed and (answer := _taken(got)) is not None:
                self._started = True
                self.owed -= 1
                yield answer

    def _wait(self, *, writing: bool) -> bool | None:
        """False: there is something to read. True: it takes more. None: it was silent for longer than a message may take."""
        waiting = select.poll()
        waiting.register(self._out, select.POLLIN)
        if writing:
            waiting.register(self._in, select.POLLOUT)
        ready = waiting.poll((_TIME if self._started else _START) * 1000)
        return None if not ready else all(descriptor != self._out for descriptor, _ in ready)

    def _write(self, raw: bytes) -> int:
        """How much is done with. All of it, if the process has ended: what it said before is still to be read."""
        try:
            return os.write(self._in, raw)
        except BlockingIOError:
            return 0
        except OSError:
            return len(raw)


def _with_length(raw: bytes) -> bytes:
    return child.LENGTH.pack(len(raw)) + raw


def _taken(got: bytearray) -> bytes | None:
    """The first answer, if all of it is there, out of what has arrived."""
    head = 1 + child.LENGTH.size
    if len(got) < head:
        return None
    end = head + child.LENGTH.unpack_from(got, 1)[0]
    if len(got) < end:
        return None
    answer = bytes(got[:end])
    del got[:end]
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.kill()
    process.wait()


class OpenPgpOpener:
    """Opens with any of its keys, so that keys can be changed: domain controllers may use the old one for a while.

    The keys go to the process through its standard input, and are never formatted. A message that ends the process, by its memory or by its time, is
    refused; the next one gets a new process.
    """

    def __init__(self, keys: Sequence[Tsk]) -> None:
        self._keys = tuple(bytes(key) for key in keys)
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def __repr__(self) -> str:
        return f"OpenPgpOpener({len(self._keys)} keys)"

    def open(self, messages: Sequence[bytes]) -> Generator[bytes | StoreError, None, None]:
        """One answer for each: what was in it, or a StoreError if there is no key for it, it is damaged, or it or what is in it is too long. Raises StoreUnavailable
        if no process can be started. What the library says is not repeated.
        """
        with closing(self._asked([one for one in messages if len(one) <= MESSAGE_LIMIT])) as answers:
            for message in messages:
                yield _read(next(answers)) if len(message) <= MESSAGE_LIMIT else _too_long()

    def _asked(self, messages: Sequence[bytes]) -> Generator[bytes, None, None]:
        """What the process says. Of the first that it says nothing of: that it was too long; another process goes on after that one."""
        done = 0
        while done < len(messages):
            with self._lock:
                process, self._child = self._child or self._start(), None
                try:
                    for answer in process.ask(messages[done:]):
                        done += 1
                        yield answer
                finally:
                    if process.owed:
                        process.end()
                    else:
                        self._child = process
            if process.owed:
                done += 1
                yield child.TOO_LONG

    def _start(self) -> _Child:
        try:
            return _Child(self._keys)
        except OSError:
            raise StoreUnavailable(
                "no process can be started to open OpenPGP messages",
                remedy="give the service more processes or memory (systemd: TasksMax, MemoryMax)",
            ) from None


def _read(answer: bytes) -> bytes | StoreError:
    if answer[:1] == child.TOO_LONG:
        return _too_long()
    if answer[:1] == child.OPENED:
        return answer[1 + child.LENGTH.size :]
    return StoreError(
        "a message was encrypted to another OpenPGP key, or is damaged",
        remedy=f"give domain controllers the {PUBLIC} of this server; name old keys too",
    )


def _too_long() -> StoreError:
    return StoreError(
        "an OpenPGP message holds more than a password",
        remedy="look at the domain controller that sent it: no change of a password makes such a message",
    )


def load_opener(paths: Sequence[Path]) -> OpenPgpOpener:
    """From key files as `generate_openpgp` makes them. Raises StoreUnavailable."""
    keys = []
    for path in paths:
        key = _private(read_guarded(path))
        if key is None:
            raise StoreUnavailable(
                f"{path} is not a private OpenPGP key",
                remedy="`bastide keys generate --openpgp` makes good keys",
            )
        keys.append(key)
    return OpenPgpOpener(keys)
