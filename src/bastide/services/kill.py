"""What the kill switch is aimed at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.audit import Event
from bastide.domain.errors import InvalidInput
from bastide.domain.ids import RequestId, parse_id
from bastide.domain.people import Actor
from bastide.domain.requests import OPEN, Request
from bastide.services.events import by_actor
from bastide.services.lookup import find_role, find_user
from bastide.services.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class Aim:
    """One request, a role, a person, a person's access by one role, or everything."""

    request: str = ""
    role: str = ""
    user: str = ""
    everything: bool = False

    def check(self) -> None:
        """Raise InvalidInput if it says nothing, or several things: one of them would be forgotten."""
        if sum([bool(self.request), bool(self.role or self.user), self.everything]) != 1:
            raise InvalidInput("criteria", "give request, or role, or user, or role and user, or all")

    def hits(self, uow: UnitOfWork) -> Sequence[Request]:
        """The open requests that match; one that is named, in whatever state it is. Raises NotFound."""
        if self.request:
            return [uow.requests.get(RequestId(parse_id("request", self.request)))]
        role = find_role(uow, self.role).id if self.role else None
        if self.user:
            of_user = uow.requests.of_users([find_user(uow, self.user).id], OPEN)
            return [one for one in of_user if role in {None, one.role}]
        return uow.requests.of_role(role, OPEN) if role is not None else uow.requests.in_states(OPEN)

    def event(self, actor: Actor, now: datetime, reason: str, hit: int) -> Event:
        """For the audit."""
        both = f"{self.role} of {self.user}" if self.role and self.user else ""
        what = both or self.request or self.role or self.user or "all"
        return by_actor("kill-switch", now, actor, data={"what": what, "reason": reason, "requests": hit})
