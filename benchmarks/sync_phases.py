"""The second part, phase by phase: passwords on their way. Each gives metrics by name; docs/benchmarks.md says what they mean."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bastide.domain.errors import StoreBusy
from bastide.domain.passwords import State
from bastide.services.passwords.deliver import BATCH
from bastide.store.unit_of_work import SqlStore
from bastide_lab import plan
from benchmarks.phases import SETTLE_S, percentile
from benchmarks.report import Metric
from benchmarks.server import ServerProcess
from benchmarks.stage import Stage
from benchmarks.sync_objects import Crowd
from benchmarks.sync_stage import (
    BACKLOG,
    CHANGERS,
    CONTROLLER,
    CROWD,
    FIRST_PASSWORD,
    Agent,
    SyncPasswords,
    SyncStage,
    until,
)

#: Changes of each of the people, one after the other.
ROUNDS = 3
PEER_SECONDS = 15.0
PEER_CHANGES = 12
TURNS = 3
#: Changes in one commit.
PLANTED = 5000
#: What follows a delivery (marks, records) is done by then.
REST_S = 1.0
IDLE_S = 20.0
#: Nothing was delivered for so long: what was tried during the outage is not due again yet.
PAUSE_S = 1.0
WAKE_UPS = 20
#: A set in PostgreSQL is 4,096 rounds of a hash, in MariaDB two of another.
SQL_ACCOUNTS = {"postgres": 100, "mariadb": 400}
LARGE = 12
_LIMIT = 60.0
BULK_USERS, BULK_GROUPS = 20_000, 1_000


@dataclass(slots=True)
class SyncRun:
    """What the phases share."""

    sync: SyncStage
    store: SqlStore
    crowd: Crowd
    agent: Agent
    passwords: dict[str, str] = field(
        default_factory=lambda: {name: FIRST_PASSWORD.format(name) for name in CHANGERS}
    )
    seed: int = 0

    def waiting(self) -> int:
        """Passwords that are in no target yet."""
        with self.store.read() as uow:
            return uow.changes.queue_length(None)

    def taken(self) -> int:
        """Deliveries that wait or were made."""
        with self.store.read() as uow:
            return uow.changes.count(State.PENDING) + uow.changes.count(State.DELIVERED)

    def drained(self, node: ServerProcess, least: int = 0) -> float:
        """The seconds until at most `least` wait."""
        began = time.monotonic()
        until(lambda: self.waiting() <= least, _LIMIT, "the queue drains", node.check)
        return time.monotonic() - began

    def ready(self, node: ServerProcess) -> None:
        """Until the server listens for agents: one that comes too early comes again after its retry interval."""
        until(
            lambda: "listening for agents" in node.log.read_text(), _LIMIT, "the server listens", node.check
        )

    def sustained(self, node: ServerProcess, names: Sequence[str], password: str) -> float:
        """The seconds until the changes of all these people are delivered. The server is stopped while they are taken in; the clock begins when it goes on."""
        with self._halted(node):
            for start in range(0, len(names), PLANTED):
                self.crowd.plant(self.store, names[start : start + PLANTED], password)
        return self.drained(node)

    @contextmanager
    def _halted(self, node: ServerProcess) -> Iterator[None]:
        """While it rests: one that was stopped in the middle of a commit would keep the database locked."""
        while True:
            time.sleep(REST_S)
            with node.halted():
                try:
                    with self.store.write():
                        pass
                except StoreBusy:
                    continue
                yield
                return

    def kpasswd(self, names: Sequence[str], spread: float = 0) -> list[float]:
        """Everybody takes a new password, by kpasswd on the client's host. Milliseconds until slapd lets them in."""
        self.seed += 1
        people = [(name, self.passwords[name], f"Change-{self.seed}-{name}-aA7") for name in names]
        order = {
            "people": people,
            "realm": self.sync.stage.lab.realm("corp"),
            "spread": spread,
            "seed": self.seed,
        }
        found = self.sync.phase("changes", {**order, **self.sync.slapd_order}, "client")
        self.passwords |= {name: new for name, _, new in people}
        return [1000 * value for value in found["spans"]]

    def proved(self, names: Sequence[str], password: str) -> None:
        """A number counts only if the passwords are really there. A sample signs in."""
        sample = names[:: max(1, len(names) // 20)]
        good = self.sync.phase("signs_in", {"names": sample, "new": password, **self.sync.slapd_order})
        if good != len(sample):
            raise RuntimeError(f"{good} of {len(sample)} sign in")


# --------------------------------------------------------------------------------------------------------------- latency


def latency(run: SyncRun, node: ServerProcess) -> dict[str, Metric]:
    """Full chain beside `samba-tool user syncpasswords`, which runs alone afterwards."""
    run.ready(node)
    run.agent.start()
    run.kpasswd(CHANGERS[:3])
    ours = [one for _ in range(ROUNDS) for one in run.kpasswd(CHANGERS)]
    run.drained(node)
    run.agent.stop()
    with SyncPasswords(run.sync).running(len(CHANGERS)):
        theirs = run.kpasswd(CHANGERS[:PEER_CHANGES], PEER_SECONDS)
    median = statistics.median(ours)
    return {
        "password_median_ms": Metric(median, "ms", goal=250, peer=statistics.median(theirs)),
        "password_p99_ms": Metric(percentile(ours, 99), "ms", peer=percentile(theirs, 99)),
        "password_sooner_than_syncpasswords": Metric(
            statistics.median(theirs) / median, "times", goal=10, more=True
        ),
    }


# ----------------------------------------------------------------------------------------------------------------- rates


def rates(run: SyncRun, node: ServerProcess) -> dict[str, Metric]:
    """Everybody at a time, and the bare script with the same people, in turns."""
    seen: dict[str, list[float]] = {"bastide": [], "bare": []}
    for turn in range(TURNS):
        for who in ("bare", "bastide") if turn % 2 else ("bastide", "bare"):
            password = f"Turn-{turn}-{who}-aA7"
            if who == "bare":
                order = {"names": CROWD, "new": password, **run.sync.slapd_order}
                seconds = run.sync.phase("bare_rate", order)["seconds"]
            else:
                seconds = run.sustained(node, CROWD, password)
            run.proved(CROWD, password)
            seen[who].append(len(CROWD) / seconds)
    ratios = [ours / theirs for ours, theirs in zip(seen["bastide"], seen["bare"], strict=True)]
    return {
        "deliveries_per_s": Metric(
            statistics.median(seen["bastide"]), "/s", peer=statistics.median(seen["bare"])
        ),
        "delivery_rate_ratio": Metric(statistics.median(ratios), "", goal=0.7, more=True),
    }


def target_outage(run: SyncRun, node: ServerProcess) -> dict[str, Metric]:
    """The target is down while everybody changes; then it comes back. From the first delivery to the last."""
    before = node.rss_mb
    with run.sync.slapd_down():
        run.crowd.plant(run.store, BACKLOG, "After-Outage-aA7")
    until(lambda: run.waiting() < len(BACKLOG), _LIMIT, "the first delivery", node.check)
    began = moved = time.monotonic()
    left = waiting = run.waiting()
    most, paused = before, 0.0
    while waiting:
        node.check()
        most = max(most, node.rss_mb)
        now, before_that, waiting = time.monotonic(), waiting, run.waiting()
        if waiting < before_that:
            paused += now - moved if now - moved > PAUSE_S else 0.0
            moved = now
        if now - began > _LIMIT:
            raise TimeoutError("the backlog does not drain")
        time.sleep(0.02)
    # When the first batch is committed, a second one may be nearly done.
    rate = (left - BATCH) / (time.monotonic() - began - paused)
    run.proved(BACKLOG, "After-Outage-aA7")
    return {
        "backlog_target_per_s": Metric(rate, "/s"),
        "backlog_target_paused_s": Metric(paused, "s"),
        "backlog_target_rss_growth_mb": Metric(max(most, node.rss_mb) - before, "MiB"),
    }


def server_outage(run: SyncRun, node: ServerProcess) -> dict[str, Metric]:
    """Five thousand wait on the controller; the agent tells them all, and slapd has them."""
    before, taken = node.rss_mb, run.taken()
    run.crowd.queue(run.agent.state, BACKLOG, "On-The-Controller-aA7")
    run.agent.hand_over()
    process = run.agent.start()
    began = time.monotonic()
    # The agent also tells what was changed while syncpasswords ran.
    until(lambda: run.taken() - taken >= len(BACKLOG), _LIMIT, "the agent tells", process.check)
    told = time.monotonic() - began
    run.drained(node)
    took = time.monotonic() - began
    growth, agent = node.rss_mb - before, process.rss_mb
    run.agent.stop()
    run.proved(BACKLOG, "On-The-Controller-aA7")
    return {
        "backlog_controller_told_per_s": Metric(len(BACKLOG) / told, "/s"),
        "backlog_controller_per_s": Metric(len(BACKLOG) / took, "/s"),
        "backlog_controller_rss_growth_mb": Metric(growth, "MiB"),
        "backlog_agent_rss_mb": Metric(agent, "MiB"),
    }


def databases(run: SyncRun) -> dict[str, Metric]:
    """Accounts of PostgreSQL and MariaDB: ratio of the rates, median of the turns."""
    metrics: dict[str, Metric] = {}
    for kind, name in (("postgresql", "postgres"), ("mariadb", "mariadb")):
        place = run.sync.stage.lab.start_target(name)
        order = {
            "kind": kind,
            "host": place.host,
            "port": place.port,
            "base": place.base,
            "admin": place.admin,
            "password": place.password,
            "ca": str(run.sync.stage.lab.ca),
            "accounts": SQL_ACCOUNTS[name],
        }
        rates = run.sync.phase("sql", order)
        ratios = [ours / theirs for ours, theirs in zip(rates["bastide"], rates["bare"], strict=True)]
        metrics[f"{name}_sets_per_s"] = Metric(
            statistics.median(rates["bastide"]), "/s", peer=statistics.median(rates["bare"])
        )
        metrics[f"{name}_set_rate_ratio"] = Metric(statistics.median(ratios), "")
        run.sync.stage.lab.stop_target(name, kill=True)
    return metrics


# ---------------------------------------------------------------------------------------------------------- large domain


def populate(stage: Stage) -> None:
    """CORP becomes a large domain: twenty in each group."""
    order = {"users": BULK_USERS, "groups": BULK_GROUPS, "base": stage.lab.base_dn("corp")}
    stage.samba_side(CONTROLLER, "populate_many", order, timeout=300)


def large_domain(run: SyncRun, node: ServerProcess) -> dict[str, Metric]:
    """An agent with nothing to do, what waking it up costs, and how long a password takes there."""
    run.ready(node)
    process = run.agent.start()
    time.sleep(SETTLE_S)
    before = process.cpu_s
    time.sleep(IDLE_S)
    idle = process.cpu_s - before
    host = plan.host(CONTROLLER)
    private = run.sync.stage.lab.site.data(host) / "private"
    order = {
        "socket": str(private / "ldap_priv" / "ldapi"),
        "dn": run.sync.changers[CHANGERS[0]]["dn"],
        "times": WAKE_UPS,
    }
    seen = run.sync.phase("wake_ups", order, CONTROLLER)
    spans = run.kpasswd(CHANGERS[:LARGE])
    run.agent.stop()
    return {
        "dirsync_idle_cpu_s_per_min": Metric(idle * 60 / IDLE_S, "s"),
        "dirsync_poll_ms": Metric(1000 * statistics.median(seen["polls"]), "ms"),
        "dirsync_wake_up_ms": Metric(1000 * statistics.median(seen["spans"]), "ms"),
        "dirsync_first_s": Metric(seen["first"], "s"),
        "password_large_domain_median_ms": Metric(statistics.median(spans), "ms"),
    }
