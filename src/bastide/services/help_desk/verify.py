"""Who is on the telephone: a one-time code that only the caller can read out. The rules are those of domain/help_desk.py.

(1) The operator has the right to set passwords, and the person is in reach.
(2) Few for one person within an hour, and few by one operator (pace.py): a stolen sign-in sends no codes to everybody.
(3) A code that is sent goes to what the person registered for resets, else to the address that the directory has now, and to none that the caller or the operator names
    (post.py); only its Argon2 hash is kept.
(4) A code that is read from an authenticator counts once; after two wrong ones it is not asked any more, and not locked (services/factors.py (6)).
(5) A wrong code is counted before anybody learns that it was wrong; Argon2 runs outside of the transaction.
(6) Where the directory's address is not the registered one, or not the one that the last code went to, operator and audit learn that it differs, and from what.
(7) Where the last code went to is told, in the commit of the beginning, that this one goes elsewhere (letters.py): whoever moved it does not read that.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain import help_desk as rules
from bastide.domain.audit import Event
from bastide.domain.errors import Conflict, MfaRefused, TargetError, TargetUnavailable, TooManyTries
from bastide.domain.help_desk import KEPT, LIFE, MOST, PER, Method, Purpose, Stage, Verification
from bastide.domain.help_desk_told import ELSEWHERE
from bastide.domain.help_desk_words import say_code
from bastide.domain.ids import Sid, parse_id
from bastide.domain.management_agents import MvId
from bastide.domain.people import Actor, Right, require
from bastide.services.events import by_actor
from bastide.services.factors import Factors
from bastide.services.help_desk.pace import Act, Pace
from bastide.services.help_desk.ports import Settings
from bastide.services.help_desk.post import Destination, Post
from bastide.services.help_desk.tier import Tier
from bastide.services.pace import HELP_DESK
from bastide.services.passwords.person import name_of
from bastide.services.ports import CodeHasher, Random, Sealer, Store, UnitOfWork
from bastide.services.reset.contents import as_typed, new_code, shown

_WRONG = "the code is wrong"
#: What an address is sealed to, with the person.
CONTEXT = "help-desk-sent-to:"


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
        sealer: Sealer,
        random: Random,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._tier = tier
        self._factors = factors
        self._post = post if settings.channels else None
        self._hasher = hasher
        self._sealer = sealer
        self._random = random
        self._now = now
        self._pace = Pace(now)

    def methods(self, person: MvId) -> tuple[Method, ...]:
        """By which this person can be verified now. Raises NotFound, DirectoryError."""
        sids = self._tier.members(person)
        found = [Method.TOTP] if self._authenticator(sids) is not None else []
        if self._post is not None and self._post.destination(sids) is not None:
            found.append(Method.SENT)
        return tuple(found)

    def begin(self, actor: Actor, person: MvId, method: Method) -> Verification:
        """Ask for a code. Raises NotAuthorized, MfaRefused, NotFound, Conflict, TooManyTries, TargetUnavailable, DirectoryUnavailable."""
        require(actor, Right.SET)
        self._pace.count(Act.VERIFY, actor.sid)  # (2)
        self._tier.require(actor, person)  # (1)
        sids, now, code = self._tier.members(person), self._now(), ""
        to = None
        if method is Method.TOTP:
            if self._authenticator(sids) is None:
                raise Conflict(
                    "this person has no authenticator here", remedy="verify by a code that is sent"
                )
        else:
            to = self._destination(sids)
            code = new_code(self._random)
        hashed = self._hasher.hash(code) if code else ""
        with self._store.write() as uow:
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
                by=actor.name,
            )
            made = self._addressed(uow, made, to)
            uow.verifications.forget(now - KEPT)
            uow.verifications.add(made)
            if made.sealed_before:  # (7)
                uow.work.poke(HELP_DESK, f"{ELSEWHERE}:{made.id}", now)
            uow.audit.append(_of_verification("help-desk.verification-begun", now, actor, made))
            uow.commit()
        if to is not None:
            self._send(actor, made, to, code)
        return made

    def prove(self, actor: Actor, id: str, code: str) -> Verification:  # noqa: A002  # its id
        """What the caller read out. Raises NotAuthorized, MfaRefused, NotFound, Conflict."""
        require(actor, Right.SET)
        with self._store.read() as uow:
            seen = uow.verifications.get(parse_id("verification", id))
        rules.require_waiting(seen, actor.sid, self._now())
        problem, factor = self._judged(actor, seen, code)
        with self._store.write() as uow:  # (5)
            now = self._now()
            one = uow.verifications.get(seen.id)
            rules.require_waiting(one, actor.sid, now)
            after = (
                rules.after_wrong(one)
                if problem
                else replace(one, stage=Stage.PROVED, factor=factor, code_hash="")
            )
            uow.verifications.save(after)
            kind = "help-desk.verification-refused" if problem else "help-desk.verified"
            uow.audit.append(_of_verification(kind, now, actor, after))
            uow.commit()
        if problem:
            left = rules.TRIES - after.wrong
            raise MfaRefused(
                problem, remedy=f"{left} more can be tried" if left else "verify the caller again"
            )
        return after

    def _judged(self, actor: Actor, one: Verification, code: str) -> tuple[str, str]:
        """What is wrong with the code (empty: nothing), and of which authenticator it is."""
        if one.method is Method.SENT:
            return "" if self._hasher.matches(one.code_hash, as_typed(code)) else _WRONG, ""
        sid = self._authenticator(self._tier.members(one.person))
        if sid is None:
            return _WRONG, ""
        try:
            proof = self._factors.read_out(actor, sid, one.name, code)  # (4)
        except MfaRefused as error:
            return error.message, ""
        return "", proof.factor

    def _addressed(self, uow: UnitOfWork, made: Verification, to: Destination | None) -> Verification:
        """(6) With where its code goes; without one, with where the last one went."""
        context = f"{CONTEXT}{made.person}"
        last = uow.verifications.latest(made.person)
        sealed = b"" if last is None else last.sealed_to
        if to is None:
            return replace(made, sealed_to=sealed)
        before = self._sealer.open(sealed, context).decode() if sealed else ""
        return replace(
            made,
            route=to.route,
            differs=rules.differs(to.route, to.to, to.directory, before),
            sealed_to=self._sealer.seal(to.to.encode(), context),
            sealed_before=sealed if rules.earlier(to.to, before) else b"",
        )

    def _authenticator(self, sids: tuple[Sid, ...]) -> Sid | None:
        with self._store.read() as uow:
            return next((sid for sid in sids if any(f.confirmed for f in uow.factors.of(sid))), None)

    def _destination(self, sids: tuple[Sid, ...]) -> Destination:
        if self._post is None:
            raise Conflict(
                "no code can be sent from here",
                remedy="help_desk.code_channels of bastide.toml names the channels",
            )
        found = self._post.destination(sids)  # (3)
        if found is None:
            raise Conflict(
                "nothing is registered, and the directory has no mail address of this person",
                remedy="verify in another way",
            )
        return found

    def _send(self, actor: Actor, made: Verification, to: Destination, code: str) -> None:
        if self._post is None:
            return
        subject, body = say_code(actor.name, shown(code), LIFE // timedelta(minutes=1), self._post.language)
        try:
            problem = self._post.send(made.id, to, subject, body, (code, shown(code)))
        except TargetError as error:
            problem = error.message
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
        **({} if one.route is None else {"route": one.route.value}),
        **({} if one.differs is None else {"differs": one.differs.value}),
        **more,
    }
    return by_actor(kind, at, actor, subject=one.person, subject_name=one.name, data=data)
