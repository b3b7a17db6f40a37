"""Registration: what a person can show when the password is gone. By the signed-in person, and for nobody else. In order:

(1) The person shows the password again, with each thing that is to be registered: a session that was left open registers nothing.
(2) Accounts that open more than their own register nothing.
(3) A destination or an authenticator counts when a code from it was shown, in the same session, once, within a quarter of an hour. Where the code belongs to is kept here:
    what is confirmed comes from no call.
(4) What was registered before stays until then. The audit tells what was registered, never where to.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain import totp
from bastide.domain.errors import Conflict, InvalidInput, NotAuthenticated, NotAuthorized, TooManyTries
from bastide.domain.people import Actor, Right, require
from bastide.domain.reset.gates import SENT, Gate
from bastide.domain.reset.letters import Letter
from bastide.domain.reset.lockout import Kind, folded, key_of
from bastide.domain.reset.questions import check_answers
from bastide.services.events import by_actor
from bastide.services.notifications.people import is_address
from bastide.services.pace import RESET
from bastide.services.ports import CodeHasher, Random, Sealer, Store, UnitOfWork
from bastide.services.reset import counters
from bastide.services.reset.contents import CODE, Contents, as_typed, new_code, seal, unseal
from bastide.services.reset.counters import Caller
from bastide.services.reset.courier import DRAFT_CONTEXT
from bastide.services.reset.people import Found, People
from bastide.services.reset.ports import Answer, Draft, Registration, Settings
from bastide.services.signin import PasswordChecker

_LIFE = timedelta(minutes=15)
_WRONG = 5
_ADDRESSES = 5
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_SPACES = re.compile(r"[\s()/.-]+")
_AGAIN = "begin anew on this page"


@dataclass(frozen=True, slots=True)
class Standing:
    """`demanded`: gates of the person's rule. `registered`: those that the person can pass. `mail`, `sms`: where codes go, with most of it hidden."""

    demanded: tuple[Gate, ...]
    registered: tuple[Gate, ...]
    mail: str = ""
    sms: str = ""

    @property
    def ready(self) -> bool:
        """Whether a reset would work."""
        return bool(self.demanded) and set(self.demanded) <= set(self.registered)


class Registrations:
    """The use cases of the signed-in person. `session`: the token that the call came with."""

    def __init__(
        self,
        *,
        store: Store,
        people: People,
        passwords: PasswordChecker,
        sealer: Sealer,
        hasher: CodeHasher,
        random: Random,
        settings: Settings,
        texts: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._people = people
        self._passwords = passwords
        self._sealer = sealer
        self._hasher = hasher
        self._random = random
        self._settings = settings
        self._texts = texts
        self._now = now

    def standing(self, actor: Actor) -> Standing:
        """Raises NotAuthorized for who may not reset a password here, DirectoryError."""
        found = self._may(actor)
        with self._store.read() as uow:
            held = uow.resets.registration(found.person.ref.sid)
        demanded = found.rule.gates if found.rule is not None else ()
        if held is None:
            return Standing(demanded, ())
        contents = unseal(self._sealer, held.person, held.sealed)
        return Standing(demanded, held.gates, _hidden_mail(contents.mail), _hidden_number(contents.sms))

    def begin(
        self, actor: Actor, session: str, gate: Gate, destination: str, password: str, address: str
    ) -> str:
        """Send a code to a destination, or make a secret for an authenticator: its key URI, shown once. Raises NotAuthenticated, NotAuthorized, InvalidInput, TooManyTries."""
        found = self._shown_again(actor, password)
        if gate not in found.gates:
            raise Conflict("no reset of yours asks for that", remedy="the page shows what is asked for")
        id_, now = _draft_id(session, gate), self._now()
        if gate is Gate.TOTP:
            secret = self._random.token(totp.SECRET_BYTES)
            text, uri = f"{secret.hex()}\n", totp.uri(secret, found.name, "Bastide reset")
        else:
            code = new_code(self._random, CODE)
            text, uri = f"{code}\n{self._destination(gate, destination)}", ""
        draft = Draft(
            id=id_,
            person=actor.sid,
            gate=gate,
            sealed=self._sealer.seal(text.encode(), DRAFT_CONTEXT + id_),
            expires_at=now + _LIFE,
        )
        with self._store.write() as uow:
            if gate in SENT:
                self._spend(uow, actor, gate, text.partition("\n")[2], address, now)
                uow.work.poke(RESET, f"{Letter.DRAFT.value}:{id_}:", now)
            uow.resets.put_draft(draft)
            uow.audit.append(by_actor("reset.registering", now, actor, data={"gate": gate.value}))
            uow.commit()
        return uri

    def confirm(self, actor: Actor, session: str, gate: Gate, code: str, address: str) -> None:
        """(3) Raises InvalidInput for a wrong code, Conflict if nothing waits for one."""
        found = self._may(actor)
        id_ = _draft_id(session, gate)
        with self._store.write() as uow:
            now = self._now()
            draft = uow.resets.draft(id_)
            if (
                draft is None
                or draft.person != actor.sid
                or draft.gate is not gate
                or now >= draft.expires_at
            ):
                raise Conflict("nothing waits for a code here", remedy=_AGAIN)
            first, _, destination = (
                self._sealer.open(draft.sealed, DRAFT_CONTEXT + id_).decode().partition("\n")
            )
            step = (
                totp.matching_step(bytes.fromhex(first), code.replace(" ", ""), now)
                if gate is Gate.TOTP
                else None
            )
            good = (
                step is not None
                if gate is Gate.TOTP
                else hmac.compare_digest(first.encode(), as_typed(code).encode())
            )
            if good or draft.wrong + 1 >= _WRONG:
                uow.resets.remove_draft(id_)
            else:
                uow.resets.put_draft(replace(draft, wrong=draft.wrong + 1))
            if good:
                new = {gate.value: first if gate is Gate.TOTP else destination}
                self._keep(uow, found, gate, new, address, last_step=step, now=now)
                uow.audit.append(by_actor("reset.registered", now, actor, data={"gate": gate.value}))
            uow.commit()
        if not good:
            raise InvalidInput("code", "is wrong or too old", remedy="look at it again, or begin anew")

    def set_answers(self, actor: Actor, answers: Mapping[int, str], password: str, address: str) -> None:
        """By the number of the question. Raises InvalidInput, and as `begin`."""
        shown = self._shown_again(actor, password)
        if Gate.QUESTIONS not in shown.gates:
            raise Conflict("no reset of yours asks questions")
        texts = self._settings.questions
        kept = check_answers(
            texts, answers, wanted=self._settings.wanted, pattern=self._settings.pattern, name=shown.name
        )
        hashed = tuple(Answer(texts[number], self._hasher.hash(plain)) for number, plain in kept.items())
        with self._store.write() as uow:
            now = self._now()
            self._keep(uow, shown.found, Gate.QUESTIONS, {}, address, answers=hashed, now=now)
            uow.audit.append(by_actor("reset.registered", now, actor, data={"gate": Gate.QUESTIONS.value}))
            uow.commit()

    def remove(self, actor: Actor, password: str) -> None:
        """Everything that is registered. Raises NotAuthenticated, Conflict."""
        self._shown_again(actor, password)
        with self._store.write() as uow:
            if not uow.resets.unregister(actor.sid):
                raise Conflict("nothing is registered for you")
            uow.audit.append(by_actor("reset.unregistered", self._now(), actor, subject=actor.sid, subject_name=actor.name))  # fmt: skip
            uow.commit()

    # ------------------------------------------------------------------------------------------------------------- parts

    def _may(self, actor: Actor) -> Found:
        """(2)"""
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

    def _shown_again(self, actor: Actor, password: str) -> "_Shown":
        """(1)"""
        found = self._may(actor)
        name = found.person.ref.name
        if not password or self._passwords.check(name, password) != actor.sid.rid:
            raise NotAuthenticated("the password was not accepted", remedy="type the one that you have now")
        return _Shown(found)

    def _destination(self, gate: Gate, said: str) -> str:
        if gate is Gate.MAIL:
            if not is_address(said.strip()):
                raise InvalidInput("mail", "is no plain mail address")
            return said.strip()
        number = _SPACES.sub("", said)
        if not self._texts or not _NUMBER.fullmatch(number):
            raise InvalidInput(
                "number", "is no number with the code of its country", remedy="write it as +33 6 12 34 56 78"
            )
        return number

    def _spend(
        self, uow: UnitOfWork, actor: Actor, gate: Gate, destination: str, address: str, now: datetime
    ) -> None:
        per_day = self._settings.mails_per_day if gate is Gate.MAIL else self._settings.texts_per_day
        caller = Caller(key_of(Kind.NAME, "\0registering", folded(actor.sid)), address, known=True)
        if not counters.spend(uow, caller, destination, gate.value, per_day, now):
            raise TooManyTries(
                "so many codes were sent that this waits", remedy="wait an hour; look whether one arrived"
            )

    def _keep(
        self,
        uow: UnitOfWork,
        found: Found,
        gate: Gate,
        new: Mapping[str, str],
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
        contents = replace(unseal(self._sealer, person.sid, held.sealed), **new)
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


@dataclass(frozen=True, slots=True)
class _Shown:
    """A person who has shown the password again."""

    found: Found

    @property
    def name(self) -> str:
        return self.found.person.ref.name

    @property
    def gates(self) -> tuple[Gate, ...]:
        return () if self.found.rule is None else self.found.rule.gates


def _draft_id(session: str, gate: Gate) -> str:
    return hashlib.sha256(f"bastide reset draft\0{session}\0{gate.value}".encode()).hexdigest()


def _hidden_mail(mail: str) -> str:
    name, at, domain = mail.partition("@")
    return f"{name[:1]}***{at}{domain}" if mail else ""


def _hidden_number(number: str) -> str:
    return f"{number[:3]}*** {number[-2:]}" if number else ""
