"""The audit: whether the chain is whole, its end is signed, and the records leave."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from bastide.domain.audit import Checkpoint, Record
from bastide.domain.errors import AuditBroken
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check, Need
from bastide.health.look import bad, good, unasked
from bastide.health.world import World
from bastide.services.audit import Audit
from bastide.services.ports import AuditQuery

#: 100,000 records take some seconds.
_WHOLE = timedelta(minutes=5)
#: Signing and sending are work of the workers: so much later than planned is no hurry any more.
_LATE = timedelta(minutes=10)


def chain(world: World) -> Iterator[Finding]:
    """Every record and every checkpoint, as `bastide audit verify` does it; that it was done is not put on record."""
    audit = Audit(store=world.store(), signer=world.signer(), now=world.clock.now)
    try:
        verdict = audit.verify_chain()
    except AuditBroken as error:
        yield bad("chain", error.message, error.remedy, severity=Severity.CRITICAL)
        return
    yield good(
        "chain",
        f"all {verdict.seq} records follow one another",
        f"head {verdict.head}; {verdict.checkpoints} checkpoints are good, the newest signs record {verdict.signed}",
    )


def checkpoint(world: World) -> Iterator[Finding]:
    """How old the oldest record is that nobody has signed yet."""
    with world.store().read() as uow:
        newest = uow.audit.newest_checkpoint()
        after = 0 if newest is None else newest.seq
        unsigned = next(uow.audit.read(AuditQuery(after_seq=after, limit=1)), None)
    every = timedelta(minutes=world.config.audit.checkpoint_minutes)
    yield judge_checkpoint(newest, unsigned, every, world.clock.now())


def judge_checkpoint(
    newest: Checkpoint | None, unsigned: Record | None, every: timedelta, now: datetime
) -> Finding:
    """`unsigned`: the oldest record without a signature after it; None: all are signed."""
    evidence = (
        "" if newest is None else f"the newest signs record {newest.seq}, {newest.at:%Y-%m-%d %H:%M} UTC"
    )
    if unsigned is None:
        return good("checkpoint", "every record is signed", evidence)
    if now - unsigned.at > every + _LATE:
        return bad(
            "checkpoint",
            f"records are not signed since {unsigned.at:%Y-%m-%d %H:%M} UTC",
            "see work.overdue: no worker runs, or the signing key cannot be used (configuration.keys)",
            evidence,
        )
    return good("checkpoint", "the end of the chain is signed soon", evidence)


def sinks(world: World) -> Iterator[Finding]:
    """File and syslog: how far behind they are."""
    settings = world.config.audit
    if not settings.file and not settings.syslog:
        yield unasked("sinks", "records stay in the database alone: audit.file and audit.syslog are empty")
        return
    with world.store().read() as uow:
        head = uow.audit.head()[0]
        for name in ([f"file:{settings.file}"] if settings.file else []) + (
            [f"syslog:{settings.syslog}"] if settings.syslog else []
        ):
            at = uow.audit.cursor(name)
            waiting = next(uow.audit.read(AuditQuery(after_seq=at, limit=1)), None)
            yield judge_sink(name, head - at, waiting, world.clock.now())


def judge_sink(name: str, left: int, waiting: Record | None, now: datetime) -> Finding:
    """`waiting`: the oldest record that it has not taken; None: it has all."""
    if waiting is not None and now - waiting.at > _LATE:
        return bad(
            name,
            f"{left} records have not reached {name}, the oldest is of {waiting.at:%Y-%m-%d %H:%M} UTC",
            "see work.failing for what it says, and ports.others",
        )
    return good(name, f"{name} has every record" if waiting is None else f"{left} records are on their way")


CHECKS = (
    Check(
        id="audit.chain",
        category=Category.AUDIT,
        subject="the chain of records and its checkpoints",
        why="A record that was changed or taken away is found here, and nowhere else.",
        run=chain,
        needs=(Need.DATABASE,),
        timeout=_WHOLE,
    ),
    Check(
        id="audit.checkpoint",
        category=Category.AUDIT,
        subject="the signature of the newest records",
        why="What is not signed can be cut off by whoever owns the database.",
        run=checkpoint,
        needs=(Need.DATABASE,),
    ),
    Check(
        id="audit.sinks",
        category=Category.AUDIT,
        subject="file and syslog receiver of the audit",
        why="Records that never leave are worth as much as the machine that they are on.",
        run=sinks,
        needs=(Need.DATABASE,),
    ),
)
