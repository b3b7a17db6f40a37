"""Set the passwords that were taken in. One row of durable work for each target object; a batch of rows, in order:

  (1) Synchronization is on, and the database is not a restored one; else nothing is done.
  (2) Load what is pending, with objects, agents and keys, in a few queries.
  (3) Per object the newest change counts; older ones are over, untried (6919), as is one that is older than what the object has.
  (4) Enabled (6921), sets passwords (6928), the object is there and still the same person's (6923), the key is there.
  (5) The targets are served at the same time, each with a connection of its own. A target without a way to set passwords: 6922.
  (6) A connection not known to be secure gets no password, unless the agent waives that.
  (7) Set, in parts; in shadow mode all but this. Verify what was accepted, if the agent asks for it: accepted and proved are two things.
  (8) One commit for each target: results, stamps, audit, what is due next. Then the keys of changes that are over are destroyed.

A kill before (8) repeats (7) with the same password, which changes nothing. A row is with one worker at a time, so an older change does not
overtake a newer one; a worker that slept through its lease loses its row to another one and finds out in (8).
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bastide.domain.errors import (
    BastideError,
    CapabilityMissing,
    InvalidInput,
    NotConfigured,
    StoreError,
    TargetDenied,
    TargetError,
    TargetUnavailable,
)
from bastide.domain.management_agents import (
    CsId,
    CsObject,
    MaId,
    ManagementAgent,
    Operation,
    PasswordManagement,
)
from bastide.domain.passwords import (
    Code,
    Delivery,
    Proof,
    Stamp,
    State,
    after_attempt,
    context_of,
    newest,
    superseded,
)
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.lanes import Lanes
from bastide.services.passwords.lookup import secret_context
from bastide.services.passwords.outcomes import announce, record
from bastide.services.passwords.ports import (
    ConnectedSystems,
    Envelope,
    EventLog,
    NewPassword,
    PasswordTarget,
    Result,
    Security,
    Vault,
)
from bastide.services.passwords.switch import Switchboard
from bastide.services.ports import Sealer, Store, Work

_log = logging.getLogger(__name__)
BATCH = 1000
_PART = 100
#: Characters of what a target said.
_DETAIL = 500
_NO_ROOM = timedelta(seconds=1)
_THREADS = 8
_NOBODY = MaId("")


@dataclass(slots=True)
class _Task:
    """One row of work on its way. `delivery` None: nothing to try now. `over`: what ended without a try."""

    work: Work
    delivery: Delivery | None = None
    over: list[Delivery] = field(default_factory=list)
    object: CsObject | None = None
    result: Result | None = None
    proof: Proof = Proof.NOT_ASKED
    next_due: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a batch needs to know. Keys are read by reference."""

    tasks: Sequence[_Task]
    agents: Mapping[MaId, ManagementAgent]
    secrets: Mapping[MaId, bytes]
    keys: Mapping[str, bytes]


class Deliver:
    """The worker's side of password synchronization. `threads` 1: one target after the other, in the calling thread."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        envelope: Envelope,
        sealer: Sealer,
        systems: ConnectedSystems,
        switchboard: Switchboard,
        eraser: Eraser,
        events: EventLog,
        now: Callable[[], datetime],
        lanes: Lanes,
        threads: int = _THREADS,
    ) -> None:
        self._store = store
        self._vault = vault
        self._envelope = envelope
        self._sealer = sealer
        self._systems = systems
        self._switchboard = switchboard
        self._eraser = eraser
        self._events = events
        self._now = now
        self._lanes = lanes
        self._threads = threads

    def run(self, works: Sequence[Work]) -> None:
        """Deliver what these rows stand for. Raises LostLease, StoreError; what targets say is kept per delivery."""
        if self._switchboard.off_if_restored():  # (1)
            self._give_back(works)
            return
        loaded = self._load(works)  # (2)
        if loaded is None:
            self._give_back(works)
            return
        groups: dict[MaId, list[_Task]] = {}
        for task in loaded.tasks:
            groups.setdefault(task.delivery.ma if task.delivery else _NOBODY, []).append(task)
        if len(groups) == 1 or self._threads == 1:
            for ma, tasks in groups.items():
                self._serve(ma, tasks, loaded)
            return
        with ThreadPoolExecutor(min(self._threads, len(groups)), thread_name_prefix="target") as pool:  # (5)
            served = [pool.submit(self._serve, ma, tasks, loaded) for ma, tasks in groups.items()]
        for one in served:
            one.result()

    def _give_back(self, works: Sequence[Work]) -> None:
        """Without a due time: switching on pokes what waits."""
        with self._store.write() as uow:
            uow.work.finish_many([(work, None) for work in works])
            uow.commit()

    # -------------------------------------------------------------------------------------------------------- preparing

    def _load(self, works: Sequence[Work]) -> _Loaded | None:
        now = self._now()
        ids = [CsId(work.key) for work in works]
        with self._store.read() as uow:
            if not uow.switch.enabled():
                return None
            pending: dict[CsId, list[Delivery]] = {}
            for delivery in uow.changes.pending(ids):
                pending.setdefault(delivery.object, []).append(delivery)
            applied = uow.changes.applied(pending.keys())
            objects = uow.space.many(pending.keys())
            agents = {agent.id: agent for agent in uow.agents.all()} if pending else {}
            tasks = [
                _decided(work, pending.get(key, []), applied.get(key), now)  # (3)
                for work, key in zip(works, ids, strict=True)
            ]
            for task in tasks:
                if task.delivery is not None:
                    task.object = objects.get(task.delivery.object)
                    task.result = _refused(task.delivery, task.object, agents)  # (4)
            tried = {t.delivery.ma for t in tasks if t.delivery is not None and t.result is None}
            secrets = {ma: uow.agents.secret(ma) for ma in tried}
        wanted = {t.delivery.reference for t in tasks if t.delivery is not None and t.result is None}
        return _Loaded(tasks, agents, secrets, self._vault.get(wanted) if wanted else {})

    # ----------------------------------------------------------------------------------------------------------- setting

    def _serve(self, ma: MaId, tasks: Sequence[_Task], loaded: _Loaded) -> None:
        open_tasks = [task for task in tasks if task.delivery is not None and task.result is None]
        if open_tasks:
            with self._lanes.enter(ma) as entered:
                if entered:
                    self._try(loaded.agents[ma], open_tasks, loaded)
                else:
                    soon = self._now() + _NO_ROOM
                    for task in open_tasks:
                        task.next_due, task.delivery = soon, None
        self._settle(loaded.agents, tasks)

    def _try(self, agent: ManagementAgent, tasks: Sequence[_Task], loaded: _Loaded) -> None:
        """Each task gets a result, whatever happens to the connection."""
        try:
            with self._systems.target(agent, self._secret(agent, loaded)) as target:
                self._lanes.said(agent.id, well=True)
                self._set(agent.passwords, target, tasks, loaded.keys)
        except (TargetUnavailable, TargetDenied) as error:
            self._lanes.said(agent.id, well=False)
            code = Code.UNAVAILABLE if isinstance(error, TargetUnavailable) else Code.CREDENTIALS
            _answer_all(tasks, Result(code, error.message))
        except (NotConfigured, CapabilityMissing, InvalidInput) as error:
            _answer_all(tasks, Result(Code.NOT_CONFIGURED, error.message))
        except BastideError as error:
            _answer_all(tasks, Result(Code.FAILED, error.message))
        except Exception as error:  # noqa: BLE001  # a connector of a third party: its message may hold anything, so only its kind is told
            _log.error("%s: the connector failed with %s", agent.name, type(error).__name__)
            _answer_all(tasks, Result(Code.FAILED, f"the connector failed with {type(error).__name__}"))

    def _secret(self, agent: ManagementAgent, loaded: _Loaded) -> str:
        sealed = loaded.secrets[agent.id]
        return self._sealer.open(sealed, secret_context(agent.id)).decode() if sealed else ""

    def _set(
        self,
        rules: PasswordManagement,
        target: PasswordTarget,
        tasks: Sequence[_Task],
        keys: Mapping[str, bytes],
    ) -> None:
        security = target.security()
        if security is not Security.SECURE and rules.require_secure:  # (6)
            _answer_all(tasks, Result(Code.INSECURE, f"the connection is {security.value}"))
            return
        for part in _parts(tasks):
            opened = [(task, new) for task in part if (new := self._opened(task, rules, keys)) is not None]
            if rules.shadow:
                _answer_all([task for task, _ in opened], Result(Code.SUCCESS, "shadow mode: not set"))
                continue
            for (task, new), result in zip(opened, _sent(target, opened), strict=True):  # (7)
                task.result = replace(result, detail=_silent(result.detail, [new]))
            if rules.verify:
                for task, new in opened:
                    task.proof = _verified(target, task, new)

    def _opened(
        self, task: _Task, rules: PasswordManagement, keys: Mapping[str, bytes]
    ) -> NewPassword | None:
        """None, with a result, if nobody can open it any more."""
        delivery = task.delivery
        if delivery is None or task.object is None:
            return None
        key = keys.get(delivery.reference)
        if key is None:
            task.result = Result(Code.KEY_GONE, "its key is not in the vault any more")
            return None
        try:
            plain = self._envelope.open(key, delivery.sealed, context_of(delivery))
        except StoreError as error:
            task.result = Result(Code.KEY_GONE, error.message)
            return None
        return NewPassword(task.object, plain.decode(), must_change=rules.must_change, unlock=rules.unlock)

    # ---------------------------------------------------------------------------------------------------------- settling

    def _settle(self, agents: Mapping[MaId, ManagementAgent], tasks: Sequence[_Task]) -> None:  # (8)
        now = self._now()
        results = [one for task in tasks for one in _results(task, agents, now)]
        with self._store.write() as uow:
            kept = uow.changes.still_pending([one.id for one in results]) if results else frozenset()
            saved = [one for one in results if one.id in kept or one.state is State.DELIVERED]
            ended = [one for one in saved if one.state is not State.PENDING]
            uow.changes.save(saved)
            uow.changes.mark_applied(_stamps(saved))
            uow.audit.append(*(record(one, agents.get(one.ma), now) for one in ended))
            over = Eraser.over(uow, {one.reference for one in ended})
            uow.work.finish_many([(task.work, task.next_due) for task in tasks])
            head = uow.audit.head() if ended else None
            uow.commit()
        self._eraser.destroy(over, head)
        for one in saved:
            announce(self._events, one, agents.get(one.ma))


def _decided(work: Work, pending: Sequence[Delivery], applied: Stamp | None, now: datetime) -> _Task:
    if not pending:
        return _Task(work)
    chosen = newest(pending)
    over = [superseded(one) for one in pending if one is not chosen]
    if not chosen.stamp.newer_than(applied):
        return _Task(work, over=[*over, superseded(chosen)])
    if chosen.due is not None and chosen.due > now:
        return _Task(work, over=over, next_due=chosen.due)
    return _Task(work, chosen, over)


def _results(task: _Task, agents: Mapping[MaId, ManagementAgent], now: datetime) -> Iterator[Delivery]:
    """The deliveries of a task as they are now. Says when the row is due next."""
    yield from task.over
    if task.delivery is not None and task.result is not None:
        agent = agents.get(task.delivery.ma)
        rules = agent.passwords if agent else PasswordManagement()
        after = after_attempt(
            task.delivery, task.result.code, task.result.detail[:_DETAIL], task.proof, rules, now
        )
        task.next_due = after.due
        yield after


def _refused(
    delivery: Delivery, found: CsObject | None, agents: Mapping[MaId, ManagementAgent]
) -> Result | None:
    """A reason not to try, in the order of the checks."""
    agent = agents.get(delivery.ma)
    if agent is None or not agent.passwords.enabled:
        return Result(Code.NOT_ENABLED, "password management is not enabled for this agent")
    if agent.passwords.operation is Operation.CHANGE:
        return Result(Code.SET_UNSUPPORTED, "this agent may change passwords, not set them")
    if found is None:
        return Result(Code.OBJECT_MISSING, "the object is not in the connector space any more")
    if found.mv != delivery.mv:
        return Result(Code.OBJECT_MISSING, "the object does not belong to this person any more")
    return None


def _answer_all(tasks: Sequence[_Task], result: Result) -> None:
    """Those without a result yet."""
    for task in tasks:
        if task.result is None:
            task.result = result


def _parts(tasks: Sequence[_Task]) -> Iterator[Sequence[_Task]]:
    for start in range(0, len(tasks), _PART):
        yield tasks[start : start + _PART]


def _sent(target: PasswordTarget, opened: Sequence[tuple[_Task, NewPassword]]) -> Sequence[Result]:
    try:
        return target.set([new for _, new in opened])
    except TargetError as error:
        raise type(error)(_silent(error.message, [new for _, new in opened])) from None


def _silent(said: str, passwords: Sequence[NewPassword]) -> str:
    """What a target said goes into the audit: one that repeats a password (a driver that quotes its statement) is not repeated."""
    return (
        "the target's words are withheld: they held a password"
        if any(new.password and new.password in said for new in passwords)
        else said
    )


def _verified(target: PasswordTarget, task: _Task, new: NewPassword) -> Proof:
    """Only what was accepted; an error while proving is no failure of the delivery."""
    if task.result is None or task.result.code is not Code.SUCCESS:
        return Proof.NOT_ASKED
    try:
        return target.verify(new.object, new.password)
    except TargetError:
        return Proof.NOT_TRIED


def _stamps(saved: Sequence[Delivery]) -> dict[CsId, Stamp]:
    """What the target objects have taken. Shadow mode gave them nothing."""
    return {one.object: one.stamp for one in saved if one.state is State.DELIVERED and not one.shadow}
