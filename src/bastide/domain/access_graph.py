"""Who can reach which group by which role, as a graph of three columns: people, roles, groups. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

#: More lines than that are no graph for anybody, and no answer for a program either.
MOST = 20_000


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """A person, a role they may ask for, and a group that it opens. `protected`: AdminSDHolder guards it. `nested`: it opens because another one is in it."""

    person: str
    role: str
    group: str
    protected: bool = False
    nested: bool = False
    #: Why the person could not ask now; empty: they could.
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class AccessGraph:
    """`notes`: what could not be found out, each a sentence."""

    ways: tuple[Way, ...]
    notes: tuple[str, ...] = ()


def chosen(ways: Collection[Way], *, person: str = "", role: str = "", group: str = "") -> tuple[Way, ...]:
    """Those that fit all names that were given, whatever their case, in order."""
    wanted = {"person": person.casefold(), "role": role.casefold(), "group": group.casefold()}
    return tuple(
        sorted(
            way
            for way in ways
            if all(not name or getattr(way, field).casefold() == name for field, name in wanted.items())
        )
    )
