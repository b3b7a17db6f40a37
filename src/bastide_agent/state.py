"""How far the agent has come in the directory's history: a small sealed file, written whole or not at all, and only after the queue has what came before."""

import os
import secrets
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bastide_agent.events import EventLog
from bastide_agent.failures import AgentError, SpoolFull
from bastide_agent.spool_file import KEY_BYTES, sync_directory

PLACE = "place.dat"
_NONCE = 12
_INFO = b"bastide-agent place 1"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """`cookie` is DirSync's. `usn`: every change of a password with a local USN up to it was seen. `invocation`: of the database whose USNs these are; a restored one has another."""

    base: str
    invocation: str
    usn: int
    cookie: bytes


class PlaceLost(AgentError):
    """There is a file, and it says nothing that could be trusted."""


class PlaceFile:
    """Where the place is kept. A forged one could make the agent skip changes: it is authenticated with the queue's key."""

    def __init__(self, directory: Path, key: bytes, log: EventLog) -> None:
        self._path = directory / PLACE
        self._log = log
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_INFO).derive(key)
        self._cipher = AESGCM(derived)

    def load(self) -> Place | None:
        """None: there was never one. Raises PlaceLost."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PlaceLost(f"it cannot be read: {error.strerror}") from None
        try:
            clear = self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _INFO)
            return msgspec.msgpack.decode(clear, type=Place)
        except (InvalidTag, ValueError, msgspec.MsgspecError):
            raise PlaceLost("it is damaged") from None

    def store(self, place: Place) -> None:
        """On the disk when it returns. Raises SpoolFull, and says so (6008)."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, msgspec.msgpack.encode(place), _INFO)
        partial = self._path.with_suffix(".new")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb", closefd=True) as file:  # noqa: PTH123  # a descriptor has no path
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            said = error.strerror or type(error).__name__
            self._log.write(6008, key=PLACE, value="", error=said)
            raise SpoolFull(f"{self._path} cannot be written: {said}") from None
