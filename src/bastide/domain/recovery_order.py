"""In which order things are brought back after an outage, and which step is next. What is needed by a later step comes first.

A step is done when what belongs to it was looked at and is right; `next` is the first that is not. What comes after it is not judged: most of it cannot be
looked at yet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bastide.domain.health import Result, Severity


class Standing(StrEnum):
    """Of a step."""

    DONE = "done"
    NEXT = "next"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Step:
    """`checks`: whose results belong to it. `about`: of which things; empty: of all. `strict`: a warning is in the way as well. `proved`: it is done only
    where something was looked at. `how`: what to do.
    """

    title: str
    checks: frozenset[str]
    how: str
    about: str = ""
    strict: bool = False
    proved: bool = True

    def of(self, results: Sequence[Result]) -> tuple[Result, ...]:
        """The results that belong to it."""
        return tuple(
            one for one in results if one.check in self.checks and one.subject.startswith(self.about)
        )

    def in_the_way(self, results: Sequence[Result]) -> tuple[Result, ...]:
        """What keeps it from being done. What could not be looked at is no proof."""
        mine = self.of(results)
        bad: Callable[[Severity], bool] = (
            (lambda one: one.is_problem) if self.strict else (lambda one: one.is_error)
        )
        wrong = tuple(one for one in mine if bad(one.severity))
        if self.proved and not wrong and mine and all(one.severity is Severity.SKIPPED for one in mine):
            return mine
        return wrong


@dataclass(frozen=True, slots=True)
class Stage:
    """A step as it is now; `findings`: what is in the way of the one that is next."""

    number: int
    step: Step
    standing: Standing
    findings: tuple[Result, ...] = ()


PRIV, CORP = "PRIV", "CORP"
ORDER = (
    Step(
        "network, DNS and time",
        frozenset({"dns.services", "time.controllers"}),
        "Kerberos allows five minutes; most outages of a directory are one of these three",
        proved=False,
    ),
    Step(
        "one PRIV domain controller",
        frozenset({"recovery.controllers"}),
        "start one; seize the FSMO roles of one that does not come back",
        PRIV,
    ),
    Step(
        "one CORP domain controller",
        frozenset({"recovery.controllers"}),
        "start one, with a way to PRIV",
        CORP,
    ),
    Step(
        "the database",
        frozenset({"database.schema", "database.file", "database.servers"}),
        "PostgreSQL: exactly one server that can be written to. SQLite: the file, its directory, free space",
    ),
    Step(
        "one Bastide node",
        frozenset({"configuration.settings", "service.listening"}),
        "systemctl start bastide.service",
        strict=True,
    ),
    Step(
        "database and directory agree",
        frozenset({"recovery.database"}),
        "wait: Bastide compares them by itself, and grants nothing until then (docs/operations/backup.md)",
    ),
    Step(
        "what was missed",
        frozenset({"work.overdue", "work.leases", "work.failing"}),
        "`bastide work list`, `bastide request list --all`",
    ),
    Step(
        "the other nodes and controllers",
        frozenset({"ports.controllers", "directory.sign-in", "service.nodes"}),
        "bring them back, or take those that do not come back out of DNS, `priv.controllers` and the list of nodes",
    ),
    Step(
        "the audit",
        frozenset({"audit.chain"}),
        "`bastide audit verify` (docs/operations/backup.md, a chain that does not verify)",
    ),
)


def stages(results: Sequence[Result]) -> tuple[Stage, ...]:
    """All steps in order."""
    found: list[Stage] = []
    waits = False
    for number, step in enumerate(ORDER, start=1):
        wrong = () if waits else step.in_the_way(results)
        standing = Standing.LATER if waits else Standing.NEXT if wrong else Standing.DONE
        waits = waits or bool(wrong)
        found.append(Stage(number, step, standing, wrong))
    return tuple(found)
