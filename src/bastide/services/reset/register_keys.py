"""Security keys are registered for resets, by the signed-in person, and taken away. They are keys of their own: they sign nobody in, so that a password is enough to
register one, where a key of sign-ins takes an invitation. In order:

(1) The password is shown again, as for everything that is registered (register.py).
(2) What the key is asked counts for this session, this person and this alone, a quarter of an hour, and is used up by trying.
(3) The answer counts (domain/webauthn.py): our page and no other, this question, somebody verified by PIN, finger or face. The key keeps what it is registered for, so
    that a reset needs no list of keys (keys.py).
(4) It is sealed to the person. A person has at most five, each once, each with a name of its own.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from bastide.domain import webauthn
from bastide.domain.errors import Conflict, InvalidInput, MfaRefused, NotFound
from bastide.domain.ids import parse_name
from bastide.domain.people import Actor
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.letters import Letter
from bastide.domain.webauthn import Descriptor, NewKey, RelyingParty
from bastide.services.events import by_actor
from bastide.services.ports import Random, Sealer, Store
from bastide.services.reset.contents import Contents, Key, seal, unseal
from bastide.services.reset.keys import CHALLENGE_BYTES
from bastide.services.reset.registered import Registered, gates_of

MOST = 5
NAME_LIMIT = 60


class ResetKeys:
    """The use cases. `session`: the token that the call came with."""

    def __init__(
        self,
        *,
        store: Store,
        registered: Registered,
        sealer: Sealer,
        random: Random,
        party: RelyingParty | None,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._registered = registered
        self._sealer = sealer
        self._random = random
        self._party = party
        self._now = now

    def ask(self, actor: Actor, session: str, name: str, password: str) -> str:
        """What the browser asks a new key, as JSON. Raises NotAuthenticated, NotAuthorized, InvalidInput, Conflict."""
        found = self._registered.shown_again(actor, password)  # (1)
        if Gate.KEY not in gates_of(found):
            raise Conflict("no reset of yours asks for that", remedy="the page shows what is asked for")
        party, called, challenge = (
            webauthn.needed(self._party),
            _named(name),
            self._random.token(CHALLENGE_BYTES),
        )
        with self._store.write() as uow:
            now = self._now()
            held = uow.resets.registration(actor.sid)
            keys = () if held is None else unseal(self._sealer, held.person, held.sealed).keys
            _room(keys, called)
            uow.resets.put_draft(self._registered.draft(actor, session, Gate.KEY, f"{challenge.hex()}\n{called}", now))  # fmt: skip
            uow.audit.append(by_actor("reset.registering", now, actor, data={"gate": Gate.KEY.value}))
            uow.commit()
        return webauthn.to_register(
            party,
            person=_handle(actor),
            account=f"{found.person.ref.name} (password reset)",
            challenge=challenge,
            known=[Descriptor(bytes.fromhex(key.credential)) for key in keys],
            kept=True,
        )

    def register(self, actor: Actor, session: str, credential: Mapping[str, Any], address: str) -> None:
        """`credential`: what the browser gave. Raises InvalidInput if it does not count, Conflict if nothing waits for a key."""
        found = self._registered.may(actor)
        with self._store.write() as uow:
            draft, challenge, name = self._registered.waiting(uow, actor, session, Gate.KEY, self._now())
            uow.resets.remove_draft(draft.id)  # (2)
            uow.commit()
        made = self._made(bytes.fromhex(challenge), credential)  # (3)

        def more(contents: Contents) -> Contents:
            """(4)"""
            _room(contents.keys, name)
            if any(key.credential == made.id.hex() for key in contents.keys):
                raise Conflict("this security key is registered already")
            key = Key(name, made.id.hex(), made.public_key.hex(), made.sign_count, made.backed_up)
            return replace(contents, keys=(*contents.keys, key))

        with self._store.write() as uow:
            now = self._now()
            self._registered.keep(uow, found, Gate.KEY, more, address, now=now)
            uow.audit.append(by_actor("reset.registered", now, actor, data={"gate": Gate.KEY.value}))
            uow.commit()

    def remove(self, actor: Actor, name: str, password: str) -> None:
        """Take one away; resets under way do not get through with it any more. Raises NotAuthenticated, NotFound."""
        self._registered.shown_again(actor, password)
        with self._store.write() as uow:
            held = uow.resets.registration(actor.sid)
            contents = Contents() if held is None else unseal(self._sealer, held.person, held.sealed)
            left = tuple(key for key in contents.keys if key.name != name)
            if held is None or left == contents.keys:
                raise NotFound("you have no such security key")
            gates = held.gates if left else tuple(gate for gate in held.gates if gate is not Gate.KEY)
            sealed = seal(self._sealer, held.person, replace(contents, keys=left))
            uow.resets.register(replace(held, sealed=sealed, gates=gates))
            now = self._now()
            self._registered.tell(uow, held.person, Letter.REMOVED, name, contents, now)
            uow.audit.append(by_actor("reset.key-removed", now, actor, subject=actor.sid, subject_name=actor.name))  # fmt: skip
            uow.commit()

    def _made(self, challenge: bytes, credential: Mapping[str, Any]) -> NewKey:
        try:
            return webauthn.registered(webauthn.needed(self._party), challenge, credential)
        except MfaRefused as error:
            raise InvalidInput("security key", error.message, remedy="begin anew on this page") from None


def _named(name: str) -> str:
    called = parse_name("name", name)
    if len(called) > NAME_LIMIT:
        raise InvalidInput("name", f"has {len(called)} characters; the limit is {NAME_LIMIT}")
    return called


def _room(keys: tuple[Key, ...], name: str) -> None:
    if len(keys) >= MOST:
        raise Conflict(f"you have {len(keys)} security keys; the limit is {MOST}", remedy="remove one first")
    if any(key.name.casefold() == name.casefold() for key in keys):
        raise Conflict("you have a security key of that name already", remedy="choose another name")


def _handle(actor: Actor) -> bytes:
    """Stands for the person on the key. Another one than that of sign-ins: a key keeps one entry for each, and a second with the same would take the place of the first."""
    return hashlib.sha256(f"bastide reset key\0{actor.sid}".encode()).digest()
