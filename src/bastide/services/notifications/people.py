"""Whose address a message goes to. Read from the directory when the message is made: who left is told nothing any more."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime

from bastide.domain.ids import Sid
from bastide.domain.people import Forest, PamUser
from bastide.domain.roles import Role, Subject
from bastide.services.people import find_anywhere, people_behind
from bastide.services.ports import Directory, Store

#: Of one request, approvers that are told by mail.
MOST = 200
#: One plain address: what a mail program or a list could take for more is none.
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}", re.ASCII
)


def is_address(text: str) -> bool:
    """Whether it is one plain mail address."""
    return _ADDRESS.fullmatch(text) is not None


class AddressBook:
    """Reads `mail` of accounts: of a PAM user the CORP account's, which is the one that a person uses."""

    def __init__(
        self, *, store: Store, forests: Mapping[Forest, Directory], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._forests = forests
        self._now = now

    def address(self, sid: Sid) -> str:
        """Empty: there is none, or the account is gone, disabled or expired. Raises DirectoryError."""
        user = self._user(sid)
        person = find_anywhere(self._forests, sid if user is None else user.corp.sid)
        if person is None or not person.open_at(self._now()):
            return ""
        return person.mail if is_address(person.mail) else ""

    def approvers(self, role: Role, requester: Sid) -> tuple[Sid, ...]:
        """The people behind the stages of a role, each once, at most MOST; not who asked. Raises DirectoryError."""
        own = self._user(requester)
        found: dict[Sid, Sid] = {}
        for sid in (
            sid for stage in role.stages for subject in stage.approvers for sid in self._behind(subject)
        ):
            user = self._user(sid)
            if own is None or user is None or user.id != own.id:
                found.setdefault(sid if user is None else user.corp.sid, sid)
        return tuple(sid for sid in found if sid != requester)[:MOST]

    def _behind(self, subject: Subject) -> tuple[Sid, ...]:
        if not subject.is_group:
            return (subject.sid,)
        return tuple(person.ref.sid for person in people_behind(self._forests, subject) or ())

    def _user(self, sid: Sid) -> PamUser | None:
        with self._store.read() as uow:
            return uow.users.by_sid(sid)
