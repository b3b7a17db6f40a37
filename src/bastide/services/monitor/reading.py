"""One domain read once: what changed since the cookie, and of what is watched, how it is now. It writes nothing.

(1) The mark of the controller: while its highestCommittedUSN stands still nothing else is asked, but once a minute what no change tells of.
(2) Another controller, another database on it (invocationId), or a USN that went back: its cookie says nothing. Everything is read anew.
(3) DirSync says who changed. A cookie that is refused: everything is read anew.
(4) Who is watched and changed is looked at, and who is watched and not known, and the groups in a container whose permissions changed: they may show more or
    fewer members, and nobody tells of it; and all that lay in one that was renamed or moved: nobody tells that it has another DN. Who has access now is asked
    for, since nobody tells of a deletion;
    once a minute everybody who is watched, and sign-ins, trusts, and what lies where DirSync does not look.
(5) Of groups that are watched and changed, also who was taken out of them since the cookie: who came and went meanwhile shows in no look. That members changed
    is told of those too who are hidden from us.
(6) Groups within watched groups are looked at as they show (within.py). When one is not found, the groups that hold it are looked at: they tell whether it was
    deleted or hidden.
(7) When everything is to be compared (resync), what changed just before is left out, because a change told it, and so is what changed during the look: it comes
    with the next change.
(8) Where a group changed, or shows fewer members, it is asked once more what changed, and looked again, until nothing that is watched changed meanwhile. Who left
    between the cookie and the look would else be told by the next read as well, there as somebody who came and went between two looks.
(9) Of another controller, or another database, it is asked what it has heard of the one before, ahead of every look; until that is all, domain/lagging.py says
    what to believe. When it is all, everything is looked at once more.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bastide.domain import lagging, nested
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.ids import Sid
from bastide.domain.lagging import Awaited
from bastide.domain.monitored import Former, Kind, Named, Seen, SignIns, Watched, lies_in
from bastide.services.monitor.ports import ChangeFeed, CookieRefused, Domain, Mark
from bastide.services.monitor.within import look_within

#: What no change tells of is found this often: sign-ins, deletions, new trusts, shadow principals.
LOOK_EVERY = timedelta(minutes=1)
#: Something watched that changes all the time is read with what comes of it: who was taken out is asked for last then, so a finding too many, none too few.
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """What to look at. `known`: GUIDs with a row; `gone`: those of them that were not found; `elsewhere`: what no change tells enough of; `urgent`: of people and
    accounts with access; `accounts`: whose sign-ins count.
    """

    wanted: frozenset[str]
    known: frozenset[str]
    gone: frozenset[str]
    elsewhere: frozenset[str]
    urgent: frozenset[str]
    accounts: Collection[Sid]
    #: What is known of each: to tell who is new in a group.
    watched: Mapping[str, Watched]
    #: So many groups within groups may be added.
    room: int
    #: Members of groups of the other domain that may be groups of this one.
    abroad: frozenset[Sid]
    #: DNs of what gives privileges: what they lie in is watched.
    within: frozenset[str]
    #: SIDs of the domain, without RID.
    own: frozenset[str]


@dataclass(slots=True)
class Reading:
    """What was read. `due`: what no change tells of was asked for. `compared`: with a cookie that was good, so that differences were missed. `anew`: why everything
    was read. `taken_out`: by GUID of a group.
    """

    mark: Mark
    cookie: bytes
    seen: dict[str, Seen] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    due: bool = False
    compared: frozenset[str] | None = None
    anew: str = ""
    fixtures: frozenset[str] = frozenset()
    signs: Mapping[str, Mapping[Sid, SignIns]] = field(default_factory=dict)
    taken_out: Mapping[str, frozenset[Former]] = field(default_factory=dict)
    #: So many controllers are there beside the one that was read.
    others: int = 0
    #: Groups of which the members changed.
    regrouped: set[str] = field(default_factory=set)
    #: None: it is nobody of this domain.
    abroad: Mapping[Sid, Named | None] = field(default_factory=dict)
    #: The highestCommittedUSN after the last look: nothing that was seen is newer. The mark is older, so that nothing is missed.
    until: int = -1
    #: What was read before and is not all heard, and whether this is the first read since.
    awaited: tuple[Awaited, ...] = ()
    other: bool = False

    def lags(self, old: Watched) -> bool:
        """(9): whether the controller may not have heard yet what is known of this one."""
        return bool(self.awaited) and (self.other or old.kept)


def stands_still(feed: ChangeFeed, domain: Domain, now: datetime) -> bool:
    """(1): whether there is nothing to read. Raises DirectoryDenied."""
    if domain.resync or not domain.cookie or domain.looked_at is None:
        return False
    if now - domain.looked_at >= LOOK_EVERY or now < domain.looked_at:
        return False
    try:
        return feed.usn(domain.mark.controller) == domain.mark.usn
    except DirectoryUnavailable:
        return False  # another controller is asked then


def read(feed: ChangeFeed, domain: Domain, wish: Wish, now: datetime) -> Reading:
    """(1) to (9). Raises DirectoryUnavailable, DirectoryDenied."""
    mark = feed.mark(domain.mark.controller)
    reading = Reading(mark, domain.cookie, anew=_why_anew(domain, mark), others=feed.controllers() - 1)
    reading.other = bool(domain.cookie) and mark.invocation != domain.mark.invocation
    reading.awaited = _awaited(feed, domain, reading, now)
    caught_up = bool(domain.awaited) and not reading.awaited
    if wish.abroad:
        reading.abroad = dict.fromkeys(wish.abroad) | dict(feed.named(mark.controller, wish.abroad))
    moved = _moved(feed, reading)
    late = domain.looked_at is None or not timedelta(0) <= now - domain.looked_at < LOOK_EVERY
    reading.due = bool(reading.anew) or domain.resync or late
    if domain.resync and not reading.anew:
        _compare(feed, reading, wish, moved)
    else:
        _look(feed, reading, wish, None if reading.anew or caught_up else moved)
    look_within(feed, mark.controller, reading.seen, wish.watched, wish.room, wish.own)
    _taken_out(feed, reading, wish, domain.cookie, moved)
    reading.until = feed.usn(mark.controller)
    if reading.due:
        reading.signs = feed.sign_ins(wish.accounts) if wish.accounts else {}
    return reading


def _is_group(seen: Seen | None) -> bool:
    """(5)"""
    return seen is not None and seen.kind is Kind.GROUP


def _why_anew(domain: Domain, mark: Mark) -> str:
    """(2). Empty: the cookie is good."""
    if not domain.cookie:
        return "nothing was read yet"
    if mark.controller != domain.mark.controller:
        return f"{domain.mark.controller} does not answer, {mark.controller} does"
    if mark.invocation != domain.mark.invocation:
        return f"{mark.controller} has another database (invocationId) than before"
    if mark.usn < domain.mark.usn:
        return f"the database of {mark.controller} came back from an earlier time"
    return ""


def _awaited(feed: ChangeFeed, domain: Domain, reading: Reading, now: datetime) -> tuple[Awaited, ...]:
    """(9)."""
    before, mark = domain.mark, reading.mark
    usn = max(before.usn, domain.until)
    left = [Awaited(before.controller, before.invocation, usn, now)] if reading.other else []
    awaited = (*domain.awaited, *left)
    if not awaited:
        return ()
    heard = {**feed.heard(mark.controller), mark.invocation: mark.usn}
    return lagging.unheard(awaited, heard, now)


def _moved(feed: ChangeFeed, reading: Reading) -> frozenset[str]:
    """(3)."""
    if not reading.anew:
        try:
            return _since(feed, reading)
        except CookieRefused as error:
            reading.anew = f"the cookie was refused: {error.message}"
    reading.cookie = b""
    return _since(feed, reading)


def _since(feed: ChangeFeed, reading: Reading) -> frozenset[str]:
    """Only GUIDs are kept, and of a first read not even those: all that is watched is looked at then."""
    found: set[str] = set()
    first = not reading.cookie
    for page in feed.since(reading.mark.controller, reading.cookie):
        reading.cookie = page.cookie
        if not first:
            found.update(page.guids)
            reading.regrouped |= page.members
    return frozenset(found)


def _look(feed: ChangeFeed, reading: Reading, wish: Wish, moved: Collection[str] | None) -> None:
    """(4). `moved` None: everything is looked at."""
    controller = reading.mark.controller
    everything, searched = wish.wanted | wish.known, wish.urgent
    everything |= {named.guid for named in reading.abroad.values() if named is not None and named.is_group}
    if reading.due:
        reading.fixtures = feed.fixtures(controller, wish.within)
        everything |= reading.fixtures
        searched = everything
    if moved is None:
        asked = everything
    else:
        asked = (everything & frozenset(moved)) | (everything - wish.known)
        asked |= (wish.gone | wish.elsewhere) if reading.due else frozenset()
    asked = _see(feed, reading, wish, asked)
    rest = searched - asked
    if rest:
        reading.gone |= rest - feed.present(controller, rest)
    holding = nested.holding(reading.gone, wish.watched) - asked - reading.gone
    if holding:
        found = feed.look(controller, holding)
        reading.seen |= found
        reading.gone |= holding - found.keys()


def _see(feed: ChangeFeed, reading: Reading, wish: Wish, asked: frozenset[str]) -> frozenset[str]:
    """These as they are now, and with a container what lies in it. Returns what was looked at."""
    controller = reading.mark.controller
    found = dict(feed.look(controller, asked)) if asked else {}
    below = _below_changed(found, wish.watched) - asked
    if below:
        asked |= below
        found |= feed.look(controller, below)
    reading.seen |= found
    reading.gone = (reading.gone | asked) - found.keys()
    return asked


def _taken_out(feed: ChangeFeed, reading: Reading, wish: Wish, cookie: bytes, moved: frozenset[str]) -> None:
    """(5), (8)."""
    known = frozenset() if reading.anew else wish.known
    for round_ in range(_ROUNDS + 1):
        groups = {guid for guid in moved & known if _is_group(reading.seen.get(guid))}
        reading.taken_out = feed.taken_out(reading.mark.controller, cookie, groups) if groups else {}
        if round_ == _ROUNDS or not (groups or _left(reading.seen, wish.watched)):
            break
        late = _since(feed, reading)
        again = late & (wish.wanted | wish.known | reading.seen.keys())
        if not again:
            break
        moved |= late
        _look_again(feed, reading, wish, again)
    reading.regrouped &= groups


def _look_again(feed: ChangeFeed, reading: Reading, wish: Wish, guids: frozenset[str]) -> None:
    for guid in guids:
        reading.seen.pop(guid, None)
    _see(feed, reading, wish, guids)
    if reading.compared is not None:
        reading.compared -= guids
    added = reading.seen.keys() - wish.known - wish.wanted - reading.fixtures
    room = max(0, wish.room - len(added))
    look_within(feed, reading.mark.controller, reading.seen, wish.watched, room, wish.own)


def _left(seen: Mapping[str, Seen], watched: Mapping[str, Watched]) -> bool:
    """Whether a group has lost a member, as far as this look shows."""
    return any(old.lost(one) for guid, one in seen.items() if (old := watched.get(guid)) is not None)


def _below_changed(seen: Mapping[str, Seen], watched: Mapping[str, Watched]) -> frozenset[str]:
    """GUIDs of what lay in these by the DNs that are known: of groups where a container shows more or less, of all where it has another DN."""
    changed = [
        (old.now, old.now.dn != one.dn)
        for guid, one in seen.items()
        if one.kind is Kind.PLACE
        and (old := watched.get(guid)) is not None
        and (old.gone_at is not None or (old.now.rights, old.now.dn) != (one.rights, one.dn))
    ]
    return frozenset(
        guid
        for guid, one in watched.items()
        if any((moved or one.now.kind is Kind.GROUP) and lies_in(one.now, place) for place, moved in changed)
    )


def _compare(feed: ChangeFeed, reading: Reading, wish: Wish, moved: Collection[str]) -> None:
    """(7): a full read beside what the changes said so far."""
    kept, controller = reading.cookie, reading.mark.controller
    reading.cookie = b""
    _since(feed, reading)
    _look(feed, reading, wish, None)
    after = Reading(reading.mark, kept)
    late = _since(feed, after)
    reading.compared = frozenset(reading.seen) - late - frozenset(moved)
    reading.mark = replace(reading.mark, controller=controller)
