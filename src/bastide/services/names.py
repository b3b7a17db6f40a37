"""How those are called whom a record knows by SID alone. What tells of a danger does not wait for it: a directory that is down names nobody, and holds up nothing."""

import logging
from collections.abc import Collection, Mapping

from bastide.domain.errors import DirectoryError
from bastide.domain.ids import Sid
from bastide.domain.names import in_forest
from bastide.domain.people import Forest
from bastide.services.ports import Directory

_log = logging.getLogger(__name__)
#: Asked for at once; more stay SIDs.
MOST = 500


class Names:
    """Looks SIDs up in the directories, PRIV first."""

    def __init__(self, forests: Mapping[Forest, Directory]) -> None:
        self._forests = sorted(forests.items(), key=lambda one: one[0] is not Forest.PRIV)

    def of(self, sids: Collection[Sid]) -> Mapping[Sid, str]:
        """Forest, backslash, name by SID, of those that are found. Not inside a transaction: a directory may take its time."""
        left = set(sorted(sids)[:MOST])
        found: dict[Sid, str] = {}
        for forest, directory in self._forests:
            if not left:
                break
            try:
                known = directory.names(left)
            except DirectoryError as error:
                _log.warning("SIDs of %s have no name now: %s", forest.value.upper(), error.message)
                continue
            found |= {sid: in_forest(forest, sid, name) for sid, name in known.items()}
            left -= known.keys()
        return found
