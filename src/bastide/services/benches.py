"""Who can approve: for each stage of each role the people who can sign in, and those of them who have a second factor."""

from collections.abc import Iterator
from dataclasses import dataclass

from bastide.domain.ids import Sid
from bastide.domain.people import Demand
from bastide.domain.roles import Role, Stage
from bastide.services.people import Subjects
from bastide.services.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class Bench:
    """Who may approve in a stage: people who can sign in, and those of them who can show the second factor that is needed."""

    role: str
    stage: str
    needed: int
    people: int
    ready: int


def benches(uow: UnitOfWork, subjects: Subjects) -> Iterator[Bench]:
    """Of every stage of every role that is switched on. Raises DirectoryError."""
    for role in staged(uow):
        yield from (bench(uow, subjects, role, stage) for stage in role.stages)


def staged(uow: UnitOfWork) -> tuple[Role, ...]:
    """The roles that are on and need an approval."""
    return tuple(role for role in uow.roles.all() if role.enabled and role.stages)


def bench(uow: UnitOfWork, subjects: Subjects, role: Role, stage: Stage) -> Bench:
    """Of one stage. Raises DirectoryError."""
    people = frozenset(Sid(sid) for one in stage.approvers for sid in subjects.count_people(one))
    users = {sid: user for user in uow.users.all() for sid in user.sids}
    # Two accounts of one person are one approver.
    persons: dict[str, set[Sid]] = {}
    for sid in people:
        user = users.get(sid)
        known = user.sids if user is not None else {sid}
        persons.setdefault(user.id if user is not None else sid, set()).update(known)
    ready = sum(any(_has_factor(uow, sid, role.approval_factor) for sid in sids) for sids in persons.values())
    return Bench(role.name, stage.name, stage.needed, len(persons), ready)


def _has_factor(uow: UnitOfWork, sid: Sid, wanted: Demand) -> bool:
    if uow.factors.keys_of(sid):
        return True
    return wanted is Demand.ANY and any(factor.confirmed for factor in uow.factors.of(sid))
