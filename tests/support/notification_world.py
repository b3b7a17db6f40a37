"""A Bastide in memory that tells people: two channels, mail to each person and a chat, both kept in memory. For modules with
`pytest_plugins = ["tests.support.notification_world"]`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.directory.memory_forest import MemoryForest
from bastide.domain.audit import Event
from bastide.domain.errors import LostLease
from bastide.domain.ids import RequestId, Sid, UserId
from bastide.domain.requests import Request, State
from bastide.domain.roles import Role, Ttl
from bastide.domain.wording import Language
from bastide.notify.memory import MemoryNotifier
from bastide.services.notifications.plan import kind_of
from bastide.services.notifications.ports import Channel, Message, Settings
from bastide.services.pace import NOTIFY
from bastide.services.ports import AuditQuery, Work
from bastide.services.roles import StageDraft
from bastide.wiring import Adapters
from bastide.wiring.notifications import NotificationAdapters, Notifications
from tests.support import build
from tests.support.world import ADDRESS, World

LEAD = timedelta(minutes=15)
MAIL = Channel(name="mail", people=True)
CHAT = Channel(name="chat")
HOUR = Ttl(timedelta(hours=1), timedelta(minutes=5), timedelta(hours=4))
#: As wiring/production.py has it.
FOLLOWERS = {NOTIFY: timedelta(seconds=1)}
ADDRESSES = {
    "alice": "alice@corp.bastide.test",
    "grace": "grace@priv.bastide.test",
    "heidi": "heidi@priv.bastide.test",
}


class ToldWorld(World):
    """`notifier` keeps what was sent."""

    def __init__(
        self,
        *,
        channels: Sequence[Channel] = (MAIL, CHAT),
        language: Language = Language.ENGLISH,
        url: str = "sqlite://",
    ) -> None:
        self.notifier = MemoryNotifier()
        self.told = Settings(channels=tuple(channels), home=ADDRESS, lead=LEAD, language=language)
        super().__init__(url=url, followers=FOLLOWERS)
        for name, address in ADDRESSES.items():
            self.set_mail(name, address)
        self.notifications.plan.plant()

    def _adapters(self) -> Adapters:
        return replace(super()._adapters(), notifications=NotificationAdapters(self.notifier, self.told))

    @property
    def notifications(self) -> Notifications:
        assert self.services.notifications is not None
        return self.services.notifications

    def forest_of(self, name: str) -> MemoryForest:
        return self.corp if name in {"alice", "bob", "mallory"} else self.priv

    def set_mail(self, name: str, address: str, *, enabled: bool = True) -> None:
        """What the directory says of a person."""
        forest = self.forest_of(name)
        accounts = next(iter(forest.reachable().values())).accounts()
        found = next(account for account in accounts if account.person.ref.name == name)
        person = replace(found.person, mail=address, enabled=enabled)
        forest.change(replace(found, person=person), forest.expires(person.ref.sid))

    def approved_role(self, *approvers: str, **settings: Any) -> Role:
        """Alice may ask; the named approve."""
        self.prepare("alice")
        self.prepare_group()
        stage = StageDraft("owners", tuple(f"PRIV\\{name}" for name in approvers))
        return self.add_role(stages=(stage,), **settings)

    def settle(self) -> None:
        """Let everything be done that is due within a few seconds."""
        for _ in range(2):
            self.work()
            self.clock.move(seconds=1.1)
        self.work()

    def sent(self, channel: str = "") -> list[Message]:
        return [message for name, message in self.notifier.taken if channel in {"", name}]

    def subjects(self, channel: str = "") -> list[str]:
        return [message.subject for message in self.sent(channel)]

    def waiting(self, channel: str) -> list[str]:
        """Keys of the rows of a channel."""
        with self.store.read() as uow:
            return [str(row["key"]) for row in uow.work.listing() if row["kind"] == f"{NOTIFY}:{channel}"]

    def audited(self, kind: str) -> list[dict[str, Any]]:
        """The data of all records of a kind."""
        with self.store.read() as uow:
            return [json.loads(record.data) for record in uow.audit.read(AuditQuery(kind=kind, limit=0))]

    def claimed(self, kind: str) -> tuple[Work, ...]:
        """The rows of a kind that are due, as another node would claim them."""
        return self.store.claim(
            (kind,), owner="other", lease=timedelta(seconds=10), limit=1000, now=self.clock.now()
        )


@pytest.fixture
def world() -> Iterator[ToldWorld]:
    made = ToldWorld()
    yield made
    made.close()


class Held:
    """A lease that is ours, or is not any more."""

    def __init__(self, *, lost: bool = False) -> None:
        self.lost = lost

    def require(self) -> None:
        if self.lost:
            raise LostLease("another node holds it")


def begun(world: ToldWorld, **settings: Any) -> Request:
    world.ready(ttl=HOUR, **settings)
    request = world.ask()
    world.settle()
    return world.get(request)


def crowd(world: ToldWorld, number: int) -> None:
    """So many people with access."""
    names = [f"user{n}" for n in range(number)]
    for name in names:
        world.corp.add_person(name, mail=f"{name}@corp.bastide.test")
    world.prepare(*names)
    world.prepare_group()
    world.add_role(candidates=tuple(f"CORP\\{name}" for name in names), mfa=False, ttl=HOUR)


def pending(world: ToldWorld, user: UserId, sid: Sid, name: str, role: Role) -> Request:
    return build.request(
        State.PENDING_APPROVAL,
        id=RequestId(world.adapters.random.uuid()),
        user=user,
        requester=sid,
        user_name=name,
        role=role.id,
        role_name=role.name,
        created_at=world.clock.now(),
        pending_until=world.clock.now() + timedelta(hours=1),
    )


def fail_many(world: ToldWorld, number: int, person: str = "alice") -> None:
    """Records as they are written when a directory refuses everybody."""
    (user,) = world.prepare(person)
    with world.store.read() as uow:
        roles = uow.roles.all()
    with world.store.write() as uow:
        for _ in range(number):
            request = replace(
                pending(world, user.id, user.corp.sid, user.name, roles[0]),
                state=State.FAILED,
                reason="refused",
            )
            uow.requests.add(request)
            data = {"from": "Processing", "role": request.role_name, "reason": "refused"}
            uow.audit.append(
                Event(
                    "request.failed",
                    world.clock.now(),
                    "bastide",
                    "bastide",
                    user.corp.sid,
                    user.name,
                    request.id,
                    data,
                )
            )
        uow.commit()


def due(world: ToldWorld, channel: str) -> tuple[Work, ...]:
    """The rows of a channel after planning, claimed by another node."""
    world.clock.move(seconds=2)
    for work in world.claimed(NOTIFY):
        world.notifications.plan.run([work])
    return world.claimed(kind_of(channel))
