"""What a secret looks like, taken out of a text that is to be kept. A second line of defence: the first is that nobody puts one there.

Known by their shape: what stands behind a word for a secret, credentials and cookies of HTTP, passwords in URLs, private keys, tokens (JWT), hashes and keys in
hexadecimal, tickets and keys in Base64. Ids with hyphens (UUID, SID) and names stay: without them a log says nothing.
"""

import re
import traceback
from collections.abc import Callable, Iterator

from bastide.domain.errors import BastideError

HIDDEN = "***"
_Sub = str | Callable[[re.Match[str]], str]


def _of_base64(found: re.Match[str]) -> str:
    """Paths have no capitals beside small letters in so long a part of theirs."""
    run = found[0]
    return run if run.islower() or run.isupper() else HIDDEN


def _of_url_safe(found: re.Match[str]) -> str:
    """Names with hyphens and underscores do not mix digits, capitals and small letters in so long a part of theirs."""
    run = found[0]
    mixed = not run.islower() and not run.isupper() and any(map(str.isdigit, run))
    return HIDDEN if mixed else run


def _of_url(found: re.Match[str]) -> str:
    """To the last @ of the word: a password may hold any sign. Searched once, for a pattern that goes back and forth takes seconds on a long word."""
    before, at, host = found[0][len("://") :].rpartition("@")
    return f"://{HIDDEN}@{host}" if at and ":" in before.replace("://", "") else found[0]


#: Marks of which a text must hold one, in small letters; the shape; what is written instead. Most texts hold no mark, and cost next to nothing.
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str], _Sub], ...] = (
    (
        ("-----begin",),
        re.compile(
            r"-----BEGIN (?P<what>[A-Z0-9 ]*(?:PRIVATE KEY|PGP MESSAGE)[A-Z ]*)-----.*?(?:-----END (?P=what)-----|\Z)",
            re.DOTALL,
        ),
        HIDDEN,
    ),
    (("://",), re.compile(r"://\S+"), _of_url),
    # Whatever the scheme, and whatever a cookie is called: all of the line.
    (
        ("authorization", "cookie"),
        re.compile(r"""(?i)((?:authorization|cookie)["']?\s*[=:]\s*)\S.*"""),
        rf"\1{HIDDEN}",
    ),
    (
        ("bearer", "basic", "negotiate", "digest", "ntlm"),
        re.compile(r"(?i)\b(bearer|basic|negotiate|digest|ntlm)\s+[A-Za-z0-9+/=._~-]{8,}"),
        rf"\1 {HIDDEN}",
    ),
    # What follows a word for a secret as the name of a value: `password=`, `"unicodePwd": [b"`, `client_secret: `, `(token)=`, `userPassword:: `.
    # Without quotation marks it is all up to the next space: a password may hold commas and brackets.
    (
        ("passw", "passphrase", "pwd", "secret", "token", "api", "private", "credential", "otp", "pin"),
        re.compile(
            r"""(?ix)
            (?P<name> (?: passw(?:or)?d | passphrase | pwd | secret | token | api[_-]?key | private[_-]?key | credential | otp | pin ) (?: s | _?\d+ )? )
            (?P<sign> ["')]* \s* (?: :: | [=:] ) \s* )
            (?: [\[({]* b? (?: "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' ) | \*{3} (?= [\])}"']* (?: [\s,;] | $ ) ) | \S+ )
            """
        ),
        rf"\g<name>\g<sign>{HIDDEN}",
    ),
    (("age-",), re.compile(r"(?i)AGE-(?:SECRET-KEY|PLUGIN)-[A-Z0-9-]+"), HIDDEN),
    (("eyj",), re.compile(r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}"), HIDDEN),
)
#: From the length of an NT hash on. A UUID has hyphens.
_HEX = re.compile(r"(?<![0-9A-Fa-f-])[0-9A-Fa-f]{32,}(?![0-9A-Fa-f-])")
#: 40 characters hold 240 bits.
_BASE64 = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
#: As tokens are written in URLs and cookies.
_URL_SAFE = re.compile(r"(?<![\w-])[A-Za-z0-9_-]{40,}(?![\w-])")
_LONG = re.compile(r"[A-Za-z0-9+/_-]{32}")
#: What others put between quotation marks is a value that they were given.
_QUOTED = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")


def redact(text: str) -> str:
    """The text without what has the shape of a secret."""
    small = text.lower()
    for marks, shape, instead in _SHAPES:
        if any(mark in small for mark in marks):
            text = shape.sub(instead, text)
    if _LONG.search(text):
        text = _BASE64.sub(_of_base64, _URL_SAFE.sub(_of_url_safe, _HEX.sub(HIDDEN, text)))
    return text


def without_values(text: str) -> str:
    """A sentence of a foreign library without the values it quotes, nor what has the shape of a secret."""
    return redact(_QUOTED.sub(HIDDEN, text))


def stack(error: BaseException) -> str:
    """Types and places of an error and its causes. Of a message only that of our own errors: any other may quote a password."""
    return " <- ".join(_frames(error))


def _frames(error: BaseException | None) -> Iterator[str]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # one may be its own cause
        seen.add(id(error))
        words = f" ({error.message})" if isinstance(error, BastideError) else ""
        places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        yield f"{type(error).__name__}{words} at {' > '.join(places)}"
        error = error.__cause__ or error.__context__
