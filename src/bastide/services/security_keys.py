"""Security keys (WebAuthn): register, name and remove them, prove with one, sign an approval with one.

What is asked of a key is a challenge of ours. It is taken back, in order:

  (1) The challenge was given for this purpose, to this person, in this session, not longer than five minutes ago. It is used up by trying,
      whatever comes of it.
  (2) The answer is from a key that is registered for this person, by its row and by its seal, and not taken away since.
  (3) The answer counts (domain/webauthn.py): our page, this challenge, somebody verified, the key's signature.
  (4) The key's counter did not go back. If it did, there is a copy: refused, and audited by a name of its own.
  (5) Every outcome is committed and audited before the caller learns it.

A key is sealed to its row together with the accounts that it is for, so that writing into the database gives nobody another's.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bastide.domain import signatures, webauthn
from bastide.domain.approvals import REASON_LIMIT, stage_for
from bastide.domain.errors import Conflict, InvalidInput, MfaRefused, NotFound
from bastide.domain.ids import RequestId, Sid, parse_id, parse_name, parse_text
from bastide.domain.people import Actor, Demand, MfaProof, Right, require
from bastide.domain.requests import Decision, Request, Signature
from bastide.domain.webauthn import Assertion, Descriptor, Purpose, RelyingParty
from bastide.services import sessions
from bastide.services.admission import Admission, registered, require_own
from bastide.services.events import by_actor
from bastide.services.lookup import owner_of
from bastide.services.ports import Random, Sealer, Store, UnitOfWork
from bastide.services.signin import Challenge, SecurityKey

MOST = 10
CHALLENGE_LIFE = timedelta(minutes=5)
#: Of one person: pages that are open at the same time.
OPEN_CHALLENGES = 16
NAME_LIMIT = 60
_NO_KEY = "the page Sign-in factors of the portal registers one"
_ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A challenge to hand over: `options` are for the browser, as JSON; `stage`: of an approval."""

    id: str
    options: str
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `challenge` is the id of what was asked, `credential` the browser's PublicKeyCredential as JSON."""

    challenge: str
    credential: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ballot:
    """How somebody wants to decide."""

    request: str
    decision: Decision
    reason: str = ""
    stage: str = ""


class SecurityKeys:
    """The use cases of security keys. `session` is the token of the session that a call came in, or empty."""

    def __init__(
        self,
        *,
        store: Store,
        admission: Admission,
        sealer: Sealer,
        random: Random,
        now: Callable[[], datetime],
        party: RelyingParty | None,
    ) -> None:
        self._store = store
        self._admission = admission
        self._sealer = sealer
        self._random = random
        self._now = now
        self._party = party

    def mine(self, actor: Actor) -> tuple[SecurityKey, ...]:
        """The caller's, oldest first."""
        require(actor, Right.USE)
        with self._store.read() as uow:
            return uow.factors.keys_of(owner_of(uow, actor)[0])

    # -------------------------------------------------------------------------------------------------------- register

    def ask_to_register(self, actor: Actor, session: str) -> Asked:
        """Raises Conflict."""
        require(actor, Right.USE)
        party = webauthn.needed(self._party)
        with self._store.write() as uow:
            person, _ = owner_of(uow, actor)
            keys = uow.factors.keys_of(person)
            _room(keys)
            challenge = self._challenge(uow, person, session, Purpose.REGISTER)
            uow.commit()
        options = webauthn.to_register(
            party,
            person=hashlib.sha256(person.encode()).digest(),
            account=actor.name,
            challenge=challenge.nonce,
            known=_known(keys),
        )
        return Asked(challenge.id, options)

    def register(
        self, actor: Actor, session: str, name: str, answer: Answer, *, invitation: str = ""
    ) -> SecurityKey:
        """A new key counts at once: it has just shown that it works. Raises MfaRefused, NotAuthorized, InvalidInput, Conflict."""
        require(actor, Right.USE)
        party = webauthn.needed(self._party)
        called = _named(name)
        with self._store.read() as uow:
            person, accounts = owner_of(uow, actor)
            _free(uow.factors.keys_of(person), called)
        challenge = self._take(actor, session, person, Purpose.REGISTER, answer.challenge)  # (1)
        try:
            made = webauthn.registered(party, challenge.nonce, answer.credential)  # (3)
        except MfaRefused as error:
            self._refuse(actor, error.message)
            raise
        self._admission.admit(actor, person, invitation)
        id_ = self._random.uuid()
        with self._store.write() as uow:
            now = self._now()
            keys = uow.factors.keys_of(person)
            _room(keys)
            _free(keys, called)
            key = SecurityKey(
                id=id_,
                person=person,
                name=called,
                credential=made.id,
                sealed=self._sealer.seal(
                    signatures.pack(accounts, made.public_key), signatures.seal_context(id_)
                ),
                sign_count=made.sign_count,
                transports=made.transports,
                aaguid=made.aaguid,
                backed_up=made.backed_up,
                created_at=now,
            )
            uow.factors.add_key(key)
            data = {"factor": id_, "method": webauthn.METHOD, "name": called, "aaguid": made.aaguid}
            uow.audit.append(by_actor("mfa.enrolled", now, actor, data=data))
            uow.commit()
        return key

    def remove(self, actor: Actor, key_id: str) -> SecurityKey:
        """Take one of one's own keys away. The last factor goes by an administrator only. Raises NotFound, Conflict, MfaRefused."""
        require(actor, Right.USE)
        with self._store.write() as uow:
            now = self._now()
            person, _ = owner_of(uow, actor)
            keys = uow.factors.keys_of(person)
            key = next((one for one in keys if key_id in {one.id, one.name}), None)
            if key is None:
                raise NotFound("you have no such security key")
            held = registered(uow, person)
            require_own(held, actor, now)
            if len(held) == 1:
                raise Conflict(
                    "this is your last second factor",
                    remedy="register another one first, or ask an administrator for `bastide mfa reset`",
                )
            uow.factors.remove_key(key.id)
            data = {"factor": key.id, "method": webauthn.METHOD, "name": key.name}
            uow.audit.append(by_actor("mfa.removed", now, actor, data=data))
            uow.commit()
        return key

    # ----------------------------------------------------------------------------------------------------------- prove

    def ask_to_prove(self, actor: Actor, session: str) -> Asked:
        """Raises MfaRefused, Conflict."""
        require(actor, Right.USE)
        party = webauthn.needed(self._party)
        with self._store.write() as uow:
            person, _ = owner_of(uow, actor)
            known = _known(_some(uow.factors.keys_of(person)))
            challenge = self._challenge(uow, person, session, Purpose.PROVE)
            uow.commit()
        return Asked(challenge.id, webauthn.to_use(party, challenge=challenge.nonce, known=known))

    def prove(self, actor: Actor, session: str, answer: Answer) -> MfaProof:
        """Raises MfaRefused, Conflict."""
        require(actor, Right.USE)
        with self._store.read() as uow:
            person, _ = owner_of(uow, actor)
        challenge = self._take(actor, session, person, Purpose.PROVE, answer.challenge)  # (1)
        return self._proved(actor, person, answer, challenge.nonce)[0]

    # --------------------------------------------------------------------------------------------------------- approve

    def must_sign(self, shown: Collection[Request]) -> frozenset[RequestId]:
        """Which of the requests that the caller was shown are approved by signature only."""
        with self._store.read() as uow:
            strict = {role.id for role in uow.roles.all() if role.approval_factor is not Demand.ANY}
        return frozenset(request.id for request in shown if request.role in strict)

    def ask_to_sign(self, actor: Actor, session: str, ballot: Ballot) -> Asked:
        """What an approver is to sign. Raises NotAuthorized, NotFound, Conflict, MfaRefused, InvalidInput."""
        require(actor, Right.APPROVE)
        party = webauthn.needed(self._party)
        with self._store.write() as uow:
            person, _ = owner_of(uow, actor)
            stage = _stage(uow, actor, ballot)
            known = _known(_some(uow.factors.keys_of(person)))
            challenge = self._challenge(uow, person, session, Purpose.APPROVE, ballot.request)
            digest = _digest(uow, actor, replace(ballot, stage=stage), challenge)
            uow.commit()
        return Asked(challenge.id, webauthn.to_use(party, challenge=digest, known=known), stage)

    def sign(self, actor: Actor, session: str, ballot: Ballot, answer: Answer) -> tuple[MfaProof, Signature]:
        """The proof and the signature for a vote with just this decision, reason and stage. Raises as `prove`, and NotFound."""
        require(actor, Right.APPROVE)
        with self._store.read() as uow:
            person, _ = owner_of(uow, actor)
        challenge = self._take(actor, session, person, Purpose.APPROVE, answer.challenge)  # (1)
        if challenge.request != ballot.request:
            raise _stale()
        with self._store.read() as uow:
            digest = _digest(uow, actor, ballot, challenge)
        proof, key, said = self._proved(actor, person, answer, digest)
        return proof, Signature(
            key=key.id,
            key_sealed=key.sealed,
            nonce=challenge.nonce,
            credential=said.id,
            authenticator_data=said.authenticator_data,
            client_data=said.client_data,
            signature=said.signature,
            until=challenge.expires_at,
        )

    # ---------------------------------------------------------------------------------------------------------- shared

    def _challenge(
        self, uow: UnitOfWork, person: Sid, session: str, purpose: Purpose, request: str = ""
    ) -> Challenge:
        now = self._now()
        made = Challenge(
            id=self._random.uuid(),
            person=person,
            session=_of_session(session),
            purpose=purpose,
            nonce=self._random.token(signatures.NONCE_BYTES),
            expires_at=now + CHALLENGE_LIFE,
            request=request,
        )
        uow.factors.challenge(made, now=now, most=OPEN_CHALLENGES)
        return made

    def _take(self, actor: Actor, session: str, person: Sid, purpose: Purpose, id_: str) -> Challenge:
        """(1). Raises MfaRefused."""
        with self._store.write() as uow:
            now = self._now()
            taken = uow.factors.take_challenge(id_) if _ID.fullmatch(id_) else None
            meant = taken is not None and (taken.person, taken.session, taken.purpose) == (
                person,
                _of_session(session),
                purpose,
            )
            if taken is None or not meant or taken.expires_at <= now:
                data = {"method": webauthn.METHOD, "cause": "no such challenge, or not for this"}
                uow.audit.append(by_actor("mfa.refused", now, actor, data=data))
                uow.commit()
                raise _stale()
            uow.commit()
        return taken

    def _proved(
        self, actor: Actor, person: Sid, answer: Answer, challenge: bytes
    ) -> tuple[MfaProof, SecurityKey, Assertion]:
        """(2) to (5)."""
        party = webauthn.needed(self._party)
        try:
            said = webauthn.assertion_of(answer.credential)
            with self._store.read() as uow:
                key = _of(uow.factors.keys_of(person), said.id)  # (2)
            accounts, public_key = signatures.unpack(
                self._sealer.open(key.sealed, signatures.seal_context(key.id))
            )
            if actor.sid not in accounts:
                raise _not_yours()  # audited as the others
            count = webauthn.check(party, said, challenge, public_key)  # (3)
        except MfaRefused as error:
            self._refuse(actor, error.message)
            raise
        with self._store.write() as uow:
            now = self._now()
            key = _of(uow.factors.keys_of(person), said.id)
            data: dict[str, object] = {"factor": key.id, "method": webauthn.METHOD}
            if webauthn.went_back(key.sign_count, count):  # (4)
                data |= {"last": key.sign_count, "shown": count}
                uow.audit.append(by_actor("mfa.counter-back", now, actor, data=data))
                uow.commit()
                raise MfaRefused(
                    "the counter of this security key went back: there may be a copy of it",
                    remedy="remove the key on the page Sign-in factors, and tell an administrator",
                )
            uow.factors.save_key(replace(key, sign_count=count, last_used_at=now))
            uow.audit.append(by_actor("mfa.proved", now, actor, data=data))  # (5)
            uow.commit()
        return MfaProof(webauthn.METHOD, key.id, now), key, said

    def _refuse(self, actor: Actor, cause: str) -> None:
        with self._store.write() as uow:
            data = {"method": webauthn.METHOD, "cause": cause}
            uow.audit.append(by_actor("mfa.refused", self._now(), actor, data=data))
            uow.commit()


def _stage(uow: UnitOfWork, actor: Actor, ballot: Ballot) -> str:
    """The one that the vote will count in. Who may not decide learns nothing: callers were shown the request before."""
    request = uow.requests.get(RequestId(parse_id("request", ballot.request)))
    user = uow.users.by_sid(actor.sid)
    return stage_for(request, uow.roles.get(request.role), actor, user, ballot.stage).name


def _digest(uow: UnitOfWork, actor: Actor, ballot: Ballot, challenge: Challenge) -> bytes:
    request = uow.requests.get(RequestId(parse_id("request", ballot.request)))
    return signatures.digest(
        request,
        user=uow.users.get(request.user),
        groups=uow.groups.many(request.privileges),
        voter=actor.sid,
        name=actor.name,
        stage=ballot.stage,
        decision=ballot.decision,
        reason=parse_text("reason", ballot.reason, REASON_LIMIT),
        nonce=challenge.nonce,
        until=challenge.expires_at,
    )


def _named(name: str) -> str:
    called = name.strip()
    parse_name("name", called)
    if len(called) > NAME_LIMIT:
        raise InvalidInput("name", f"has {len(called)} characters; the limit is {NAME_LIMIT}")
    return called


def _free(keys: Sequence[SecurityKey], name: str) -> None:
    if any(key.name.casefold() == name.casefold() for key in keys):
        raise Conflict(f"you have a security key named {name!r} already", remedy="choose another name")


def _room(keys: Sequence[SecurityKey]) -> None:
    if len(keys) >= MOST:
        raise Conflict(f"you have {len(keys)} security keys; the limit is {MOST}", remedy="remove one first")


def _some(keys: Sequence[SecurityKey]) -> Sequence[SecurityKey]:
    if not keys:
        raise MfaRefused("no security key is registered for you", remedy=_NO_KEY)
    return keys


def _of(keys: Sequence[SecurityKey], credential: bytes) -> SecurityKey:
    for key in keys:
        if key.credential == credential:
            return key
    raise _not_yours()


def _known(keys: Sequence[SecurityKey]) -> list[Descriptor]:
    return [Descriptor(key.credential, key.transports) for key in keys]


def _of_session(token: str) -> str:
    return sessions.digest(token) if token else ""


def _not_yours() -> MfaRefused:
    return MfaRefused("this security key is not registered for you", remedy=_NO_KEY)


def _stale() -> MfaRefused:
    return MfaRefused(
        "what your security key was asked is used up, too old, or was meant for something else",
        remedy="open the page again, and use the key again",
    )
