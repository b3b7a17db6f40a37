"""Keys and chance: sealing secrets at rest, signing checkpoints, hashing codes, random values.

The rules this module keeps:
  (1) A key comes from a file that nobody else can read; there is no default and no fallback.
  (2) A key that cannot be random is refused: wrong length, text, few different bytes.
  (3) What is sealed names its key, so that keys can be changed: the first of several seals, all of them open.
  (4) No repr, message or log holds a key.
"""

import base64
import binascii
import hashlib
import os
import secrets
import stat
import string
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bastide import durable
from bastide.domain.errors import StoreError, StoreUnavailable

KEY_BYTES = 32
MASTER = "master.key"
SIGNING = "signing.key"
SIGNING_PUBLIC = "signing.pub"
#: 32 random bytes hold about 30 different values; fewer than 20 come up less than once in a thousand million times.
_DIFFERENT_BYTES = 20
_PUBLIC_PREFIX = "bastide-ed25519"
HOW_TO_MAKE = "`bastide keys generate` makes good keys"
_LARGEST_FILE = 4096


def read_key(path: Path, user: int | None = None) -> bytes:
    """A key of 32 bytes. Raises StoreUnavailable if the file is missing, open to others, or not a good key. `user`: as `read_guarded`."""
    key = read_guarded(path, user)
    problem = _weakness(key)
    if problem:
        raise StoreUnavailable(f"the key {path} {problem}", remedy=HOW_TO_MAKE)
    return key


def read_guarded(path: Path, user: int | None = None, *, called: str = "key") -> bytes:
    """A small file that nobody else can read. Raises StoreUnavailable if it is missing or open to others. `user`: the uid whose it may be, beside
    root; None: ours. `called`: what it holds.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise StoreUnavailable(
            f"the {called} {path} cannot be read: {error.strerror}", remedy=HOW_TO_MAKE
        ) from None
    try:
        _check_access(path, os.fstat(descriptor), os.geteuid() if user is None else user, called)
        return os.read(descriptor, _LARGEST_FILE)
    finally:
        os.close(descriptor)


def _check_access(path: Path, found: os.stat_result, user: int, called: str) -> None:
    """Systemd gives the service its credentials through an access list, whose mask shows as group bits."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    is_credential = credentials is not None and path.parent == Path(credentials)
    refused = stat.S_IRWXO | (stat.S_IWGRP if is_credential else stat.S_IRWXG)
    if not stat.S_ISREG(found.st_mode):
        raise StoreUnavailable(f"the {called} {path} is not a regular file", remedy=HOW_TO_MAKE)
    if stat.S_IMODE(found.st_mode) & refused:
        raise StoreUnavailable(
            f"the {called} {path} can be read or changed by others (mode {stat.S_IMODE(found.st_mode):04o})",
            remedy=f"chmod 0600 {path}; if others may have read it, change the {called}",
        )
    if found.st_uid not in {0, user}:
        raise StoreUnavailable(
            f"the {called} {path} belongs to another user", remedy="give it to the service's user"
        )


def _weakness(key: bytes) -> str:
    if len(key) != KEY_BYTES:
        return f"does not have {KEY_BYTES} bytes"
    if len(set(key)) < _DIFFERENT_BYTES:
        return "is not random: few different bytes"
    if all(byte in string.printable.encode() for byte in key):
        return "is not random: it is text"
    return ""


def generate_key_files(directory: Path) -> None:
    """Make master.key and signing.key (mode 0600) and signing.pub. Raises FileExistsError before anything is made, OSError."""
    for name in (MASTER, SIGNING, SIGNING_PUBLIC):
        if (directory / name).exists():
            raise FileExistsError(17, "exists", str(directory / name))
    signing = Ed25519PrivateKey.generate()
    durable.create(directory / MASTER, [secrets.token_bytes(KEY_BYTES)])
    durable.create(directory / SIGNING, [signing.private_bytes_raw()])
    durable.create(directory / SIGNING_PUBLIC, [_public_text(signing.public_key())], 0o644)
    durable.sync(directory)


# -------------------------------------------------------------------------------------------------------------- sealing


class AeadSealer:
    """AES-256-GCM. Sealed: version (1 byte), key id (8), nonce (12), ciphertext with tag. All but the latter is associated data,
    with the context.
    """

    _VERSION = b"\x01"
    _ID = 8
    #: Bytes that say which key sealed a value.
    HEAD = len(_VERSION) + _ID
    _NONCE = 12

    def __init__(self, keys: Sequence[bytes]) -> None:
        """The first key seals, all open. Raises StoreError for a bad key or none."""
        for key in keys:
            if problem := _weakness(key):
                raise StoreError(f"a master key {problem}", remedy=HOW_TO_MAKE)
        if not keys:
            raise StoreError("there is no master key", remedy=HOW_TO_MAKE)
        self._keys = {_master_id(key): AESGCM(key) for key in keys}
        self._first = _master_id(keys[0])

    def __repr__(self) -> str:
        return f"AeadSealer({', '.join(key.hex() for key in self._keys)})"

    @property
    def ids(self) -> frozenset[str]:
        """Of the keys at hand, in hexadecimal."""
        return frozenset(key.hex() for key in self._keys)

    @classmethod
    def key_of(cls, sealed: bytes) -> str:
        """The id of the key that sealed this, from its first HEAD bytes, in hexadecimal."""
        return sealed[len(cls._VERSION) : cls.HEAD].hex()

    def seal(self, plain: bytes, context: str) -> bytes:
        """Seal to a context, which `open` must name again."""
        nonce = secrets.token_bytes(self._NONCE)
        head = self._VERSION + self._first + nonce
        return head + self._keys[self._first].encrypt(nonce, plain, head + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises StoreError if the text was changed, belongs to another row, or its key is not at hand."""
        start = self.HEAD
        head, body = sealed[: start + self._NONCE], sealed[start + self._NONCE :]
        key_id = head[len(self._VERSION) : start]
        if not sealed.startswith(self._VERSION) or len(head) != start + self._NONCE:
            raise StoreError("a sealed value is damaged", remedy="restore it from a backup")
        if key_id not in self._keys:
            raise StoreError(
                f"a value was sealed with the key {key_id.hex()}, which is not at hand",
                remedy="put that master key back at keys.master; `bastide config check` says what else it sealed",
            )
        try:
            return self._keys[key_id].decrypt(head[start:], body, head + context.encode())
        except InvalidTag:
            raise StoreError(
                "a sealed value was changed, or belongs to another row",
                remedy="look for tampering; restore a backup",
            ) from None


def load_sealer(paths: Sequence[Path], user: int | None = None) -> AeadSealer:
    """From key files. Raises StoreUnavailable. `user`: as `read_guarded`."""
    return AeadSealer([read_key(path, user) for path in paths])


def _master_id(key: bytes) -> bytes:
    return hashlib.sha256(b"bastide master key\n" + key).digest()[:8]


# -------------------------------------------------------------------------------------------------------------- signing


class Ed25519Signer:
    """Signs with one key; verifies with its public key and those of earlier ones. A key id is the start of the public key's SHA-256."""

    def __init__(self, key: bytes, trusted: Sequence[bytes] = ()) -> None:
        """`key`: the private key; `trusted`: public keys; 32 bytes each."""
        self._key = Ed25519PrivateKey.from_private_bytes(key)
        own = self._key.public_key()
        others = (Ed25519PublicKey.from_public_bytes(raw) for raw in trusted)
        self._public = {_public_id(public): public for public in (own, *others)}
        self.key_id = _public_id(own)

    def __repr__(self) -> str:
        return f"Ed25519Signer({self.key_id})"

    def sign(self, message: bytes) -> bytes:
        """64 bytes (RFC 8032)."""
        return self._key.sign(message)

    def verify(self, key_id: str, message: bytes, signature: bytes) -> bool:
        """Whether a key that we trust signed this. Unknown keys verify nothing."""
        public = self._public.get(key_id)
        if public is None:
            return False
        with suppress(InvalidSignature):
            public.verify(signature, message)
            return True
        return False


def load_signer(path: Path, trusted: Sequence[Path] = ()) -> Ed25519Signer:
    """From a key file, and files as signing.pub of earlier keys. Raises StoreUnavailable."""
    return Ed25519Signer(read_key(path), [read_public_key(other) for other in trusted])


def read_public_key(path: Path) -> bytes:
    """The 32 bytes in a file as `generate_key_files` makes it. Raises StoreUnavailable."""
    try:
        prefix, _, text = path.read_text(encoding="ascii").strip().partition(" ")
        raw = base64.b64decode(text, validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error):
        prefix, raw = "", b""
    if prefix != _PUBLIC_PREFIX or len(raw) != KEY_BYTES:
        raise StoreUnavailable(
            f"{path} is not a public key of Bastide",
            remedy=f"name a {SIGNING_PUBLIC} that `bastide keys generate` made",
        )
    return raw


def _public_text(public: Ed25519PublicKey) -> bytes:
    return f"{_PUBLIC_PREFIX} {base64.b64encode(public.public_bytes_raw()).decode()}\n".encode()


def _public_id(public: Ed25519PublicKey) -> str:
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


# ----------------------------------------------------------------------------------------------------- codes and chance


class Argon2Hasher:
    """Argon2id with the parameters of RFC 9106 for machines with little memory (64 MiB, 3 passes)."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()

    def hash(self, code: str) -> str:
        """With a salt of its own; holds its parameters."""
        return self._hasher.hash(code)

    def matches(self, hashed: str, code: str) -> bool:
        """Whether `code` was hashed. A damaged hash matches nothing."""
        with suppress(VerificationError, InvalidHashError):
            return self._hasher.verify(hashed, code)
        return False


class SystemRandom:
    """The kernel's random numbers."""

    #: Without what people mistake for each other, and what shells and CSV files take for themselves.
    _CLASSES = ("ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnopqrstuvwxyz", "23456789", "!#%+-./:=?@^_~")

    def uuid(self) -> str:
        """Version 4 (RFC 9562)."""
        return str(uuid.uuid4())

    def token(self, size: int) -> bytes:
        """`size` bytes."""
        return secrets.token_bytes(size)

    def password(self, length: int) -> str:
        """Printable, with all four character classes. Raises ValueError below four characters."""
        if length < len(self._CLASSES):
            raise ValueError("a password with four classes of characters needs at least four of them")
        rest = (secrets.choice("".join(self._CLASSES)) for _ in range(length - len(self._CLASSES)))
        characters = [*(secrets.choice(one) for one in self._CLASSES), *rest]
        secrets.SystemRandom().shuffle(characters)
        return "".join(characters)
