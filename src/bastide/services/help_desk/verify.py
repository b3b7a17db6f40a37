"""Who is on the telephone: a one-time code that only the caller can read out. The rules are those of domain/help_desk.py.

(1) The operator has the right to set passwords, and the person is in reach.
(2) Few for one person within an hour, and few by one operator (pace.py): a stolen sign-in sends no codes to everybody.
(3) A code that is sent goes to the address that the directory has now, and to none that the caller or the operator names; only its Argon2 hash is kept.
(4) A code that is read from an authenticator counts as any other: once, and five wrong ones lock it (services/factors.py).
(5) A wrong code is counted before anybody learns that it was wrong; Argon2 runs outside of the transaction.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain import help_desk as rules
from bastide.domain.audit import Event
from bastide.domain.errors import Conflict, MfaRefused, TargetUnavailable, TooManyTries
from bastide.domain.help_desk import LIFE, MOST, PER, Method, Purpose, Stage, Verification
from bastide.domain.help_desk_words import say_code
from bastide.domain.ids import Sid, parse_id
from bastide.domain.management_agents import MvId
from bastide.domain.people import Actor, Right, require
from bastide.services.events import by_actor
from bastide.services.factors import Factors
from bastide.services.help_desk.pace import Act, Pace
from bastide.services.help_desk.ports import Settings
from bastide.services.help_desk.tier import Tier
from bastide.services.notifications.people import AddressBook
from bastide.services.notifications.ports import Fate, Message, Notifier
from bastide.services.notifications.ports import Settings as NotificationSettings
from bastide.services.passwords.person import name_of
from bastide.services.ports import CodeHasher, Random, Store
from bastide.services.reset.contents import as_typed, new_code, shown

_WRONG = "the code is wrong"


class Post:
    """The way out for codes: the channels that may carry them, and the addresses of the directory."""

    def __init__(
        self,
        *,
        notifier: Notifier,
        settings: NotificationSettings,
        book: AddressBook,
        channels: tuple[str, ...],
    ) -> None:
        self._notifier = notifier
        self._language = settings.language
        self._book = book
        self._channels = channels

    def address(self, sids: tuple[Sid, ...]) -> str:
        """Of the first account that has one; empty: none. Raises DirectoryError."""
        return next(filter(None, map(self._book.address, sids)), "")

    def send(self, id: str, to: str, operator: str, code: str) -> str:  # noqa: A002  # the message's
        """Through the first channel that takes it. What the last one said; empty: it was taken."""
        subject, body = say_code(operator, shown(code), LIFE // timedelta(minutes=1), self._language)
        problem = "help_desk.code_channels names no channel"
        message = Message(id, to, subject, body, secrets=(to, code, shown(code)))
        for channel in self._channels:
            (outcome,) = self._notifier.send(channel, [message])
            if outcome.fate is Fate.TAKEN:
                return ""
            problem = outcome.problem or "it did not answer in time"
        return problem


class Verify:
    """The use cases of verifying. `post` None: nothing can be sent."""

    def __init__(
        self,
        *,
        store: Store,
        tier: Tier,
        factors: Factors,
        post: Post | None,
        hasher: CodeHasher,
        random: Random,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._tier = tier
        self._factors = factors
        self._post = post if settings.channels else None
        self._hasher = hasher
        self._random = random
        self._now = now
        self._pace = Pace(now)

    def methods(self, person: MvId) -> tuple[Method, ...]:
        """By which this person can be verified now. Raises NotFound, DirectoryError."""
        sids = self._tier.members(person)
        found = [Method.TOTP] if self._authenticator(sids) is not None else []
        if self._post is not None and self._post.address(sids):
            found.append(Method.SENT)
        return tuple(found)

    def begin(self, actor: Actor, person: MvId, method: Method) -> Verification:
        """Ask for a code. Raises NotAuthorized, MfaRefused, NotFound, Conflict, TooManyTries, TargetUnavailable, DirectoryUnavailable."""
        require(actor, Right.SET)
        self._pace.count(Act.VERIFY, actor.sid)  # (2)
        self._tier.require(actor, person)  # (1)
        sids, now, code = self._tier.members(person), self._now(), ""
        address = ""
        if method is Method.TOTP:
            if self._authenticator(sids) is None:
                raise Conflict(
                    "this person has no authenticator here", remedy="verify by a code that is sent"
                )
        else:
            address = self._address(sids)
            code = new_code(self._random)
        hashed = self._hasher.hash(code) if code else ""
        with self._store.write() as uow:
            uow.verifications.forget(now - PER)
            if uow.verifications.count(person, now - PER) >= MOST:  # (2)
                raise TooManyTries(
                    f"this person was to be verified {MOST} times within an hour",
                    remedy="wait, and ask who calls",
                )
            owner = uow.metaverse.get(person)
            made = Verification(
                id=self._random.uuid(),
                person=person,
                name=name_of(owner),
                operator=actor.sid,
                purpose=Purpose.PASSWORD,
                method=method,
                begun_at=now,
                code_hash=hashed,
            )
            uow.verifications.add(made)
            uow.audit.append(_of_verification("help-desk.verification-begun", now, actor, made))
            uow.commit()
        if address and self._post is not None:
            self._send(actor, made, address, code)
        return made

    def prove(self, actor: Actor, id: str, code: str) -> Verification:  # noqa: A002  # its id
        """What the caller read out. Raises NotAuthorized, MfaRefused, NotFound, Conflict."""
        require(actor, Right.SET)
        with self._store.read() as uow:
            seen = uow.verifications.get(parse_id("verification", id))
        rules.require_waiting(seen, actor.sid, self._now())
        fits, factor = self._fits(actor, seen, code)
        with self._store.write() as uow:  # (5)
            now = self._now()
            one = uow.verifications.get(seen.id)
            rules.require_waiting(one, actor.sid, now)
            after = (
                replace(one, stage=Stage.PROVED, factor=factor, code_hash="")
                if fits
                else rules.after_wrong(one)
            )
            uow.verifications.save(after)
            kind = "help-desk.verified" if fits else "help-desk.verification-refused"
            uow.audit.append(_of_verification(kind, now, actor, after))
            uow.commit()
        if not fits:
            left = rules.TRIES - after.wrong
            raise MfaRefused(
                _WRONG, remedy=f"{left} more can be tried" if left else "verify the caller again"
            )
        return after

    def _fits(self, actor: Actor, one: Verification, code: str) -> tuple[bool, str]:
        """Whether it is the code, and of which authenticator it is."""
        if one.method is Method.SENT:
            return self._hasher.matches(one.code_hash, as_typed(code)), ""
        sid = self._authenticator(self._tier.members(one.person))
        if sid is None:
            return False, ""
        try:
            proof = self._factors.read_out(actor, sid, one.name, code)  # (4)
        except MfaRefused:
            return False, ""
        return True, proof.factor

    def _authenticator(self, sids: tuple[Sid, ...]) -> Sid | None:
        with self._store.read() as uow:
            return next((sid for sid in sids if any(f.confirmed for f in uow.factors.of(sid))), None)

    def _address(self, sids: tuple[Sid, ...]) -> str:
        if self._post is None:
            raise Conflict(
                "no code can be sent from here",
                remedy="help_desk.code_channels of bastide.toml names the channels",
            )
        found = self._post.address(sids)  # (3)
        if not found:
            raise Conflict("the directory has no mail address of this person", remedy="verify in another way")
        return found

    def _send(self, actor: Actor, made: Verification, address: str, code: str) -> None:
        problem = self._post.send(made.id, address, actor.name, code) if self._post is not None else ""
        if not problem:
            return
        with self._store.write() as uow:
            uow.verifications.save(replace(made, stage=Stage.FAILED, code_hash=""))
            uow.audit.append(
                _of_verification("help-desk.verification-unsent", self._now(), actor, made, problem=problem)
            )
            uow.commit()
        raise TargetUnavailable(f"the code could not be sent: {problem}", remedy="verify in another way")


def _of_verification(kind: str, at: datetime, actor: Actor, one: Verification, **more: object) -> Event:
    data = {
        "verification": one.id,
        "method": one.method.value,
        "purpose": one.purpose.value,
        "wrong": one.wrong,
        **more,
    }
    return by_actor(kind, at, actor, subject=one.person, subject_name=one.name, data=data)
