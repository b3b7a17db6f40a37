"""What a decided notification leaves behind: a record, deliveries, the order of its user's changes. Step (8) of accept.py, but for the commit."""

from dataclasses import replace

from bastide.domain.management_agents import CsObject
from bastide.domain.passwords import Delivery, Receipt, State, context_of, superseded
from bastide.services.passwords import outcomes
from bastide.services.passwords.batch import Batch
from bastide.services.passwords.opening import Secret
from bastide.services.passwords.ports import Envelope, SourceState
from bastide.services.passwords.told import Case, change_of, record
from bastide.services.ports import Random

#: Said before it is known whether the reference is.
_BEFORE_KNOWN = frozenset({Receipt.TOO_OLD, Receipt.NOT_A_SOURCE})
#: The account has another password than before, and not one of ours.
_CHANGED = frozenset({Receipt.STAGED, Receipt.NO_TARGETS, Receipt.DAILY_LIMIT, Receipt.STALE_SECRET})
_KEY_BYTES = 32


class Staging:
    """Lays cases over a batch. `keys`: the data keys of what was staged, for the vault."""

    def __init__(self, batch: Batch, *, envelope: Envelope, random: Random) -> None:
        self.keys: dict[str, bytes] = {}
        self._batch = batch
        self._envelope = envelope
        self._random = random

    def note(self, case: Case) -> Case:
        """Of what may be right later nothing is kept but the audit record."""
        self._batch.record(record(case, self._batch.now))
        return replace(case, written=True)

    def stage(self, case: Case, secret: Secret) -> Case:
        """The case, with whether there is anything to commit."""
        batch = self._batch
        if case.receipt in _BEFORE_KNOWN and batch.is_known(case.reference):
            return case
        deliveries: list[Delivery] = []
        if case.receipt is Receipt.STAGED and secret.password is not None:
            self.keys[case.reference] = self._random.token(_KEY_BYTES)
            deliveries = self._seal(case, self.keys[case.reference], bytes(secret.password))
        batch.add(change_of(case, batch.now), deliveries)
        batch.save([replace(one, echoed=True) for one in case.echoes])
        over = self._supersede(case) if case.receipt in _CHANGED else ()
        if (
            case.object is not None
            and case.state is not None
            and case.receipt in {Receipt.STAGED, Receipt.ECHO}
        ):
            batch.set_state(case.object.id, self._remembered(case, case.object, case.state))
        agents = batch.source.agents
        ended = (
            outcomes.record(one, agents.get(one.ma), batch.now) for one in over if one.state is State.FAILED
        )
        batch.record(record(case, batch.now), *ended)
        return replace(case, written=True, over=over)

    def _supersede(self, case: Case) -> tuple[Delivery, ...]:
        """The account has a newer password than what is still to be delivered to it: end that, and let nothing older follow."""
        applied = self._batch.applied(case.same)
        newer = {one: case.placed for one in case.same if case.placed.newer_than(applied.get(one))}
        self._batch.mark_applied(newer)
        older = [one for one in self._batch.kept(case.same) if not one.stamp.newer_than(case.placed)]
        told_of = {one.id for one in case.echoes}
        ended = tuple(replace(_ended(one), echoed=one.echoed or one.id in told_of) for one in older)
        self._batch.save(ended)
        return ended

    def _remembered(self, case: Case, found: CsObject, counted: SourceState) -> SourceState:
        """What is known of the object from now on. What we set ourselves is in the order of its changes, but does not count against the limit."""
        before = self._batch.state(found.id)
        last = before.stamp if before else None
        stamp = case.stamp if case.stamp.newer_than(last) else counted.stamp
        count = counted.count - 1 if case.receipt is Receipt.ECHO else counted.count
        return SourceState(stamp, counted.day_began, count)

    def _seal(self, case: Case, key: bytes, password: bytes) -> list[Delivery]:
        drafts = [
            Delivery(
                id=self._random.uuid(),
                reference=case.reference,
                ma=target.ma,
                object=target.id,
                dn=target.dn,
                stamp=case.placed,
                created_at=self._batch.now,
                mv=target.mv or "",
            )
            for target in case.targets
        ]
        return [replace(one, sealed=self._envelope.seal(key, password, context_of(one))) for one in drafts]


def _ended(one: Delivery) -> Delivery:
    """One that was delivered loses what is held of it."""
    return superseded(one) if one.state is State.PENDING else replace(one, sealed=b"", held_until=None)
