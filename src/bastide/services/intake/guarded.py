"""Which DNs are those of privileged groups. Samba's lines name a group by its DN alone, and a DN says nothing: another language has another name, and an object can be
renamed. The SID says it, so the directories are asked for the SIDs that every domain has.

(1) A DN that one of them had stays known: a line may be of the time before it was renamed.
(2) While a directory cannot be asked nobody can tell of an unknown DN: it is not taken for none of ours.
"""

import logging
from collections.abc import Collection, Mapping
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
        self._unread: set[Forest] = set()
        self._looked_at: datetime | None = None

    def look(self, domains: Mapping[Forest, Collection[str]], now: datetime) -> None:
        """Ask again, if it is time. `domains`: SIDs of domains by forest. Not inside a transaction: a directory may take its time."""
        if self._looked_at is not None and now - self._looked_at < _EVERY:
            return
        self._looked_at = now
        for forest, sids in domains.items():
            wanted = privileged_in(sids)
            try:
                found = self._forests[forest].groups_above(wanted, most=_MOST)
            except DirectoryError as error:
                if forest not in self._unread:
                    _log.warning(
                        "privileged groups of %s are not looked up: %s", forest.value.upper(), error.message
                    )
                self._unread.add(forest)  # (2)
                continue
            self._unread.discard(forest)
            self._known |= {
                one.ref.dn.casefold(): one.ref.sid for one in found.groups if one.ref.sid in wanted
            }  # (1)

    @property
    def knows_all(self) -> bool:
        """(2)."""
        return self._looked_at is not None and not self._unread

    def recognised(self, change: Change) -> Change:
        """With the SID of its group, if it is one of those."""
        sid = self._known.get(change.group.dn.casefold())
        return (
            change
            if sid is None or change.group.sid
            else replace(change, group=replace(change.group, sid=sid))
        )
