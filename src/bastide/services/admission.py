"""Who may register a second factor. Here a stolen CORP password would win, so that, in order:

  (0) A token for a program registers none, whatever comes with it: an administrator's could invite itself, and make of an hour what lasts.
  (1) Whoever has a second factor here shows it for another one: no ticket, no invitation and nobody else's word adds one beside it. Asked again when
      an authenticator shows its first code: it may have been made when there was none.
  (2) The first one takes a one-time invitation from an administrator, which is used up by trying it, whatever comes of it;
  (3) or a ticket of the PRIV account. In one forest every account is an everyday one, as far as the name of its forest tells.

Argon2 takes its time on purpose, so it runs before the transaction and never in it: the write lock is one for all.
"""

from collections.abc import Callable, Collection
from datetime import datetime

from bastide.domain.errors import MfaRefused, NotAuthorized
from bastide.domain.ids import Sid
from bastide.domain.people import KERBEROS, TOKEN, Actor, Forest, is_fresh
from bastide.services.events import by_actor
from bastide.services.ports import CodeHasher, Store, UnitOfWork


def registered(uow: UnitOfWork, person: Sid) -> frozenset[str]:
    """The ids of the second factors that a person has here."""
    codes = {factor.id for factor in uow.factors.of(person) if factor.confirmed}
    return frozenset(codes | {key.id for key in uow.factors.keys_of(person)})


def require_own(held: Collection[str], actor: Actor, now: datetime) -> None:
    """A fresh proof by one of these: what an issuer says of a factor of its own changes nothing here. Raises MfaRefused."""
    if actor.mfa is None or not is_fresh(actor.mfa, now) or actor.mfa.factor not in held:
        raise MfaRefused(
            "your second factors are added and taken away with one of them",
            remedy="show a code or use a security key first; if both are lost, ask an administrator for `bastide mfa reset`",
        )


class Admission:
    """Lets somebody register, or refuses."""

    def __init__(
        self, *, store: Store, hasher: CodeHasher, now: Callable[[], datetime], single_forest: bool
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._now = now
        self._everyday = single_forest

    def admit(self, actor: Actor, person: Sid, invitation: str) -> None:
        """Raises NotAuthorized, MfaRefused."""
        if actor.via == TOKEN:  # (0)
            raise NotAuthorized(
                "a token for a program registers no second factor", remedy="send the call with a ticket"
            )
        with self._store.read() as uow:
            held = registered(uow, person)
        if held:
            require_own(held, actor, self._now())  # (1)
        elif invitation:
            if not self._redeem(actor, person, invitation):  # (2)
                raise self._refusal()
        elif not self._has_ticket(actor, person):  # (3)
            raise self._refusal()

    def _has_ticket(self, actor: Actor, person: Sid) -> bool:
        """A dormant account has none, and a password alone is not enough."""
        own = actor.sid == person and actor.forest is Forest.PRIV
        return own and actor.via == KERBEROS and not self._everyday

    def _redeem(self, actor: Actor, person: Sid, code: str) -> bool:
        """Whether it was the one that is stored, which is gone afterwards in any case."""
        with self._store.read() as uow:
            seen = uow.factors.invitation(person)
        fits = seen is not None and self._hasher.matches(seen.code_hash, code)
        with self._store.write() as uow:
            now = self._now()
            taken = uow.factors.take_invitation(person)
            good = fits and taken is not None and taken == seen and taken.expires_at > now
            if not good:
                uow.audit.append(by_actor("mfa.invitation-refused", now, actor))
            uow.commit()
        return good

    @staticmethod
    def _refusal() -> NotAuthorized:
        return NotAuthorized(
            "a second factor is registered with a ticket of the PRIV account, or with an invitation",
            remedy="ask an administrator for `bastide mfa invite`; a code that was mistyped is used up",
        )
