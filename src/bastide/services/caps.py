"""The longest life of an account's tickets, as the directory has it now: the true end of access is computed with it.

A cap that was raised behind Bastide's back would make every claimed end too early, so it is read again when a role is asked for.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from bastide.domain.grants import PROTECTED_USERS_TICKET
from bastide.domain.ids import ObjectRef, Sid
from bastide.services.ports import Directory, Preparer

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
