"""Whether a request for each role can be approved at all: enough people, who can sign in, and have a second factor."""

from collections.abc import Iterator

from bastide.domain.errors import BastideError
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, good, refusal
from bastide.health.world import World
from bastide.services.benches import Bench, bench, staged
from bastide.services.people import Subjects


def reachable(world: World) -> Iterator[Finding]:
    """Every stage of every role that is switched on."""
    subjects = Subjects(world.forests(), world.clock.now)
    with world.store().read() as uow:
        for role in staged(uow):
            for stage in role.stages:
                try:
                    yield judge(bench(uow, subjects, role, stage))
                except BastideError as error:
                    yield refusal(_about(role.name, stage.name), error)


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
