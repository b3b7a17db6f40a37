"""Whether a request for each role can be approved at all: enough people, who can sign in, and have a second factor."""

from collections.abc import Iterator
from dataclasses import dataclass

from bastide.domain.errors import BastideError
from bastide.domain.health import Category, Finding, Severity
from bastide.domain.ids import Sid
from bastide.domain.people import Demand
from bastide.domain.roles import Role, Stage
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, good, refusal
from bastide.health.world import World
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


def reachable(world: World) -> Iterator[Finding]:
    """Every stage of every role that is switched on."""
    subjects = Subjects(world.forests(), world.clock.now)
    with world.store().read() as uow:
        roles = [role for role in uow.roles.all() if role.enabled and role.stages]
        for role in roles:
            for stage in role.stages:
                try:
                    yield judge(_bench(uow, subjects, role, stage))
                except BastideError as error:
                    yield refusal(_about(role.name, stage.name), error)


def _bench(uow: UnitOfWork, subjects: Subjects, role: Role, stage: Stage) -> Bench:
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


def _about(role: str, stage: str) -> str:
    return f"{role}: {stage}" if stage else role


def judge(bench: Bench) -> Finding:
    """Whether enough can answer, and whether one may be away."""
    about = _about(bench.role, bench.stage)
    evidence = f"{bench.needed} needed, {bench.people} can sign in, {bench.ready} have a second factor"
    if bench.people < bench.needed:
        return bad(
            about, f"nobody can get {bench.role}: {bench.people} approvers can sign in, and {bench.needed} are needed",
            f"`bastide role edit` gives {bench.role} other approvers, or mend the accounts", evidence,
        )  # fmt: skip
    if bench.ready < bench.needed:
        return bad(
            about, f"nobody can get {bench.role}: {bench.ready} approvers have a second factor, and {bench.needed} are needed",
            "let them register one: `bastide mfa invite`", evidence,
        )  # fmt: skip
    if bench.ready == bench.needed:
        return bad(
            about, f"{bench.role} waits whenever one approver is away", "name more approvers, or let them register a second factor",
            evidence, severity=Severity.WARNING,
        )  # fmt: skip
    return good(about, f"{bench.ready} people can approve {bench.role}", evidence)


CHECKS = (
    Check(
        id="approvers.reachable",
        category=Category.APPROVERS,
        subject="who can approve each role",
        why="A role whose approvers have left is a role that nobody can use, and one notices in the emergency.",
        run=reachable,
        needs=(Need.NETWORK, Need.DATABASE, Need.DIRECTORY),
        timeout=PATIENT,
    ),
)
