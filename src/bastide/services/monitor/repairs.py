"""What drifted is put right, within what is delegated to Bastide and nothing else: `member` of its groups, accountExpires of PAM users. In order:

(1) Only findings whose rule says so, each again after AGAIN at the earliest, and none while monitoring is paused, also where that came meanwhile. The record
    of the finding was committed before, and so is that it is tried: of two nodes one tries.
(2) The database is asked once more: what a request explains by now is left alone.
(3) A stranger is taken out of the group; an account that should be closed ends now. A member that was taken away is put back by the work of its
    account, one at a time with what else happens to it; a link of CORP likewise. An account that is kept alive gets the end back that was accepted, if its
    person may sign in and the PAM user is switched on.
(4) What the directory refuses is kept with the finding, and said once. So is what it takes without a word and does not do: a member whose primary group it is
    cannot be taken out. That it worked is said when it was read.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain import requests
from bastide.domain.drift import Finding, Rule, is_here
from bastide.domain.errors import DirectoryDenied, DirectoryError
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Watched
from bastide.domain.people import Forest
from bastide.domain.requests import LIVE, State
from bastide.domain.roles import PamGroup
from bastide.services.monitor.findings import NO_AVAIL, on_drift
from bastide.services.pace import ACCOUNT, LINK
from bastide.services.ports import Directory, Store, UnitOfWork

_log = logging.getLogger(__name__)
#: What was put right shows with the next read; after this it did not work.
AGAIN = timedelta(seconds=30)


class Repairs:
    """The hands of monitoring."""

    def __init__(self, *, store: Store, priv: Directory, now: Callable[[], datetime]) -> None:
        self._store = store
        self._priv = priv
        self._now = now

    def run(self, findings: Iterable[Finding], side: Forest) -> None:
        """(1) to (4). Raises StoreError."""
        now = self._now()
        for finding in findings:
            if finding.repairs and (finding.tried is None or now - finding.tried >= AGAIN):
                self._one(finding, side, now)

    def _one(self, finding: Finding, side: Forest, now: datetime) -> None:
        tried = replace(finding, tried=now, wrong="")
        if not self._follows(finding, tried, side):  # (1)
            return
        try:
            self._mend(finding, side, now)
        except DirectoryError as error:
            _log.warning("%s: %s", finding.key, error.message)
            self._refused(finding, tried, error.message)  # (4)
        else:
            if finding.tried is not None:
                self._refused(finding, tried, NO_AVAIL)  # (4)

    def _follows(self, before: Finding, after: Finding, side: Forest) -> bool:
        """Whether it stands as it did, and is kept as it is now. Raises StoreError."""
        with self._store.write() as uow:
            domain = uow.monitored.domain(side)
            if domain is None or domain.paused:
                return False
            standing = {one.key: one for one in uow.monitored.findings()}.get(before.key)
            if standing is None or standing.tried != before.tried:
                return False
            uow.monitored.keep([after])
            uow.commit()
        return True

    def _refused(self, finding: Finding, tried: Finding, wrong: str) -> None:
        with self._store.write() as uow:
            if finding.key not in {one.key for one in uow.monitored.findings()}:
                return
            now_wrong = replace(tried, wrong=wrong)
            uow.monitored.keep([now_wrong])
            if wrong != finding.wrong:
                on_drift("drift.not-repaired", uow, now_wrong, self._now(), wrong=wrong)
            uow.commit()

    def _mend(self, finding: Finding, side: Forest, now: datetime) -> None:
        """(2), (3). Raises DirectoryError."""
        drift = finding.drift
        if drift.rule is Rule.OPEN_ACCOUNT:
            self._close(drift.guid, now)
            return
        if drift.rule is Rule.CLOSED_ACCOUNT:
            self._reopen(drift.guid, now)
            return
        sid = Sid(drift.detail)
        with self._store.write() as uow:
            group = next((one for one in uow.groups.all() if drift.guid == _guid(one, side)), None)
            if group is None:
                return
            if side is Forest.CORP:
                uow.work.poke(LINK, group.id, now)
                uow.commit()
                return
            if drift.rule is Rule.MISSING_MEMBER:
                _put_back(uow, group, sid, now)
                uow.commit()
                return
            if _is_explained(uow, group, sid):
                return
        self._priv.remove_members(group.priv, [sid])

    def _close(self, guid: str, now: datetime) -> None:
        with self._store.read() as uow:
            user = next((one for one in uow.users.all() if one.priv.guid == guid), None)
            if user is None or uow.requests.of_users([user.id], LIVE):
                return
        self._set_end(user.priv, now)

    def _reopen(self, guid: str, now: datetime) -> None:
        with self._store.read() as uow:
            user = next((one for one in uow.users.all() if one.priv.guid == guid), None)
            if user is None or not (user.kept_alive and user.enabled):
                return
            account = _watched(uow, Forest.PRIV, guid)
            person = _watched(uow, Forest.CORP, user.corp.guid) or _watched(uow, Forest.PRIV, user.corp.guid)
        if account is not None and is_here(person, now):
            self._set_end(user.priv, account.accepted.expires)

    def _set_end(self, account: ObjectRef, end: datetime | None) -> None:
        refused = self._priv.set_ends({account.sid: end})
        if refused:
            raise DirectoryDenied(
                f"accountExpires of {account.name}: {refused[account.sid]}",
                remedy="run the delegation script again: `bastide delegation`",
            )


def _watched(uow: UnitOfWork, side: Forest, guid: str) -> Watched | None:
    return next((one for one in uow.monitored.watched(side) if one.guid == guid), None)


def _guid(group: PamGroup, side: Forest) -> str:
    return group.priv.guid if side is Forest.PRIV else group.corp.guid


def _is_explained(uow: UnitOfWork, group: PamGroup, sid: Sid) -> bool:
    user = uow.users.by_sid(sid)
    if user is None or user.priv.sid != sid:
        return False
    return any(group.id in request.privileges for request in uow.requests.of_users([user.id], LIVE))


def _put_back(uow: UnitOfWork, group: PamGroup, sid: Sid, now: datetime) -> None:
    """The account's own work writes it again and reads it back, if its access still goes on then."""
    user = uow.users.by_sid(sid)
    if user is None:
        return
    for request in uow.requests.of_users([user.id], [State.ACTIVE]):
        if group.id in request.privileges:
            uow.requests.save(requests.once_more(request))
            uow.work.poke(ACCOUNT, user.id, now)
