"""Set the passwords that were taken in. One row of durable work for each target object; a batch of rows, in order:

  (1) Synchronization is on, and the database is not a restored one; else nothing is done.
  (2) Load what is pending, with objects, agents and keys, in a few queries.
  (3) Per object the newest change counts; older ones are over, untried (6919), as is one that is older than what the object has.
  (4) Enabled (6921), sets passwords (6928), the object is there and still the same person's (6923); unless somebody ordered it (person.py), the source
      object is still joined to that person too, and its agent still passes passwords to this one; the key is there.
  (5) The targets are served at the same time, each with a connection of its own. A target without a way to set passwords: 6922.
  (6) A connection not known to be secure gets no password, unless the agent waives that.
  (7) Set, in parts, each only while the rows are surely ours (Lease), an order only to whom it may still be given to (still_allowed.py); in shadow mode all but this. Verify what was accepted, if the agent asks for it: accepted and proved are two things.
  (8) One commit for each target, and one more whenever a slow one has been at work for SETTLE: results, stamps, audit, what is due next. Then
      the keys of changes that are over are destroyed.

A kill before (8) repeats (7) with the same password, which changes nothing. A row is with one worker at a time, so an older change does not
overtake a newer one, but for a worker that stalls in the middle of (7) for longer than its lease: it finds out in (8), and says so (late.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bastide.domain.errors import (
    LostLease,
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
    Purpose,
    Stamp,
    State,
    after_attempt,
    context_of,
    newest,
    superseded,
)
from bastide.services.pace import PASSWORD
from bastide.services.passwords.accept import JOINED
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.lanes import Lanes
from bastide.services.passwords.late import LateWrites, held, set_again
from bastide.services.passwords.lookup import secret_context
from bastide.services.passwords.outcomes import announce, record
from bastide.services.passwords.ports import (
    ConnectedSystems,
    Envelope,
    EventLog,
    NewPassword,
    OrderRules,
    PasswordTarget,
    Result,
    Security,
    Vault,
)
from bastide.services.passwords.setting import failure, set_all
from bastide.services.passwords.still_allowed import refused_now
from bastide.services.passwords.switch import Switchboard
from bastide.services.ports import Lease, Sealer, Store, Work

BATCH = 1000
_PART = 100
#: What a target has taken is kept from others no longer than that and a part.
SETTLE = timedelta(seconds=1)
#: Characters of what a target said.
_DETAIL = 500
_NO_ROOM = timedelta(seconds=1)
_THREADS = 8
_NOBODY = MaId("")
#: Said of accounts that may have the new password.
_WROTE = frozenset({Code.SUCCESS, Code.UNAVAILABLE, Code.FAILED})


@dataclass(slots=True)
class _Task:
    """One row of work on its way. `delivery` None: nothing to try now. `over`: what ended without a try. `released`: what is held no more.
    `sent`: the target may have it.
    """

    work: Work
    delivery: Delivery | None = None
    over: list[Delivery] = field(default_factory=list)
    released: list[Delivery] = field(default_factory=list)
    object: CsObject | None = None
    result: Result | None = None
    proof: Proof = Proof.NOT_ASKED
    next_due: datetime | None = None
    sent: bool = False
    settled: bool = False

    def give_up(self, soon: datetime) -> None:
        """Nothing is decided now."""
        self.next_due, self.delivery, self.over = soon, None, []


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a batch needs to know. Keys are read by reference."""

    tasks: Sequence[_Task]
    agents: Mapping[MaId, ManagementAgent]
    secrets: Mapping[MaId, bytes]
    keys: Mapping[str, bytes]
    lease: Lease | None


class Deliver:
    """The worker's side of password synchronization. `threads` 1: one target after the other, in the calling thread. `orders` None: there is nobody who orders."""

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
        orders: OrderRules | None = None,
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
        self._orders = orders
        self._threads = threads
        self._late = LateWrites(store=store, eraser=eraser, events=events)

    def run(self, works: Sequence[Work], lease: Lease | None = None) -> None:
        """Deliver what these rows stand for, as long as the lease holds. Raises LostLease, StoreError; what targets say is kept per delivery."""
        self._late.say(self._now())
        self._late.expect(works, self._now())
        if self._switchboard.off_if_restored():  # (1)
            self._give_back(works)
            return
        loaded = self._load(works, lease)  # (2)
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

    def _load(self, works: Sequence[Work], lease: Lease | None) -> _Loaded | None:
        now = self._now()
        ids = [CsId(work.key) for work in works]
        with self._store.read() as uow:
            if not uow.switch.enabled():
                return None
            kept: dict[CsId, list[Delivery]] = {}
            for delivery in uow.changes.kept(ids):
                kept.setdefault(delivery.object, []).append(delivery)
            applied = uow.changes.applied(kept.keys())
            tasks = [
                _decided(work, kept.get(key, []), applied.get(key), now)  # (3)
                for work, key in zip(works, ids, strict=True)
            ]
            chosen = [task.delivery for task in tasks if task.delivery is not None]
            objects = uow.space.many({one for each in chosen for one in (each.object, _source(each))})
            agents = {agent.id: agent for agent in uow.agents.all()} if kept else {}
            for task in tasks:
                if task.delivery is not None:
                    task.object = objects.get(task.delivery.object)
                    task.result = _refused(task.delivery, objects, agents)  # (4)
            tried = {t.delivery.ma for t in tasks if t.delivery is not None and t.result is None}
            secrets = {ma: uow.agents.secret(ma) for ma in tried}
        wanted = {t.delivery.reference for t in tasks if t.delivery is not None and t.result is None}
        return _Loaded(tasks, agents, secrets, self._vault.get(wanted) if wanted else {}, lease)

    # ----------------------------------------------------------------------------------------------------------- setting

    def _serve(self, ma: MaId, tasks: Sequence[_Task], loaded: _Loaded) -> None:
        open_tasks = [task for task in tasks if task.delivery is not None and task.result is None]
        if open_tasks:
            with self._lanes.enter(ma) as entered:
                if entered:
                    self._try_while_ours(loaded.agents[ma], open_tasks, loaded)
                else:
                    soon = self._now() + _NO_ROOM
                    for task in open_tasks:
                        task.give_up(soon)
        self._settle(loaded.agents, tasks)

    def _try_while_ours(self, agent: ManagementAgent, tasks: Sequence[_Task], loaded: _Loaded) -> None:
        """What was sent is settled also when the rest is not ours any more. Raises LostLease, StoreError."""
        try:
            self._try(agent, tasks, loaded)
        except LostLease:
            self._settle(loaded.agents, [task for task in tasks if task.sent])
            raise

    def _try(self, agent: ManagementAgent, tasks: Sequence[_Task], loaded: _Loaded) -> None:
        """Each task gets a result, whatever happens to the connection. Raises LostLease, StoreError."""
        try:
            secret = self._secret(agent, loaded)
        except StoreError as error:
            _answer_all(tasks, Result(Code.FAILED, error.message))
            return
        try:
            with self._systems.target(agent, secret) as target:
                self._lanes.said(agent.id, well=True)
                self._set(agent.passwords, target, tasks, loaded)
        except StoreError:  # ours, while settling: no target raises it
            raise
        except Exception as error:  # noqa: BLE001  # see `failure`
            if isinstance(error, TargetUnavailable | TargetDenied):
                self._lanes.said(agent.id, well=False)
            _answer_all(tasks, failure(error, agent.name, secret))

    def _secret(self, agent: ManagementAgent, loaded: _Loaded) -> str:
        sealed = loaded.secrets[agent.id]
        return self._sealer.open(sealed, secret_context(agent.id)).decode() if sealed else ""

    def _set(
        self,
        rules: PasswordManagement,
        target: PasswordTarget,
        tasks: Sequence[_Task],
        loaded: _Loaded,
    ) -> None:
        since = self._now()
        security = target.security()
        if security is not Security.SECURE and rules.require_secure:  # (6)
            _answer_all(tasks, Result(Code.INSECURE, f"the connection is {security.value}"))
            return
        for part in _parts(tasks):
            if loaded.lease is not None:
                loaded.lease.require()
            self._set_part(rules, target, part, loaded.keys)
            if self._now() - since >= SETTLE:
                self._settle(loaded.agents, [task for task in tasks if task.result is not None])
                since = self._now()

    def _set_part(
        self,
        rules: PasswordManagement,
        target: PasswordTarget,
        part: Sequence[_Task],
        keys: Mapping[str, bytes],
    ) -> None:
        opened = [(task, new) for task in part if (new := self._opened(task, rules, keys)) is not None]
        if rules.shadow:
            _answer_all([task for task, _ in opened], Result(Code.SUCCESS, "shadow mode: not set"))
            return
        for task, _ in opened:
            task.sent = True
        for (task, _), result in zip(opened, set_all(target, [new for _, new in opened]), strict=True):  # (7)
            task.result = result
        if rules.verify:
            for task, new in opened:
                task.proof = _verified(target, task, new)

    def _opened(
        self, task: _Task, rules: PasswordManagement, keys: Mapping[str, bytes]
    ) -> NewPassword | None:
        """None, with a result, if nobody can open it any more, or it may not be given any more."""
        delivery = task.delivery
        if delivery is None or task.object is None:
            return None
        task.result = refused_now(self._orders, delivery)
        if task.result is not None:
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
        ordered = delivery.purpose is not Purpose.SYNC
        must_change = delivery.must_change if ordered else rules.must_change
        unlock = delivery.unlock if ordered else rules.unlock
        return NewPassword(task.object, plain.decode(), must_change=must_change, unlock=unlock)

    # ---------------------------------------------------------------------------------------------------------- settling

    def _settle(self, agents: Mapping[MaId, ManagementAgent], tasks: Sequence[_Task]) -> None:  # (8)
        """Those that are not settled yet. Where one is lost the others are settled all the same. Raises LostLease, StoreError."""
        left = [task for task in tasks if not task.settled]
        if not left:
            return
        try:
            self._commit(agents, left)
        except LostLease:
            if len(left) == 1:
                self._tell_late_write(left[0], agents)
                raise
        else:
            return
        lost = [task for task in left if not self._settled_alone(agents, task)]
        if lost:
            raise LostLease(f"{len(lost)} of {len(left)} rows were lost: another node holds them now")

    def _settled_alone(self, agents: Mapping[MaId, ManagementAgent], task: _Task) -> bool:
        try:
            self._settle(agents, [task])
        except LostLease:
            return False
        return True

    def _tell_late_write(self, task: _Task, agents: Mapping[MaId, ManagementAgent]) -> None:
        task.settled = True
        code = task.result.code if task.result else None
        if task.delivery is not None and task.sent and (code is None or code in _WROTE):
            self._late.wrote(task.delivery, agents.get(task.delivery.ma), self._now())

    def _commit(self, agents: Mapping[MaId, ManagementAgent], tasks: Sequence[_Task]) -> None:
        now = self._now()
        results = [one for task in tasks for one in _results(task, agents, now)]
        released = [one for task in tasks for one in task.released]
        with self._store.write() as uow:
            uow.work.finish_many([(task.work, task.next_due) for task in tasks])
            kept = uow.changes.still_pending([one.id for one in (*results, *released)])
            saved = [
                LateWrites.seen(uow, one) for one in results if one.id in kept or one.state is State.DELIVERED
            ]
            again = {str(one.object): now for one in saved if one.state is State.PENDING and one.due is None}
            uow.work.poke_many(PASSWORD, again)
            ended = [one for one in saved if one.state is not State.PENDING]
            freed = [one for one in released if one.id not in kept]
            uow.changes.save([*saved, *freed])
            uow.changes.mark_applied(_stamps(saved))
            uow.audit.append(*(record(one, agents.get(one.ma), now) for one in ended))
            if any(one.purpose is not Purpose.SYNC for one in saved):
                uow.work.wake()  # somebody looks at a page of it
            over = Eraser.over(uow, {one.reference for one in (*ended, *freed)})
            head = uow.audit.head() if ended else None
            uow.commit()
        for task in tasks:
            task.settled = True
        self._eraser.destroy(over, head)
        for one in saved:
            announce(self._events, one, agents.get(one.ma))


def _decided(work: Work, kept: Sequence[Delivery], applied: Stamp | None, now: datetime) -> _Task:
    pending = [one for one in kept if one.state is State.PENDING]
    released = [replace(one, sealed=b"") for one in kept if one not in pending and not held(one, now)]
    until = max((one.held_until for one in kept if one.held_until is not None), default=None)
    ends = [one.held_until for one in kept if held(one, now)]
    task = _Task(work, released=released, next_due=_sooner(*ends))
    if not pending:
        return task
    chosen = newest(pending)
    task.over = [superseded(one) for one in pending if one is not chosen]
    if not (chosen.stamp.newer_than(applied) or (set_again(chosen) and chosen.stamp == applied)):
        task.over.append(superseded(chosen))
    elif chosen.due is not None and chosen.due > now:
        task.over = []  # it would take with it for how long they are held
        task.next_due = _sooner(chosen.due, task.next_due)
    else:
        task.delivery = chosen if chosen.held_until == until else replace(chosen, held_until=until)
    return task


def _results(task: _Task, agents: Mapping[MaId, ManagementAgent], now: datetime) -> Iterator[Delivery]:
    """The deliveries of a task as they are now. Says when the row is due next."""
    yield from task.over
    if task.delivery is not None and task.result is not None:
        agent = agents.get(task.delivery.ma)
        rules = agent.passwords if agent else PasswordManagement()
        said = task.result
        after = after_attempt(
            task.delivery, said.code, said.detail[:_DETAIL], task.proof, rules, now, said.origin
        )
        if held(after, now) and not after.shadow:
            after = replace(after, sealed=task.delivery.sealed)
            task.next_due = _sooner(after.held_until, task.next_due)
        else:
            task.next_due = _sooner(after.due, task.next_due)
        yield after


def _sooner(*moments: datetime | None) -> datetime | None:
    return min((one for one in moments if one is not None), default=None)


def _refused(
    delivery: Delivery, objects: Mapping[CsId, CsObject], agents: Mapping[MaId, ManagementAgent]
) -> Result | None:
    """A reason not to try, in the order of the checks."""
    agent, found = agents.get(delivery.ma), objects.get(delivery.object)
    if agent is None or not agent.passwords.enabled:
        return Result(Code.NOT_ENABLED, "password management is not enabled for this agent")
    if agent.passwords.operation is Operation.CHANGE:
        return Result(Code.SET_UNSUPPORTED, "this agent may change passwords, not set them")
    if found is None:
        return Result(Code.OBJECT_MISSING, "the object is not in the connector space any more")
    if found.mv != delivery.mv:
        return Result(Code.OBJECT_MISSING, "the object does not belong to this person any more")
    if delivery.purpose is not Purpose.SYNC:
        return None
    return _cut_off(delivery, objects.get(_source(delivery)), agents)


def _cut_off(
    delivery: Delivery, source: CsObject | None, agents: Mapping[MaId, ManagementAgent]
) -> Result | None:
    """What may have changed at the source since the change was taken in."""
    if source is None or source.mv != delivery.mv or source.link not in JOINED:
        return Result(Code.OBJECT_MISSING, "the account it came from does not belong to this person any more")
    agent = agents.get(source.ma)
    if (
        agent is None
        or agent.source is None
        or not agent.source.enabled
        or delivery.ma not in agent.source.targets
    ):
        return Result(Code.NOT_ENABLED, "the source does not pass passwords to this agent any more")
    return None


def _source(delivery: Delivery) -> CsId:
    return CsId(delivery.stamp.source)


def _answer_all(tasks: Sequence[_Task], result: Result) -> None:
    """Those without a result yet."""
    for task in tasks:
        if task.result is None:
            task.result = result


def _parts(tasks: Sequence[_Task]) -> Iterator[Sequence[_Task]]:
    for start in range(0, len(tasks), _PART):
        yield tasks[start : start + _PART]


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
