"""What a check is. It looks at a World, says what it found, and changes nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from bastide.domain.health import Category, Finding
from bastide.health.world import World

#: Of a check that asks nobody far away.
QUICK = timedelta(seconds=15)
#: Of one that asks several others, with a time-out of its own for each.
PATIENT = timedelta(seconds=60)


class Need(StrEnum):
    """What must be there before a check can say anything. Whether it is, World.unmet says."""

    NETWORK = "network"
    DATABASE = "database"
    DIRECTORY = "directory"
    PASSWORDS = "passwords"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`id` is stable and unique, and begins with its category. `subject`: what it looks at. `why`: what goes wrong where it is not right."""

    id: str
    category: Category
    subject: str
    why: str
    run: Callable[[World], Iterable[Finding]]
    needs: tuple[Need, ...] = ()
    timeout: timedelta = QUICK
