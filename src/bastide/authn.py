"""Who is calling: Kerberos (SPNEGO), password, or a session, made into a domain Actor. Knows no web framework.

Rights come from group membership, read from the directory at every sign-in, never from the caller. From a CORP sign-in come USE and
APPROVE at most: whoever owns CORP must not own Bastide. A password alone gives USE; a second factor adds the rest.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from bastide.domain.audit import Event
from bastide.domain.errors import BastideError, DirectoryUnavailable, NotAuthenticated, NotFound
from bastide.domain.ids import Sid
from bastide.domain.people import Actor, Forest, MfaProof, Right
from bastide.services.ports import Directory, Person, Random, Session, Store, UnitOfWork
from bastide.services.signin import Acceptor, PasswordChecker

_log = logging.getLogger(__name__)
KERBEROS = "kerberos"
PASSWORD = "password"  # noqa: S105  # a way to sign in
#: People type passwords into the field for the account: what names nobody is not written down.
UNKNOWN_ACCOUNT = "unknown account"
_TOKEN_BYTES = 32
_SAME_ANSWER = "the sign-in was not accepted"
_REMEDY = "sign in with a Kerberos ticket, or with account, password and code"


@dataclass(frozen=True, slots=True)
class Realm:
    """A forest people may sign in from."""

    forest: Forest
    kerberos: str
    directory: Directory
    passwords: PasswordChecker


@dataclass(frozen=True, slots=True)
class RightsTable:
    """SIDs of the groups that give a right."""

    administrators: frozenset[Sid]
    auditors: frozenset[Sid]
    approvers: frozenset[Sid]

    def rights_of(self, sids: Collection[Sid], forest: Forest) -> frozenset[Right]:
        """Everybody may ask; the rest comes from groups, and two of the rights from PRIV alone."""
        sids = frozenset(sids)
        rights = {Right.USE}
        if sids & self.approvers:
            rights.add(Right.APPROVE)
        if forest is Forest.PRIV and sids & self.administrators:
            rights.add(Right.ADMINISTER)
        if forest is Forest.PRIV and sids & self.auditors:
            rights.add(Right.AUDIT)
        return frozenset(rights)


class Rights(Protocol):
    """Which rights the groups of a caller give."""

    def rights_of(self, sids: Collection[Sid], forest: Forest) -> frozenset[Right]:
        """Raises DirectoryUnavailable."""


class NamedRights:
    """A RightsTable made from group names when first needed, so that Bastide starts with the directory down.

    A group that does not exist, or whose forest is down, gives no right, and is looked for again at the next sign-in: CORP being down must
    not keep the administrators of PRIV out.
    """

    def __init__(
        self,
        directories: Mapping[Forest, Directory],
        *,
        administrators: Sequence[str],
        auditors: Sequence[str],
        approvers: Sequence[str],
    ) -> None:
        self._directories = directories
        self._names = (tuple(administrators), tuple(auditors), tuple(approvers))
        self._known: dict[str, Sid] = {}

    def rights_of(self, sids: Collection[Sid], forest: Forest) -> frozenset[Right]:
        """Raises DirectoryUnavailable."""
        administrators, auditors, approvers = (frozenset(self._resolve(names)) for names in self._names)
        return RightsTable(administrators, auditors, approvers).rights_of(sids, forest)

    def _resolve(self, names: tuple[str, ...]) -> Iterator[Sid]:
        for name in names:
            if name not in self._known:
                prefix, separator, rest = name.partition("\\")
                directory = self._directories.get(Forest(prefix.lower()) if separator else Forest.PRIV)
                if directory is None:
                    _log.warning("the group %s gives no right: that forest is not configured", name)
                    continue
                try:
                    self._known[name] = directory.find_group(rest if separator else name).ref.sid
                except (NotFound, DirectoryUnavailable) as error:
                    _log.warning("the group %s gives no right: %s", name, error.message)
                    continue
            yield self._known[name]


class Authenticator:
    """Makes Actors. Every failure gives the same answer; the audit has the cause."""

    def __init__(
        self,
        *,
        realms: Mapping[Forest, Realm],
        rights: Rights,
        acceptor: Acceptor | None,
        store: Store,
        random: Random,
        session_life: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._realms = realms
        self._rights = rights
        self._acceptor = acceptor
        self._store = store
        self._random = random
        self._session_life = session_life
        self._now = now

    def negotiate(self, token: bytes) -> tuple[Actor, bytes]:
        """A caller with a ticket, and the answer token. Raises NotAuthenticated, DirectoryUnavailable."""
        if self._acceptor is None:
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY)
        try:
            ticket = self._acceptor.accept(token)
        except NotAuthenticated as error:
            self._audit_failure("", error.message)
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY) from None
        name, _, kerberos = ticket.principal.rpartition("@")
        realm = next((r for r in self._realms.values() if r.kerberos.casefold() == kerberos.casefold()), None)
        if realm is None or realm.kerberos.casefold() != ticket.key_realm.casefold():
            # CORP's domain controllers know the key of the CORP name: with it they could write a ticket for anybody of PRIV.
            self._audit_failure(ticket.principal, f"a ticket for the name in {ticket.key_realm}")
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY)
        actor = self._actor(realm, name, via=KERBEROS)
        self._must_be_the_one(actor, ticket.rid)
        return actor, ticket.answer

    def password(self, account: str, password: str) -> Actor:
        """A caller with `CORP-backslash-name` or `PRIV-backslash-name` and its password. Raises NotAuthenticated, DirectoryUnavailable."""
        prefix, _, name = account.partition("\\")
        realm = next((r for r in self._realms.values() if r.forest.value == prefix.lower()), None)
        if realm is None or not name or not password:
            self._audit_failure(self._known(realm, name), "no such forest, or nothing given")
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY)
        try:
            rid = realm.passwords.check(name, password)
        except NotAuthenticated:
            self._audit_failure(self._known(realm, name), "the password was not accepted")
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY) from None
        actor = self._actor(realm, name, via=PASSWORD)
        self._must_be_the_one(actor, rid)
        return actor

    def open_session(self, actor: Actor) -> str:
        """A token for further calls. Only its hash is stored."""
        token = self._random.token(_TOKEN_BYTES).hex()
        now = self._now()
        session = Session(
            token_hash=_hash(token),
            sid=actor.sid,
            name=actor.name,
            forest=actor.forest,
            via=actor.via,
            created_at=now,
            expires_at=now + self._session_life,
            mfa_method=actor.mfa.method if actor.mfa else "",
            mfa_factor=actor.mfa.factor if actor.mfa else "",
            mfa_at=actor.mfa.at if actor.mfa else None,
        )
        with self._store.write() as uow:
            uow.factors.add_session(session)
            uow.audit.append(Event("session.opened", now, actor.sid, actor.name, data={"via": actor.via}))
            uow.commit()
        return token

    def session(self, token: str) -> Actor:
        """The caller of an open session; groups and rights are read anew, and its second factor counts while it is registered.

        Raises NotAuthenticated, DirectoryUnavailable.
        """
        with self._store.read() as uow:
            session = uow.factors.session(_hash(token))
            proof = _proof_of(uow, session) if session is not None else None
        if session is None or session.expires_at <= self._now():
            raise NotAuthenticated("the session is over", remedy="sign in again")
        realm = self._realms.get(session.forest)
        if realm is None:
            raise NotAuthenticated("the session is over", remedy="sign in again")
        return self._actor(realm, session.sid, via=session.via).proved(proof)

    def keep_proof(self, token: str, proof: MfaProof) -> None:
        """Let a session hold a second factor that was shown in it. One that is over by now is fine."""
        with self._store.write() as uow:
            session = uow.factors.session(_hash(token))
            if session is None:
                return
            uow.factors.end_session(session.token_hash)
            uow.factors.add_session(
                replace(session, mfa_method=proof.method, mfa_factor=proof.factor, mfa_at=proof.at)
            )
            uow.commit()

    def end_session(self, token: str) -> None:
        """End a session; one that is over already is fine."""
        with self._store.write() as uow:
            session = uow.factors.session(_hash(token))
            if session is None:
                return
            uow.factors.end_session(_hash(token))
            uow.audit.append(Event("session.closed", self._now(), session.sid, session.name))
            uow.commit()

    def _actor(self, realm: Realm, name: str, *, via: str) -> Actor:
        try:
            person, groups = realm.directory.find_caller(name)
        except NotFound:
            self._audit_failure(UNKNOWN_ACCOUNT, "there is no such account")
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY) from None
        self._must_be_open(person)
        rights = self._rights.rights_of(groups | {person.ref.sid}, realm.forest)
        withheld = unearned(rights, via)
        return Actor(
            sid=person.ref.sid,
            name=f"{realm.forest.value.upper()}\\{person.ref.name}",
            forest=realm.forest,
            groups=groups,
            rights=rights - withheld,
            via=via,
            withheld=withheld,
        )

    def _must_be_the_one(self, actor: Actor, rid: int) -> None:
        """A name can be made to look like another account's, to the KDC or to the directory (CVE-2020-25717); the PAC cannot."""
        if actor.sid.rid != rid:
            self._audit_failure(actor.name, "the PAC belongs to another account")
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY)

    def _must_be_open(self, person: Person) -> None:
        """A PAM user's PRIV account sleeps between grants, and does not sign in then."""
        if not person.open_at(self._now()):
            self._audit_failure(person.ref.name, "the account is disabled or expired")
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY)

    @staticmethod
    def _known(realm: Realm | None, name: str) -> str:
        """The name as the directory has it, for the audit."""
        if realm is None or not name:
            return UNKNOWN_ACCOUNT
        try:
            return f"{realm.forest.value.upper()}\\{realm.directory.find_person(name).ref.name}"
        except BastideError:
            return UNKNOWN_ACCOUNT

    def _audit_failure(self, account: str, cause: str) -> None:
        """Best effort: a sign-in that failed changes nothing, so a database that is down must not change the answer."""
        try:
            with self._store.write() as uow:
                uow.audit.append(
                    Event("session.refused", self._now(), "", account[:256], data={"cause": cause})
                )
                uow.commit()
        except BastideError:
            return


def unearned(rights: Collection[Right], via: str) -> frozenset[Right]:
    """The rights that this way to sign in gives only with a second factor: with a password all but USE."""
    return frozenset() if via == KERBEROS else frozenset(rights) - {Right.USE}


def _proof_of(uow: UnitOfWork, session: Session) -> MfaProof | None:
    """The second factor a session holds, unless it was taken away since."""
    if session.mfa_at is None:
        return None
    user = uow.users.by_sid(session.sid)
    person = user.priv.sid if user is not None else session.sid
    if not any(factor.confirmed and factor.id == session.mfa_factor for factor in uow.factors.of(person)):
        return None
    return MfaProof(session.mfa_method, session.mfa_factor, session.mfa_at)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
