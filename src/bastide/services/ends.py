"""What only time ended is taken away first, for all accounts of a run together, before anything else is done for any of them.

Of such a grant nothing is left to decide or to lower: its end was committed before it was confirmed, its account closed by itself at that
moment, and nobody extends what is over. So the plan need not be committed before the directory is touched; a worker that dies here leaves
an active request whose end has passed, and who takes over begins here again. That it ended is said as ever, after it was read back.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from bastide.domain import grants, requests
from bastide.domain.errors import DirectoryError
from bastide.domain.ids import GroupId, Sid
from bastide.domain.requests import State
from bastide.domain.roles import PamGroup
from bastide.services.cases import Case, early
from bastide.services.ports import Directory

_log = logging.getLogger(__name__)
_IN_WORK = frozenset({State.PROCESSING, State.CLOSING})
Taken = Mapping[str, AbstractSet[GroupId]]


class Over:
    """What is to be taken away at one moment, gathered part by part, so that the rows of all accounts need not be in memory together."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._groups: dict[GroupId, PamGroup] = {}
        self._leaving: dict[GroupId, dict[str, Sid]] = defaultdict(dict)

    def gather(self, cases: Sequence[Case], groups: Mapping[GroupId, PamGroup]) -> None:
        """Note what these accounts lose."""
        for case in cases:
            for group in over(case, self._now) & groups.keys():
                self._groups[group] = groups[group]
                self._leaving[group][case.work.key] = case.user.priv.sid

    def take_away(self, priv: Directory) -> Taken:
        """Returns what was taken, by the key of the account's work. What the directory refuses is left to the ordinary steps."""
        taken: dict[str, set[GroupId]] = defaultdict(set)
        for group, members in self._leaving.items():
            try:
                priv.remove_members(self._groups[group].priv, members.values())
            except DirectoryError as error:
                _log.warning("%s", error.message)
                continue
            for key in members:
                taken[key].add(group)
        return taken


def over(case: Case, now: datetime) -> AbstractSet[GroupId]:
    """The groups that time alone takes from the account. None where an account end comes first, or where something begins or is under way."""
    ahead = replace(case, requests=[requests.advance(r, now) for r in case.requests])
    moving = any(r.state in _IN_WORK for r in case.requests) or any(
        r.state is State.PROCESSING for r in ahead.requests
    )
    if moving or early(ahead):
        return frozenset()
    return grants.desired(case.user, ahead.requests, now).absent
