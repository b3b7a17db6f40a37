"""A reset by somebody who is not signed in: begin, gates, choose. domain/reset/flow.py says what comes after what. Numbered as there is a test for each:

(1) A name that is unknown, disabled, excluded, without a rule or not registered gets a reset of nobody: the same answers, the same work, no way through.
(2) What is known of a reset is in the database; the browser has a token, of which only a hash is stored.
(3) An attempt is counted before it is judged, and the count is shared by all nodes.
(4) A code goes to the destination of the registration as it is then, never to one that came with a call. It counts for this reset, this person and this gate.
(5) The step is taken in the transaction that looked whether it is next: of two that show the same code at the same time, one is refused.
(6) Who may, by which rule, and whether the password was changed meanwhile, is asked again at each gate and before the choice: of all accounts that a new password goes to
    (people.py). A rule that asks for more by now ends the reset.
(7) A new password is judged by everything that can be known of it before it is set; the order and the end of the reset are one commit.
(8) Afterwards all contacts of the person are told what became of it, once that is known (courier.py), and other resets of the person are over.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bastide.domain.errors import Conflict, InvalidInput
from bastide.domain.ids import Sid
from bastide.domain.reset import flow, lockout
from bastide.domain.reset.flow import Choice, Reset, Stage
from bastide.domain.reset.gates import SENT, Gate, rule_of_nobody
from bastide.domain.reset.letters import Letter
from bastide.domain.reset.lockout import Kind, folded
from bastide.domain.webauthn import RelyingParty
from bastide.services.events import by_worker
from bastide.services.ports import CodeHasher, Random, Sealer, Store, UnitOfWork
from bastide.services.reset import counters, keys
from bastide.services.reset.contents import CODE, STOP, as_typed, code_context, new_code, seal, unseal
from bastide.services.reset.counters import Caller
from bastide.services.reset.gates import Gates, Verdict
from bastide.services.reset.keys import Used
from bastide.services.reset.outbox import post, post_to_all
from bastide.services.reset.people import Found, People
from bastide.services.reset.ports import Everywhere, Registration, Settings, SystemState
from bastide.services.reset.rules import NewPasswords

_TOKEN_BYTES = 32
_FIELDS = {Gate.QUESTIONS: "answers", Gate.KEY: "security key"}
_WRONG = "is wrong, used up or too old"
_WRONG_REMEDY = "look at it again; after a few wrong ones this waits"
_LOST = "there is no reset under way in this browser"


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows. `questions`: at the gate of questions. `asked`: at that of a security key, what the browser asks the key, as JSON. `rules`: at the choice, the
    rules of a new password.
    """

    reset: Reset
    questions: tuple[str, ...] = ()
    asked: str = ""
    rules: tuple[str, ...] = ()
    states: tuple[SystemState, ...] = ()


class Journey:
    """The use cases."""

    def __init__(
        self,
        *,
        store: Store,
        people: People,
        passwords: NewPasswords,
        everywhere: Everywhere,
        sealer: Sealer,
        hasher: CodeHasher,
        random: Random,
        settings: Settings,
        party: RelyingParty | None,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._people = people
        self._passwords = passwords
        self._everywhere = everywhere
        self._sealer = sealer
        self._random = random
        self._settings = settings
        self._gates = Gates(sealer=sealer, hasher=hasher, settings=settings, party=party)
        self._now = now

    def begin(self, account: str, address: str) -> str:
        """The token of a new reset, whoever that is. Raises TooManyTries, DirectoryError, NotConfigured."""
        bare = self._people.bare(account)
        key = lockout.key_of(Kind.NAME, folded(bare or account))
        with self._store.write() as uow:
            counters.begin(uow, address, self._now())
            uow.commit()
        with self._store.read() as uow:
            near = uow.resets.is_registered_from(address)
        found = self._people.find(bare)
        token = self._random.token(_TOKEN_BYTES).hex()
        with self._store.write() as uow:
            now = self._now()
            registration = self._registered(uow, found)
            known = registration is not None and address in registration.addresses
            name = registration.name if registration else ""
            caller = Caller(key, address, name, known, Kind.NEAR if near else Kind.NAME)
            counters.require_free(uow, caller, now)
            reset = self._new(token, key, address, found, registration, now)
            reset = self._opened(uow, replace(reset, known=known, near=near), registration, now)
            uow.resets.put(reset)
            uow.resets.forget(now)
            if reset.person:
                self._told_of("reset.begun", uow, reset, now, gates=[gate.value for gate in reset.gates])
            uow.commit()
        return token

    def view(self, token: str) -> View | None:
        """None: there is no reset of this browser, or it is over."""
        now = self._now()
        with self._store.read() as uow:
            reset = uow.resets.by_token(_digest(token)) if token else None
            if reset is None:
                return None
            registration = uow.resets.registration(Sid(reset.person)) if reset.person else None
        reset = flow.at(reset, now)
        if reset.stage is Stage.USED:
            return View(reset, states=self._states(reset))
        if reset.stage is Stage.STOPPED or now >= reset.expires_at:
            return None
        if reset.stage is Stage.CHOOSE:
            return View(reset, rules=self._passwords.rules(Sid(reset.person)))
        return View(
            reset,
            questions=self._gates.questions(reset, registration) if reset.gate is Gate.QUESTIONS else (),
            asked=self._gates.question(reset) if reset.gate is Gate.KEY else "",
        )

    def _states(self, reset: Reset) -> tuple[SystemState, ...]:
        if reset.choice == Choice.UNLOCK.value:
            return tuple(SystemState(system, words, good, settled=True) for system, words, good in reset.said)
        return tuple(self._everywhere.states(reset.reference))

    def send_again(self, token: str, address: str) -> None:
        """A new code for the gate that is open; the one before counts no more. Nobody learns whether one was sent. Raises Conflict, TooManyTries."""
        with self._store.write() as uow:
            now = self._now()
            reset = self._of(uow, token)
            flow.require_open(reset, now)
            if reset.gate not in SENT:
                raise Conflict("no code is sent at this step", remedy="go on from the page that is open")
            registration = uow.resets.registration(Sid(reset.person)) if reset.person else None
            counters.require_free(uow, self._caller(reset, address), now)
            uow.resets.put(self._opened(uow, replace(reset, address=address), registration, now))
            uow.commit()

    def answer(self, token: str, gate: Gate, said: Mapping[str, Any], address: str) -> Reset:
        """Show what a gate asks for (Gates.judge). Raises InvalidInput for what is wrong, Conflict, TooManyTries."""
        with self._store.write() as uow:  # (3)
            now = self._now()
            reset = self._of(uow, token)
            flow.require_gate(reset, gate, now)
            caller = self._caller(reset, address)
            attempt = counters.count(uow, caller, self._settings.permanent_after, now)
            registration = uow.resets.registration(Sid(reset.person)) if reset.person else None
            if gate is Gate.KEY:  # keys.py (1)
                uow.resets.put(self._asked(reset))
            if attempt.locks and reset.person:
                self._told_of("reset.locked", uow, reset, now, gate=gate.value, address=address)
            uow.commit()
        verdict = self._gates.judge(gate, reset, registration, said, now)
        person = self._again(reset) if verdict.fits else None  # (6)
        with self._store.write() as uow:
            now = self._now()
            reset = self._of(uow, token)
            flow.require_gate(reset, gate, now)  # (5)
            good = verdict.fits and person is not None and self._unspent(uow, reset, gate, verdict, now)
            after = flow.passed(reset, gate, now) if good else flow.failed(reset, gate, now)
            if good:
                counters.take_back(uow, attempt)
                after = self._moved(uow, after, now)
            uow.resets.put(after)
            if reset.person:
                kind = "reset.gate-passed" if good else "reset.gate-refused"
                uow.audit.append(by_worker(kind, now, subject=reset.person, subject_name=reset.account, data={"gate": gate.value, "address": address}))  # fmt: skip
            uow.commit()
        if not good:
            raise InvalidInput(_FIELDS.get(gate, "code"), _WRONG, remedy=_WRONG_REMEDY)
        return after

    def choose(self, token: str, choice: Choice, password: str, address: str) -> None:
        """Unlock and keep the password, or set a new one. Raises InvalidInput, Conflict; nothing was changed then, and the reset goes on."""
        now = self._now()
        with self._store.read() as uow:
            reset = self._of(uow, token)
        flow.chosen(reset, choice, "", now)
        found = self._again(reset)  # (6)
        if found is None:
            raise Conflict("this reset is over", remedy="begin a new reset, or ask your help desk")
        person = found.person.ref

        def within(uow: UnitOfWork, reference: str) -> None:
            """(7)"""
            done = self._now()
            self._people.require_as_judged(uow, found)
            stored = self._of(uow, token)
            used = flow.chosen(stored, choice, reference, done)
            uow.resets.put(used)
            counters.clear(uow, self._caller(used, address))
            for other in uow.resets.of_person(used.person):  # (8)
                if other.id != used.id and other.stage not in {Stage.USED, Stage.STOPPED}:
                    uow.resets.put(flow.stopped(other))
            post_to_all(uow, Letter.DONE, used.id, done)
            self._told_of("reset.done", uow, used, done, reference, choice=choice.value, address=address)

        if choice is Choice.SET:
            self._passwords.check(password, Sid(reset.person))
            self._everywhere.set(person, password, within)
            return
        states = self._everywhere.unlock(person, within)
        with self._store.write() as uow:
            said = tuple((one.system, one.outcome, one.good) for one in states)
            uow.resets.put(replace(self._of(uow, token), said=said))
            uow.commit()

    def stop(self, code: str, address: str) -> None:
        """(5) of flow.py: "this wasn't me", by the code in the message. Wrong ones alone are counted, and no lock holds up a right one: somebody at the same address would type
        wrong ones for as long as the time to cool off lasts. The code's length needs no lock. Raises InvalidInput, TooManyTries.
        """
        typed = as_typed(code)
        caller = Caller(lockout.key_of(Kind.NAME, "\0stop"), address, spread=None)
        with self._store.write() as uow:
            now = self._now()
            reset = uow.resets.by_stop(_digest(typed)) if len(typed) == STOP else None
            if reset is None or now >= reset.expires_at:
                reset = None
                counters.count(uow, caller, 0, now)
            else:
                uow.resets.put(flow.stopped(reset))
                post_to_all(uow, Letter.STOPPED, reset.id, now)
                self._told_of("reset.stopped", uow, reset, now, address=address)
            uow.commit()
        if reset is None:
            raise InvalidInput(
                "code",
                "stops nothing",
                remedy="type it as it is in the message; it may be over by now: tell your help desk",
            )

    # ------------------------------------------------------------------------------------------------------------- parts

    def _new(
        self,
        token: str,
        key: str,
        address: str,
        found: Found | None,
        registration: Registration | None,
        now: datetime,
    ) -> Reset:
        """(1), (2)."""
        rules = self._people.rules()
        rule = found.rule if found is not None and registration is not None else None
        nobody = rule is None or registration is None or found is None
        rule = rule_of_nobody(rules, self._gates.chance(key)) if rule is None else rule
        return Reset(
            id=self._random.uuid(),
            token_hash=_digest(token),
            key=key,
            person="" if nobody or found is None else str(found.person.ref.sid),
            account="" if nobody or found is None else found.person.ref.name,
            gates=rule.gates,
            cooling=rule.cooling,
            started_at=now,
            expires_at=now + flow.LIFE,
            address=address,
        )

    @staticmethod
    def _registered(uow: UnitOfWork, found: Found | None) -> Registration | None:
        """None: the person may not, or cannot show everything that the rule asks for."""
        if found is None or found.excluded or found.rule is None:
            return None
        registration = uow.resets.registration(found.person.ref.sid)
        if registration is None or not set(found.rule.gates) <= set(registration.gates):
            return None
        return registration

    def _opened(
        self, uow: UnitOfWork, reset: Reset, registration: Registration | None, now: datetime
    ) -> Reset:
        """(4) With a new code, if the gate that is next is one for which a code is sent, and there is one left to send. For nobody as well: the row is dropped then."""
        gate = reset.gate
        if gate is Gate.KEY:
            return self._asked(reset)
        if gate not in SENT or gate is None:
            return reset
        code = new_code(self._random, CODE)
        destination = ""
        if registration is not None:
            contents = unseal(self._sealer, registration.person, registration.sealed)
            destination = contents.mail if gate is Gate.MAIL else contents.sms
        per_day = self._settings.mails_per_day if gate is Gate.MAIL else self._settings.texts_per_day
        if not counters.spend(uow, self._caller(reset, reset.address), destination, gate.value, per_day, now):
            if reset.person:
                self._told_of("reset.code-withheld", uow, reset, now, gate=gate.value, address=reset.address)
            return replace(reset, sealed_code=b"")
        post(uow, Letter.CODE, reset.id, gate.value, now)
        context = code_context(reset.id, reset.person, gate, reset.passed)
        return replace(reset, sealed_code=self._sealer.seal(code.encode(), context))

    def _asked(self, reset: Reset) -> Reset:
        """(1) of keys.py, for nobody as well."""
        context = code_context(reset.id, reset.person, Gate.KEY, reset.passed)
        return replace(
            reset, sealed_code=self._sealer.seal(self._random.token(keys.CHALLENGE_BYTES), context)
        )

    def _moved(self, uow: UnitOfWork, reset: Reset, now: datetime) -> Reset:
        """What follows a gate that was passed: the next one is opened, or the person is told of the time to cool off."""
        if reset.stage is Stage.GATES:
            return self._opened(uow, reset, uow.resets.registration(Sid(reset.person)), now)
        if reset.stage is not Stage.COOLING:
            return reset
        code = new_code(self._random, STOP)
        post_to_all(uow, Letter.COOLING, reset.id, now)
        self._told_of("reset.cooling", uow, reset, now, until=str(reset.ready_at))
        sealed = self._sealer.seal(code.encode(), f"reset-stop:{reset.id}")
        return replace(reset, stop_hash=_digest(code), sealed_code=sealed)

    def _again(self, reset: Reset) -> Found | None:
        """(6) None: the person may not any more, or not by this way. Raises Conflict, DirectoryError."""
        if not reset.person:
            return None
        found = self._people.of(Sid(reset.person))
        if found is None or found.excluded or found.rule is None:
            return None
        if not set(found.rule.gates) <= set(reset.gates) or found.rule.cooling > reset.cooling:
            return None
        flow.require_current(reset, self._everywhere.changed_at(found.person.ref))
        return found

    def _unspent(self, uow: UnitOfWork, reset: Reset, gate: Gate, verdict: Verdict, now: datetime) -> bool:
        """(5) A code of an authenticator counts once, whatever reset it is shown in; a security key (5) of keys.py."""
        if gate not in {Gate.TOTP, Gate.KEY}:
            return True
        registration = uow.resets.registration(Sid(reset.person))
        if registration is None:
            return False
        if verdict.key is not None:
            return self._key_counted(uow, reset, registration, verdict.key, now)
        if verdict.step <= registration.last_step:
            return False
        uow.resets.register(replace(registration, last_step=verdict.step))
        return True

    def _key_counted(
        self, uow: UnitOfWork, reset: Reset, registration: Registration, shown: Used, now: datetime
    ) -> bool:
        """(5) of keys.py."""
        contents = unseal(self._sealer, registration.person, registration.sealed)
        if keys.went_back(contents, shown):
            self._told_of("reset.key-copied", uow, reset, now, address=reset.address)
            return False
        after = keys.counted(contents, shown)
        if after is None:
            return False
        uow.resets.register(replace(registration, sealed=seal(self._sealer, registration.person, after)))
        return True

    @staticmethod
    def _of(uow: UnitOfWork, token: str) -> Reset:
        reset = uow.resets.by_token(_digest(token)) if token else None
        if reset is None:
            raise Conflict(_LOST, remedy="begin a new reset")
        return reset

    @staticmethod
    def _caller(reset: Reset, address: str) -> Caller:
        same = address == reset.address
        spread = Kind.NEAR if same and reset.near else Kind.NAME
        return Caller(reset.key, address, reset.account, same and reset.known, spread)

    @staticmethod
    def _told_of(
        kind: str, uow: UnitOfWork, reset: Reset, now: datetime, reference: str = "", **data: object
    ) -> None:
        uow.audit.append(
            by_worker(
                kind, now, subject=reset.person, subject_name=reset.account, request=reference, data=data
            )
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
