"""How those are called whom a record knows by SID alone. What tells of a danger does not wait for it: a directory that is down names nobody, and holds up nothing."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from threading import Lock

from bastide.domain.errors import DirectoryError
from bastide.domain.ids import Sid
from bastide.domain.names import in_forest
from bastide.domain.people import Forest
from bastide.services.ports import Directory

_log = logging.getLogger(__name__)
#: Asked for at once; more stay SIDs.
MOST = 500
#: Accounts and groups have these; what everybody knows (Everyone, SELF) no directory does.
_OF_DIRECTORIES = ("S-1-5-21-", "S-1-5-32-")
#: How long an answer counts, one that knows nobody too.
_COUNTS = timedelta(minutes=5)
#: Answers that are remembered; the oldest go.
_REMEMBERED = 10_000
#: One that did not answer is not asked for so long: each question to it may cost seconds.
_PAUSE = timedelta(minutes=1)


class Names:
    """Looks SIDs up in the directories, PRIV first. Any thread may ask."""

    def __init__(self, forests: Mapping[Forest, Directory]) -> None:
        self._forests = sorted(forests.items(), key=lambda one: one[0] is not Forest.PRIV)
        #: Name, empty where nobody was found, and until when that counts; in the order of that.
        self._answers: dict[tuple[Forest, Sid], tuple[str, datetime]] = {}
        self._silent_until: dict[Forest, datetime] = {}
        self._lock = Lock()

    def of(
        self, sids: Collection[Sid], now: datetime, *, ask: Collection[Forest] = tuple(Forest)
    ) -> Mapping[Sid, str]:
        """Forest, backslash, name by SID, of those that are found. `ask`: no other is asked; what it said lately counts all the same. Not inside a transaction: a
        directory may take its time.
        """
        left = {sid for sid in sids if sid.startswith(_OF_DIRECTORIES)}
        found: dict[Sid, str] = {}
        for forest, directory in self._forests:
            known = self._remembered(forest, left, now)
            new = sorted(left - known.keys())[:MOST]
            if new and forest in ask and self._silent_until.get(forest, now) <= now:
                known |= self._asked(forest, directory, new, now)
            found |= {sid: in_forest(forest, sid, name) for sid, name in known.items() if name}
            left -= found.keys()
        return found

    def _remembered(self, forest: Forest, sids: Collection[Sid], now: datetime) -> dict[Sid, str]:
        with self._lock:
            answers = {sid: self._answers.get((forest, sid)) for sid in sids}
        return {sid: one[0] for sid, one in answers.items() if one is not None and now < one[1]}

    def _asked(
        self, forest: Forest, directory: Directory, sids: Collection[Sid], now: datetime
    ) -> Mapping[Sid, str]:
        try:
            known = directory.names(sids)
        except DirectoryError as error:
            _log.warning("SIDs of %s have no name now: %s", forest.value.upper(), error.message)
            self._silent_until[forest] = now + _PAUSE
            return {}
        with self._lock:
            for sid in sids:
                self._answers.pop((forest, sid), None)
                self._answers[forest, sid] = known.get(sid, ""), now + _COUNTS
            while len(self._answers) > _REMEMBERED:
                del self._answers[next(iter(self._answers))]
        return known
