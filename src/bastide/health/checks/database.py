"""The database: schema, the file's health, and on PostgreSQL who can be written to and who follows whom. Opened for reading."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from bastide.config import ConfigError
from bastide.domain.errors import BastideError
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import PATIENT, Check
from bastide.health.checks.ports import ways as ways_of
from bastide.health.look import Problem, bad, good, look, unasked
from bastide.health.world import World
from bastide.store.engine import is_sqlite

if TYPE_CHECKING:
    from bastide.store.inspect import DatabaseFacts, ServerFacts, SqliteFacts

#: A write-ahead log is usually cut at 4 MB; one that grows has a reader that never ends.
_LARGE_LOG = 256 * 1024 * 1024
_LAG_WARNING, _LAG_ERROR = timedelta(seconds=10), timedelta(minutes=5)
_OLDEST_POSTGRES = 13
_MAY_WRITE = {"read-write", "primary"}
_UPGRADE = "`bastide db upgrade` makes and upgrades it"


def schema(world: World) -> Iterator[Finding]:
    """Whether it can be opened, and has a schema that this version can work on."""
    from bastide.store.migrations import require  # noqa: PLC0415  # Alembic takes its time

    def probe() -> str:
        facts = world.database()
        if facts.fit is None:
            raise Problem(facts.problem, remedy="see database.servers")
        require(facts.fit)
        return f"its schema fits: it has version {facts.fit.found}, this program needs {facts.fit.needed}"

    yield look("database", probe, _UPGRADE)


def sqlite(world: World) -> Iterator[Finding]:
    """Of a SQLite file."""
    if is_sqlite(world.config.database.url):
        facts = _facts(world)
        yield from [_UNSEEN] if facts is None else judge_file(facts.sqlite)


def servers(world: World) -> Iterator[Finding]:
    """Of PostgreSQL: every server that the DSN names, asked on its own. One whose port does not answer is a finding of ports.others."""
    if is_sqlite(world.config.database.url):
        return
    facts = _facts(world)
    if facts is None:
        yield _UNSEEN
        return
    ways = {f"{way.host}:{way.port}": way for way in ways_of(world.config)}
    for found in judge_servers(facts):
        way = None if found.ok else ways.get(found.key)
        if way is not None and world.network.knock(way.host, way.port):
            yield unasked(found.key, f"{found.key} was not asked: see ports.others")
        else:
            yield found


def _facts(world: World) -> "DatabaseFacts | None":
    """None: the database says nothing at all, and database.schema why."""
    try:
        return world.database()
    except (BastideError, ConfigError, ImportError, OSError):
        return None


_UNSEEN = unasked("database", "the database cannot be asked: see database.schema")


def judge_file(facts: "SqliteFacts | None") -> Iterator[Finding]:
    """Integrity, journal mode and write-ahead log. None: it is no SQLite file."""
    if facts is None:
        return
    if facts.complaints:
        yield bad(
            "integrity",
            f"{facts.path} is damaged",
            "stop Bastide, keep the file as it is, and restore the newest backup (docs/operations/backup.md)",
            "; ".join(facts.complaints),
            severity=Severity.CRITICAL,
        )
    else:
        yield good("integrity", f"{facts.path} is whole", "PRAGMA quick_check")
    if facts.journal == "wal":
        yield good("journal", "readers and the writer do not wait for each other", "journal_mode wal")
    else:
        yield bad(
            "journal",
            f"the journal mode of {facts.path} is {facts.journal}, not wal: readers hold up the writer",
            "start bastide.service once: it sets the mode; on a network file system it cannot",
            severity=Severity.WARNING,
        )
    if facts.log > _LARGE_LOG:
        yield bad(
            "write-ahead log",
            f"the write-ahead log of {facts.path} has {facts.log // (1024 * 1024)} MiB: some reader never ends",
            "restart bastide.service; a backup program that keeps the file open is the usual cause",
            severity=Severity.WARNING,
        )
    else:
        yield good("write-ahead log", f"{facts.log // 1024} KiB")


def judge_servers(facts: "DatabaseFacts") -> Iterator[Finding]:
    """Exactly one can be written to; versions and timelines are the same; standbys stream, and one is synchronous; the DSN names all."""
    if not facts.servers:
        return
    for one in facts.servers:
        yield _server(one)
    known = [one for one in facts.servers if not one.problem]
    writable = [one for one in known if one.writable]
    names = ", ".join(f"{one.host}:{one.port}" for one in writable)
    if len(writable) == 1:
        yield good("writable", f"exactly one server can be written to: {names}")
        yield from _replication(writable[0], len(facts.servers))
    else:
        yield bad(
            "writable",
            f"{len(writable)} servers can be written to, where it must be exactly one",
            "ask Patroni (patronictl list) who leads; take the other ones out of the DSN until it is one again",
            names,
            severity=Severity.CRITICAL,
        )
    yield from _alike(known, writable[0] if len(writable) == 1 else None)
    yield from _dsn(facts, writable[0] if len(writable) == 1 else None)


def _server(one: "ServerFacts") -> Finding:
    about = f"{one.host}:{one.port}"
    if one.problem:
        remedy = f"start PostgreSQL on {one.host}, or take it out of database.url"
        return bad(about, f"{about} cannot be asked: {one.problem}", remedy)
    if int(one.version.partition(".")[0] or 0) < _OLDEST_POSTGRES:
        remedy = f"upgrade it to {_OLDEST_POSTGRES} or newer"
        return bad(about, f"{about} runs PostgreSQL {one.version}", remedy)
    role = "can be written to" if one.writable else "is a standby"
    if one.lag is not None and one.lag >= _LAG_WARNING:
        return bad(
            about,
            f"{about} is a standby and {one.lag.total_seconds():.0f} s behind",
            f"look at the network between the servers and at the disk of {one.host}",
            severity=Severity.ERROR if one.lag >= _LAG_ERROR else Severity.WARNING,
        )
    return good(about, f"{about} runs PostgreSQL {one.version} and {role}", f"timeline {one.timeline}")


def _replication(leader: "ServerFacts", named: int) -> Iterator[Finding]:
    """`named`: how many servers the DSN names. One that does not follow is in no list of the leader's: it is known by its absence alone."""
    if named == 1 and not leader.standbys:
        yield unasked("replication", "there is one server: its backup is all there is if it is lost")
        return
    evidence = "; ".join(
        f"{one.name or 'standby'} {one.state or 'state hidden'} {one.sync}".strip() for one in leader.standbys
    )
    still = [one for one in leader.standbys if one.state not in {"", "streaming"}]
    if len(leader.standbys) < named - 1:
        yield bad(
            "replication",
            f"{len(leader.standbys)} standby(s) follow {leader.host}, and the DSN names {named - 1} beside it",
            "look at the log of the one that is missing: a line `replication` that lacks in pg_hba.conf is the usual cause",
            evidence,
        )
    elif still:
        yield bad(
            "replication",
            f"{', '.join(one.name for one in still)} follows {leader.host}, and does not stream",
            "wait if it has just joined; otherwise look at its log",
            evidence,
            severity=Severity.WARNING,
        )
    elif any(not one.state for one in leader.standbys):
        yield bad(
            "replication",
            f"{len(leader.standbys)} standby(s) follow {leader.host}; whether they stream is hidden from this role",
            "GRANT pg_monitor to the role in database.url",
            evidence,
            severity=Severity.WARNING,
        )
    else:
        yield good("replication", f"{len(leader.standbys)} standby(s) follow {leader.host}", evidence)
    yield from _synchronous(leader)


def _synchronous(leader: "ServerFacts") -> Iterator[Finding]:
    if leader.synchronous:
        yield good(
            "synchronous", "a commit waits for a standby: nothing acknowledged is lost", leader.synchronous
        )
    else:
        yield bad(
            "synchronous",
            "no commit waits for a standby: what was acknowledged last is lost with the primary",
            "Patroni: synchronous_mode: true and synchronous_mode_strict: true",
            "synchronous_standby_names is empty",
            severity=Severity.WARNING,
        )


def _alike(known: "list[ServerFacts]", leader: "ServerFacts | None") -> Iterator[Finding]:
    """After a failover a standby's control file shows the old timeline until its next checkpoint. Whoever follows the leader is on the leader's: only where
    somebody does not follow, another timeline is another history.
    """
    versions, timelines = {one.version for one in known}, {one.timeline for one in known}
    if len(known) < 2:  # noqa: PLR2004  # one is always like itself
        return
    evidence = "; ".join(f"{one.host} {one.version}, timeline {one.timeline}" for one in known)
    followed = leader is not None and len(leader.standbys) >= len(known) - 1
    if len(timelines) > 1 and not followed:
        yield bad(
            "alike",
            "the servers are on different timelines: a standby follows a history that has ended",
            "patronictl reinit CLUSTER MEMBER for the one that is behind",
            evidence,
        )
    elif len(versions) > 1:
        yield bad(
            "alike", "the servers run different versions", "upgrade the older one", evidence,
            severity=Severity.WARNING,
        )  # fmt: skip
    else:
        yield good("alike", "the servers run one version, and follow one history", evidence)


def _dsn(facts: "DatabaseFacts", leader: "ServerFacts | None") -> Iterator[Finding]:
    wanted = facts.options.get("target_session_attrs", "read-write")
    if wanted not in _MAY_WRITE:
        yield bad(
            "dsn",
            f"database.url asks for target_session_attrs={wanted}: after a failover Bastide stays with a standby",
            "set target_session_attrs=read-write in database.url, or leave it out",
        )
    elif leader is not None and len(facts.servers) == 1 and leader.standbys:
        yield bad(
            "dsn",
            f"database.url names {leader.host} alone, which has {len(leader.standbys)} standby(s): after a failover it is not found",
            "name every server: postgresql://USER@HOST1,HOST2,HOST3/NAME",
            severity=Severity.WARNING,
        )
    else:
        yield good(
            "dsn", "database.url names the servers that there are, and asks for one that can be written to"
        )


CHECKS = (
    Check(
        id="database.schema",
        category=Category.DATABASE,
        subject="the database and its schema",
        why="Without it nothing is granted; what is active ends by itself.",
        run=schema,
        timeout=PATIENT,
    ),
    Check(
        id="database.file",
        category=Category.DATABASE,
        subject="a SQLite file: integrity, journal, write-ahead log",
        why="A damaged file loses requests and audit; another journal mode makes people wait for each other.",
        run=sqlite,
        timeout=PATIENT,
    ),
    Check(
        id="database.servers",
        category=Category.DATABASE,
        subject="PostgreSQL: one writable, replication, versions, DSN",
        why="Two that can be written to become two truths; a standby that does not follow is none.",
        run=servers,
        timeout=PATIENT,
    ),
)
