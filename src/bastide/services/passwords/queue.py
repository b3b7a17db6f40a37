"""The queue (what is on its way) and the history (what is over), for people: list, show, clear."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bastide.domain.errors import Conflict
from bastide.domain.management_agents import MaId
from bastide.domain.passwords import Change, Delivery
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.services.events import by_actor
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.lookup import find_agent
from bastide.services.passwords.ports import EventLog
from bastide.services.ports import Store, UnitOfWork

LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """A delivery with the name of its agent."""

    delivery: Delivery
    agent: str
    account: str


@dataclass(frozen=True, slots=True)
class Past:
    """A notification and what became of it at each target."""

    change: Change
    source: str
    items: tuple[Item, ...]


class Queue:
    """The use cases of queue and history. Nothing here holds a password."""

    def __init__(
        self, *, store: Store, eraser: Eraser, events: EventLog, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._eraser = eraser
        self._events = events
        self._now = now

    def list(self, actor: Actor, *, agent: str = "", limit: int = LIMIT) -> tuple[Item, ...]:
        """Undelivered passwords, the oldest first; of one agent, by name. Raises NotAuthorized, NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            ma = find_agent(uow, agent).id if agent else None
            names = agent_names(uow)
            return tuple(
                Item(bare(one), names.get(one.ma, one.ma), uow.changes.get(one.reference).account)
                for one in uow.changes.queue(ma=ma, limit=limit)
            )

    def length(self, actor: Actor, *, agent: str = "") -> int:
        """How many are undelivered. Raises NotAuthorized, NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.changes.queue_length(find_agent(uow, agent).id if agent else None)

    def show(self, actor: Actor, reference: str) -> Past:
        """One change with all its deliveries. Raises NotAuthorized, NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return past(uow.changes.get(reference), uow.changes.deliveries(reference), agent_names(uow))

    def history(
        self, actor: Actor, *, user: str = "", before: datetime | None = None, limit: int = 100
    ) -> tuple[Past, ...]:
        """Notifications, newest first; of one user, by account name or objectGUID. Raises NotAuthorized."""
        require_reader(actor)
        with self._store.read() as uow:
            names = agent_names(uow)
            found = uow.changes.history(user=user, before=before, limit=min(limit, LIMIT))
        return tuple(past(change, deliveries, names) for change, deliveries in found)

    def clear(self, actor: Actor) -> int:
        """Give up what is undelivered (6925): it becomes history, its passwords are gone. How many changes. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            now = self._now()
            references = uow.changes.clear_queue(now)
            uow.audit.append(by_actor("passwords.queue-cleared", now, actor, data={"count": len(references)}))
            over = Eraser.over(uow, references)
            head = uow.audit.head()
            uow.commit()
        self._eraser.destroy(over, head)
        self._events.write(6925, Count=len(references), User=actor.name)
        return len(references)

    def clear_history(self, actor: Actor, ending_before: datetime) -> int:
        """Forget notifications that came before and are over (6924). How many. The audit keeps its records.

        Raises Conflict while a delivery of that time is still in the queue: clear the queue first. Raises NotAuthorized.
        """
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            now = self._now()
            oldest = uow.changes.queue(ma=None, limit=1)
            if oldest and oldest[0].created_at < ending_before:
                raise Conflict(
                    "the queue still holds deliveries of that time",
                    remedy="clear the queue first, or choose an earlier time",
                )
            count = uow.changes.clear_history(ending_before)
            data = {"count": count, "ending_before": ending_before.isoformat()}
            uow.audit.append(by_actor("passwords.history-cleared", now, actor, data=data))
            uow.commit()
        self._events.write(6924, Count=count, User=actor.name)
        return count


def agent_names(uow: UnitOfWork) -> dict[MaId, str]:
    """By id."""
    return {agent.id: agent.name for agent in uow.agents.all()}


def past(change: Change, deliveries: tuple[Delivery, ...], names: dict[MaId, str]) -> Past:
    """With names. An agent that was removed is shown by its id."""
    items = tuple(Item(bare(one), names.get(one.ma, one.ma), change.account) for one in deliveries)
    return Past(change, names.get(change.ma, change.ma) if change.ma else "", items)


def bare(delivery: Delivery) -> Delivery:
    """Without what is sealed: nobody outside needs it, and what is not handed out cannot leak."""
    return replace(delivery, sealed=b"") if delivery.sealed else delivery
