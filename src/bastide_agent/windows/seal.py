"""Encrypt a password to the certificates of servers. The OpenPGP message is what a Samba controller would have made: the password in UTF-16LE, no signature."""

from collections.abc import Sequence
from functools import lru_cache

from pysequoia import Cert, Tsk, encrypt

from bastide_agent.failures import Unusable


@lru_cache(maxsize=64)
def certificate_of(raw: bytes) -> Cert:
    """A certificate that can be encrypted to now. Raises Unusable."""
    if not raw:
        raise Unusable("the target has no OpenPGP certificate")
    try:
        found = Cert.from_bytes(raw)
        # The library reads a certificate as a key, too; a key with something private in it is longer than its certificate.
        private = bytes(Tsk.from_bytes(raw)) != bytes(found)
    except (RuntimeError, ValueError):
        raise Unusable("what the target has is no OpenPGP certificate") from None
    if private:
        raise Unusable(
            "the target's certificate holds a private key: replace the key, everybody in the domain could read it"
        )
    return found


def seal(password: bytes, certificates: Sequence[bytes]) -> bytes:
    """One message that each of them opens. Raises Unusable. The copies that Python and the library make of the password on the way cannot be wiped."""
    recipients = [certificate_of(raw) for raw in certificates]
    try:
        return bytes(encrypt(password, recipients=recipients, armor=False))
    except (RuntimeError, ValueError, TypeError):
        # What the library says is not repeated: it could hold what it was given.
        raise Unusable("the certificate is expired, revoked, or cannot encrypt") from None
