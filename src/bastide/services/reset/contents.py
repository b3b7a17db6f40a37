"""What is sealed: contacts and secrets of a registration, codes under way. Each text is sealed to what it is for, so that none can be put in the place of another."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from bastide.domain.ids import Sid
from bastide.domain.reset.gates import Gate
from bastide.services.ports import Random, Sealer

#: Without what people mistake for each other when they type it from another screen.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_SHOWN = re.compile(rf"\b[{_ALPHABET}]{{4}}(?:-[{_ALPHABET}]{{4}})+\b")
#: 31 to the power of 8 is 2 to that of 39.6; eight wrong answers end a reset.
CODE = 8
#: 2 to the power of 79: by itself it says which reset is meant.
STOP = 16


@dataclass(frozen=True, slots=True)
class Key:
    """A security key that was registered for resets. `credential`: the id that the key goes by, `public_key`: a COSE key (RFC 9052), both in hexadecimal."""

    name: str
    credential: str
    public_key: str
    sign_count: int
    backed_up: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """Of a registration. Empty: not registered. Not for logs: its repr holds nothing."""

    mail: str = ""
    sms: str = ""
    totp: str = ""
    keys: tuple[Key, ...] = ()

    def __repr__(self) -> str:
        return "Contents(<hidden>)"


def seal(sealer: Sealer, person: Sid, contents: Contents) -> bytes:
    """Sealed to the person."""
    return sealer.seal(json.dumps(asdict(contents)).encode(), f"reset-registration:{person}")


def unseal(sealer: Sealer, person: Sid, sealed: bytes) -> Contents:
    """Raises StoreError."""
    held: dict[str, Any] = json.loads(sealer.open(sealed, f"reset-registration:{person}"))
    return Contents(**held | {"keys": tuple(Key(**key) for key in held.get("keys", ()))})


def new_code(random: Random, length: int = CODE) -> str:
    """Evenly spread: a byte beyond the last whole alphabet is thrown away."""
    code = ""
    most = 256 - 256 % len(_ALPHABET)
    while len(code) < length:
        code += "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in random.token(length) if byte < most)
    return code[:length]


def as_typed(text: str) -> str:
    """A code as a person types it: without case, spaces and hyphens."""
    return "".join(c for c in text.upper() if c.isalnum())


def shown(code: str) -> str:
    """In groups of four."""
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


def codes_in(text: str) -> tuple[str, ...]:
    """The codes of a message, as they stand there."""
    return tuple(_SHOWN.findall(text))


def code_context(reset: str, person: str, gate: Gate, place: int) -> str:
    """What a code of a reset is for: this reset, this person, this gate."""
    return f"reset-code:{reset}:{person}:{gate.value}:{place}"
