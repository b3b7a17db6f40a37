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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pysequoia import Cert, CipherSuite, Profile, Tsk

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.store import openpgp_child as child
from bastide.store.keys import create_file, read_guarded, sync_directory

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


def generate_openpgp(directory: Path) -> str:
    """Make openpgp.key (mode 0600) and openpgp.pgp, the certificate for domain controllers (both binary). Returns the fingerprint, which Samba's
    `password hash gpg key ids` takes. Raises FileExistsError before anything is made, OSError.
    """
    for name in (PRIVATE, PUBLIC):
        if (directory / name).exists():
            raise FileExistsError(17, "exists", str(directory / name))
    key = Tsk.generate(user_id=_NAME, profile=Profile.RFC4880, cipher_suite=CipherSuite.Cv25519)
    certificate = key.extract_certificate()
    create_file(directory / PRIVATE, bytes(key), 0o600)
    create_file(directory / PUBLIC, bytes(certificate), 0o644)
    sync_directory(directory)
    return str(certificate.fingerprint)


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
        head = struct.pack(">III", PASSWORD_LIMIT, _ROOM, len(keys))
        self._started = False
        self.end = weakref.finalize(self, _end, self._process)
        self._write(head + b"".join(child.LENGTH.pack(len(key)) + key for key in keys))

    def ask(self, message: bytes) -> bytes | None:
        """What it says of a message; None: it did not live to say anything, or would not have."""
        try:
            self._write(child.LENGTH.pack(len(message)) + message)
            answer = self._read()
        except OSError:
            answer = b""
        if not answer:
            self.end()
            return None
        self._started = True
        return answer

    def _write(self, raw: bytes) -> None:
        with memoryview(raw) as left:
            done = 0
            while done < len(raw):
                done += os.write(self._process.stdin.fileno(), left[done:])  # type: ignore[union-attr]  # PIPE

    def _read(self) -> bytes:
        """An answer is shorter than what a pipe passes on at once (pipe(7), PIPE_BUF)."""
        out = self._process.stdout.fileno()  # type: ignore[union-attr]  # PIPE
        waiting = select.poll()
        waiting.register(out, select.POLLIN)
        seconds = _TIME if self._started else _START
        return os.read(out, select.PIPE_BUF) if waiting.poll(seconds * 1000) else b""


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

    def open(self, message: bytes) -> bytes:
        """Raises StoreError if there is no key for it, it is damaged, or it or what is in it is too long; StoreUnavailable if no process can be
        started. What the library says is not repeated.
        """
        if len(message) > MESSAGE_LIMIT:
            raise _too_long()
        with self._lock:
            answer = self._asked(message)
        if answer is None or answer[:1] == child.TOO_LONG:
            raise _too_long()
        if answer[:1] == child.OPENED:
            return answer[1 + child.LENGTH.size :]
        raise StoreError(
            "a message was encrypted to another OpenPGP key, or is damaged",
            remedy=f"give domain controllers the {PUBLIC} of this server; name old keys too",
        )

    def _asked(self, message: bytes) -> bytes | None:
        try:
            if self._child is None:
                self._child = _Child(self._keys)
            answer = self._child.ask(message)
        except OSError:
            raise StoreUnavailable(
                "no process can be started to open OpenPGP messages",
                remedy="give the service more processes or memory (systemd: TasksMax, MemoryMax)",
            ) from None
        if answer is None:
            self._child = None
        return answer


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
