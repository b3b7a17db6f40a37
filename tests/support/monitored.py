"""A Bastide in memory whose forests are monitored: people change things behind its back."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_changes import MemoryChangeFeed
from bastide.domain.drift import Action, Finding, Rule, Rules
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.monitored import Kind, Seen
from bastide.domain.people import Forest, PamUser
from bastide.domain.roles import PamGroup
from bastide.services.monitor.ports import Domain
from bastide.services.ports import AuditQuery
from bastide.wiring import Adapters
from bastide.wiring.monitor import MonitorAdapters, Monitoring
from tests.support.world import World

OWNER = "Team Directory"


class MonitoredWorld(World):
    """`actions`: of rules, in the place of the defaults."""

    def __init__(self, *, actions: Mapping[Rule, Action] | None = None, **options: Any) -> None:
        self._actions = actions or {}
        self.feeds: dict[Forest, MemoryChangeFeed] = {}
        super().__init__(**options)
        self.monitoring.watch.plant()

    def _adapters(self) -> Adapters:
        self.feeds = {world.forest: MemoryChangeFeed(world) for world in (self.priv, self.corp)}
        rules = Rules(self._actions, {Rule.TRUST_CHANGED: "Team Trust"}, OWNER)
        monitoring = MonitorAdapters(self.feeds, rules, timedelta(seconds=1), timedelta(0))
        return replace(super()._adapters(), monitoring=monitoring)

    @property
    def monitoring(self) -> Monitoring:
        assert self.services.monitoring is not None
        return self.services.monitoring

    def look(self, *, seconds: float = 2) -> None:
        """Time goes by, and every worker does what is due; twice, so that what a repair brought is read too."""
        for _ in range(2):
            self.clock.move(seconds=seconds)
            self.work()

    def standing(self) -> dict[Rule, Finding]:
        with self.store.read() as uow:
            return {one.drift.rule: one for one in uow.monitored.findings()}

    def domain(self, side: Forest) -> Domain:
        with self.store.read() as uow:
            found = uow.monitored.domain(side)
        assert found is not None
        return found

    def told(self, kind: str) -> list[dict[str, Any]]:
        with self.store.read() as uow:
            return [json.loads(one.data) for one in uow.audit.read(AuditQuery(kind=kind, limit=0))]

    # ------------------------------------------------------------------------------------------------- behind our back

    def directory(self, side: Forest) -> MemoryDirectory:
        return MemoryDirectory(self.priv if side is Forest.PRIV else self.corp)

    def add_by_hand(self, side: Forest, group: ObjectRef, *members: Sid) -> None:
        self.directory(side).add_members(group, members)

    def remove_by_hand(self, side: Forest, group: ObjectRef, *members: Sid) -> None:
        self.directory(side).remove_members(group, members)

    def change_person(self, side: Forest, sid: Sid, **said: Any) -> None:
        world = self.priv if side is Forest.PRIV else self.corp
        account = world.account(sid)
        expires = said.pop("expires", world.expires(sid))
        world.change(replace(account, person=replace(account.person, **said)), expires)

    def change_group(self, side: Forest, group: ObjectRef, **said: Any) -> None:
        world = self.priv if side is Forest.PRIV else self.corp
        name, replica = next(iter(world.reachable().items()))
        found = replica.group(group.guid)
        assert found is not None
        world.write(name, f"change {group.name}", {("group", group.guid): replace(found, **said)})

    def permit(self, side: Forest, ref: ObjectRef, kind: Kind, *rights: str) -> None:
        self.feeds[side].add(Seen(ref.guid, kind, ref.sid, ref.name, ref.dn, rights=rights))


def of(world: MonitoredWorld) -> tuple[PamUser, PamGroup]:
    """The first person and group, as they are in the database now."""
    with world.store.read() as uow:
        return uow.users.all()[0], uow.groups.all()[0]
