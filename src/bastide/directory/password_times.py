"""When a person's password was set last, as the domain's controllers have it."""

from datetime import datetime

from bastide.directory.entries import by_sid
from bastide.directory.ldap import Controllers
from bastide.directory.password_set import WANTED, password_set
from bastide.directory.session import Session
from bastide.domain.errors import NoSuchObject
from bastide.domain.ids import Sid


class AdPasswordTimes:
    """As the port PasswordTimes."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers

    def set_at(self, person: Sid) -> datetime | None:
        seen = self._controllers.on_reachable(
            "read when a password was set", lambda session: _set_at(session, person)
        )
        return max((one for one in seen.values() if one is not None), default=None)


def _set_at(session: Session, person: Sid) -> datetime | None:
    """A controller that has not heard of the person yet knows of no password."""
    try:
        found = password_set(session.must_read(by_sid(person), WANTED))
    except NoSuchObject:
        return None
    return None if found is None else found.at
