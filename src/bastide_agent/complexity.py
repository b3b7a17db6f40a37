"""Whether a password is complex enough, by the rules of [MS-SAMR] 3.1.1.7.2. Pure, and quick to import.

Samba leaves out its own check where `check password script` is set; so whoever sets it must bring one.
"""

import re

_CLASSES = 3
_SHORTEST = 3
#: Only these count as "non-alphanumeric"; the document lists them.
_SIGNS = frozenset("~!@#$%^&*_-+=`|\\(){}[]:;\"'<>,.?/")
_DIGITS = frozenset("0123456789")
#: What full names are taken apart at.
_SEPARATORS = re.compile(r"[,.\-_ #\t]+")


def objection(password: str, account: str, full_name: str = "") -> str:
    """Why it is not complex enough; empty: it is. Holds no part of the password."""
    if _classes(password) < _CLASSES:
        return f"it needs characters of {_CLASSES} of 5 kinds: capital, small, digit, sign, other letter"
    folded = password.casefold()
    if len(account) >= _SHORTEST and account.casefold() in folded:
        return "it holds the account's name"
    for part in _SEPARATORS.split(full_name):
        if len(part) >= _SHORTEST and part.casefold() in folded:
            return "it holds a part of the person's name"
    return ""


def _classes(password: str) -> int:
    """How many of the five kinds there are."""
    kinds = (
        any(c.isupper() for c in password),
        any(c.islower() for c in password),
        any(c in _DIGITS for c in password),
        any(c in _SIGNS for c in password),
        any(c.isalpha() and not c.isupper() and not c.islower() for c in password),
    )
    return sum(kinds)
