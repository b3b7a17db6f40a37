"""What is ready for the day on which all of this is gone. What Bastide cannot do yet is said here, and not passed over."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from bastide.domain.audit import Record
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check, Need
from bastide.health.look import bad, good
from bastide.health.world import World

#: A timer that runs once a week may be a day late.
_OLD = timedelta(days=8)
_MAKE_ONE = "let a timer run `bastide backup`, and prove what it makes with `bastide restore --check` (docs/operations/backup.md)"


def break_glass(_world: World) -> Iterator[Finding]:
    """There are none in this version."""
    yield Finding(
        "break-glass",
        Severity.SKIPPED,
        "not set up: this version of Bastide keeps no sealed credentials for the day on which it is down",
        remedy="keep an administrator's password of each forest in a safe, and drill its use (docs/operations/outage.md)",
    )


def backups(world: World) -> Iterator[Finding]:
    """What the audit says of the newest one, whichever node made it; whether its file is still there nobody knows here."""
    with world.store().read() as uow:
        newest = uow.audit.last("backup.made", "")
    yield judge_backup(newest, world.clock.now())


def judge_backup(newest: Record | None, now: datetime) -> Finding:
    """`newest`: the record of the one made last; None: there is none."""
    if newest is None:
        return bad(
            "backups",
            "`bastide backup` never made one; a copy made by other means is not seen here",
            _MAKE_ONE,
            severity=Severity.WARNING,
        )
    age = now - newest.at
    made = f"{newest.at:%Y-%m-%d %H:%M} UTC, {max(age, timedelta(0)).days} days ago"
    evidence = f"{newest.subject_name}, sha256 {json.loads(newest.data).get('sha256', 'unknown')}"
    if age > _OLD:
        return bad("backups", f"the newest was made {made}", _MAKE_ONE, evidence, severity=Severity.WARNING)
    return good("backups", f"the newest was made {made}", evidence)


CHECKS = (
    Check(
        id="recovery.break-glass",
        category=Category.RECOVERY,
        subject="credentials for the day on which Bastide is down",
        why="Without them an outage of Bastide is an outage of administration.",
        run=break_glass,
    ),
    Check(
        id="recovery.backups",
        category=Category.RECOVERY,
        subject="when the database was backed up last",
        why="What is not in a backup is gone with the disk.",
        run=backups,
        needs=(Need.DATABASE,),
    ),
)
