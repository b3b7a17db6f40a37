"""Which controller took what a target wrote: the invocation id of its database, as its agent names it in notifications (domain/passwords.py, `echo`, 6).

It is asked after the write, once for each connection that took one, so no password waits for it; and it is nothing that a delivery can fail at.
"""

from dataclasses import replace

from bastide.directory import cursors
from bastide.directory.session import Session
from bastide.domain.errors import DirectoryError
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Result


class Origins:
    """Of the connections of one open target."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def named(self, result: Result, session: Session) -> Result:
        """With the origin, if it was a success."""
        if result.code is not Code.SUCCESS:
            return result
        if session.controller not in self._known:
            self._known[session.controller] = origin_of(session)
        return replace(result, origin=self._known[session.controller])


def origin_of(session: Session) -> str:
    """`invocationId` of the NTDS Settings that the controller names as its own (`dsServiceName`); empty if it is not shown."""
    try:
        return cursors.own(session, session.must_read("", ["dsServiceName"]).text("dsServiceName"))
    except DirectoryError:
        return ""
