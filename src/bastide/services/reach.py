"""What a PAM group really opens: the group it carries, and every group that one is in, of both forests, with protected ones marked.

Read as a domain controller makes a ticket: PRIV first; CORP adds its own groups to the SIDs that come from there. What could not be read is
said in words: an answer that leaves something out must not look whole.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bastide.domain.errors import DirectoryError
from bastide.domain.ids import GroupId, Sid
from bastide.domain.people import Forest
from bastide.domain.roles import PamGroup
from bastide.services.ports import Above, Directory

#: How long an answer is taken for true, and one that is not whole: a directory that is down is not asked for every line of a page.
FRESH = timedelta(minutes=1)
FRESH_PARTLY = timedelta(seconds=15)
#: More groups than a token may have ([MS-PAC] 2.5 counts them in 16 bits; Windows stops at 1,024).
MOST = 1024
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Opened:
    """A group that opens with the PAM group. `protected`: AdminSDHolder guards it, as it does Domain Admins or Backup Operators."""

    name: str
    sid: Sid
    forest: Forest
    protected: bool


@dataclass(frozen=True, slots=True)
class Reached:
    """What one PAM group gives. `further`: beside the group that it carries. `problems`: what could not be found out, each a sentence."""

    group: PamGroup
    #: Where the group that it carries is.
    forest: Forest
    protected: bool
    further: tuple[Opened, ...]
    problems: tuple[str, ...]

    @property
    def guarded(self) -> tuple[str, ...]:
        """Names of the protected groups among them."""
        own = (self.group.corp.name,) if self.protected else ()
        return own + tuple(one.name for one in self.further if one.protected)


@dataclass(slots=True)
class _Looked:
    """On the way to a Reached."""

    opened: dict[Sid, Opened] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, forest: Forest, above: Above) -> None:
        for one in above.groups:
            self.opened[one.ref.sid] = Opened(one.ref.name, one.ref.sid, forest, one.protected)
        self.problems += [
            f"{sid} in {forest.value.upper()} is among the groups, and cannot be read"
            for sid in sorted(above.unread)
        ]
        if not above.complete:
            self.problems.append(f"there are more than {MOST} groups in {forest.value.upper()}")


class Reach:
    """Asks both forests, and remembers for a minute."""

    def __init__(self, *, forests: Mapping[Forest, Directory], now: Callable[[], datetime]) -> None:
        self._forests = forests
        self._now = now
        self._known: dict[GroupId, tuple[datetime, Reached]] = {}
        self._down: dict[Forest, tuple[datetime, str]] = {}

    def of(self, groups: Iterable[PamGroup]) -> Mapping[GroupId, Reached]:
        """For groups of requests that the caller was shown. Raises nothing of the directory: that is in the answer."""
        return {group.id: self._of(group) for group in groups}

    def _of(self, group: PamGroup) -> Reached:
        now = self._now()
        known = self._known.get(group.id)
        if known is not None and known[1].group == group:
            fresh = FRESH_PARTLY if known[1].problems else FRESH
            if timedelta(0) <= now - known[0] < fresh:
                return known[1]
        found = self._look(group, now)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[group.id] = (now, found)
        return found

    def _look(self, group: PamGroup, now: datetime) -> Reached:
        looked, own = _Looked(), {group.corp.sid, group.priv.sid}
        if Forest.CORP in self._forests:
            self._ask(Forest.PRIV, {group.priv.sid}, looked, now)
            self._ask(Forest.CORP, own | looked.opened.keys(), looked, now)
        else:
            self._ask(Forest.PRIV, own, looked, now)
        target = looked.opened.get(group.corp.sid)
        if target is None and not looked.problems:
            looked.problems.append(f"{group.corp.name} is gone from the directory")
        further = sorted(
            (one for sid, one in looked.opened.items() if sid not in own),
            key=lambda one: (not one.protected, one.forest is Forest.PRIV, one.name.casefold()),
        )
        protected = target is not None and target.protected
        forest = Forest.CORP if Forest.CORP in self._forests else Forest.PRIV
        return Reached(group, forest, protected, tuple(further), tuple(looked.problems))

    def _ask(self, forest: Forest, sids: Collection[Sid], looked: _Looked, now: datetime) -> None:
        since, why = self._down.get(forest, (None, ""))
        if since is None or not timedelta(0) <= now - since < FRESH_PARTLY:
            try:
                looked.take(forest, self._forests[forest].groups_above(sids, most=MOST))
            except DirectoryError as error:
                self._down[forest] = (now, error.message)
                why = error.message
            else:
                self._down.pop(forest, None)
                return
        looked.problems.append(f"what it opens in {forest.value.upper()} could not be found out: {why}")
