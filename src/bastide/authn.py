"""Who is calling: Kerberos (SPNEGO), password, a token of an OIDC issuer, or a session, made into a domain Actor. Knows no web framework.

Rights come from group membership, read from the directory at every sign-in, never from the caller. From a CORP sign-in come USE, APPROVE and the
two of the help desk at most: whoever owns CORP must not own Bastide. A password alone, or a token, gives USE; a second
factor adds the rest.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bastide.domain.audit import Event
from bastide.domain.errors import (
    Ambiguous,
    BastideError,
    DirectoryUnavailable,
    InvalidInput,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
)
from bastide.domain.ids import Sid
from bastide.domain.people import KERBEROS, OIDC, PASSWORD, TOKEN, Actor, Forest, MfaProof, Right, require
from bastide.services import sessions
from bastide.services.ports import Directory, Person, Random, Store, UnitOfWork
from bastide.services.signin import Acceptor, Identified, Naming, PasswordChecker, Session, TokenReader

_log = logging.getLogger(__name__)
SHORTEST_TOKEN, LONGEST_TOKEN = timedelta(minutes=1), timedelta(hours=1)
#: People type passwords into the field for the account: what names nobody is not written down.
UNKNOWN_ACCOUNT = "unknown account"
_TOKEN_BYTES = 32
#: Refused sign-ins that name nobody, and are on record one by one, within SPAN. Tickets and tokens that are junk cost their sender nothing, and
#: a record stays for ever.
UNNAMED, SPAN = 100, timedelta(minutes=15)
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
    browsers: frozenset[Sid] = frozenset()
    setters: frozenset[Sid] = frozenset()

    def rights_of(self, sids: Collection[Sid], forest: Forest) -> frozenset[Right]:
        """Everybody may ask; the rest comes from groups, and two of the rights from PRIV alone."""
        sids = frozenset(sids)
        rights = {Right.USE}
        if sids & self.approvers:
            rights.add(Right.APPROVE)
        if sids & (self.browsers | self.setters):
            rights.add(Right.BROWSE)
        if sids & self.setters:
            rights.add(Right.SET)
        if forest is Forest.PRIV and sids & self.administrators:
            rights.add(Right.ADMINISTER)
        if forest is Forest.PRIV and sids & self.auditors:
            rights.add(Right.AUDIT)
        return frozenset(rights)

    def administering(self) -> frozenset[Sid]:
        """The groups that give the right to administer."""
        return self.administrators


class Rights(Protocol):
    """Which rights the groups of a caller give."""

    def administering(self) -> frozenset[Sid]:
        """The groups that give the right to administer; one that is not found is left out."""

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
        browsers: Sequence[str] = (),
        setters: Sequence[str] = (),
    ) -> None:
        self._directories = directories
        self._names = tuple(map(tuple, (administrators, auditors, approvers, browsers, setters)))
        self._known: dict[str, Sid] = {}

    def rights_of(self, sids: Collection[Sid], forest: Forest) -> frozenset[Right]:
        """Raises DirectoryUnavailable."""
        return RightsTable(*(frozenset(self._resolve(names)) for names in self._names)).rights_of(
            sids, forest
        )

    def administering(self) -> frozenset[Sid]:
        """What is not found, or does not answer, is left out."""
        return frozenset(self._resolve(self._names[0]))

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


class _Unnamed:
    """Counts refused sign-ins that name nobody. In memory of one node, as the throttle of passwords."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = datetime.min.replace(tzinfo=UTC)
        self._recorded = self._unrecorded = 0

    def record(self, now: datetime) -> Mapping[str, object] | None:
        """What the record of another one holds; None: there is none of it, it is counted."""
        with self._lock:
            if now - self._began >= SPAN:
                self._began, self._recorded = now, 0
            if self._recorded == UNNAMED:
                if not self._unrecorded:
                    _log.warning("more than %d refused sign-ins that name nobody: counted from here", UNNAMED)
                self._unrecorded += 1
                return None
            before, self._unrecorded = self._unrecorded, 0
            self._recorded += 1
            return {"before": before} if before else {}


class Authenticator:
    """Makes Actors. Every failure gives the same answer; the audit has the cause."""

    def __init__(
        self,
        *,
        realms: Mapping[Forest, Realm],
        rights: Rights,
        acceptor: Acceptor | None,
        tokens: TokenReader | None = None,
        store: Store,
        random: Random,
        session_life: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._realms = realms
        self._rights = rights
        self._acceptor = acceptor
        self._tokens = tokens
        self._store = store
        self._random = random
        self._session_life = session_life
        self._now = now
        self._unnamed = _Unnamed()

    @property
    def takes_issued(self) -> bool:
        """Whether there is an issuer whose tokens are taken."""
        return self._tokens is not None

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

    def issued(self, token: str) -> Actor:
        """A caller with a token of the OIDC issuer. Raises NotAuthenticated, DirectoryUnavailable, IssuerUnavailable.

        It says who, in the forest that the issuer speaks for. A second factor that it tells of counts as long as one in a session would.
        """
        try:
            if self._tokens is None:
                raise NotAuthenticated("a token, and no issuer is configured")  # noqa: TRY301  # audited as the others
            said = self._tokens.read(token)
            realm = self._realms[self._tokens.forest]
            sid = _named(realm, said)
        except NotAuthenticated as error:
            self._audit_failure("", error.message)
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY) from None
        actor, at = self._actor(realm, sid, via=OIDC), said.second_factor_at
        if at is None or self._now() - at > self._session_life:
            return actor
        return actor.proved(MfaProof(OIDC, said.second_factor, at))

    def open_session(self, actor: Actor, *, address: str = "", agent: str = "") -> str:
        """A token for further calls. Only its hash is stored, and where it was opened from."""
        now = self._now()
        session = _session_of(actor, now, self._session_life, address, agent)
        return self._keep(session, {"via": actor.via})

    def open_token(
        self, actor: Actor, *, life: timedelta, rights: Collection[Right], address: str = "", agent: str = ""
    ) -> str:
        """A token for a program, in exchange for a ticket: a session that gives less, and is listed and ended as one. In order:

        (1) For the ticket that came with the call, and for no password, session or token: none makes itself live longer.
        (2) It lives for a minute to an hour.
        (3) It gives only the rights that are named, and only such as the caller has now; later, only such as the caller has then.
        (4) Only its hash is stored. That it was opened, with what rights and until when, is on record.

        Raises NotAuthorized, InvalidInput.
        """
        if actor.via != KERBEROS or actor.held:  # (1)
            raise NotAuthorized(
                "a token is given for a Kerberos ticket, not for a password, a session or another token",
                remedy="send the call with a ticket",
            )
        if not SHORTEST_TOKEN <= life <= LONGEST_TOKEN:  # (2)
            raise InvalidInput("minutes", "is 1 to 60")
        if not rights:
            raise InvalidInput("rights", "a token without a right opens nothing")
        for right in rights:  # (3)
            require(actor, right)
        now = self._now()
        session = _session_of(actor, now, life, address, agent)
        session = replace(session, via=TOKEN, rights=frozenset(rights))
        said = {"via": TOKEN, "rights": sorted(rights), "until": session.expires_at.isoformat()}
        return self._keep(session, said)  # (4)

    def _keep(self, session: Session, said: Mapping[str, object]) -> str:
        token = self._random.token(_TOKEN_BYTES).hex()
        with self._store.write() as uow:
            uow.factors.add_session(replace(session, token_hash=sessions.digest(token)))
            data = {**said, "address": session.address} if session.address else said
            uow.audit.append(
                Event("session.opened", session.created_at, session.sid, session.name, data=data)
            )
            uow.commit()
        return token

    def session(self, token: str) -> Actor:
        """The caller of an open session; groups and rights are read anew, and its second factor counts while it is registered.

        Raises NotAuthenticated, DirectoryUnavailable.
        """
        with self._store.read() as uow:
            session = uow.factors.session(sessions.digest(token))
            proof = _proof_of(uow, session) if session is not None else None
        if session is None or session.expires_at <= self._now():
            raise NotAuthenticated("the session is over", remedy="sign in again")
        realm = self._realms.get(session.forest)
        if realm is None:
            raise NotAuthenticated("the session is over", remedy="sign in again")
        actor = self._actor(realm, session.sid, via=session.via).proved(proof)
        actor = replace(actor, held=True)
        if session.rights is not None:
            actor = replace(
                actor, rights=actor.rights & session.rights, withheld=actor.withheld & session.rights
            )
        sessions.use(self._store, session, self._now())
        return actor

    def keep_proof(self, token: str, proof: MfaProof) -> None:
        """Let a session hold a second factor that was shown in it. One that is over by now is fine."""
        with self._store.write() as uow:
            session = uow.factors.session(sessions.digest(token))
            if session is None:
                return
            uow.factors.save_session(
                replace(session, mfa_method=proof.method, mfa_factor=proof.factor, mfa_at=proof.at)
            )
            uow.commit()

    def end_session(self, token: str) -> None:
        """End a session; one that is over already is fine."""
        with self._store.write() as uow:
            session = uow.factors.session(sessions.digest(token))
            if session is None:
                return
            uow.factors.end_session(sessions.digest(token))
            uow.audit.append(
                Event("session.closed", self._now(), session.sid, session.name, data={"how": "signed out"})
            )
            uow.commit()

    def administers(self, account: Sid) -> bool:
        """Whether an account has the right to administer now, apart from any sign-in: it is open, and in the group. Raises DirectoryUnavailable."""
        realm = self._realms[Forest.PRIV]
        try:
            person, groups = realm.directory.find_caller(account)
        except NotFound:
            return False
        rights = self._rights.rights_of(groups | {person.ref.sid}, realm.forest)
        return person.open_at(self._now()) and Right.ADMINISTER in rights

    def administrators(self) -> frozenset[Sid]:
        """Who has the right to administer now, by `administers`. Raises DirectoryUnavailable."""
        directory = self._realms[Forest.PRIV].directory
        found: set[Sid] = set()
        for group in self._rights.administering():
            with suppress(NotFound):
                found.update(person.ref.sid for person in directory.people_in(group))
        return frozenset(sid for sid in found if self.administers(sid))

    def _actor(self, realm: Realm, name: str, *, via: str) -> Actor:
        try:
            person, groups = realm.directory.find_caller(name)
        except NotFound:
            self._audit_failure(UNKNOWN_ACCOUNT, "there is no such account")
            raise NotAuthenticated(_SAME_ANSWER, remedy=_REMEDY) from None
        self._must_be_open(person)
        rights = self._rights.rights_of(groups | {person.ref.sid}, realm.forest)
        withheld = unearned(rights, via, realm.forest)
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
        more = {} if account else self._unnamed.record(self._now())
        if more is None:
            return
        try:
            with self._store.write() as uow:
                uow.audit.append(
                    Event("session.refused", self._now(), "", account[:256], data={"cause": cause, **more})
                )
                uow.commit()
        except BastideError:
            return


def _session_of(actor: Actor, now: datetime, life: timedelta, address: str, agent: str) -> Session:
    """Without its token yet."""
    return Session(
        token_hash="",
        sid=actor.sid,
        name=actor.name,
        forest=actor.forest,
        via=actor.via,
        created_at=now,
        expires_at=now + life,
        mfa_method=actor.mfa.method if actor.mfa else "",
        mfa_factor=actor.mfa.factor if actor.mfa else "",
        mfa_at=actor.mfa.at if actor.mfa else None,
        address=address,
        agent=agent,
    )


def _named(realm: Realm, said: Identified) -> Sid:
    """The account that has that name by the attribute that was said: a directory finds one by others too. Raises NotAuthenticated."""
    try:
        person = realm.directory.find_person(said.account)
    except (NotFound, Ambiguous, InvalidInput):
        raise NotAuthenticated("a token that names no account, or several") from None
    names = {Naming.SID: person.ref.sid, Naming.UPN: person.upn, Naming.NAME: person.ref.name}
    if names[said.naming].casefold() != said.account.casefold():
        raise NotAuthenticated("a token whose account is found by another name only")
    return person.ref.sid


def unearned(rights: Collection[Right], via: str, forest: Forest) -> frozenset[Right]:
    """The rights that this way to sign in gives only with a second factor: without a ticket all but USE; with one of CORP, to set others' passwords."""
    if via not in {KERBEROS, TOKEN}:
        return frozenset(rights) - {Right.USE}
    return frozenset({Right.SET}) & frozenset(rights) if forest is Forest.CORP else frozenset()


def _proof_of(uow: UnitOfWork, session: Session) -> MfaProof | None:
    """The second factor a session holds, unless it was taken away since."""
    if session.mfa_at is None:
        return None
    user = uow.users.by_sid(session.sid)
    person = user.priv.sid if user is not None else session.sid
    held = session.mfa_factor
    there = any(factor.confirmed and factor.id == held for factor in uow.factors.of(person))
    if not there and not any(key.id == held for key in uow.factors.keys_of(person)):
        return None
    return MfaProof(session.mfa_method, held, session.mfa_at)
