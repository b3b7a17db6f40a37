"""The OpenPGP key that domain controllers encrypt changed passwords to. They have the certificate; only the server has the private key.

Version 4 keys on Curve25519 (RFC 9580 profile "RFC 4880"): what GnuPG 2.2 on a domain controller understands. The certificate does not expire:
Samba refuses every password change while it cannot encrypt.
"""

from collections.abc import Sequence
from pathlib import Path

from pysequoia import Cert, CipherSuite, Profile, Tsk, decrypt

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.store.keys import create_file, read_guarded, sync_directory

PRIVATE = "openpgp.key"
PUBLIC = "openpgp.pgp"
_NAME = "Bastide password synchronization"


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


class OpenPgpOpener:
    """Opens with any of its keys, so that keys can be changed: domain controllers may use the old one for a while.

    The text of the library's key objects is the private key itself: they never leave this object, and are never formatted.
    """

    def __init__(self, keys: Sequence[Tsk]) -> None:
        self._keys = tuple(keys)

    def __repr__(self) -> str:
        return f"OpenPgpOpener({len(self._keys)} keys)"

    def open(self, message: bytes) -> bytes:
        """Raises StoreError if there is no key for it or it is damaged. What the library says is not repeated."""
        for key in self._keys:
            try:
                opened = decrypt(message, decryptor=key.decryptor())
            except (RuntimeError, ValueError):
                continue
            if opened.bytes is not None:
                return bytes(opened.bytes)
        raise StoreError(
            "a message was encrypted to another OpenPGP key, or is damaged",
            remedy=f"give domain controllers the {PUBLIC} of this server; name old keys too",
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
