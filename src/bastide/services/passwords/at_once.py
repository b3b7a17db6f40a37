"""What a person waits for at several accounts of somebody: change with the old password, unlock, look. Who may is the caller's business.

None of it can be kept for later: an old password is nobody's to store, and a lock that is taken away in an hour helps nobody. So each target is asked once, all
at the same time, and what it says is the end of it.

A change, in order:

  (1) As an order (person.py) the new password can be one, and the accounts are the person's and can be changed now.
  (2) That it is asked for is on record before any target is asked, as an order whose deliveries hold nothing that could be opened.
  (3) Each target decides by its own rules: the old password, history, least age. None is asked twice: a second try with the same old password could lock.
  (4) One commit has what each said; an older password that is still on its way to an account that has the new one is over (6919).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from bastide.domain.audit import Event
from bastide.domain.errors import Conflict, StoreError
from bastide.domain.management_agents import CsId, CsObject, MaId, ManagementAgent, MvId, MvObject
from bastide.domain.passwords import Code, Delivery, Purpose, State, superseded
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.lookup import secret_of
from bastide.services.passwords.outcomes import announce, record
from bastide.services.passwords.person import (
    Account,
    By,
    Within,
    accounts_of,
    chosen_of,
    draft_of,
    in_order,
    name_of,
    order_of,
    ordered_event,
    require_fit,
)
from bastide.services.passwords.ports import (
    Attended,
    ConnectedSystems,
    EventLog,
    Look,
    PasswordTarget,
    Result,
    Security,
    Vault,
)
from bastide.services.passwords.setting import failure, spoken
from bastide.services.ports import Random, Sealer, Store

T = TypeVar("T")
_THREADS = 8
#: Characters of what a target said.
_DETAIL = 500
_CANNOT = Result(Code.SET_UNSUPPORTED, "this kind of system takes no lock away by itself: set a password")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one account that somebody waited for."""

    account: CsId
    dn: str
    agent: str
    result: Result


class AtOnce:
    """The use cases. Nothing that is handed out holds a password."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        systems: ConnectedSystems,
        sealer: Sealer,
        events: EventLog,
        random: Random,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._systems = systems
        self._sealer = sealer
        self._events = events
        self._random = random
        self._now = now
        self._eraser = Eraser(store=store, vault=vault)

    def look(self, accounts: Sequence[Account]) -> Mapping[CsId, Look]:
        """How they stand now; nothing is known of those whose system cannot say, or does not answer."""

        def looked(target: PasswordTarget, found: Sequence[CsObject]) -> Sequence[Look]:
            return target.look(found) if isinstance(target, Attended) else [Look()] * len(found)

        return self._each(accounts, looked, lambda _: Look())

    def unlock(
        self, person: MvId, accounts: Collection[CsId], *, by: By, reason: str, within: Within | None = None
    ) -> tuple[Answer, ...]:
        """Take locks away, and leave the passwords alone. Raises InvalidInput, NotFound, Conflict; and what `within` raises."""
        id_, now = self._random.uuid(), self._now()
        with self._store.write() as uow:
            owner = uow.metaverse.get(person)
            chosen = chosen_of(accounts_of(uow, owner.id), accounts)
            for one in chosen:
                if one.unlock_hindrance:
                    raise Conflict(
                        f"{one.object.dn} in {one.agent}: {one.unlock_hindrance}; nothing was done"
                    )
            asked = {"accounts": [f"{one.agent}: {one.object.dn}" for one in chosen], "reason": reason}
            uow.audit.append(_unlock_event("password.unlock-ordered", now, by, owner, id_, asked))
            if within is not None:
                within(uow, id_)
            uow.commit()

        def unlocked(target: PasswordTarget, found: Sequence[CsObject]) -> Sequence[Result]:
            return target.unlock(found) if isinstance(target, Attended) else [_CANNOT] * len(found)

        answers = _answers(chosen, self._each(chosen, unlocked, lambda result: result))
        with self._store.write() as uow:
            said = {f"{one.agent}: {one.dn}": one.result.code.value for one in answers}
            uow.audit.append(
                _unlock_event("password.unlock-ended", self._now(), by, owner, id_, {"outcomes": said})
            )
            uow.commit()
        return answers

    def change(
        self,
        person: MvId,
        accounts: Collection[CsId],
        old: str,
        new: str,
        *,
        by: By,
        reason: str,
        within: Within | None = None,
    ) -> str:
        """The id of the operation, which is over. Raises InvalidInput, NotFound, Conflict; and what `within` raises."""
        require_fit(old)  # (1)
        require_fit(new)
        now, id_ = self._now(), self._random.uuid()
        with self._store.write() as uow:
            owner = uow.metaverse.get(person)
            chosen = chosen_of(accounts_of(uow, owner.id), accounts)
            for one in chosen:
                if one.change_hindrance:
                    raise Conflict(
                        f"{one.object.dn} in {one.agent}: {one.change_hindrance}; nothing was changed"
                    )
            agents = {one.id: one for one in uow.agents.all()}
            order = order_of(id_, owner, Purpose.CHANGE, by, reason, now)
            asked = [
                replace(
                    draft_of(order, one.object, self._random.uuid()),
                    state=State.FAILED,
                    code=Code.FAILED,
                    detail=_UNANSWERED,
                )
                for one in chosen
            ]
            uow.changes.add([order], asked)  # (2)
            uow.audit.append(ordered_event("password.change-ordered", order, by, chosen, {}))
            if within is not None:
                within(uow, id_)
            uow.commit()

        def changed(target: PasswordTarget, found: Sequence[CsObject]) -> Sequence[Result]:
            return [spoken(target.change(one, old, new), [old, new]) for one in found]

        results = self._each(chosen, changed, lambda result: result, secrets=(old, new))  # (3)
        self._settle(asked, results, agents)
        return id_

    def _settle(
        self,
        asked: Sequence[Delivery],
        results: Mapping[CsId, Result],
        agents: Mapping[MaId, ManagementAgent],
    ) -> None:  # (4)
        now = self._now()
        done = [_after(one, results[one.object], now) for one in asked]
        with self._store.write() as uow:
            done = in_order(uow, done)
            taken = {one.object: one.stamp for one in done if one.state is State.DELIVERED}
            over = [superseded(one) for one in uow.changes.pending(taken.keys())]
            uow.changes.save([*done, *over])
            uow.changes.mark_applied(taken)
            uow.audit.append(*(record(one, agents.get(one.ma), now) for one in (*done, *over)))
            ended = Eraser.over(uow, {one.reference for one in over})
            head = uow.audit.head()
            uow.commit()
        self._eraser.destroy(ended, head)
        for one in (*done, *over):
            announce(self._events, one, agents.get(one.ma))

    def _each(
        self,
        accounts: Sequence[Account],
        ask: Callable[[PasswordTarget, Sequence[CsObject]], Sequence[T]],
        failed: Callable[[Result], T],
        secrets: Sequence[str] = (),
    ) -> dict[CsId, T]:
        """One connection for each system, all at the same time."""
        groups: dict[MaId, list[CsObject]] = {}
        for one in accounts:
            groups.setdefault(one.object.ma, []).append(one.object)
        if not groups:
            return {}
        with self._store.read() as uow:
            agents = {ma: uow.agents.get(ma) for ma in groups}
            opened: dict[MaId, str | StoreError] = {}
            for ma in groups:
                try:
                    opened[ma] = secret_of(uow, self._sealer, ma)
                except StoreError as error:
                    opened[ma] = error

        def served(ma: MaId) -> Sequence[T]:
            found, secret = groups[ma], opened[ma]
            if isinstance(secret, StoreError):
                return [failed(Result(Code.FAILED, secret.message))] * len(found)
            try:
                with self._systems.target(agents[ma], secret) as target:
                    refused = _insecure(agents[ma], target) if secrets else None
                    return [failed(refused)] * len(found) if refused else ask(target, found)
            except Exception as error:  # noqa: BLE001  # see `failure`
                said = spoken(failure(error, agents[ma].name, secret), secrets)
                return [failed(said)] * len(found)

        with ThreadPoolExecutor(min(_THREADS, len(groups)), thread_name_prefix="at-once") as pool:
            answers = dict(zip(groups, pool.map(served, groups), strict=True))
        return {
            one.id: said for ma, found in groups.items() for one, said in zip(found, answers[ma], strict=True)
        }


_UNANSWERED = "it was asked for, and the answer was lost"


def _insecure(agent: ManagementAgent, target: PasswordTarget) -> Result | None:
    security = target.security()
    if security is Security.SECURE or not agent.passwords.require_secure:
        return None
    return Result(Code.INSECURE, f"the connection is {security.value}")


def _after(one: Delivery, result: Result, now: datetime) -> Delivery:
    done = result.code is Code.SUCCESS
    return replace(
        one,
        state=State.DELIVERED if done else State.FAILED,
        code=result.code,
        detail=result.detail[:_DETAIL],
        attempts=1,
        attempted_at=now,
        written_on=result.origin,
    )


def _answers(chosen: Sequence[Account], results: Mapping[CsId, Result]) -> tuple[Answer, ...]:
    return tuple(Answer(one.object.id, one.object.dn, one.agent, results[one.object.id]) for one in chosen)


def _unlock_event(
    kind: str, at: datetime, by: By, owner: MvObject, operation: str, data: Mapping[str, object]
) -> Event:
    return Event(kind, at, by.id, by.name, owner.id, name_of(owner), operation, {**data, "via": by.via})
