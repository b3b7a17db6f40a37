"""The directory is compared with a database that came back from the past (recovery.py), and made what the database says. Then granting is open again. In order:

(1) What waits in the old database is cancelled, and what was about to begin fails: it may have been refused, ended or done since.
(2) An active request goes on only if every controller shows it exactly as the database has it. Else it is closed, and ends as ever (grants.py).
(3) Every PAM group is read on every PRIV controller. A member that no grant wants is taken away. A group that Bastide made has no other members; of one that was
    there before (carrier `direct`) only accounts of PAM users are looked at, and none of those that stood in it when it was prepared.
(4) An account of a PAM user without any grant that is open is closed.
(5) A CORP link that no grant uses is taken away (links.py).
(6) What was found is in the audit before anything is touched, and each thing again when it was read back as gone, with the end of its last ticket: the
    moment of the read-back and the longest life of a ticket, for nobody knows when it was bought.
    Where a controller was silent nobody knows that end: it may still sell tickets.
(7) Only when every PRIV controller answered each question and shows nothing of it, no request is on its way and CORP shows no such link, the audit says
    `recovery.ended`. A controller that was silent for one of them may hold anything: it holds this up until it answers, or is no controller any more.
(8) What began meanwhile is not ended with what was read before it: then it is compared once more. So a worker that slept ends nothing.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain import grants, requests
from bastide.domain.audit import Event, Record
from bastide.domain.errors import BastideError, Conflict, DirectoryError, NoSuchObject
from bastide.domain.ids import GroupId, Sid, UserId
from bastide.domain.people import PamUser
from bastide.domain.requests import GRANTING, LIVE, PENDING, Request, State
from bastide.domain.roles import Carrier, PamGroup
from bastide.services.caps import DEFAULT_TGT, Caps
from bastide.services.closing import move
from bastide.services.events import by_worker
from bastide.services.pace import ACCOUNT, LINK, delay
from bastide.services.ports import Directory, Store, UnitOfWork, Work
from bastide.services.readback import Seen, confirmed, limited, open_past
from bastide.services.recovery import DATABASE, reconciling
from bastide.services.standing import declared

_log = logging.getLogger(__name__)
_WAITING = PENDING | {State.SCHEDULED}
_OLD = "the database came back from an earlier time: what became of this since is not known; ask again"
_NOT_SHOWN = "the database came back from an earlier time, and the directory does not show this access as it is here; ask again"
_ANEW = "this began anew meanwhile: it is compared once more"
FOUND = "recovery.found"
#: People wait for it: it is looked at again every 6 s at the latest, whatever the attempts before.
_PATIENT = 6


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says at one moment."""

    began: Record
    users: Mapping[Sid, PamUser]
    groups: Mapping[GroupId, PamGroup]
    live: Mapping[UserId, Sequence[Request]]
    standing: Mapping[GroupId, frozenset[Sid]]

    def wanted(self, group: GroupId) -> frozenset[Sid]:
        """Whose membership a grant explains: one that is there, or one that is being taken away by its own work."""
        return frozenset(
            user.priv.sid
            for user in self.users.values()
            if any(group in request.privileges for request in self.live.get(user.id, ()))
        )


@dataclass(frozen=True, slots=True)
class Strange:
    """What the directory holds and no grant explains."""

    members: frozenset[tuple[GroupId, Sid]] = frozenset()
    accounts: frozenset[Sid] = frozenset()
    links: frozenset[GroupId] = frozenset()
    #: Why CORP could not be asked; empty: it could.
    unread: str = ""
    #: For each question to PRIV, the controllers that answered it.
    heard: tuple[frozenset[str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.members or self.accounts or self.links)


class Reconcile:
    """The worker's side."""

    def __init__(
        self,
        *,
        store: Store,
        corp: Directory,
        priv: Directory,
        caps: Caps,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._corp = corp
        self._priv = priv
        self._caps = caps
        self._now = now
        self._jitter = jitter

    def run(self, works: Sequence[Work]) -> None:
        """Compare, once, and again until nothing is left. Raises LostLease, StoreError."""
        for work in works:
            try:
                problem = self._compare()
            except (Conflict, DirectoryError) as error:
                problem = error.message
            with self._store.write() as uow:
                if problem:
                    _log.warning("still comparing: %s", problem)
                    uow.work.retry(
                        work, self._now() + delay(self._jitter, min(work.attempts, _PATIENT)), problem
                    )
                else:
                    uow.work.finish(work, None)
                uow.commit()

    def _compare(self) -> str:
        """What is still in the way; empty: nothing is."""
        known = self._stop_what_waits()
        if known is None:
            return ""
        judged = self._judge(known)
        known = self._read()
        if known is None:
            return ""
        found = self._strange(known)
        if found:
            self._say_found(known, found)
            self._take_away(known, found)
            left = self._strange(known)
            self._say_taken_back(known, found, left, self._silent(*left.heard))
            found = left
        return self._in_the_way(found, self._silent(judged, *found.heard)) or self._end(known)

    # ---------------------------------------------------------------------------------------------------------- requests

    def _stop_what_waits(self) -> Known | None:
        """(1). None: there is nothing to compare."""
        with self._store.write() as uow:
            if reconciling(uow) is None:
                return None
            now = self._now()
            for before in uow.requests.in_states(_WAITING):
                move(uow, before, requests.close(before, _OLD, now), now)
            for before in uow.requests.in_states({State.PROCESSING}):
                move(uow, before, requests.fail(before, _OLD, now), now)
            for request in uow.requests.in_states(LIVE):
                uow.work.poke(ACCOUNT, request.user, now)
            uow.commit()
        return self._read()

    def _judge(self, known: Known) -> frozenset[str]:
        """(2), and which controllers answered. Of one whose time is over its own work knows."""
        now = self._now()
        active = {
            user.priv.sid: [r for r in known.live.get(user.id, ()) if r.state is State.ACTIVE]
            for user in known.users.values()
        }
        asked = {sid for sid, mine in active.items() if mine}
        seen = Seen(self._priv.observe(asked), ())
        for sid in asked:
            user = known.users[sid]
            for before in active[sid]:
                if before.last_end() > now and not self._as_it_was(before, user, known, seen, now):
                    with self._store.write() as uow:
                        move(uow, before, requests.close(before, _NOT_SHOWN, now), now)
                        uow.commit()
        return frozenset(seen.states)

    def _as_it_was(self, request: Request, user: PamUser, known: Known, seen: Seen, now: datetime) -> bool:
        mine = [known.groups[g] for g in request.privileges if g in known.groups]
        wanted = grants.desired(user, known.live.get(user.id, ()), now)
        if request.extend_to is not None or len(mine) < len(request.privileges):
            return False
        if not confirmed(user, mine, seen, wanted.opens_until, now):
            return False
        return not self._priv.capabilities().link_ttl or all(
            limited(self._priv.time_left(g.priv, user.priv.sid), wanted.present[g.id] - now) for g in mine
        )

    # --------------------------------------------------------------------------------------------------------- directory

    def _read(self) -> Known | None:
        with self._store.read() as uow:
            began = reconciling(uow)
            if began is None:
                return None
            users, groups = uow.users.all(), uow.groups.all()
            live: dict[UserId, list[Request]] = defaultdict(list)
            for request in uow.requests.in_states(LIVE):
                live[request.user].append(request)
            standing = {g.id: declared(uow, g) for g in groups if g.carrier is Carrier.DIRECT}
        return Known(
            began,
            {user.priv.sid: user for user in users},
            {group.id: group for group in groups},
            live,
            standing,
        )

    def _strange(self, known: Known) -> Strange:
        """(3), (4), (5), as every controller that answers shows it."""
        members: set[tuple[GroupId, Sid]] = set()
        heard: list[frozenset[str]] = []
        for group in known.groups.values():
            try:
                shown = self._priv.members_on(group.priv)
            except NoSuchObject:
                continue
            heard.append(frozenset(shown))
            members |= {(group.id, sid) for sid in _strangers(known, group, shown)}
        now = self._now()
        idle = {
            user.priv.sid
            for user in known.users.values()
            if not user.kept_alive and not known.live.get(user.id)
        }
        states = self._priv.observe(idle)
        heard.append(frozenset(states))
        accounts = {
            sid for shown in states.values() for sid, state in shown.items() if open_past(state, now, now)
        }
        try:
            links, unread = self._links(known), ""
        except DirectoryError as error:  # PRIV does not wait for CORP
            links, unread = frozenset(), error.message
        return Strange(frozenset(members), frozenset(accounts), links, unread, tuple(heard))

    def _silent(self, *heard: frozenset[str]) -> list[str]:
        """Controllers that do not answer now, or did not answer one of those questions."""
        return sorted(
            one.name
            for one in self._priv.controllers()
            if not one.reachable or any(one.name not in answered for answered in heard)
        )

    def _links(self, known: Known) -> frozenset[GroupId]:
        used = {g for mine in known.live.values() for r in mine for g in r.privileges}
        return frozenset(
            g.id for g in known.groups.values() if g.needs_link and g.id not in used and self._linked(g)
        )

    def _linked(self, group: PamGroup) -> bool:
        try:
            return any(self._corp.observe_link(group.corp, group.priv.sid).values())
        except NoSuchObject:
            return False

    def _take_away(self, known: Known, found: Strange) -> None:
        """Accounts first: who cannot buy a ticket any more needs no group. What is refused is seen by the read-back."""
        now = self._now()
        if found.accounts:
            self._priv.set_ends(dict.fromkeys(found.accounts, now))
        leaving: dict[GroupId, set[Sid]] = defaultdict(set)
        for group, sid in found.members:
            leaving[group].add(sid)
        for group, sids in leaving.items():
            try:
                self._priv.remove_members(known.groups[group].priv, sids)
            except DirectoryError as error:
                _log.warning("%s", error.message)
        with self._store.write() as uow:
            uow.work.poke_many(LINK, dict.fromkeys(found.links, now))
            uow.commit()

    # ------------------------------------------------------------------------------------------------------------- audit

    def _say_found(self, known: Known, found: Strange) -> None:
        """(6). Said again only when something else was found."""
        data = {
            "members": sorted(f"{sid} in {known.groups[group].name}" for group, sid in found.members),
            "accounts": sorted(found.accounts),
            "links": sorted(known.groups[group].name for group in found.links),
        }
        with self._store.write() as uow:
            if not _goes_on(uow, known):
                raise Conflict(_ANEW)
            last = uow.audit.last(FOUND, DATABASE)
            if last is not None and last.seq > known.began.seq and json.loads(last.data) == data:
                return
            uow.audit.append(by_worker("recovery.found", self._now(), subject=DATABASE, data=data))
            uow.commit()

    def _say_taken_back(self, known: Known, found: Strange, left: Strange, silent: Sequence[str]) -> None:
        """(6)."""
        now = self._now()

        def taken_back(kind: str, sid: Sid, group: str) -> Event:
            user = known.users.get(sid)
            until = "" if silent else (now + self._cap(known, sid)).isoformat()
            data: dict[str, object] = {"group": group, "until": until}
            if silent:
                data["unreachable"] = list(silent)
            return by_worker(kind, now, subject=sid, subject_name=user.name if user else "", data=data)

        members, accounts = found.members - left.members, found.accounts - left.accounts
        events = [
            taken_back("recovery.member-removed", sid, known.groups[group].name)
            for group, sid in sorted(members)
        ]
        events += [taken_back("recovery.account-closed", sid, "") for sid in sorted(accounts)]
        if events:
            with self._store.write() as uow:
                uow.audit.append(*events)
                uow.commit()

    def _cap(self, known: Known, sid: Sid) -> timedelta:
        """Of an account that nobody can read: what a domain allows."""
        user = known.users.get(sid)
        try:
            ref = user.priv if user is not None else self._priv.find_person(sid).ref
            cap = self._caps.of(ref)
        except BastideError:
            cap = DEFAULT_TGT
        return cap if user is None else max(cap, user.ticket_cap)

    @staticmethod
    def _in_the_way(left: Strange, silent: Sequence[str]) -> str:
        """(7), of the directory."""
        if silent:
            return f"{', '.join(silent)} does not answer, and may hold anything"
        if not left:
            return left.unread
        parts = [
            f"{len(left.members)} members" if left.members else "",
            f"{len(left.accounts)} open accounts" if left.accounts else "",
            f"{len(left.links)} CORP links" if left.links else "",
        ]
        return f"the directory still shows what no grant explains: {', '.join(filter(None, parts))}"

    def _end(self, known: Known) -> str:
        """(7), of the database; (8)."""
        with self._store.write() as uow:
            if not _goes_on(uow, known):
                return _ANEW
            now = self._now()
            going = [
                r
                for r in uow.requests.in_states(LIVE)
                if r.state is not State.ACTIVE or r.last_end() <= now or r.extend_to is not None
            ]
            if going:
                return f"{len(going)} requests are being ended"
            kept = len(uow.requests.in_states(GRANTING))
            data = {"began": known.began.seq, "kept": kept}
            uow.audit.append(by_worker("recovery.ended", now, subject=DATABASE, data=data))
            uow.commit()
        _log.warning("the directory is what the database says; granting is open again")
        return ""


def _strangers(known: Known, group: PamGroup, shown: Mapping[str, frozenset[Sid]]) -> Collection[Sid]:
    members: frozenset[Sid] = frozenset().union(*shown.values())
    if group.carrier is Carrier.DIRECT:
        members = (members & known.users.keys()) - known.standing[group.id]
    return members - known.wanted(group.id)


def _goes_on(uow: UnitOfWork, known: Known) -> bool:
    """(8): whether it is still the comparison for which the directory was read."""
    began = reconciling(uow)
    return began is not None and began.seq == known.began.seq
