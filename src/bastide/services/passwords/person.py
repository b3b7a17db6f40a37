"""One password for several accounts of one person, ordered by somebody: the help desk, or the person after a reset. Who may is the caller's business.

    operation = person.set_for(mv, [cs, ...], new, must_change=False, unlock=True, by=By(...), reason="...")
    person.operation(operation).outcomes        # one for each account, as far as it has come; `over` when nothing is on its way any more

An order is delivered as any other change (deliver.py): one delivery for each account, with the retries of its agent, in the order of that account's
changes, its password sealed until it is over. What a domain tells of such a write is an echo and goes no further (domain/passwords.py), so the accounts
that were not chosen keep what they have.

`set_for`, in order:

  (1) The password can be one: not empty, no longer than what Active Directory takes, no half character. What each target thinks of it, it says itself.
  (2) All accounts are this person's, and each can be set now (`Account.hindrance`); otherwise nothing is set at all.
  (3) Synchronization is on, and the vault is the database's.
  (4) The key is in the vault before one commit holds the order, its deliveries, the audit record, the work rows, and what the caller adds (`within`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from bastide.domain.audit import Event
from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.joins import CONNECTED
from bastide.domain.management_agents import CsId, CsObject, ManagementAgent, MvId, MvObject, Operation
from bastide.domain.passwords import (
    LONGEST,
    Change,
    Code,
    Delivery,
    Purpose,
    Receipt,
    Stamp,
    State,
    context_of,
)
from bastide.domain.people import Actor
from bastide.services.pace import PASSWORD
from bastide.services.passwords.explain import outcome
from bastide.services.passwords.ports import Envelope, Vault
from bastide.services.passwords.queue import bare
from bastide.services.passwords.switch import require_own_vault
from bastide.services.ports import Random, Store, UnitOfWork

_KEY_BYTES = 32
_TICK = timedelta(microseconds=1)
#: Of the attributes of a person, the first that has a value is the name.
_NAMES = ("displayName", "cn", "accountName", "sAMAccountName", "uid", "mail")
#: More in the same commit: of the unit of work and the id of the operation. What it raises undoes everything.
Within = Callable[[UnitOfWork, str], None]


@dataclass(frozen=True, slots=True)
class By:
    """Who orders it, as the audit has it."""

    id: str
    name: str
    via: str = ""

    @classmethod
    def actor(cls, actor: Actor) -> Self:
        """An authenticated caller."""
        return cls(actor.sid, actor.name, actor.via)


@dataclass(frozen=True, slots=True)
class Account:
    """One account of a person. `hindrance`: why its password cannot be set now; empty: it can. The others: the same for a change with the old one, and for
    taking a lock away.
    """

    object: CsObject
    agent: str
    hindrance: str
    change_hindrance: str
    unlock_hindrance: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of one account. `code` None: it has not been tried. `words`: a sentence for people; no password is in it."""

    account: CsId
    dn: str
    agent: str
    state: State
    code: Code | None
    attempts: int
    words: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order and what has become of it. `over`: no account waits for it any more."""

    id: str
    person: str
    name: str
    purpose: Purpose
    by: str
    reason: str
    at: datetime
    outcomes: tuple[Outcome, ...]

    @property
    def over(self) -> bool:
        """Whether all outcomes are final."""
        return all(one.state is not State.PENDING for one in self.outcomes)


class PersonPasswords:
    """The use cases. Nothing that is handed out holds a password."""

    def __init__(
        self, *, store: Store, vault: Vault, envelope: Envelope, random: Random, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._vault = vault
        self._envelope = envelope
        self._random = random
        self._now = now

    def accounts(self, person: MvId) -> tuple[Account, ...]:
        """What the person has in connected systems, by the agents' names. Raises NotFound."""
        with self._store.read() as uow:
            return accounts_of(uow, uow.metaverse.get(person).id)

    def set_for(
        self,
        person: MvId,
        accounts: Collection[CsId],
        new: str,
        *,
        must_change: bool,
        unlock: bool,
        by: By,
        reason: str,
        within: Within | None = None,
    ) -> str:
        """The id of the operation, which `operation` knows. Raises InvalidInput, NotFound, Conflict, StoreUnavailable; and what `within` raises."""
        require_fit(new)  # (1)
        now, id_ = self._now(), self._random.uuid()
        key = self._random.token(_KEY_BYTES)
        with self._store.write() as uow:
            mark = uow.audit.head()
            owner = uow.metaverse.get(person)
            chosen = chosen_of(accounts_of(uow, owner.id), accounts)  # (2)
            for one in chosen:
                if one.hindrance:
                    raise Conflict(f"{one.object.dn} in {one.agent}: {one.hindrance}; nothing was set")
            if not uow.switch.enabled():  # (3)
                raise Conflict(
                    "password synchronization is switched off, so nothing would be set",
                    remedy="an administrator switches it on: `bastide passwords enable`",
                )
            require_own_vault(uow, self._vault)
            order = order_of(id_, owner, Purpose.SET, by, reason, now)
            drafts = [
                replace(
                    draft_of(order, one.object, self._random.uuid()), must_change=must_change, unlock=unlock
                )
                for one in chosen
            ]
            plain = new.encode()
            drafts = in_order(uow, drafts)
            sealed = [replace(d, sealed=self._envelope.seal(key, plain, context_of(d))) for d in drafts]
            uow.changes.add([order], sealed)
            uow.work.poke_many(PASSWORD, {str(one.object): now for one in sealed})
            more = {"must_change": must_change, "unlock": unlock}
            uow.audit.append(ordered_event("password.ordered", order, by, chosen, more))
            if within is not None:
                within(uow, id_)
            self._vault.put({id_: key}, mark)  # (4)
            uow.commit()
        return id_

    def operation(self, id: str) -> Ordered:  # noqa: A002  # what it is
        """An order that was given before. Raises NotFound."""
        with self._store.read() as uow:
            order = uow.changes.get(id)
            if order.purpose is Purpose.SYNC:
                raise NotFound(
                    "that is a change that a domain told of", remedy=f"`bastide passwords show {id}` shows it"
                )
            return shown(order, uow.changes.deliveries(id), names_of(uow), self._now())

    def history(self, person: MvId, *, limit: int) -> tuple[Ordered, ...]:
        """The person's orders, newest first. Raises NotFound."""
        with self._store.read() as uow:
            uow.metaverse.get(person)
            found = uow.changes.history(user=history_key(person), before=None, limit=limit)
            names, now = names_of(uow), self._now()
            return tuple(shown(order, deliveries, names, now) for order, deliveries in found)


def require_fit(password: str) -> None:
    """(1). Raises InvalidInput, without a word of the password."""
    try:
        units = len(password.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise InvalidInput("password", "holds half a character") from None
    if not 0 < units <= LONGEST:
        raise InvalidInput("password", f"has {units} characters; a password has 1 to {LONGEST}")


def accounts_of(uow: UnitOfWork, person: MvId) -> tuple[Account, ...]:
    """What is connected with a person, by the agents' names."""
    agents = {one.id: one for one in uow.agents.all()}
    found = [cs for cs in uow.space.of_mv(person) if cs.link in CONNECTED and cs.ma in agents]
    accounts = (_account(cs, agents[cs.ma]) for cs in found)
    return tuple(sorted(accounts, key=lambda one: (one.agent.casefold(), one.object.dn)))


def chosen_of(accounts: Sequence[Account], wanted: Collection[CsId]) -> tuple[Account, ...]:
    """Those of a person that were named. Raises InvalidInput for none, NotFound for one of somebody else."""
    if not wanted:
        raise InvalidInput("accounts", "name at least one account")
    known = {one.object.id: one for one in accounts}
    for id_ in wanted:
        if id_ not in known:
            raise NotFound(f"the person has no account {id_[:80]!r}", remedy="search for the person again")
    return tuple(one for id_, one in known.items() if id_ in set(wanted))


def order_of(id: str, owner: MvObject, purpose: Purpose, by: By, reason: str, now: datetime) -> Change:  # noqa: A002  # what it is
    """As it is put on record."""
    return Change(
        reference=id,
        ma=None,
        object=None,
        domain="",
        user_guid=history_key(owner.id),
        account=name_of(owner),
        stamp=Stamp(now),
        controller="",
        origin="",
        attempt=1,
        received_at=now,
        receipt=Receipt.STAGED,
        purpose=purpose,
        by=by.name,
        reason=reason,
        mv=owner.id,
    )


def draft_of(order: Change, found: CsObject, id: str) -> Delivery:  # noqa: A002  # what it is
    """To one account, with nothing sealed in it yet."""
    return Delivery(
        id=id,
        reference=order.reference,
        ma=found.ma,
        object=found.id,
        dn=found.dn,
        stamp=order.stamp,
        created_at=order.received_at,
        mv=order.mv,
        purpose=order.purpose,
    )


def in_order(uow: UnitOfWork, drafts: Sequence[Delivery]) -> list[Delivery]:
    """After all that these accounts have taken and that is on its way to them: the clock of a domain controller may be ahead of ours."""
    ids = [one.object for one in drafts]
    known = list(uow.changes.applied(ids).items())
    known += [(one.object, one.stamp) for one in uow.changes.pending(ids)]
    latest: dict[CsId, datetime] = {}
    for id_, stamp in known:
        latest[id_] = max(stamp.changed_at, latest.get(id_, stamp.changed_at))
    return [
        replace(one, stamp=Stamp(max(one.stamp.changed_at, latest[one.object] + _TICK)))
        if one.object in latest
        else one
        for one in drafts
    ]


def ordered_event(
    kind: str, order: Change, by: By, chosen: Sequence[Account], more: Mapping[str, object]
) -> Event:
    """That somebody ordered it, and for which accounts."""
    data = {"accounts": [f"{one.agent}: {one.object.dn}" for one in chosen], "reason": order.reason, **more}
    return Event(
        kind,
        order.received_at,
        by.id,
        by.name,
        order.mv,
        order.account,
        order.reference,
        {**data, "via": by.via},
    )


def shown(order: Change, deliveries: Sequence[Delivery], names: dict[str, str], now: datetime) -> Ordered:
    """For people."""
    return Ordered(
        id=order.reference,
        person=order.mv,
        name=order.account,
        purpose=order.purpose,
        by=order.by,
        reason=order.reason,
        at=order.received_at,
        outcomes=tuple(_outcomes(deliveries, names, now)),
    )


def names_of(uow: UnitOfWork) -> dict[str, str]:
    """Of agents, by id."""
    return {one.id: one.name for one in uow.agents.all()}


def name_of(person: MvObject) -> str:
    """What people call the person; the id where nothing is known."""
    return named(person.attributes) or str(person.id)


def named(attributes: Mapping[str, Sequence[str]]) -> str:
    """What these attributes call somebody; empty: nothing."""
    folded = {name.casefold(): values for name, values in attributes.items()}
    return next((values[0] for name in _NAMES if (values := folded.get(name.casefold()))), "")


def history_key(person: MvId) -> str:
    """Under which the orders of a person are found."""
    return f"person:{person}"


def _outcomes(deliveries: Sequence[Delivery], names: dict[str, str], now: datetime) -> Iterator[Outcome]:
    for one in sorted(deliveries, key=lambda one: (names.get(one.ma, one.ma).casefold(), one.dn)):
        yield Outcome(
            account=one.object,
            dn=one.dn,
            agent=names.get(one.ma, one.ma),
            state=one.state,
            code=one.code,
            attempts=one.attempts,
            words=outcome(bare(one), now),
        )


def _account(found: CsObject, agent: ManagementAgent) -> Account:
    closed = _closed(agent)
    operation = agent.passwords.operation
    no_set = "its management agent changes passwords with the old one, and sets none"
    no_change = "its management agent sets passwords, and changes none with the old one"
    return Account(
        object=found,
        agent=agent.name,
        hindrance=closed or (no_set if operation is Operation.CHANGE else ""),
        change_hindrance=closed or (no_change if operation is Operation.SET else ""),
        unlock_hindrance=closed,
    )


def _closed(agent: ManagementAgent) -> str:
    if not agent.passwords.enabled:
        return "password management is not enabled for its management agent"
    if agent.passwords.shadow:
        return "its management agent is in shadow mode, which writes nothing"
    return ""
