"""Whether a foreign text repeats a secret, in any common spelling, and what may be shown of it. A password is bytes to us: no step may show it."""

import base64
import html
import json
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, quote_plus

_DETAIL = 300
#: Characters of a foreign text that are looked at; nothing behind them is ever shown.
_LOOKED_AT = 4096
#: Characters of a secret in a row that are already too much, as it is and in an encoding. A shorter secret counts as a whole.
_WINDOW = 6
_ENCODED_WINDOW = 10
_URL_SAFE = str.maketrans("+/", "-_")


def told(text: str, secrets: Iterable[str]) -> str:
    """A foreign text for people: one short line, and nothing of it if it repeats a secret or a part of one."""
    text = text[:_LOOKED_AT]
    if repeats(text, secrets):
        return "what it said is not repeated here: it may hold a part of the password"
    return _line(text)[:_DETAIL]


def repeats(text: str, secrets: Iterable[str]) -> bool:
    """Whether the first 4096 characters of the text hold one of these secrets, or six characters of it in a row. A text of our own may do the
    latter by chance: `spells`.
    """
    spoken = _spoken(text)
    return any(
        _shares(spoken, _plain(secret) | _bared(secret), _WINDOW)
        or _shares(spoken, _encoded_long(secret), _ENCODED_WINDOW)
        for secret in secrets
        if secret
    )


def spellings(secrets: Iterable[str]) -> frozenset[str]:
    """All common spellings of whole secrets, for `spells`: of many secrets and many texts each is worked out once. They are secrets themselves."""
    return frozenset(
        form.casefold()
        for secret in secrets
        if secret
        for form in _plain(secret) | _bared(secret) | _encoded_long(secret)
    )


def spells(text: str, forms: frozenset[str]) -> bool:
    """Whether the first 4096 characters of the text hold one of these."""
    spoken = _spoken(text)
    return any(form in one for form in forms for one in spoken)


def _spoken(text: str) -> Sequence[str]:
    text = text[:_LOOKED_AT]
    return text.casefold(), _line(text).casefold(), _bare(text)


def _bared(secret: str) -> set[str]:
    return {form for form in [_bare(secret)] if len(form) >= _WINDOW}


def _encoded_long(secret: str) -> set[str]:
    return {form for form in _encoded(secret) if len(form) >= _WINDOW}


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


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
