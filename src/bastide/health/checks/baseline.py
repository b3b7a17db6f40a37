"""Whether privileged accounts have what they must have (domain/baseline.py)."""

from collections.abc import Iterator

from bastide.domain.health import Category, Finding
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, good
from bastide.health.world import World
from bastide.services.baseline.look import Baseline


def accounts(world: World) -> Iterator[Finding]:
    """One finding for what one account lacks, by account and rule, so that two reports compare."""
    watched = world.baseline()
    seen = Baseline(
        store=world.store(), censuses=watched.censuses, own=watched.own, now=world.clock.now
    ).look()
    for problem in seen.problems:
        yield bad("baseline", problem, "`bastide baseline check --as-me` looks with your own ticket")
    for one in seen.weaknesses:
        yield Finding(
            "baseline",
            one.severity,
            one.text,
            one.evidence,
            one.remedy if one.change is None else f"{one.remedy}: `bastide baseline fix`",
            subject=f"{one.account.name}@{one.account.domain} {one.rule}",
        )
    if not seen.weaknesses and not seen.problems:
        yield good("baseline", f"{seen.accounts} privileged accounts were looked at, and none lacks anything")


CHECKS = (
    Check(
        id="directory.baseline",
        category=Category.DIRECTORY,
        subject="what privileged accounts lack",
        why="Time-limited groups protect little while the account that gets them can be guessed, delegated or used by NTLM.",
        run=accounts,
        needs=(Need.DATABASE, Need.DIRECTORY),
        timeout=PATIENT,
    ),
)
