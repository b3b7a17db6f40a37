"""Time-based one-time passwords (RFC 6238 over RFC 4226): SHA-1, six digits, thirty seconds, as every authenticator app has them."""

import base64
import hmac
from datetime import datetime

import pyotp

STEP = 30
DIGITS = 6
SECRET_BYTES = 20
#: One step of clock difference either way (RFC 6238 5.2).
SKEW = (-1, 0, 1)


def matching_step(secret: bytes, code: str, now: datetime) -> int | None:
    """The time step whose code this is, or None. Every step is compared, in constant time."""
    generator = pyotp.HOTP(_base32(secret), digits=DIGITS)
    this = int(now.timestamp()) // STEP
    found = None
    for step in (this + skew for skew in SKEW):
        if hmac.compare_digest(generator.at(step).encode(), code.encode()):
            found = step
    return found


def uri(secret: bytes, account: str, issuer: str) -> str:
    """What the QR code says (the otpauth key URI format)."""
    return pyotp.TOTP(_base32(secret), digits=DIGITS, interval=STEP).provisioning_uri(
        name=account, issuer_name=issuer
    )


def _base32(secret: bytes) -> str:
    return base64.b32encode(secret).decode()
