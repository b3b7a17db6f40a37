"""Second factors, security keys with what they are asked, invitations to register one, and sign-ins. Secrets come sealed, codes and tokens
as hashes.
"""

import hashlib
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.ids import Sid
from bastide.services.signin import Challenge, Factor, Invitation, SecurityKey, Session
from bastide.store import tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session as DatabaseSession
from bastide.store.statements import one_of

_FACTOR = Document(Factor)
_KEY = Document(SecurityKey)
_CHALLENGE = Document(Challenge)
_INVITATION = Document(Invitation)
_SESSION = Document(Session)
_f = tables.factors.c
_k = tables.security_keys.c
_c = tables.challenges.c
_i = tables.invitations.c
_s = tables.sessions.c

_INSERT_FACTOR = insert(tables.factors)
_UPDATE_FACTOR = update(tables.factors).where(_f.id == bindparam("id_")).values(doc=bindparam("doc"))
_DELETE_FACTOR = delete(tables.factors).where(_f.id == bindparam("id"))
_FACTORS_OF = select(_f.doc).where(_f.person == bindparam("person")).order_by(_f.id)
_INSERT_KEY = insert(tables.security_keys)
_UPDATE_KEY = update(tables.security_keys).where(_k.id == bindparam("id_")).values(doc=bindparam("doc"))
_DELETE_KEY = delete(tables.security_keys).where(_k.id == bindparam("id"))
_KEYS_OF = select(_k.doc).where(_k.person == bindparam("person"))
_INSERT_CHALLENGE = insert(tables.challenges)
_TAKE_CHALLENGE = delete(tables.challenges).where(_c.id == bindparam("id")).returning(_c.doc)
_OTHERS = select(_c.id).where(_c.person == bindparam("person")).order_by(_c.expires_at.desc(), _c.id)
_FORGET_CHALLENGES = delete(tables.challenges).where(
    or_(_c.expires_at <= bindparam("now"), one_of(_c.id, "ids"))
)
_INVITATION_OF = select(_i.doc).where(_i.person == bindparam("person"))
_TAKE = delete(tables.invitations).where(_i.person == bindparam("person")).returning(_i.doc)
_sqlite_invite = sqlite_insert(tables.invitations)
_postgres_invite = postgres_insert(tables.invitations)
_INVITE = {
    "sqlite": _sqlite_invite.on_conflict_do_update(
        index_elements=["person"], set_={"doc": _sqlite_invite.excluded.doc}
    ),
    "postgresql": _postgres_invite.on_conflict_do_update(
        index_elements=["person"], set_={"doc": _postgres_invite.excluded.doc}
    ),
}
_INSERT_SESSION = insert(tables.sessions)
_SESSION_OF = select(_s.doc).where(_s.token_hash == bindparam("token_hash"))
_UPDATE_SESSION = (
    update(tables.sessions).where(_s.token_hash == bindparam("token_hash_")).values(doc=bindparam("doc"))
)
_OPEN_SESSIONS = select(_s.doc).where(_s.expires_at > bindparam("now")).order_by(_s.expires_at)
_END_SESSION = delete(tables.sessions).where(_s.token_hash == bindparam("token_hash"))
_FORGET_SESSIONS = delete(tables.sessions).where(_s.expires_at <= bindparam("now"))


class SqlFactors:
    """What people sign in with, beside their passwords."""

    def __init__(self, session: DatabaseSession) -> None:
        self._session = session

    def add(self, factor: Factor) -> None:
        """Raises Conflict if its id is taken."""
        row = {"id": factor.id, "person": str(factor.person), "doc": _FACTOR.dump(factor)}
        self._session.run(_INSERT_FACTOR, row)

    def save(self, factor: Factor) -> None:
        """Raises NotFound."""
        row = {"id_": factor.id, "doc": _FACTOR.dump(factor)}
        if self._session.run(_UPDATE_FACTOR, row).rowcount != 1:
            raise NotFound("this second factor is gone")

    def of(self, person: Sid) -> tuple[Factor, ...]:
        """All of a person's, confirmed or not."""
        rows = self._session.run(_FACTORS_OF, {"person": str(person)})
        return tuple(_FACTOR.load(row.doc) for row in rows)

    def remove(self, id: str) -> None:  # noqa: A002
        """Raises NotFound."""
        if self._session.run(_DELETE_FACTOR, {"id": id}).rowcount != 1:
            raise NotFound("this second factor is gone")

    def add_key(self, key: SecurityKey) -> None:
        """Raises Conflict if it is registered already, for whomever."""
        row = {
            "id": key.id,
            "person": str(key.person),
            "credential_hash": hashlib.sha256(key.credential).hexdigest(),
            "doc": _KEY.dump(key),
        }
        try:
            self._session.run(_INSERT_KEY, row)
        except Conflict as error:
            raise Conflict("this security key is registered already") from error

    def save_key(self, key: SecurityKey) -> None:
        """Raises NotFound."""
        if self._session.run(_UPDATE_KEY, {"id_": key.id, "doc": _KEY.dump(key)}).rowcount != 1:
            raise NotFound("this security key is gone")

    def keys_of(self, person: Sid) -> tuple[SecurityKey, ...]:
        """By the time of their registration."""
        rows = self._session.run(_KEYS_OF, {"person": str(person)})
        return tuple(sorted((_KEY.load(row.doc) for row in rows), key=lambda key: (key.created_at, key.id)))

    def remove_key(self, id: str) -> None:  # noqa: A002
        """Raises NotFound."""
        if self._session.run(_DELETE_KEY, {"id": id}).rowcount != 1:
            raise NotFound("this security key is gone")

    def challenge(self, challenge: Challenge, *, now: datetime, most: int) -> None:
        """Forgets what is over by `now`, and of the person's others all but the newest, so that there are at most `most`."""
        others = [row.id for row in self._session.run(_OTHERS, {"person": str(challenge.person)})]
        self._session.run(_FORGET_CHALLENGES, {"now": micros(now), "ids": others[most - 1 :]})
        row = {
            "id": challenge.id,
            "person": str(challenge.person),
            "expires_at": micros(challenge.expires_at),
            "doc": _CHALLENGE.dump(challenge),
        }
        self._session.run(_INSERT_CHALLENGE, row)

    def take_challenge(self, id: str) -> Challenge | None:  # noqa: A002
        """Read and delete: single use, whatever comes of it."""
        row = self._session.run(_TAKE_CHALLENGE, {"id": id}).first()
        return None if row is None else _CHALLENGE.load(row.doc)

    def invite(self, invitation: Invitation) -> None:
        """In place of an earlier invitation of the same person."""
        row = {"person": str(invitation.person), "doc": _INVITATION.dump(invitation)}
        self._session.run(_INVITE[self._session.dialect], row)

    def invitation(self, person: Sid) -> Invitation | None:
        """Read, and leave it there."""
        row = self._session.run(_INVITATION_OF, {"person": str(person)}).first()
        return None if row is None else _INVITATION.load(row.doc)

    def take_invitation(self, person: Sid) -> Invitation | None:
        """Read and delete: single use, whatever comes of it."""
        row = self._session.run(_TAKE, {"person": str(person)}).first()
        return None if row is None else _INVITATION.load(row.doc)

    def add_session(self, session: Session) -> None:
        """Also forgets the sessions that were over when this one began."""
        self._session.run(_FORGET_SESSIONS, {"now": micros(session.created_at)})
        row = {
            "token_hash": session.token_hash,
            "expires_at": micros(session.expires_at),
            "doc": _SESSION.dump(session),
        }
        self._session.run(_INSERT_SESSION, row)

    def session(self, token_hash: str) -> Session | None:
        """As it was added; whether it is over is the caller's to see."""
        row = self._session.run(_SESSION_OF, {"token_hash": token_hash}).first()
        return None if row is None else _SESSION.load(row.doc)

    def save_session(self, session: Session) -> None:
        """In place of what it was; gone already is fine."""
        row = {"token_hash_": session.token_hash, "doc": _SESSION.dump(session)}
        self._session.run(_UPDATE_SESSION, row)

    def open_sessions(self, now: datetime) -> tuple[Session, ...]:
        """Everybody's that are not over by then."""
        rows = self._session.run(_OPEN_SESSIONS, {"now": micros(now)})
        return tuple(_SESSION.load(row.doc) for row in rows)

    def end_session(self, token_hash: str) -> None:
        """Gone already is fine."""
        self._session.run(_END_SESSION, {"token_hash": token_hash})
