"""Imports: what a connected system holds comes into the connector space, and what the rules make of it into the metaverse.

Of every import, in this order:

  (0) A full import, and one of an agent whose system was never asked, asks the system what it is (identity.py). If a password could come back to its source
      by that, nothing is read, and the agent is disabled as a target and as a source: passwords may be on that way already.
  (1) It takes the pen: a newer import of the same agent takes it away, and so does a change of its rules. Who has lost it writes nothing more.
  (2) Each piece of a page is one commit. A delta import notes with it how far it has come.
  (3) A full import sweeps what it has not seen, at its end and only if it has read to the end.
  (4) The fuse: if more than the agent's percentage would be disconnected, it stops before that commit, and says so.
  (5) What waits for a join is looked at again, where a value that it looks for has changed.
  (6) Its figures are audited.

A preview does the same and writes nothing.
"""

import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.audit import Event
from bastide.domain.errors import BadSource, BastideError, CapabilityMissing, Conflict, NotFound
from bastide.domain.management_agents import CsId, ManagementAgent
from bastide.domain.people import Actor, Right, require
from bastide.domain.spelling import told
from bastide.domain.sync_graph import refuse_cycles
from bastide.services.events import by_actor, by_worker
from bastide.services.pace import IMPORT, delay
from bastide.services.passwords.identity import asked, leads_elsewhere, require_right_domain, together
from bastide.services.passwords.lookup import find_agent, secret_of
from bastide.services.passwords.management_agents import differences, disabled
from bastide.services.passwords.ports import ConnectedSystems, Page
from bastide.services.passwords.sync import Course, Statistics, Step, Sync, pieces, unseen
from bastide.services.passwords.workspace import Workspace
from bastide.services.ports import Random, Sealer, Store, UnitOfWork, Work

_log = logging.getLogger(__name__)
_PERCENT = 100
#: No import begins at the moment at which another one ended: what it has seen is told by that.
_TICK = timedelta(microseconds=1)
#: An import that the fuse stopped is not tried again sooner, whatever its schedule: a person has to look.
_AFTER_FUSE = timedelta(hours=1)


class Mode(StrEnum):
    """How much is read."""

    AUTO = "auto"  # what changed, if the last import left a mark and the system can tell; else all
    FULL = "full"
    DELTA = "delta"


class Fuse(Conflict):
    """A full import would disconnect too much."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import came to. `steps` and `fuse` (why it would stop) are for previews."""

    agent: str
    mode: Mode
    statistics: Statistics
    started: datetime
    ended: datetime
    dry_run: bool = False
    steps: tuple[Step, ...] = ()
    fuse: str = ""


@dataclass(slots=True)
class _Run:
    """One import. `total`: how many objects the agent had before it."""

    agent: ManagementAgent
    mode: Mode
    started: datetime
    course: Course
    total: int
    force: bool
    fuse: str = ""

    @property
    def full(self) -> bool:
        return self.mode is Mode.FULL

    @property
    def dry(self) -> bool:
        return self.course.preview is not None


class Imports:
    """Runs imports: on command, and as durable work."""

    def __init__(
        self,
        *,
        store: Store,
        systems: ConnectedSystems,
        sealer: Sealer,
        random: Random,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._systems = systems
        self._sealer = sealer
        self._random = random
        self._now = now
        self._jitter = jitter
        self._sync = Sync(store=store, random=random)

    def run_now(
        self, actor: Actor, name: str, *, mode: Mode = Mode.AUTO, force: bool = False, dry_run: bool = False
    ) -> Outcome:
        """Import, and wait for the end. `force`: past the fuse. Raises NotAuthorized, NotFound, TargetUnavailable, TargetDenied, BadSource,
        CapabilityMissing, Conflict (the fuse; another import has begun; the agent was changed).
        """
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            agent = find_agent(uow, name)
        try:
            outcome = self._import(agent, mode, force=force, dry_run=dry_run, actor=actor)
        except BastideError as error:
            if not dry_run:
                self._record(self._event("ma.import-failed", agent, _problem(error), actor))
            raise
        if not dry_run:
            self._record(self._event("ma.imported", agent, _figures(outcome, forced=force), actor))
        return outcome

    def ask(self, actor: Actor, name: str, *, full: bool = False) -> ManagementAgent:
        """Have a worker import as soon as it can. Raises NotAuthorized, NotFound."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            agent = find_agent(uow, name)
            if full:
                uow.agents.note(replace(agent, cookie="", run=""))
            uow.work.poke(IMPORT, agent.id, self._now())
            uow.audit.append(self._event("ma.import-asked", agent, {"full": full}, actor))
            uow.commit()
        return agent

    def run(self, works: Sequence[Work]) -> None:
        """Do claimed work, and plan it again by the agent's schedule."""
        for work in works:
            self._work(work)

    def _work(self, work: Work) -> None:
        with self._store.read() as uow:
            agent = next((a for a in uow.agents.all() if a.id == work.key), None)
        if agent is None:
            self._hand_back(work, None)
            return
        try:
            outcome = self._import(agent, Mode.AUTO, force=False, dry_run=False, actor=None)
        except BastideError as error:
            self._failed(work, agent, error)
            return
        event = self._event("ma.imported", agent, _figures(outcome, forced=False), None)
        self._hand_back(work, agent.imports.every, event)

    def _failed(self, work: Work, agent: ManagementAgent, error: BastideError) -> None:
        """Audited once, not with every try."""
        with self._store.write() as uow:
            now = self._now()
            if work.attempts == 0:
                uow.audit.append(self._event("ma.import-failed", agent, _problem(error), None))
            pause = delay(self._jitter, work.attempts)
            if isinstance(error, Fuse):
                pause = max(_AFTER_FUSE, agent.imports.every or _AFTER_FUSE)
            uow.work.retry(work, now + pause, error.message)
            uow.commit()

    def _hand_back(self, work: Work, every: timedelta | None, *events: Event) -> None:
        with self._store.write() as uow:
            uow.audit.append(*events)
            uow.work.finish(work, None if every is None else self._now() + every)
            uow.commit()

    def _event(
        self, kind: str, agent: ManagementAgent, data: Mapping[str, object], actor: Actor | None
    ) -> Event:
        """`actor` None: a worker."""
        if actor is None:
            return by_worker(kind, self._now(), subject=agent.id, subject_name=agent.name, data=data)
        return by_actor(kind, self._now(), actor, subject=agent.id, subject_name=agent.name, data=data)

    def _record(self, event: Event) -> None:
        with self._store.write() as uow:
            uow.audit.append(event)
            uow.commit()

    # ---------------------------------------------------------------------------------------------------------- one import

    def _import(
        self, agent: ManagementAgent, mode: Mode, *, force: bool, dry_run: bool, actor: Actor | None
    ) -> Outcome:
        if mode is Mode.DELTA and not agent.cookie:
            raise Conflict(
                f"{agent.name} has no mark of an import to go on from", remedy="import all of it first"
            )
        chosen = Mode.FULL if mode is Mode.FULL or not agent.cookie else Mode.DELTA
        if chosen is Mode.FULL or not agent.system:
            self._identify(agent, actor, dry_run=dry_run)  # (0)
        run = self._begin(agent, chosen, force=force, dry_run=dry_run)
        try:
            self._read(run)
        except (CapabilityMissing, BadSource):
            if mode is not Mode.AUTO or chosen is Mode.FULL:
                raise
            run = self._begin(agent, Mode.FULL, force=force, dry_run=dry_run)
            self._read(run)
        self._sync.join_loose(run.course)  # (5)
        if run.course.preview is not None:
            run.course.statistics.people_added = run.course.preview.people_added
            run.course.statistics.people_removed = run.course.preview.people_removed
        return Outcome(
            agent=agent.name,
            mode=run.mode,
            statistics=run.course.statistics,
            started=run.started,
            ended=self._now(),
            dry_run=dry_run,
            steps=tuple(run.course.steps),
            fuse=run.fuse,
        )

    def _identify(self, agent: ManagementAgent, actor: Actor | None, *, dry_run: bool) -> None:
        """(0). Raises Conflict, InvalidInput."""
        with self._store.read() as uow:
            secret = secret_of(uow, self._sealer, agent.id)
        said = asked(self._systems, agent, secret)
        if not said:
            return
        require_right_domain(agent, said)
        with self._store.read() if dry_run else self._store.write() as uow:
            before = uow.agents.get(agent.id)
            now = replace(before, system=together(said, before.system))
            if now.system == before.system or leads_elsewhere(agent, before):
                return
            try:
                refuse_cycles([*(one for one in uow.agents.all() if one.id != now.id), now])
            except Conflict as error:
                if not dry_run:
                    self._stop(uow, before, actor, error)
                raise
            if not dry_run:
                uow.agents.note(now)
                data = {"system": [list(before.system), list(now.system)]}
                uow.audit.append(self._event("ma.identified", now, data, actor))
                uow.commit()

    def _stop(self, uow: UnitOfWork, agent: ManagementAgent, actor: Actor | None, why: Conflict) -> None:
        """No password goes to it or comes from it any more. What its system said is not kept: every other change would be refused for it."""
        after = disabled(agent)
        if after == agent:
            return
        data = {**differences(agent, uow.agents.save(after)), "because": why.message}
        uow.audit.append(self._event("ma.disabled", agent, data, actor))
        uow.commit()
        why.remedy = f"{agent.name} is disabled now. {why.remedy}"

    def _begin(self, agent: ManagementAgent, mode: Mode, *, force: bool, dry_run: bool) -> _Run:
        """Take the pen: (1)."""
        started = max(self._now(), agent.imported_at + _TICK) if agent.imported_at else self._now()
        course = Course(ma=agent.id, started=started)
        if dry_run:
            with self._store.read() as uow:
                agents = {one.id: one for one in uow.agents.all()}
                course.preview = Workspace(agents, self._random.uuid, course.touched)
                total = sum(uow.space.count(agent.id).values())
            return _Run(agent, mode, started, course, total, force)
        with self._store.write() as uow:
            held = replace(uow.agents.get(agent.id), run=self._random.uuid())
            uow.agents.note(held)
            total = sum(uow.space.count(agent.id).values())
            uow.commit()
        return _Run(held, mode, started, course, total, force)

    def _read(self, run: _Run) -> None:
        with self._store.read() as uow:
            secret = secret_of(uow, self._sealer, run.agent.id)
        cookie = b"" if run.full else b64decode(run.agent.cookie)
        page = Page((), cookie)
        for page in self._pages(run.agent, secret, cookie):
            parts = list(pieces(page.objects)) or [()]
            for number, part in enumerate(parts, start=1):
                with self._sync.transaction(run.course) as uow:
                    agent = self._holding(uow, run)
                    self._sync.take(uow, run.course, agent, part, run.started)
                    self._check_fuse(run, run.course.statistics.disconnected)
                    if not run.full and number == len(parts):
                        self._note(uow, run, page.cookie)  # (2)
        if run.full:
            self._sweep(run, page.cookie)

    def _pages(self, agent: ManagementAgent, secret: str, cookie: bytes) -> Iterator[Page]:
        """Raises what a connector may raise, in short and without the agent's secret, and BadSource for anything else: that of a third party may fail with a
        message that holds anything.
        """
        try:
            for page in self._systems.connector(agent, secret).read(cookie):
                yield _checked(agent, page)
        except BastideError as error:
            error.message, error.remedy = told(error.message, [secret]), told(error.remedy, [secret])
            error.args = (error.message,)
            raise error from None
        except Exception as error:  # noqa: BLE001  # see above; a traceback may hold a secret, too
            _log.error("%s: the connector failed with %s", agent.name, type(error).__name__)
            raise BadSource(f"the connector of {agent.name} failed with {type(error).__name__}") from None

    def _sweep(self, run: _Run, cookie: bytes) -> None:
        """What was not seen is gone: (3)."""
        gone = self._unseen(run)
        self._check_fuse(run, run.course.statistics.disconnected + len(gone))
        for part in pieces(gone):
            with self._sync.transaction(run.course) as uow:
                agent = self._holding(uow, run)
                self._sync.drop(uow, run.course, agent, part)
        with self._sync.transaction(run.course) as uow:
            self._holding(uow, run)
            self._note(uow, run, cookie)

    def _unseen(self, run: _Run) -> list[CsId]:
        with self._store.read() as uow:
            found = uow.space.of_ma(run.agent.id)
            if run.course.preview is not None:
                run.course.preview.attach(uow)
                found = run.course.preview.overlaid(found, run.agent.id)
            return [cs.id for cs in found if unseen(cs, run.started)]

    def _holding(self, uow: UnitOfWork, run: _Run) -> ManagementAgent:
        """The agent, if this import still has the pen. Raises Conflict."""
        if run.dry:
            return run.agent
        try:
            agent = uow.agents.get(run.agent.id)
        except NotFound:
            raise Conflict(f"{run.agent.name} was removed during its import") from None
        if agent.run != run.agent.run:
            raise Conflict(
                f"another import of {agent.name} has begun, or the agent was changed: this one has stopped",
                remedy="import again",
            )
        return agent

    def _check_fuse(self, run: _Run, disconnected: int) -> None:
        """(4). A preview remembers it and goes on."""
        limit = run.agent.imports.fuse
        if not run.full or run.force or not run.total or disconnected * _PERCENT <= limit * run.total:
            return
        said = f"{disconnected} of {run.total} objects of {run.agent.name} would be disconnected: more than {limit} %"
        if not run.dry:
            raise Fuse(said, remedy="look at a preview (--dry-run); if it is right, import with --force")
        run.fuse = said

    def _note(self, uow: UnitOfWork, run: _Run, cookie: bytes) -> None:
        if not run.dry:
            agent = uow.agents.get(run.agent.id)
            uow.agents.note(
                replace(agent, cookie=b64encode(cookie).decode(), imported_at=max(run.started, self._now()))
            )


def _checked(agent: ManagementAgent, page: Page) -> Page:
    if any(not one.anchor for one in page.objects):
        raise BadSource(f"{agent.name} shows an object without an anchor")
    return page


def _figures(outcome: Outcome, *, forced: bool) -> dict[str, object]:
    return {"mode": outcome.mode.value, "forced": forced, **outcome.statistics.figures()}


def _problem(error: BastideError) -> dict[str, object]:
    return {"error": error.code, "message": error.message}
