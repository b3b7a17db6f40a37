"""Which DNs are those of privileged groups. Samba's lines name a group by its DN alone, and a DN says nothing: another language has another name, and an object can be
renamed. The SID says it, so the directories are asked for the SIDs that every domain has.

(1) A DN that one of them had stays known: a line may be of the time before it was renamed.
(2) While a directory does not answer nobody can tell of an unknown DN of its domain: it is not taken for none of ours. Of the other domain it can be told.
(3) Of which domain a directory is says the directory: before the first PAM user there is nothing else that knows. Until it said so, a DN may be of that domain.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain.errors import DirectoryError
from bastide.domain.ids import Sid
from bastide.domain.observed import Change, privileged_in
from bastide.domain.people import Forest
from bastide.services.ports import Directory

_log = logging.getLogger(__name__)
#: How often they are asked for.
_EVERY = timedelta(minutes=1)
#: Groups that privileged ones are in are answered as well, and are not wanted.
_MOST = 100


class Guarded:
    """Not for two threads at a time."""

    def __init__(self, forests: Mapping[Forest, Directory]) -> None:
        self._forests = forests
        self._known: dict[str, Sid] = {}
        self._bases: dict[Forest, str] = {}
        self._unread: set[Forest] = set()
        self._looked_at: datetime | None = None

    def look(self, now: datetime) -> None:
        """Ask again, if it is time. Not inside a transaction: a directory may take its time."""
        if self._looked_at is not None and now - self._looked_at < _EVERY:
            return
        self._looked_at = now
        for forest, directory in self._forests.items():
            try:
                domain = directory.domain()  # (3)
                wanted = privileged_in([domain.sid])
                found = directory.groups_above(wanted, most=_MOST)
            except DirectoryError as error:
                if forest not in self._unread:
                    _log.warning(
                        "privileged groups of %s are not looked up: %s", forest.value.upper(), error.message
                    )
                self._unread.add(forest)  # (2)
                continue
            self._bases[forest] = domain.base.casefold()
            self._unread.discard(forest)
            self._known |= {
                one.ref.dn.casefold(): one.ref.sid for one in found.groups if one.ref.sid in wanted
            }  # (1)

    @property
    def knows_all(self) -> bool:
        """Whether there is no DN of which it cannot tell."""
        return self._looked_at is not None and not self._unread

    def can_tell(self, dn: str) -> bool:
        """Whether a group with this DN is none of those unless it is recognised."""
        folded = dn.casefold()
        above = {forest: base for forest, base in self._bases.items() if folded.endswith(f",{base}")}
        nearest = max(above, key=lambda forest: len(above[forest]), default=None)
        if len(self._bases) < len(self._forests):  # (3): it may lie below the other
            below = folded if nearest is None else folded.removesuffix(f",{above[nearest]}")
            if nearest is None or ",dc=" in below:
                return False
        return nearest not in self._unread  # (2)

    def recognised(self, change: Change) -> Change:
        """With the SID of its group, if it is one of those."""
        sid = self._known.get(change.group.dn.casefold())
        return (
            change
            if sid is None or change.group.sid
            else replace(change, group=replace(change.group, sid=sid))
        )
