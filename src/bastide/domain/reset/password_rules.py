"""What a new password must be: the domain's policy, words that are banned, passwords that others lost. Shown before, and explained after a refusal.

Complexity is that of Windows: three of five kinds of characters, and not the account's name, nor a part of the display name, of three characters or more.
What the directory alone knows (the history) is said, and decided there.
"""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from bastide.domain.errors import InvalidInput

#: What Windows takes.
LONGEST = 256
_KINDS = 3
_PART = 3
_DELIMITERS = re.compile(r"[\s,.\-_#]+")
#: How people write letters when they may not write the word.
_LEET = str.maketrans(
    {
        "0": "o",
        "1": "i",
        "3": "e",
        "4": "a",
        "5": "s",
        "7": "t",
        "8": "b",
        "@": "a",
        "$": "s",
        "!": "i",
        "|": "l",
    }
)
FIELD = "password"


@dataclass(frozen=True, slots=True)
class Policy:
    """Of one person. `source`: a domain, or the name of a fine-grained policy (PSO). `history`: how many earlier passwords are refused. `least_age`: since the last change."""

    source: str
    length: int
    complex: bool
    history: int
    least_age: timedelta


@dataclass(frozen=True, slots=True)
class Whose:
    """The names that a password must not hold."""

    account: str
    display_name: str


def in_words(policy: Policy | None, *, banned: bool, breached: bool) -> tuple[str, ...]:
    """The rules, for the page on which the password is typed. `policy` None: the directory shows none."""
    lines: list[str] = []
    if policy is None:
        lines.append("The domain decides what it takes; its rules cannot be read here.")
    else:
        if policy.length:
            lines.append(f"At least {policy.length} characters.")
        if policy.complex:
            lines.append(
                "Three of these: capital letters, small letters, digits, other characters, letters without case; and not your name."
            )
        if policy.history:
            lines.append(f"None of your last {policy.history} passwords.")
    if banned:
        lines.append("No word that is banned here, also not with digits in the place of letters.")
    if breached:
        lines.append("Not one that others lost: it is looked up in a list on this server, and sent nowhere.")
    return tuple(lines)


def check(password: str, policy: Policy | None, whose: Whose, banned: Collection[str]) -> None:
    """Raises InvalidInput with everything that is wrong with it. No message repeats a part of it."""
    wrong = []
    if len(password) > LONGEST or any(unicodedata.category(c) == "Cc" for c in password):
        wrong.append(f"has more than {LONGEST} characters, or control characters")
    if not password:
        wrong.append("is empty")
    if policy is not None and len(password) < policy.length:
        wrong.append(f"is shorter than {policy.length} characters")
    if policy is not None and policy.complex:
        wrong += _too_simple(password, whose)
    if _is_banned(password, banned):
        wrong.append("holds a word that is banned here")
    if wrong:
        raise InvalidInput(FIELD, "; it ".join(wrong), remedy="the rules stand above the field")


def _too_simple(password: str, whose: Whose) -> list[str]:
    wrong = []
    if len({_kind(c) for c in password}) < _KINDS:
        wrong.append("has fewer than three kinds of characters")
    low = password.casefold()
    parts = {whose.account, *_DELIMITERS.split(whose.display_name)}
    if any(len(part) >= _PART and part.casefold() in low for part in parts):
        wrong.append("holds your name or a part of it")
    return wrong


def _kind(character: str) -> str:
    """Windows' five: upper, lower, digit, letter without case, other."""
    category = unicodedata.category(character)
    if category in {"Lu", "Ll"}:
        return category
    if category == "Nd":
        return "digit"
    return "letter" if category.startswith("L") else "other"


def _is_banned(password: str, banned: Collection[str]) -> bool:
    """Also with digits for letters, and with other characters between them."""
    forms = {_letters(password), _letters(password.casefold().translate(_LEET))}
    return any(_letters(word) in form for word in banned if _letters(word) for form in forms)


def _letters(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in apart if unicodedata.category(c)[0] in "LN")
