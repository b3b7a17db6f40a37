"""In what an object differs from what was accepted of it, or from an earlier look, in words. Pure."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from bastide.domain.monitored import WEAKENING, Seen, Watched

#: More entries than that are counted only.
_SHOWN = 40
_DIGEST = 12
GONE = "deleted, or not shown any more"

Field = tuple[str, Callable[[Seen], object]]
_NAME: Field = ("name", lambda one: one.name)
_DN: Field = ("place", lambda one: one.dn)
_SCOPED: Field = ("scope", lambda one: one.scope.value if one.scope else "none")
_SECURITY: Field = ("security", lambda one: one.security)
GROUP = (_NAME, _DN, _SCOPED, _SECURITY, ("SID", lambda one: str(one.sid)))
SCOPE = (_SCOPED, _SECURITY)
_WEAK: tuple[Field, ...] = tuple(
    (name, lambda one, name=name: one.facts.get(name, "") or "none")  # type: ignore[misc]  # mypy cannot infer a default of a lambda
    for name in WEAKENING
)
ACCOUNT = (_NAME, _DN, ("enabled", lambda one: one.enabled), *_WEAK)
TRUST: tuple[Field, ...] = tuple(
    (name, lambda one, name=name: one.facts.get(name, ""))  # type: ignore[misc]  # mypy cannot infer a default of a lambda
    for name in ("trustAttributes", "trustDirection", "trustType", "securityIdentifier")
)


def changes(one: Watched, fields: Iterable[Field]) -> list[str]:
    """What is another than was accepted."""
    if one.gone_at is not None:
        return [GONE] if one.is_missed else []
    return list(_differences(one.accepted, one.now, fields))


def differing(one: Seen, other: Seen) -> tuple[str, ...]:
    """What two looks at one object show differently, by field."""
    names = ("name", "dn", "facts", "members", "rights", "enabled", "expires", "scope", "security")
    return tuple(name for name in names if getattr(one, name) != getattr(other, name))


def digest(changed: Iterable[str]) -> str:
    """What tells these changes from any others: 48 bits of SHA-256."""
    return hashlib.sha256("\n".join(changed).encode()).hexdigest()[:_DIGEST]


def listed(word: str, lines: Sequence[str]) -> str:
    """A clause; empty without lines."""
    if not lines:
        return ""
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{word} {', '.join(lines[:_SHOWN])}{more}; "


def _differences(before: Seen, after: Seen, fields: Iterable[Field]) -> Iterator[str]:
    for name, of in fields:
        if of(before) != of(after):
            yield f"{name} was {of(before)}, is {of(after)}"
