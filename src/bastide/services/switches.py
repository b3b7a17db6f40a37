"""PAM users are switched off and on: who leaves for a while, or is not trusted at the moment, asks for nothing and has nothing, and stays prepared.

In order:
  (1) An administrator says so, with a reason.
  (2) One commit: the PAM user is off, and all of its open requests end or are cancelled.
  (3) A request that came at the same moment does not begin: the worker looks (starts.py, rule (1)).

Access that ends is over when it was read back, as ever; tickets that were bought before live until their true end.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bastide.domain.approvals import REASON_LIMIT
from bastide.domain.errors import Conflict, InvalidInput
from bastide.domain.ids import parse_text
from bastide.domain.people import Actor, PamUser, Right, require
from bastide.domain.requests import OPEN, Request, State
from bastide.services.closing import close_request
from bastide.services.events import by_actor
from bastide.services.lookup import find_user
from bastide.services.ports import Store


@dataclass(frozen=True, slots=True)
class Switched:
    """The PAM user as it is now, and the requests that end with it."""

    user: PamUser
    ended: tuple[Request, ...]


class Switches:
    """The use case."""

    def __init__(self, *, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def turn(self, actor: Actor, name: str, reason: str, *, on: bool) -> Switched:
        """Raises NotAuthorized, NotFound, InvalidInput, Conflict if it is so already."""
        require(actor, Right.ADMINISTER)  # (1)
        text = parse_text("reason", reason, REASON_LIMIT)
        if not text:
            raise InvalidInput("reason", "say why")
        with self._store.write() as uow:
            user, now = find_user(uow, name), self._now()
            if user.enabled is on:
                raise Conflict(f"{user.name} is switched {_WORDS[on]} already")
            saved = uow.users.save(replace(user, enabled=on))
            data = {"reason": text}
            kind = "pam-user.enabled" if on else "pam-user.disabled"
            uow.audit.append(
                by_actor(kind, now, actor, subject=saved.priv.sid, subject_name=saved.name, data=data)
            )
            going = () if on else uow.requests.of_users([user.id], OPEN)
            ended = tuple(
                close_request(uow, one, f"switched off: {text}", now, actor)
                for one in going
                if one.state is not State.CLOSING
            )
            uow.commit()  # (2)
        return Switched(saved, ended)


_WORDS = {True: "on", False: "off"}
