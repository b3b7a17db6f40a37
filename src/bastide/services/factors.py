"""Codes: register an authenticator, prove one, lock it. TOTP (RFC 6238: SHA-1, 6 digits, 30 s) and recovery codes; security keys are in
security_keys.py, and everything else sees only a MfaProof.

Who may register is said in admission.py. A proof, in order:

  (1) The factor is confirmed and not locked.
  (2) The code fits the step before, this one or the next (clocks differ), compared in constant time.
  (3) Its step is newer than the last one used: a code works once. So does a recovery code: it must still be listed when it is used up.
  (4) After five wrong codes the factor is locked for a quarter of an hour, and for twice as long each further time, up to a day, until a
      good code; counted in the database.
  (5) Every outcome is committed and audited before the caller learns it.
  (6) A code that is read out to the help desk is not judged, and not counted, after two wrong ones: whoever calls in a person's name does not lock the person out. A
      good code of the person's sets that back.

Argon2 takes its time on purpose, so it runs before the transaction and never in it: the write lock is one for all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain import totp
from bastide.domain.errors import Conflict, MfaRefused, NotFound
from bastide.domain.ids import Sid
from bastide.domain.people import Actor, MfaProof, Right, require
from bastide.services.admission import Admission, registered, require_own
from bastide.services.events import by_actor
from bastide.services.lookup import find_user, owner_of
from bastide.services.people import Subjects
from bastide.services.ports import CodeHasher, Random, Sealer, Store, UnitOfWork
from bastide.services.signin import Factor, Invitation

TOTP = "totp"
RECOVERY = "recovery"
RECOVERY_CODES = 10
FAILURES = 5
#: Wrong codes after which nobody may read one out to somebody else: the person's own tries are left.
READ_OUT_FAILURES = 2
LOCK = timedelta(minutes=15)
LONGEST_LOCK = timedelta(hours=24)
_DOUBLINGS = 7
INVITATION_LIFE = timedelta(hours=24)
_CODE_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_WRONG = "the code is wrong, used up or too old"
_OTHERS = "other accounts are written CORP\\name or PRIV\\name"
_AGAIN = "wait for the next code, and try again with it"
_NOT_READ_OUT = "too many wrong codes: this authenticator is not asked by the help desk now"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the person must store in the authenticator, shown once. Not for logs: its repr holds nothing."""

    factor: str
    uri: str
    recovery_codes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Enrolment(factor={self.factor!r}, uri=<hidden>, recovery_codes=<hidden>)"


class Factors:
    """The use cases of authenticators and their codes."""

    def __init__(
        self,
        *,
        store: Store,
        subjects: Subjects,
        admission: Admission,
        sealer: Sealer,
        hasher: CodeHasher,
        random: Random,
        now: Callable[[], datetime],
        issuer: str = "Bastide",
    ) -> None:
        self._store = store
        self._subjects = subjects
        self._admission = admission
        self._sealer = sealer
        self._hasher = hasher
        self._random = random
        self._now = now
        self._issuer = issuer

    def invite(self, actor: Actor, account: str) -> str:
        """A one-time code that lets a person register a factor within 24 hours. `account` is a PAM user or `CORP-backslash-name`. Raises NotFound."""
        require(actor, Right.ADMINISTER)
        sid, name = self._find(account)
        code = self._code(20)
        hashed = self._hasher.hash(code)
        with self._store.write() as uow:
            now = self._now()
            uow.factors.invite(Invitation(sid, hashed, now + INVITATION_LIFE, actor.sid))
            uow.audit.append(by_actor("mfa.invited", now, actor, subject=sid, subject_name=name))
            uow.commit()
        return code

    def enrol(self, actor: Actor, invitation: str = "") -> Enrolment:
        """Register a TOTP factor; it counts once `confirm` saw a code from it. Raises NotAuthorized, Conflict."""
        require(actor, Right.USE)
        person = self._person(actor)
        self._admission.admit(actor, person, invitation)
        secret = self._random.token(totp.SECRET_BYTES)
        codes = tuple(self._code(16) for _ in range(RECOVERY_CODES))
        hashes = tuple(self._hasher.hash(code) for code in codes)
        id_ = self._random.uuid()
        with self._store.write() as uow:
            now = self._now()
            for old in uow.factors.of(person):
                if old.confirmed:
                    raise Conflict(
                        "you have an authenticator already",
                        remedy="ask an administrator for `bastide mfa reset`",
                    )
                uow.factors.remove(old.id)
            uow.factors.add(
                Factor(
                    id=id_,
                    person=person,
                    method=TOTP,
                    secret_encrypted=self._sealer.seal(secret, f"factor:{id_}"),
                    created_at=now,
                    recovery_hashes=hashes,
                )
            )
            uow.audit.append(by_actor("mfa.enrolled", now, actor, data={"factor": id_, "method": TOTP}))
            uow.commit()
        return Enrolment(id_, totp.uri(secret, actor.name, self._issuer), codes)

    def confirm(self, actor: Actor, code: str) -> MfaProof:
        """Show the first code of a new factor; whoever has another one by now shows that too (admission.py). Raises MfaRefused."""
        return self._prove(actor, code, confirmed=False)

    def prove(self, actor: Actor, code: str) -> MfaProof:
        """Show a code. Raises MfaRefused."""
        return self._prove(actor, code, confirmed=True)

    def read_out(self, actor: Actor, person: Sid, name: str, code: str) -> MfaProof:
        """A code of a person's authenticator that the person reads out to the caller. Counts as any other, as long as (6) lets it; a recovery code is for nobody's ears. Raises MfaRefused."""
        code = code.replace(" ", "")
        if len(code) != totp.DIGITS:
            raise MfaRefused(_WRONG, remedy=_AGAIN)
        return self._judged(actor, person, code, confirmed=True, owner=(person, name))

    def status(self, actor: Actor) -> tuple[Factor, ...]:
        """The caller's authenticators."""
        require(actor, Right.USE)
        person = self._person(actor)
        with self._store.read() as uow:
            return uow.factors.of(person)

    def reset(self, actor: Actor, account: str) -> int:
        """Take all factors of a person away (lost phone); they need an invitation then. Sessions stay, without the proof. Raises NotFound."""
        require(actor, Right.ADMINISTER)
        sid, name = self._find(account)
        with self._store.write() as uow:
            factors, keys = uow.factors.of(sid), uow.factors.keys_of(sid)
            if not factors and not keys:
                raise NotFound(f"{name} has no second factor")
            for factor in factors:
                uow.factors.remove(factor.id)
            for key in keys:
                uow.factors.remove_key(key.id)
            uow.audit.append(
                by_actor(
                    "mfa.reset",
                    self._now(),
                    actor,
                    subject=sid,
                    subject_name=name,
                    data={"factors": len(factors) + len(keys)},
                )
            )
            uow.commit()
        return len(factors) + len(keys)

    def _prove(self, actor: Actor, code: str, *, confirmed: bool) -> MfaProof:
        return self._judged(actor, self._person(actor), code.replace(" ", ""), confirmed=confirmed)

    def _judged(
        self, actor: Actor, person: Sid, code: str, *, confirmed: bool, owner: tuple[str, str] = ("", "")
    ) -> MfaProof:
        """`owner`: whose factor it is, by SID and name, if it is not the caller's."""
        subject, name = owner
        with self._store.read() as uow:
            seen = _factor_of(uow, person, confirmed=confirmed)
        recovery = "" if _is_locked(seen, self._now()) else self._matching_recovery(seen, code)
        with self._store.write() as uow:
            now = self._now()
            factor = _factor_of(uow, person, confirmed=confirmed)
            held = registered(uow, person)
            if held and not confirmed:
                require_own(held, actor, now)
            refusal = _refusal(factor, now, read_out=bool(subject))
            checked, proof = (
                (factor, None) if refusal is not None else self._verify(factor, code, recovery, now)
            )
            uow.factors.save(checked)  # (5)
            kind = "mfa.proved" if proof is not None else "mfa.refused"
            method = proof.method if proof is not None else factor.method
            data = {"factor": factor.id, "method": method}
            uow.audit.append(by_actor(kind, now, actor, subject=subject, subject_name=name, data=data))
            uow.commit()
        if proof is None:
            raise refusal or MfaRefused(_WRONG, remedy=_AGAIN)
        return proof

    def _matching_recovery(self, factor: Factor, code: str) -> str:
        """The stored hash that a recovery code fits, or nothing. Slow."""
        if not factor.confirmed or len(code) <= totp.DIGITS:
            return ""
        fitting = (hashed for hashed in factor.recovery_hashes if self._hasher.matches(hashed, code))
        return next(fitting, "")

    def _verify(
        self, factor: Factor, code: str, recovery: str, now: datetime
    ) -> tuple[Factor, MfaProof | None]:
        """The factor after the attempt, and the proof if it was good: steps (2) to (4). `recovery`: the hash that the code fitted."""
        step = totp.matching_step(
            self._sealer.open(factor.secret_encrypted, f"factor:{factor.id}"), code, now
        )
        if step is not None and step > factor.last_step:
            good = replace(factor, confirmed=True, last_step=step, failures=0, locked_until=None, locks=0)
            return good, MfaProof(TOTP, factor.id, now)
        if recovery and recovery in factor.recovery_hashes:
            left = tuple(other for other in factor.recovery_hashes if other != recovery)
            good = replace(factor, recovery_hashes=left, failures=0, locked_until=None, locks=0)
            return good, MfaProof(RECOVERY, factor.id, now)
        failures = factor.failures + 1
        if failures < FAILURES:
            return replace(factor, failures=failures, locked_until=None), None
        until = now + lock_after(factor.locks)
        return replace(factor, failures=0, locked_until=until, locks=factor.locks + 1), None

    def _person(self, actor: Actor) -> Sid:
        with self._store.read() as uow:
            return owner_of(uow, actor)[0]

    def _find(self, account: str) -> tuple[Sid, str]:
        try:
            with self._store.read() as uow:
                user = find_user(uow, account)
        except NotFound as error:
            if "\\" not in account:
                raise NotFound(error.message, remedy=f"{error.remedy}; {_OTHERS}") from None
            subject = self._subjects.find("account", account)
        else:
            return user.priv.sid, user.name
        with self._store.read() as uow:
            known = uow.users.by_sid(subject.sid)
        return (known.priv.sid, known.name) if known is not None else (subject.sid, subject.name)

    def _code(self, length: int) -> str:
        """Letters and digits that are not mistaken for one another, in groups of five."""
        raw = self._random.token(length)
        text = "".join(_CODE_ALPHABET[byte % len(_CODE_ALPHABET)] for byte in raw)
        return "-".join(text[i : i + 5] for i in range(0, length, 5))


def lock_after(locks: int) -> timedelta:
    """How long the next lock is, after so many since the last good code."""
    return min(LOCK * (1 << min(locks, _DOUBLINGS)), LONGEST_LOCK)


def _is_locked(factor: Factor, now: datetime) -> bool:
    return factor.locked_until is not None and factor.locked_until > now


def _refusal(factor: Factor, now: datetime, *, read_out: bool) -> MfaRefused | None:
    """Why no code of it is judged now; None: one is."""
    if factor.locked_until is not None and factor.locked_until > now:  # (1)
        return MfaRefused(
            "too many wrong codes: the second factor is locked",
            remedy=f"wait until {factor.locked_until:%Y-%m-%d %H:%M} UTC, or ask an administrator",
        )
    if read_out and factor.failures >= READ_OUT_FAILURES:  # (6)
        return MfaRefused(
            _NOT_READ_OUT, remedy="verify in another way; it is asked again once its owner signed in with it"
        )
    return None


def _factor_of(uow: UnitOfWork, person: Sid, *, confirmed: bool) -> Factor:
    for factor in uow.factors.of(person):
        if factor.confirmed is confirmed:
            return factor
    raise MfaRefused("no second factor is set up", remedy="`bastide mfa enrol` sets one up")
