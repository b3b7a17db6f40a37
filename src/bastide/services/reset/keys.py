"""A security key (WebAuthn) as a gate of a reset, used by somebody who is not signed in. Keys of sign-ins open no gate, and keys of resets sign nobody in. In order:

(1) What the key is asked is made when the gate opens, and sealed to this reset, this person, this gate and its place. It is used up by trying: the transaction that
    counts the attempt puts the next one in its place, whatever comes of it.
(2) Everybody is asked alike: no list of keys goes to the browser, so that the question for somebody who does not exist is that for anybody. The key itself knows what
    it was registered for.
(3) The key is one that this person registered for resets, sealed to the person. For a key that is not, and for nobody, the same work is done, and it never fits.
(4) The answer counts (domain/webauthn.py): our page and no other, this question, somebody verified by PIN, finger or face, the key's signature.
(5) When the step is taken the key is still registered, and its counter did not go back. If it did, there is a copy: refused, and audited by a name of its own.
(6) It opens this gate alone: what comes next is as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bastide.domain import webauthn
from bastide.domain.errors import MfaRefused
from bastide.domain.webauthn import RelyingParty
from bastide.services.reset.contents import Contents, Key

CHALLENGE_BYTES = 32
#: A point of P-256 whose first coordinate is SHA-256 of a sentence ("bastide: a key of nobody, 2"): nobody knows a private key for it.
_NOBODYS = bytes.fromhex(
    "a5010203262001215820e74e5f41d7adb2097de8d4b32ede9dbbc4c642fa938a0b92b81d96583e9764de"
    "2258200b320ec631ad93a90071067f43dfc836a6a0f23a0c890d782e392c248d6a8d38"
)


@dataclass(frozen=True, slots=True)
class Used:
    """A registered key that answered. `count`: what its counter shows."""

    credential: str
    count: int


def question(party: RelyingParty, challenge: bytes) -> str:
    """(2) What the browser is to ask, as JSON."""
    return webauthn.to_use(party, challenge=challenge, known=())


def used(
    party: RelyingParty, keys: Sequence[Key], challenge: bytes, answer: Mapping[str, Any]
) -> Used | None:
    """(3), (4). None: it does not fit."""
    try:
        said = webauthn.assertion_of(answer)
        key = next((one for one in keys if one.credential == said.id.hex()), None)
        public = _NOBODYS if key is None else bytes.fromhex(key.public_key)
        count = webauthn.check(party, said, challenge, public)
    except MfaRefused:
        return None
    return Used(said.id.hex(), count) if key is not None else None


def went_back(contents: Contents, shown: Used) -> bool:
    """(5) Whether there are two of this key."""
    return any(
        webauthn.went_back(key.sign_count, shown.count)
        for key in contents.keys
        if key.credential == shown.credential
    )


def counted(contents: Contents, shown: Used) -> Contents | None:
    """(5) With the key's new counter. None: it is not registered any more."""
    if all(key.credential != shown.credential for key in contents.keys):
        return None
    keys = tuple(
        replace(key, sign_count=shown.count) if key.credential == shown.credential else key
        for key in contents.keys
    )
    return replace(contents, keys=keys)
