"""The longest life of an account's tickets, as the directory has it now: the true end of access is computed with it.

A cap that was raised behind Bastide's back would make every claimed end too early, so it is read again when a role is asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain.grants import PROTECTED_USERS_TICKET
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import PamUser
from bastide.domain.requests import LIVE
from bastide.services.events import by_worker
from bastide.services.ports import Directory, Preparer, UnitOfWork

#: The life of a TGT in a domain that nobody changed.
DEFAULT_TGT = timedelta(hours=10)
#: How long an answer is taken for true: a person who asks for three roles in a minute is one question.
FRESH = timedelta(minutes=1)


class Caps:
    """Reads caps with the preparer's rights, where there is one."""

    def __init__(self, *, preparer: Preparer | None, priv: Directory, now: Callable[[], datetime]) -> None:
        self._preparer = preparer
        self._priv = priv
        self._now = now
        self._known: dict[Sid, tuple[datetime, timedelta]] = {}

    def of(self, account: ObjectRef) -> timedelta:
        """The cap that applies. Under no policy it is the 4 h of Protected Users, or else the domain's 10 h. Raises DirectoryError."""
        now = self._now()
        read_at, cap = self._known.get(account.sid, (None, DEFAULT_TGT))
        if read_at is None or not timedelta(0) <= now - read_at < FRESH:
            cap = self._read(account)
            self._known[account.sid] = (now, cap)
        return cap

    def _read(self, account: ObjectRef) -> timedelta:
        cap = self._preparer.ticket_cap(account) if self._preparer is not None else None
        if cap is not None:
            return cap
        return PROTECTED_USERS_TICKET if self._priv.find_person(account.sid).protected else DEFAULT_TGT


def keep_cap(uow: UnitOfWork, user: PamUser, cap: timedelta, now: datetime) -> None:
    """What the directory says now counts; while a grant is live, a longer cap of before may still be in a ticket."""
    user = uow.users.get(user.id)
    longest = max(cap, user.ticket_cap) if uow.requests.of_users([user.id], LIVE) else cap
    if longest != user.ticket_cap:
        uow.users.save(replace(user, ticket_cap=longest))
        seconds = {"from": int(user.ticket_cap.total_seconds()), "to": int(longest.total_seconds())}
        uow.audit.append(
            by_worker("pam-user.ticket-cap", now, subject=user.priv.sid, subject_name=user.name, data=seconds)
        )
