"""What checks find, how bad it is, and what two reports have between them. A check always says something: silence is never health."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Severity(StrEnum):
    """`skipped`: nothing was looked at, and the text says why."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def weight(self) -> int:
        """The worse, the more. What was skipped is no problem and no proof."""
        return _WEIGHTS[self]

    @property
    def is_problem(self) -> bool:
        return self.weight >= _WEIGHTS[Severity.WARNING]

    @property
    def is_error(self) -> bool:
        return self.weight >= _WEIGHTS[Severity.ERROR]


_WEIGHTS: Mapping[Severity, int] = {severity: number for number, severity in enumerate(Severity)}


class Category(StrEnum):
    """In the order in which a person would look."""

    INVENTORY = "inventory"
    CONFIGURATION = "configuration"
    DNS = "dns"
    PORTS = "ports"
    TIME = "time"
    KERBEROS = "kerberos"
    DIRECTORY = "directory"
    TRUST = "trust"
    DATABASE = "database"
    STORAGE = "storage"
    CERTIFICATES = "certificates"
    SERVICE = "service"
    AGENTS = "agents"
    TARGETS = "targets"
    APPROVERS = "approvers"
    AUDIT = "audit"
    ALERTS = "alerts"
    RECOVERY = "recovery"
    WORK = "work"

    @property
    def heading(self) -> str:
        """For people."""
        return "DNS" if self is Category.DNS else self.value.capitalize()


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of a test. `key` is stable; `evidence` is what was seen, `remedy` what a person can do about it. `subject`: what it is about, where
    one test looks at several things.
    """

    key: str
    severity: Severity
    text: str
    evidence: str = ""
    remedy: str = ""
    subject: str = ""

    @property
    def about(self) -> str:
        return self.subject or self.key

    @property
    def ok(self) -> bool:
        """No problem was found; of what was skipped none could be."""
        return not self.severity.is_problem


def first_cause(walked: Sequence[Finding]) -> Finding | None:
    """Of steps that were walked up to the first error: that error; else the first warning; else None."""
    if walked and walked[-1].severity.is_error:
        return walked[-1]
    return next((one for one in walked if one.severity is Severity.WARNING), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finding of a check, with how long the check took, in seconds."""

    check: str
    category: Category
    subject: str
    severity: Severity
    text: str
    evidence: str = ""
    remedy: str = ""
    why: str = ""
    seconds: float = 0.0

    @property
    def identity(self) -> tuple[str, str]:
        """The same thing in two reports."""
        return self.check, self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All results of one run on one node. `only`: the categories that were asked for, sorted; empty: all."""

    node: str
    version: str
    began: datetime
    took: timedelta
    results: tuple[Result, ...]
    only: tuple[Category, ...] = ()

    @property
    def worst(self) -> Severity:
        """Ok if nothing is said at all: only a report without checks is so."""
        return max((one.severity for one in self.results), key=lambda one: one.weight, default=Severity.OK)

    @property
    def failed(self) -> bool:
        """Whether a program that asks must hear no."""
        return self.worst.is_error

    @property
    def problems(self) -> tuple[Result, ...]:
        """The worst first; of the same weight in the order of the run."""
        found = (one for one in self.results if one.severity.is_problem)
        return tuple(sorted(found, key=lambda one: -one.severity.weight))

    def counts(self, category: Category | None = None) -> Mapping[Severity, int]:
        """How many results there are of each severity, in all or of one category."""
        found = Counter(one.severity for one in self.results if category in {None, one.category})
        return {severity: found[severity] for severity in Severity}


def together(results: Iterable[Result]) -> tuple[Result, ...]:
    """For people: what is said of several things alike, and is not well, once, in the place of the first. Three controllers that are down are one problem."""
    alike: dict[tuple[object, ...], list[Result]] = {}
    for one in results:
        said = one.text.replace(one.subject, "\0")
        own = one.subject if one.severity is Severity.OK else ""
        alike.setdefault((one.check, one.severity, said, one.remedy, own), []).append(one)
    return tuple(_merged(group) for group in alike.values())


def _merged(group: Sequence[Result]) -> Result:
    first, subjects = group[0], list(dict.fromkeys(one.subject for one in group))
    if len(subjects) == 1:
        return first
    names = f"{', '.join(subjects[:-1])} and {subjects[-1]}"
    seen = dict.fromkeys(one.evidence for one in group)
    evidence = (
        first.evidence
        if len(seen) == 1
        else "; ".join(f"{one.subject}: {one.evidence}" for one in group if one.evidence)
    )
    return replace(first, subject=names, text=first.text.replace(first.subject, names), evidence=evidence)


class Move(StrEnum):
    """What became of something between two reports. `unknown`: it was looked at before, and now it could not be."""

    WORSE = "worse"
    NEW = "new"
    UNKNOWN = "unknown"
    BETTER = "better"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was. `before` None: it was not in the report; `after` None: it is not any more."""

    move: Move
    before: Result | None
    after: Result | None

    @property
    def shown(self) -> Result:
        """The newer of the two."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a change of nothing")
        return found


def compare(before: Report, after: Report) -> tuple[Change, ...]:
    """What became worse, new, unknown, better or gone, in that order. Only problems are new; what was looked at before and is not there now is gone, also
    if it was right: nobody looks at it any more. What was not asked for this time (`--only`) is no change.
    """
    old, new = _by_identity(before.results), _by_identity(after.results)
    cut = _cut_short(after, old)
    found = []
    for key in dict.fromkeys([*new, *old]):
        if key in new or not after.only or old[key].category in after.only:
            change = _change(old.get(key), new.get(key))
            if change is not None and change.move is Move.GONE and key[0] in cut:
                change = Change(Move.UNKNOWN, change.before, None)
            found.append(change)
    order = list(Move)
    return tuple(sorted((one for one in found if one is not None), key=lambda one: order.index(one.move)))


def _cut_short(after: Report, old: Mapping[tuple[str, str], Result]) -> frozenset[str]:
    """Checks that may not have come to all they look at: one that was skipped, or has an error about something new, its own time-out for example."""
    return frozenset(
        one.check
        for one in after.results
        if one.severity is Severity.SKIPPED or (one.severity.is_error and one.identity not in old)
    )


def _change(before: Result | None, after: Result | None) -> Change | None:
    if before is None:
        return Change(Move.NEW, None, after) if after is not None and after.severity.is_problem else None
    if after is None:
        return None if before.severity is Severity.SKIPPED else Change(Move.GONE, before, None)
    was, now = before.severity, after.severity
    if was is now:
        return None
    if now is Severity.SKIPPED:
        return Change(Move.UNKNOWN, before, after)
    if was is Severity.SKIPPED:
        return Change(Move.NEW, before, after) if now.is_problem else None
    return Change(Move.WORSE if now.weight > was.weight else Move.BETTER, before, after)


def _by_identity(results: Iterable[Result]) -> dict[tuple[str, str], Result]:
    """Of two results about the same thing the worse one counts."""
    found: dict[tuple[str, str], Result] = {}
    for one in results:
        known = found.get(one.identity)
        if known is None or one.severity.weight > known.severity.weight:
            found[one.identity] = one
    return found
