"""One's own sign-ins that are open: look at them, and end them.

(1) Only those of the account that calls: whoever owns CORP must not end, or see, what a PRIV account does.
(2) A session is named by a digest of a digest of its token. Neither that name nor anything else in the list opens it.
(3) That a session is used is written at most once in five minutes: a list that is so old is worth no write for every call.
(4) Ending is on record, with where it came from.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain.audit import Event
from bastide.domain.errors import NotFound, StoreError
from bastide.domain.people import Actor, Right, require
from bastide.services.ports import Store, UnitOfWork
from bastide.services.signin import Session

USED_AGAIN = timedelta(minutes=5)
_CONTEXT = b"bastide session name"
_NAME_LENGTH = 32


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A sign-in as its holder sees it. `agent`: kind of program and system, no more. `current`: the one that asks."""

    id: str
    via: str
    began: datetime
    used: datetime
    ends: datetime
    address: str
    agent: str
    proved: datetime | None
    current: bool


class Sessions:
    """The use cases of one's own sessions."""

    def __init__(self, *, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def mine(self, actor: Actor, token: str = "") -> tuple[OpenSession, ...]:
        """The caller's open sessions, newest first. `token`: that of the session the call came in. Raises NotAuthorized."""
        require(actor, Right.USE)
        with self._store.read() as uow:
            found = self._of(uow, actor)
        shown = (_shown(session, current=session.token_hash == digest(token)) for session in found)
        return tuple(sorted(shown, key=lambda one: one.began, reverse=True))

    def end(self, actor: Actor, name: str) -> None:
        """End one of them. Raises NotAuthorized, NotFound."""
        require(actor, Right.USE)
        with self._store.write() as uow:
            found = [session for session in self._of(uow, actor) if _name(session) == name]
            if not found:
                raise NotFound(
                    "you have no such session open", remedy="it may be over by now: look at the list anew"
                )
            self._end(uow, actor, found[0])
            uow.commit()

    def end_others(self, actor: Actor, token: str = "") -> int:
        """End all but the one that the call came in; how many. Raises NotAuthorized, NotFound if there is none."""
        require(actor, Right.USE)
        with self._store.write() as uow:
            others = [one for one in self._of(uow, actor) if one.token_hash != digest(token)]
            if not others:
                raise NotFound("you have no other session open")
            for session in others:
                self._end(uow, actor, session)
            uow.commit()
        return len(others)

    def is_open(self, token: str) -> bool:
        """Whether the session of that token still counts. Asks the database alone."""
        with self._store.read() as uow:
            session = uow.factors.session(digest(token))
        return session is not None and session.expires_at > self._now()

    def _of(self, uow: UnitOfWork, actor: Actor) -> list[Session]:
        """(1)"""
        return [session for session in uow.factors.open_sessions(self._now()) if session.sid == actor.sid]

    def _end(self, uow: UnitOfWork, actor: Actor, session: Session) -> None:
        """(4)"""
        uow.factors.end_session(session.token_hash)
        uow.audit.append(
            Event("session.closed", self._now(), actor.sid, actor.name, data={"how": "ended from a list"})
        )


def digest(token: str) -> str:
    """All that is stored of a session's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def use(store: Store, session: Session, now: datetime) -> None:
    """(3) Best effort: a call is worth more than the note of it."""
    if now - (session.used_at or session.created_at) < USED_AGAIN:
        return
    with suppress(StoreError), store.write() as uow:
        fresh = uow.factors.session(session.token_hash)
        if fresh is not None:
            uow.factors.save_session(replace(fresh, used_at=now))
            uow.commit()


def _name(session: Session) -> str:
    """(2)"""
    return hashlib.sha256(_CONTEXT + session.token_hash.encode()).hexdigest()[:_NAME_LENGTH]


def _shown(session: Session, *, current: bool) -> OpenSession:
    return OpenSession(
        id=_name(session),
        via=session.via,
        began=session.created_at,
        used=session.used_at or session.created_at,
        ends=session.expires_at,
        address=session.address,
        agent=session.agent,
        proved=session.mfa_at,
        current=current,
    )
