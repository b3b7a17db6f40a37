"""docs/operations/faults.md, out of what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

PAGE = "docs/operations/faults.md"
_HEAD = """# Faults, tried

`make chaos` writes this page. It does to the lab what a bad night does: three nodes of Bastide over Patroni (three databases with etcd, synchronous), two PRIV controllers, one CORP controller, each a host of its own.
Two people activate a role again and again, and give it back or let it run out after a minute; two ask for another one and withdraw it, without a pause. Each call goes to the next node, and is sent again, with the same key, until it is acknowledged.
Every fault lasts 30 seconds. After each one holds, or the command fails:

1. Nothing that was acknowledged is lost, and nothing is there that was not asked.
2. No effect twice: each step of each request has one audit record.
3. No account was open on a controller without a grant that covers it. The controllers themselves are asked, twice a second. One whose clock is wrong is asked by its own clock: there a grant covers until Bastide says that access is over.
4. All that was due is finished.
5. The audit's chain is whole.
6. No node says anything that was not foreseen, or takes a primary that was succeeded for a database from the past.

Last run: {day}, all on one machine with two processors, so the seconds are those of a busy machine.

| fault | what is noticed | nothing acknowledged for | longest without a new activation | requests | calls sent again | latest end that was read back | looks at the controllers |
|---|---|---|---|---|---|---|---|
{rows}

*Latest end read back*: how long after its announced end Bastide could say that access is over. The directory itself ends it in time: that is line 3.

What to do in each case: [outage](outage.md).
"""


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds, and numbers."""

    fault: str
    hurts: str
    silence: float
    activation: float
    asked: int
    again: int
    late: float
    looks: int


def render(rows: Sequence[Row], day: date) -> str:
    """The whole page."""
    lines = "\n".join(
        f"| {row.fault} | {row.hurts} | {row.silence:.1f} s | {row.activation:.0f} s | {row.asked} | {row.again} | {row.late:.1f} s | {row.looks} |"
        for row in rows
    )
    return _HEAD.format(day=day.isoformat(), rows=lines)
