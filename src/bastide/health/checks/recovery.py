"""What is ready for the day on which all of this is gone. What Bastide cannot do yet is said here, and not passed over."""

from collections.abc import Iterator

from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check
from bastide.health.world import World


def break_glass(_world: World) -> Iterator[Finding]:
    """There are none in this version."""
    yield Finding(
        "break-glass",
        Severity.SKIPPED,
        "not set up: this version of Bastide keeps no sealed credentials for the day on which it is down",
        remedy="keep an administrator's password of each forest in a safe, and drill its use (docs/operations/outage.md)",
    )


def backups(_world: World) -> Iterator[Finding]:
    """No setting names where they are, so none can be looked at."""
    yield Finding(
        "backups",
        Severity.SKIPPED,
        "not set up: no setting names a folder of backups, so this cannot see whether they are made",
        remedy="let a timer run `bastide backup`, and try what it made (docs/operations/backup.md)",
    )


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
        subject="backups of database and keys",
        why="A backup that was never restored is a hope.",
        run=backups,
    ),
)
