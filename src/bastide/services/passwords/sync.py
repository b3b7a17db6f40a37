"""One step of synchronization: objects that were read go into the connector space, rules decide about them, the metaverse follows.

Everything is done in pieces, each with a commit of its own, so that any number of objects takes the same memory. What is done twice comes to
the same: a piece that was lost in a crash is read again.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import TypeVar

from bastide.domain import joins
from bastide.domain.joins import CONNECTED, LOOSE, Decision
from bastide.domain.management_agents import CsId, CsObject, Link, MaId, ManagementAgent
from bastide.services.passwords.ports import Imported
from bastide.services.passwords.workspace import Touched, Workspace
from bastide.services.ports import Random, Store, UnitOfWork

PIECE = 500
#: Of what a preview names one by one.
_STEPS = 200
T = TypeVar("T")


@dataclass(slots=True)
class Statistics:
    """What an import came to, in numbers of objects."""

    read: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    filtered: int = 0
    joined: int = 0
    projected: int = 0
    conflicts: int = 0
    waiting: int = 0
    disconnected: int = 0
    people_added: int = 0
    people_removed: int = 0

    def figures(self) -> dict[str, int]:
        """For the audit."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was or would be done. `agent` by name."""

    what: str
    agent: str
    dn: str
    because: str


@dataclass(slots=True)
class Course:
    """One import under way: of `ma` (none: something else moves objects), begun at `started`. `preview`: the workspace that nothing is written
    from.
    """

    ma: MaId | None = None
    started: datetime | None = None
    statistics: Statistics = field(default_factory=Statistics)
    touched: Touched = field(default_factory=Touched)
    steps: list[Step] = field(default_factory=list)
    preview: Workspace | None = None

    def note(self, what: str, agent: ManagementAgent, cs: CsObject) -> None:
        """A preview says what it would do; an import counts only."""
        if self.preview is not None and len(self.steps) < _STEPS:
            self.steps.append(Step(what, agent.name, cs.dn, cs.because))


class Sync:
    """Applies the rules. It asks nobody for a right: who calls it did."""

    def __init__(self, *, store: Store, random: Random) -> None:
        self._store = store
        self._random = random

    @contextmanager
    def workspace(self, uow: UnitOfWork, course: Course) -> Iterator[Workspace]:
        """To be written into the unit of work at the end of the block, unless it is a preview."""
        if course.preview is not None:
            course.preview.attach(uow)
            yield course.preview
            return
        space = Workspace({a.id: a for a in uow.agents.all()}, self._random.uuid, course.touched)
        space.attach(uow)
        yield space
        space.write(uow)
        course.statistics.people_added += space.people_added
        course.statistics.people_removed += space.people_removed

    @contextmanager
    def transaction(self, course: Course) -> Iterator[UnitOfWork]:
        """Committed at the end of the block, unless it is a preview."""
        if course.preview is not None:
            with self._store.read() as uow:
                yield uow
            return
        with self._store.write() as uow:
            yield uow
            uow.commit()

    # -------------------------------------------------------------------------------------------------------------- pieces

    def take(
        self,
        uow: UnitOfWork,
        course: Course,
        agent: ManagementAgent,
        objects: Sequence[Imported],
        started: datetime,
    ) -> None:
        """Objects as the system shows them. `started`: when the import began; marks what it has seen."""
        with self.workspace(uow, course) as space:
            known = space.by_anchor(agent.id, {one.anchor for one in objects})
            drafts = [self._draft(agent, known.get(one.anchor), one, started) for one in objects]
            space.prefetch(agent, drafts)
            done: set[str] = set()
            for one, draft in zip(objects, drafts, strict=True):
                course.statistics.read += 1
                before = known.get(one.anchor)
                if one.deleted:
                    if before is not None:
                        self._delete(space, course, agent, known.pop(one.anchor))
                    continue
                if one.anchor in done:  # named twice in one page: the later one holds
                    draft = self._draft(agent, before, one, started)  # noqa: PLW2901
                done.add(one.anchor)
                known[one.anchor] = self._taken(space, course, agent, before, draft)

    def drop(self, uow: UnitOfWork, course: Course, agent: ManagementAgent, ids: Sequence[CsId]) -> None:
        """Objects that are gone from their system, or whose agent goes."""
        with self.workspace(uow, course) as space:
            for cs in space.many(ids).values():
                self._delete(space, course, agent, cs)

    def join_loose(self, course: Course) -> None:
        """Look again at what waits for a join, wherever a value that it looks for has changed; agents in the order of their needs."""
        with self._store.read() as uow:
            agents = joins.order(uow.agents.all())
        for _ in range(len(agents) + 1):
            if not course.touched:
                return
            changed = Touched(set(course.touched.keys), course.touched.everything)
            course.touched.keys.clear()
            course.touched.everything = False
            for agent in agents:
                for piece in pieces(self._waiting(course, agent, changed)):
                    with self.transaction(course) as uow:
                        self._again(uow, course, agent.id, piece)
                changed.add(course.touched.keys)
                changed.everything = changed.everything or course.touched.everything

    def _waiting(self, course: Course, agent: ManagementAgent, changed: Touched) -> list[CsId]:
        """Ids only: the objects are read again where they are changed."""
        if not agent.rules.joins:
            return []
        with self._store.read() as uow:
            found: Iterable[CsObject] = uow.space.loose(agent.id)
            if course.preview is not None:
                course.preview.attach(uow)
                found = course.preview.overlaid(found, agent.id)
            return [cs.id for cs in found if cs.link in LOOSE and changed.concerns(agent, cs.attributes)]

    def _again(self, uow: UnitOfWork, course: Course, ma: MaId, ids: Sequence[CsId]) -> None:
        with self.workspace(uow, course) as space:
            agent = space.agents.get(ma)
            if agent is None:
                return  # removed meanwhile, with its objects
            objects = [cs for cs in space.many(ids).values() if cs.link in LOOSE]
            space.prefetch(agent, objects)
            for cs in objects:
                after = space.settle(cs, cs, self._decided(space, agent, cs))
                _count(course, agent, cs, after, again=True)

    # ------------------------------------------------------------------------------------------------------------ one object

    def _draft(
        self, agent: ManagementAgent, before: CsObject | None, one: Imported, started: datetime
    ) -> CsObject:
        """The object as it was read, with the link that it had."""
        attributes = joins.clean(one.attributes)
        if before is not None:
            seen = started if before.seen_at is None else max(started, before.seen_at)
            return replace(before, dn=one.dn, type=one.type, attributes=attributes, seen_at=seen)
        return CsObject(
            id=CsId(self._random.uuid()),
            ma=agent.id,
            anchor=one.anchor,
            dn=one.dn,
            type=one.type,
            attributes=attributes,
            seen_at=started,
        )

    def _taken(
        self,
        space: Workspace,
        course: Course,
        agent: ManagementAgent,
        before: CsObject | None,
        draft: CsObject,
    ) -> CsObject:
        after = space.settle(before, draft, self._decided(space, agent, draft))
        _count(course, agent, before, after, again=False)
        return after

    @staticmethod
    def _decided(space: Workspace, agent: ManagementAgent, cs: CsObject) -> Decision:
        exists = cs.mv is not None and space.person(cs.mv) is not None
        return joins.decide(cs, agent.rules, space, mv_exists=exists)

    @staticmethod
    def _delete(space: Workspace, course: Course, agent: ManagementAgent, cs: CsObject) -> None:
        space.delete(cs)
        course.statistics.deleted += 1
        course.statistics.disconnected += cs.link in CONNECTED
        course.note("delete", agent, cs)


def unseen(cs: CsObject, started: datetime) -> bool:
    """Whether no import that began at `started` or later has seen the object."""
    return cs.seen_at is None or cs.seen_at < started


def pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """In sets that one commit takes."""
    for start in range(0, len(items), PIECE):
        yield items[start : start + PIECE]


_NOTED = {
    Link.FILTERED: "filter",
    Link.JOINED: "join",
    Link.PROJECTED: "project",
    Link.CONFLICT: "conflict",
    Link.NONE: "wait",
}


def _count(
    course: Course, agent: ManagementAgent, before: CsObject | None, after: CsObject, *, again: bool
) -> None:
    """`again`: the object was not read, only looked at. Who waited when it was read and waits no more is not counted as waiting."""
    numbers = course.statistics
    if not again:
        _count_change(course, agent, before, after)
    if before is not None and before.link in CONNECTED and after.link not in CONNECTED:
        numbers.disconnected += 1
    if before is not None and before.link is after.link and before.mv == after.mv:
        if not again:
            numbers.conflicts += after.link is Link.CONFLICT
            numbers.waiting += after.link is Link.NONE
        return
    if again and before is not None and agent.id == course.ma and before.seen_at == course.started:
        numbers.conflicts -= before.link is Link.CONFLICT
        numbers.waiting -= before.link is Link.NONE
    numbers.filtered += after.link is Link.FILTERED
    numbers.joined += after.link is Link.JOINED
    numbers.projected += after.link is Link.PROJECTED
    numbers.conflicts += after.link is Link.CONFLICT
    numbers.waiting += after.link is Link.NONE
    course.note(_NOTED.get(after.link, "keep"), agent, after)


def _count_change(course: Course, agent: ManagementAgent, before: CsObject | None, after: CsObject) -> None:
    if before is None:
        course.statistics.added += 1
        course.note("add", agent, after)
    elif (before.dn, before.type, before.attributes) == (after.dn, after.type, dict(after.attributes)):
        course.statistics.unchanged += 1
    else:
        course.statistics.updated += 1
        course.note("update", agent, after)
