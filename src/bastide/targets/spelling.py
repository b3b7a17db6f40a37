"""What a system can take as a password, and what may be said of it. A password is bytes to us: no step may cut, escape or show it."""

import base64
import html
import json
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, quote_plus

from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Result

#: Longest password that Windows has, in UTF-16 units.
LONGEST = 256
_DETAIL = 300
#: Characters of a secret in a row that are already too much, as it is and in an encoding. A shorter secret counts as a whole.
_WINDOW = 6
_ENCODED_WINDOW = 10
_URL_SAFE = str.maketrans("+/", "-_")
#: What a foreign system can know of an account. The other codes are about our own rules and records: from outside they are a failure.
THEIRS = frozenset(
    {
        Code.SUCCESS,
        Code.OBJECT_MISSING,
        Code.POLICY,
        Code.SET_UNSUPPORTED,
        Code.UNAVAILABLE,
        Code.DENIED,
        Code.CREDENTIALS,
        Code.INSECURE,
        Code.FAILED,
    }
)


def unfit(password: str, *, without: str = "", longest: int = LONGEST) -> Result | None:
    """Why a system cannot take it, as a final answer; None: it can. `without`: characters that its protocol cannot carry."""
    if not password:
        return Result(Code.POLICY, "the password is empty")
    try:
        password.encode()
    except UnicodeEncodeError:
        return Result(
            Code.POLICY, "the password holds half a character (a lone surrogate), which UTF-8 cannot carry"
        )
    if any(character in password for character in without):
        return Result(Code.POLICY, "the password holds a control character that this system cannot carry")
    if len(password) > longest:
        return Result(
            Code.POLICY, f"the password is longer than the {longest} characters that this system takes"
        )
    return None


def told(text: str, secrets: Iterable[str]) -> str:
    """A foreign text for people: one short line, and nothing of it if it repeats a secret or a part of one, in any common spelling."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_DETAIL]
    spoken = (text.casefold(), line.casefold(), _bare(text))
    if any(_within(spoken, secret) for secret in secrets if secret):
        return "what it said is not repeated here: it may hold a part of the password"
    return line


def answered(code: Code) -> str:
    """What is told of an answer of somebody else's program: never its own words, for it has had the password and may spell it in any way."""
    return f"it answered {code.value}; its own words are not kept"


def _within(spoken: Sequence[str], secret: str) -> bool:
    bare = {form for form in [_bare(secret)] if len(form) >= _WINDOW}
    encoded = {form for form in _encoded(secret) if len(form) >= _WINDOW}
    return _shares(spoken, _plain(secret) | bare, _WINDOW) or _shares(spoken, encoded, _ENCODED_WINDOW)


def _shares(spoken: Sequence[str], forms: Iterable[str], width: int) -> bool:
    """Whether a part of that width of any form stands in a text, so that what was cut at either end is found too; a short form as a whole."""
    present = {part for text in spoken for part in _windows(text, width)}
    return any(
        not present.isdisjoint(_windows(form, width))
        if len(form) >= width
        else any(form in text for text in spoken)
        for form in (one.casefold() for one in forms)
    )


def _bare(text: str) -> str:
    """Letters and digits alone: what every way of quoting and escaping leaves as they are."""
    return "".join(c for c in text.casefold() if c.isalnum())


def _windows(form: str, width: int) -> Iterator[str]:
    return (form[start : start + width] for start in range(max(len(form) - width, 0) + 1))


def _plain(secret: str) -> set[str]:
    raw = secret.encode(errors="surrogatepass")
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        repr(raw)[2:-1],
        secret.replace("\\", "\\\\"),
        secret.replace("'", "''"),
        secret.replace('"', '""'),
        quote(raw, safe=""),
        quote_plus(raw),
        html.escape(secret),
        secret[::-1],
    }


def _encoded(secret: str) -> set[str]:
    found = set[str]()
    for raw in (secret.encode(errors="surrogatepass"), secret.encode("utf-16-le", errors="surrogatepass")):
        found |= {raw.hex(), raw.hex(" "), raw.hex(":"), raw.hex(",")}
        # Where the secret begins within three bytes decides how base64 spells it; the ends depend on what stands beside it.
        for shift in range(3):
            whole = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")
            found |= {whole[2 * shift : -1], whole[2 * shift : -1].translate(_URL_SAFE)}
    return {one for one in found if one}
