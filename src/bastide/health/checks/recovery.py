"""What is ready for the day on which all of this is gone. What Bastide cannot do yet is said here, and not passed over."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from bastide.config import Config
from bastide.domain.audit import Record
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, good, look, unasked
from bastide.health.world import Unasked, World
from bastide.services.pace import RECONCILE
from bastide.services.recovery import Place, knows, reconciling
from bastide.store.mark import FileMark
from bastide.wiring.database import mark_path
from bastide.wiring.storage import by_settings, is_share, size_on_share

#: A timer that runs once a week may be a day late.
_OLD = timedelta(days=8)
_START_ONE = "start one of its domain controllers; see dns, ports, time and kerberos.keytabs"
_MAKE_ONE = "let a timer run `bastide backup`, and prove what it makes with `bastide restore --check` (docs/operations/backup.md)"


def backups(world: World) -> Iterator[Finding]:
    """What the audit says of the newest one, whichever node made it; of one on a share also whether it is still there. Another node's folder nobody sees here."""
    with world.store().read() as uow:
        newest = uow.audit.last("backup.made", "")
    yield judge_backup(newest, world.clock.now())
    path = "" if newest is None else str(json.loads(newest.data).get("path", ""))
    if is_share(path):
        yield look("share", lambda: _still_there(path, world.config))


def _still_there(path: str, config: Config) -> str:
    """Raises BastideError, ConfigError, ImportError."""
    size = size_on_share(path, lambda: by_settings(config))
    return f"{path} is still there, {size:,} bytes"


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


def controllers(world: World) -> Iterator[Finding]:
    """Of each forest, whether one lets the service account in. That is what the rest needs; each of them by itself is in directory.sign-in."""
    config = world.config
    for name, domain in (("PRIV", config.priv.domain), ("CORP", config.corp.domain if config.corp else "")):
        if domain:
            yield _one_of(name, domain, world)


def _one_of(name: str, domain: str, world: World) -> Finding:
    about = f"{name} {domain}"
    try:
        answers = world.domains()[domain.rstrip(".").lower()].asked()
    except DirectoryUnavailable as error:
        return bad(about, f"{about}: {error.message}", error.remedy or _START_ONE)
    letting = sorted(one for one, said in answers.items() if isinstance(said, timedelta))
    evidence = "; ".join(f"{one}: {said}" for one, said in answers.items() if one not in letting)
    if letting:
        return good(about, f"{about}: {len(letting)} of {len(answers)} domain controllers answer", evidence)
    said = set(answers.values())
    if len(said) == 1 and isinstance(why := said.pop(), Unasked):
        return unasked(about, f"{about}: {why}")
    return bad(about, f"{about}: no domain controller lets Bastide in", _START_ONE, evidence)


def compared(world: World) -> Iterator[Finding]:
    """Whether the database came back from an earlier time, and is not yet compared with the directory."""
    with world.store().read() as uow:
        began = reconciling(uow)
        rows = [row for row in uow.work.listing() if row["kind"] == RECONCILE]
    yield judge_compared(began, str(rows[0]["error"] or "") if rows else "")


def judge_compared(began: Record | None, error: str) -> Finding:
    """`error`: what holds it up, as the work says."""
    if began is None:
        return good("database", "nothing is to be compared with the directory")
    cause = json.loads(began.data).get("cause", "")
    return bad(
        "database",
        f"nothing is granted since {began.at:%Y-%m-%d %H:%M:%S} UTC: the database came back from an earlier time ({cause}), and is being compared with the directory",
        "see to it that a node runs and every PRIV controller answers; one that does not come back is taken out of DNS or `priv.controllers`",
        error,
    )


def mark(world: World) -> Iterator[Finding]:
    """Whether a database that is put back behind our back would be noticed, and whether this one was."""
    path = mark_path(world.config)
    if path is None:
        yield bad(
            "mark",
            "there is no mark outside of the database: one that is put back while the service is stopped is noticed only if `bastide restore` did it",
            "set database.mark to a file that is in no backup of the database",
            severity=Severity.WARNING,
        )
        return
    with world.store().read() as uow:
        place = FileMark(path).read()
        known = place is None or knows(uow, place)
    yield judge_mark(path, place, known=known)


def judge_mark(path: Path, place: Place | None, *, known: bool) -> Finding:
    """`place`: what it says; None: there is no such file."""
    if place is None:
        return unasked("mark", f"no node has noted anything in {path} yet")
    if known:
        return good(
            "mark", f"the database has the newest record that this node noted ({place[0]})", str(path)
        )
    return bad(
        "mark",
        f"the database lacks audit record {place[0]}, which this node saw: it is an older one",
        "start bastide.service: it compares the directory with it before it grants anything (docs/operations/backup.md)",
        str(path),
    )


#: Asked after an outage alone (`bastide validate --recovery`): at other times each controller by itself is a finding of directory.sign-in.
AFTER_AN_OUTAGE = (
    Check(
        id="recovery.controllers",
        category=Category.RECOVERY,
        subject="one domain controller of each forest",
        why="With one of each everything else can be brought back; without, nothing.",
        run=controllers,
        needs=(Need.NETWORK,),
        timeout=PATIENT,
    ),
)
CHECKS = (
    Check(
        id="recovery.database",
        category=Category.RECOVERY,
        subject="a database that came back from an earlier time",
        why="What was granted after the backup is unknown to it, and nobody would ever take it away.",
        run=compared,
        needs=(Need.DATABASE,),
    ),
    Check(
        id="recovery.mark",
        category=Category.RECOVERY,
        subject="the mark outside of the database",
        why="Without it an older database looks like any other.",
        run=mark,
        needs=(Need.DATABASE,),
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
