"""What every registration of a signed-in person shares (register.py and register_keys.py): (1), (2) and (4) of register.py, and what waits to be confirmed."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain.errors import Conflict, NotAuthenticated, NotAuthorized
from bastide.domain.ids import Sid
from bastide.domain.people import Actor, Right, require
from bastide.domain.reset import flow, lockout
from bastide.domain.reset.flow import Stage
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.letters import Letter
from bastide.services.ports import Sealer, UnitOfWork
from bastide.services.reset import counters
from bastide.services.reset.contents import Contents, seal, unseal
from bastide.services.reset.courier import DRAFT_CONTEXT
from bastide.services.reset.outbox import post
from bastide.services.reset.people import Found, People
from bastide.services.reset.ports import Answer, Draft, Registration
from bastide.services.signin import PasswordChecker

LIFE = timedelta(minutes=15)
_ADDRESSES = 5
#: A notice is tried so long.
_TOLD = timedelta(days=1)
_AGAIN = "begin anew on this page"


class Registered:
    """Who may register, and what is registered then."""

    def __init__(self, *, people: People, passwords: PasswordChecker, sealer: Sealer) -> None:
        self._people = people
        self._passwords = passwords
        self._sealer = sealer

    def may(self, actor: Actor) -> Found:
        """(2) Raises NotAuthorized, DirectoryError."""
        require(actor, Right.USE)
        found = self._people.of(actor.sid)
        if found is None:
            raise NotAuthorized(
                "only everyday accounts can reset their password here",
                remedy="sign in with the account that you use every day",
            )
        if found.excluded:
            raise NotAuthorized(
                f"this account {found.excluded}: its password is never reset here",
                remedy="your help desk or an administrator sets it",
            )
        if found.rule is None:
            raise NotAuthorized(
                "no rule lets this account reset its password", remedy="ask your administrator"
            )
        return found

    def shown_again(self, actor: Actor, password: str) -> Found:
        """(1) Raises NotAuthenticated, and as `may`."""
        found = self.may(actor)
        self._prove(found.person.ref.name, actor, password)
        return found

    def shown_to_remove(self, actor: Actor, password: str) -> None:
        """(1) for all that is registered: it is taken away whatever the person may by now, and whoever can say so. Raises NotAuthorized, NotAuthenticated, DirectoryUnavailable."""
        require(actor, Right.USE)
        self._prove(self._people.bare(actor.name), actor, password)

    def _prove(self, name: str, actor: Actor, password: str) -> None:
        if not name or not password or self._passwords.check(name, password) != actor.sid.rid:
            raise NotAuthenticated("the password was not accepted", remedy="type the one that you have now")

    def draft(self, actor: Actor, session: str, gate: Gate, text: str, now: datetime) -> Draft:
        """What waits to be confirmed, in this session, by this person, for this gate."""
        id_ = draft_id(session, gate)
        sealed = self._sealer.seal(text.encode(), DRAFT_CONTEXT + id_)
        return Draft(id=id_, person=actor.sid, gate=gate, sealed=sealed, expires_at=now + LIFE)

    def waiting(
        self, uow: UnitOfWork, actor: Actor, session: str, gate: Gate, now: datetime
    ) -> tuple[Draft, str, str]:
        """What `draft` made, with the two lines of its text. Raises Conflict."""
        draft = uow.resets.draft(draft_id(session, gate))
        if draft is None or draft.person != actor.sid or draft.gate is not gate or now >= draft.expires_at:
            raise Conflict("nothing waits for a code here", remedy=_AGAIN)
        first, _, second = self._sealer.open(draft.sealed, DRAFT_CONTEXT + draft.id).decode().partition("\n")
        return draft, first, second

    def keep(
        self,
        uow: UnitOfWork,
        found: Found,
        gate: Gate,
        change: Callable[[Contents], Contents],
        address: str,
        *,
        now: datetime,
        answers: tuple[Answer, ...] | None = None,
        last_step: int | None = None,
    ) -> None:
        """(4)"""
        person = found.person.ref
        held = uow.resets.registration(person.sid) or Registration(
            person=person.sid,
            name=person.name,
            registered_at=now,
            sealed=seal(self._sealer, person.sid, Contents()),
        )
        old = unseal(self._sealer, person.sid, held.sealed)
        self.tell(uow, person.sid, Letter.ADDED, gate.value, old, now)
        contents = change(old)
        counters.adopt(
            uow, lockout.key_of(lockout.Kind.NAME, lockout.folded(person.name)), address, person.name
        )
        others = tuple(one for one in held.addresses if one != address)
        uow.resets.register(
            replace(
                held,
                name=person.name,
                sealed=seal(self._sealer, person.sid, contents),
                gates=tuple(one for one in Gate if one in {*held.gates, gate}),
                answers=held.answers if answers is None else answers,
                addresses=(address, *others)[:_ADDRESSES],
                last_step=held.last_step if last_step is None else last_step,
            )
        )

    def take_away(self, uow: UnitOfWork, person: Sid, now: datetime) -> bool:
        """Whether something was registered. (5) of register.py; resets of the person that are under way are over."""
        held = uow.resets.registration(person)
        if held is not None:
            self.tell(uow, person, Letter.REMOVED, "", unseal(self._sealer, person, held.sealed), now)
        there = uow.resets.unregister(person)
        for reset in uow.resets.of_person(person):
            if reset.stage not in {Stage.USED, Stage.STOPPED}:
                uow.resets.put(flow.stopped(reset))
        return there

    def tell(
        self, uow: UnitOfWork, person: Sid, letter: Letter, what: str, old: Contents, now: datetime
    ) -> None:
        """(5) of register.py. `what`: was registered or taken away, so that two of the same moment are told apart. What it is told by is kept as a draft, of two lines: a
        destination that this is told to as well, and where it goes. The old destination stands nowhere else any more. An empty one is that of the directory.
        """
        for by, to in dict.fromkeys([(Gate.MAIL, ""), (Gate.MAIL, old.mail), (Gate.SMS, old.sms)]):
            if by is Gate.SMS and not to:
                continue
            id_ = hashlib.sha256(
                f"bastide reset {letter.value}\0{person}\0{now}\0{what}\0{to}".encode()
            ).hexdigest()
            told = "" if to else old.mail
            sealed = self._sealer.seal(f"{told}\n{to}".encode(), DRAFT_CONTEXT + id_)
            uow.resets.put_draft(Draft(id=id_, person=person, gate=by, sealed=sealed, expires_at=now + _TOLD))
            post(uow, letter, id_, by.value, now)


def gates_of(found: Found) -> tuple[Gate, ...]:
    """What a reset of this person asks for."""
    return () if found.rule is None else found.rule.gates


def draft_id(session: str, gate: Gate) -> str:
    """A digest: no token of a session is stored."""
    return hashlib.sha256(f"bastide reset draft\0{session}\0{gate.value}".encode()).hexdigest()
