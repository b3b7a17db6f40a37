"""What is measured for alerts: the chain of the audit, the coverage of password changes, whether each role can be approved."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from bastide.domain.alerts import Rule, Sighting
from bastide.domain.errors import AuditBroken
from bastide.services.audit import Audit
from bastide.services.benches import Bench, benches
from bastide.services.passwords.coverage import Coverage, CoverageProof
from bastide.services.people import Subjects
from bastide.services.ports import Store

_WHOLE = 100


def chain(audit: Audit) -> Callable[[Rule, datetime], Sequence[Sighting]]:
    """The whole chain is read, and each signed checkpoint."""

    def measure(_rule: Rule, now: datetime) -> Sequence[Sighting]:
        try:
            audit.verify_chain()
        except AuditBroken as error:
            return [
                Sighting(
                    key="chain", title="The audit chain is broken", text=f"{error.message}. {error.remedy}", at=now
                )
            ]  # fmt: skip
        return []

    return measure


def coverage(proof: CoverageProof, store: Store) -> Callable[[Rule, datetime], Sequence[Sighting]]:
    """Of each source domain: how many of the changed passwords were told of."""

    def measure(rule: Rule, now: datetime) -> Sequence[Sighting]:
        with store.read() as uow:
            if not any(agent.source is not None for agent in uow.agents.all()):
                return []
        return [_low(one, now) for one in proof.prove() if _per_cent(one) < rule.threshold]

    return measure


def _per_cent(one: Coverage) -> float:
    told = one.users - one.fresh
    return _WHOLE * one.covered / told if told else float(_WHOLE)


def _low(one: Coverage, now: datetime) -> Sighting:
    where = ", ".join(f"{controller}: {count}" for controller, count in one.by_controller[:5])
    return Sighting(
        key=one.domain,
        title=f"Password changes of {one.domain} were missed",
        text=f"{len(one.uncovered)} of {one.users} changes since {one.since:%Y-%m-%d} were not told of ({where}); `bastide passwords coverage` names them",
        at=now,
        subject_name=one.domain,
        times=1,
    )


def approvers(subjects: Subjects, store: Store) -> Callable[[Rule, datetime], Sequence[Sighting]]:
    """Each stage of each role that is on."""

    def measure(_rule: Rule, now: datetime) -> Sequence[Sighting]:
        return [_unreachable(one, now) for one in _short(store, subjects)]

    return measure


def _short(store: Store, subjects: Subjects) -> Iterator[Bench]:
    with store.read() as uow:
        yield from (one for one in benches(uow, subjects) if one.ready < one.needed)


def _unreachable(one: Bench, now: datetime) -> Sighting:
    return Sighting(
        key=f"{one.role}/{one.stage}",
        title=f"Nobody can approve {one.role}",
        text=f"{one.needed} approvers are needed, {one.people} can sign in, {one.ready} of them have a second factor",
        at=now,
        subject_name=one.role,
    )
