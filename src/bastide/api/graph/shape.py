"""What a kind of row has, and how long what is said about it may be. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bastide.domain.errors import InvalidInput

Row = Mapping[str, Any]
Test = Callable[[Row], bool]
#: Characters of one option.
LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Shape:
    """What a kind of row has: properties with their types, objects within it, and what `$expand` adds."""

    fields: Mapping[str, type]
    within: Mapping[str, "Shape"] = field(default_factory=dict)
    expandable: Mapping[str, "Shape"] = field(default_factory=dict)

    def find(self, option: str, name: str) -> str:
        """A property's name as it is written, whatever case was asked for. Raises InvalidInput."""
        names = {one.lower(): one for one in (*self.fields, *self.within, *self.expandable)}
        if name.lower() not in names:
            raise InvalidInput(
                option, f"there is no property {name[:80]!r}", remedy=f"there are {', '.join(names.values())}"
            )
        return names[name.lower()]
