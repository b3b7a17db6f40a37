"""What a new password must be: the domain's policy, words that are banned, passwords that others lost. Shown before, and explained after a refusal.

Complexity is that of Windows: three of five kinds of characters, and not the account's name, nor a part of the display name, of three characters or more.
What the directory alone knows (the history) is said, and decided there: of a change, not of a set.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta

from bastide.domain.errors import InvalidInput

#: What Windows takes.
LONGEST = 256
_KINDS = 3
_PART = 3
_DELIMITERS = re.compile(r"[\s,.\-_#]+")
#: Stands for i and for l.
_STROKE = "1"
#: How people write letters when they may not write the word.
_LEET = str.maketrans(
    {
        "0": "o",
        "3": "e",
        "4": "a",
        "5": "s",
        "7": "t",
        "8": "b",
        "@": "a",
        "$": "s",
        "!": _STROKE,
        "|": _STROKE,
    }
)
_ALIKE = str.maketrans("l" + _STROKE, "ii")
FIELD = "password"


@dataclass(frozen=True, slots=True)
class Lockout:
    """After how many wrong sign-ins the directory locks an account; 0: never. `window`: within which they count. `lasts` None: until somebody unlocks it."""

    threshold: int = 0
    window: timedelta = timedelta(0)
    lasts: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Of one person. `source`: a domain, or the name of a fine-grained policy (PSO). `history`: how many earlier passwords a change refuses; a set, as a reset is one,
    does not ask it. `least_age`: since the last change, before the person changes it again. `longest_age` None: it may stay for ever.
    """

    source: str
    length: int
    complex: bool
    history: int
    least_age: timedelta
    longest_age: timedelta | None = None
    lockout: Lockout = Lockout()


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
        lines += _later(policy)
    if banned:
        lines.append("No word that is banned here, also not with digits in the place of letters.")
    if breached:
        lines.append("Not one that others lost: it is looked up in a list on this server, and sent nowhere.")
    return tuple(lines)


def _later(policy: Policy) -> Iterator[str]:
    """What the domain asks of changes and sign-ins that come after."""
    if policy.history:
        yield f"Not one that you had: when you change it yourself, the domain refuses your last {policy.history}."
    if policy.least_age:
        yield f"You can change it yourself again after {_span(policy.least_age)}."
    if policy.longest_age is not None:
        yield f"It has to be changed after {_span(policy.longest_age)}."
    lockout = policy.lockout
    if lockout.threshold:
        end = "until somebody unlocks it" if lockout.lasts is None else f"for {_span(lockout.lasts)}"
        yield f"{lockout.threshold} wrong sign-ins within {_span(lockout.window)} lock the account {end}."


def _span(of: timedelta) -> str:
    """In the largest unit that has a whole number, days before hours before minutes."""
    minutes = int(of.total_seconds() // 60)
    for unit, size in (("day", 24 * 60), ("hour", 60)):
        if minutes and minutes % size == 0:
            return _number(minutes // size, unit)
    return _number(minutes, "minute")


def _number(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


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
        raise InvalidInput(FIELD, "; it ".join(wrong), remedy="choose one that keeps to all of it")


def _too_simple(password: str, whose: Whose) -> list[str]:
    wrong = []
    if len({_kind(c) for c in password}) < _KINDS:
        wrong.append("has fewer than three kinds of characters")
    low = password.casefold()
    parts = {whose.account, *_DELIMITERS.split(whose.display_name)}
    if any(len(part) >= _PART and part.casefold() in low for part in parts):
        wrong.append("holds the account's name, or a part of the person's")
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
    plain, read = _letters(password), _letters(password.casefold().translate(_LEET))
    alike = read.translate(_ALIKE)
    for word in filter(None, map(_letters, banned)):
        if word in plain or (word.translate(_ALIKE) in alike and _read_as(word).search(read)):
            return True
    return False


def _read_as(word: str) -> re.Pattern[str]:
    """With a stroke for each i and l, or without."""
    return re.compile("".join(f"[{c}{_STROKE}]" if c in "il" else re.escape(c) for c in word))


def _letters(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in apart if unicodedata.category(c)[0] in "LN")
