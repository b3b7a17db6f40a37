"""Registration: what a person can show when the password is gone. By the signed-in person, and for nobody else. In order:

(1) The person shows the password again, with each thing that is to be registered: a session that was left open registers nothing.
(2) Accounts that open more than their own register nothing (registered.py has (1), (2) and (4)). What is registered can be taken away nevertheless.
(3) A destination or an authenticator counts when a code from it was shown, in the same session, once, within a quarter of an hour. Where the code belongs to is kept here:
    what is confirmed comes from no call.
(4) What was registered before stays until then. The audit tells what was registered, never where to.
(5) Whatever is registered or taken away, the first time too, is told to the contacts that there were before, and to the one of the directory: whoever knows the password
    could take everything away, and then register a way of his own.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from bastide.domain import totp
from bastide.domain.errors import Conflict, InvalidInput, TooManyTries
from bastide.domain.people import Actor
from bastide.domain.reset.gates import SENT, Gate
from bastide.domain.reset.letters import Letter
from bastide.domain.reset.lockout import Kind, folded, key_of
from bastide.domain.reset.questions import check_answers
from bastide.services.events import by_actor
from bastide.services.notifications.people import is_address
from bastide.services.ports import CodeHasher, Random, Sealer, Store, UnitOfWork
from bastide.services.reset import counters
from bastide.services.reset.contents import CODE, Contents, as_typed, new_code, unseal
from bastide.services.reset.counters import Caller
from bastide.services.reset.outbox import post
from bastide.services.reset.ports import Answer, Settings
from bastide.services.reset.registered import Registered, gates_of

_WRONG = 5
_BY_CODE = SENT | {Gate.TOTP}
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_SPACES = re.compile(r"[\s()/.-]+")


@dataclass(frozen=True, slots=True)
class Standing:
    """`demanded`: gates of the person's rule. `registered`: those that the person can pass. `mail`, `sms`: where codes go, with most of it hidden. `keys`: names of
    security keys, and whether an account of its maker keeps it as well.
    """

    demanded: tuple[Gate, ...]
    registered: tuple[Gate, ...]
    mail: str = ""
    sms: str = ""
    keys: tuple[tuple[str, bool], ...] = ()

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
        registered: Registered,
        sealer: Sealer,
        hasher: CodeHasher,
        random: Random,
        settings: Settings,
        texts: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._registered = registered
        self._sealer = sealer
        self._hasher = hasher
        self._random = random
        self._settings = settings
        self._texts = texts
        self._now = now

    def standing(self, actor: Actor) -> Standing:
        """Raises NotAuthorized for who may not reset a password here, DirectoryError."""
        found = self._registered.may(actor)
        with self._store.read() as uow:
            held = uow.resets.registration(found.person.ref.sid)
        demanded = gates_of(found)
        if held is None:
            return Standing(demanded, ())
        contents = unseal(self._sealer, held.person, held.sealed)
        return Standing(
            demanded,
            held.gates,
            _hidden_mail(contents.mail),
            _hidden_number(contents.sms),
            tuple((key.name, key.backed_up) for key in contents.keys),
        )

    def holds(self, actor: Actor) -> bool:
        """Whether something is registered, whatever the person may. Raises StoreError."""
        with self._store.read() as uow:
            return uow.resets.registration(actor.sid) is not None

    def begin(
        self, actor: Actor, session: str, gate: Gate, destination: str, password: str, address: str
    ) -> str:
        """Send a code to a destination, or make a secret for an authenticator: its key URI, shown once. Raises NotAuthenticated, NotAuthorized, InvalidInput, TooManyTries."""
        found = self._registered.shown_again(actor, password)
        if gate not in gates_of(found) or gate not in _BY_CODE:
            raise Conflict("no reset of yours asks for that", remedy="the page shows what is asked for")
        now = self._now()
        if gate is Gate.TOTP:
            secret = self._random.token(totp.SECRET_BYTES)
            text, uri = f"{secret.hex()}\n", totp.uri(secret, found.person.ref.name, "Bastide reset")
        else:
            code = new_code(self._random, CODE)
            text, uri = f"{code}\n{self._destination(gate, destination)}", ""
        draft = self._registered.draft(actor, session, gate, text, now)
        with self._store.write() as uow:
            if gate in SENT:
                self._spend(uow, actor, gate, text.partition("\n")[2], address, now)
                post(uow, Letter.DRAFT, draft.id, gate.value, now)
            uow.resets.put_draft(draft)
            uow.audit.append(by_actor("reset.registering", now, actor, data={"gate": gate.value}))
            uow.commit()
        return uri

    def confirm(self, actor: Actor, session: str, gate: Gate, code: str, address: str) -> None:
        """(3) Raises InvalidInput for a wrong code, Conflict if nothing waits for one."""
        found = self._registered.may(actor)
        if gate not in _BY_CODE:
            raise Conflict("that is not confirmed by a code", remedy="the page shows what is asked for")
        with self._store.write() as uow:
            now = self._now()
            draft, first, destination = self._registered.waiting(uow, actor, session, gate, now)
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
                uow.resets.remove_draft(draft.id)
            else:
                uow.resets.put_draft(replace(draft, wrong=draft.wrong + 1))
            if good:
                new = _changed(gate, first if gate is Gate.TOTP else destination)
                self._registered.keep(uow, found, gate, new, address, last_step=step, now=now)
                uow.audit.append(by_actor("reset.registered", now, actor, data={"gate": gate.value}))
            uow.commit()
        if not good:
            raise InvalidInput("code", "is wrong or too old", remedy="look at it again, or begin anew")

    def set_answers(self, actor: Actor, answers: Mapping[int, str], password: str, address: str) -> None:
        """By the number of the question. Raises InvalidInput, and as `begin`."""
        found = self._registered.shown_again(actor, password)
        if Gate.QUESTIONS not in gates_of(found):
            raise Conflict("no reset of yours asks questions")
        texts = self._settings.questions
        name = found.person.ref.name
        kept = check_answers(
            texts, answers, wanted=self._settings.wanted, pattern=self._settings.pattern, name=name
        )
        hashed = tuple(Answer(texts[number], self._hasher.hash(plain)) for number, plain in kept.items())
        with self._store.write() as uow:
            now = self._now()
            self._registered.keep(uow, found, Gate.QUESTIONS, lambda same: same, address, answers=hashed, now=now)  # fmt: skip
            uow.audit.append(by_actor("reset.registered", now, actor, data={"gate": Gate.QUESTIONS.value}))
            uow.commit()

    def remove(self, actor: Actor, password: str) -> None:
        """Everything that is registered; resets that are under way end. (5). Raises NotAuthenticated, Conflict."""
        self._registered.shown_to_remove(actor, password)
        with self._store.write() as uow:
            now = self._now()
            if not self._registered.take_away(uow, actor.sid, now):
                raise Conflict("nothing is registered for you")
            uow.audit.append(by_actor("reset.unregistered", now, actor, subject=actor.sid, subject_name=actor.name))  # fmt: skip
            uow.commit()

    # ------------------------------------------------------------------------------------------------------------- parts

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
        caller = Caller(key_of(Kind.NAME, "\0registering", folded(actor.sid)), address, spread=None)
        if not counters.spend(uow, caller, destination, gate.value, per_day, now):
            raise TooManyTries(
                "so many codes were sent that this waits", remedy="wait an hour; look whether one arrived"
            )


def _changed(gate: Gate, value: str) -> Callable[[Contents], Contents]:
    if gate is Gate.MAIL:
        return lambda held: replace(held, mail=value)
    if gate is Gate.SMS:
        return lambda held: replace(held, sms=value)
    return lambda held: replace(held, totp=value)


def _hidden_mail(mail: str) -> str:
    name, at, domain = mail.partition("@")
    return f"{name[:1]}***{at}{domain}" if mail else ""


def _hidden_number(number: str) -> str:
    return f"{number[:3]}*** {number[-2:]}" if number else ""
