"""Durable work: rows that nobody takes, leases that nobody gives back, and what fails again and again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check, Need
from bastide.health.look import bad, good
from bastide.health.world import World

#: A worker takes what is due within a second; it may be busy, and a database may have failed over.
_LATE, _TOO_LATE = timedelta(minutes=2), timedelta(minutes=15)
_STUCK = timedelta(minutes=1)
#: The first tries may meet a controller that restarts.
_OFTEN = 3
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Row:
    """As WorkRows.listing gives it. `lease` None: nobody has it in hand."""

    kind: str
    key: str
    due: datetime | None
    attempts: int
    owner: str
    lease: datetime | None
    error: str

    @classmethod
    def read(cls, row: Mapping[str, object]) -> "Row":
        """Of a listing."""
        due, lease = row["due"], row["lease"]
        return cls(
            kind=str(row["kind"]),
            key=str(row["key"]),
            due=due if isinstance(due, datetime) else None,
            attempts=int(str(row["attempts"])),
            owner=str(row["owner"] or ""),
            lease=lease if isinstance(lease, datetime) else None,
            error=str(row["error"] or ""),
        )


def rows_of(world: World) -> tuple[Row, ...]:
    """All of them."""
    with world.store().read() as uow:
        return tuple(map(Row.read, uow.work.listing()))


def overdue(world: World) -> Iterator[Finding]:
    """See there."""
    yield judge_overdue(rows_of(world), world.clock.now())


def judge_overdue(rows: Sequence[Row], now: datetime) -> Finding:
    """What is due and in nobody's hand."""
    late = sorted(
        (row for row in rows if row.lease is None and row.due is not None and now - row.due > _LATE),
        key=lambda row: row.due or now,
    )
    if not late:
        return good("overdue", "no work is overdue", f"{len(rows)} rows")
    longest = now - (late[0].due or now)
    named = "; ".join(f"{row.kind} {row.key}".strip() for row in late[:_NAMED])
    return bad(
        "overdue",
        f"{len(late)} pieces of work are overdue, the first for {int(longest.total_seconds() // 60)} minutes: access is not given or taken in time",
        "start bastide.service on a node of this partition; `bastide work list` shows the rows",
        named,
        severity=Severity.ERROR if longest > _TOO_LATE else Severity.WARNING,
    )


def leases(world: World) -> Iterator[Finding]:
    """See there."""
    yield judge_leases(rows_of(world), world.clock.now())


def judge_leases(rows: Sequence[Row], now: datetime) -> Finding:
    """What somebody took and did not give back in time. Any worker may take it from then on."""
    stuck = [row for row in rows if row.lease is not None and now - row.lease > _STUCK]
    held = sum(row.lease is not None for row in rows)
    if not stuck:
        return good("leases", "no lease is over", f"{held} rows are in hand")
    owners = sorted({row.owner for row in stuck})
    return bad(
        "leases",
        f"{len(stuck)} leases of {', '.join(owners)} are over, and nobody took the work",
        "start bastide.service on any node of this partition: it takes over what is left",
        "; ".join(f"{row.kind} {row.key} ({row.owner})" for row in stuck[:_NAMED]),
    )


def failing(world: World) -> Iterator[Finding]:
    """See there."""
    yield judge_failing(rows_of(world))


def judge_failing(rows: Sequence[Row]) -> Finding:
    """What went wrong several times in a row."""
    found = sorted((row for row in rows if row.attempts >= _OFTEN), key=lambda row: -row.attempts)
    if not found:
        return good("failing", "nothing fails again and again")
    return bad(
        "failing",
        f"{len(found)} pieces of work fail again and again",
        "what they say is in the evidence; Bastide goes on trying",
        "; ".join(f"{row.kind} {row.key}: {row.attempts} tries: {row.error}" for row in found[:_NAMED]),
        severity=Severity.WARNING,
    )


CHECKS = (
    Check(
        id="work.overdue",
        category=Category.WORK,
        subject="work that nobody takes",
        why="An end of access that is overdue is access that somebody should not have any more.",
        run=overdue,
        needs=(Need.DATABASE,),
    ),
    Check(
        id="work.leases",
        category=Category.WORK,
        subject="work that somebody took and did not give back",
        why="It says which node died, and that no other one is there for its work.",
        run=leases,
        needs=(Need.DATABASE,),
    ),
    Check(
        id="work.failing",
        category=Category.WORK,
        subject="work that fails again and again",
        why="Bastide never stops trying, so somebody has to hear of it.",
        run=failing,
        needs=(Need.DATABASE,),
    ),
)
