"""Who stands in the privileged groups of a domain, and what is not ours among them. Pure.

(1) A member that a live grant put there is explained; so is the PRIV group that carries a CORP group's rights.
(2) A sealed emergency account is explained by what it is for.
(3) All else is standing: power that nobody asked for, that nobody approved, and that does not end.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bastide.domain.ids import Sid


class Sort(StrEnum):
    """What a member is. `foreign`: of another domain, known here by its SID alone; `hidden`: of this one, and no search shows it."""

    PERSON = "person"
    GROUP = "group"
    COMPUTER = "computer"
    FOREIGN = "foreign"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Seat:
    """A member of a privileged group, however deep. `path`: the groups between, the outermost first; empty: a direct member. `enabled` None: not shown."""

    group: Sid
    group_name: str
    member: Sid
    member_name: str
    sort: Sort
    path: tuple[str, ...]
    #: The innermost group: the one that the member is directly in.
    inside: Sid
    enabled: bool | None = None


def standing(
    seats: Iterable[Seat], granted: Mapping[Sid, Collection[Sid]], known: Collection[Sid]
) -> tuple[Seat, ...]:
    """Those that nothing explains. `granted`: group to members that live grants or links put there. `known`: emergency accounts."""
    return tuple(
        seat
        for seat in seats
        if seat.sort is not Sort.GROUP
        and seat.member not in known  # (2)
        and seat.member not in granted.get(seat.inside, ())  # (1)
    )
