"""Monitoring in a large domain, beside a bare DirSync read of the same; docs/benchmarks.md says what the metrics mean. Alone: python -m benchmarks.monitor (root)."""

import statistics
import sys
from collections.abc import Callable

from bastide_lab import plan
from bastide_lab.lab import Lab
from benchmarks import phases, report, sync_phases
from benchmarks.report import Metric
from benchmarks.stage import CONTROLLER, Stage

#: The domain that is read.
HOST = "corpdc"
TURNS = 3
CHANGES = 60
IDLE_S = 20.0
#: Parts of the crowd, each changed in one transaction and then read; so many such turns in a run of everything, and in a run of this alone.
PARTS, MANY, MANY_ALONE = 20, 10, 100
#: Of the crowd: people of the first part, who are watched, and of the large domain, who are not.
WATCHED = 1000
#: On twins in memory.
MEMORY_PEOPLE, MEMORY_CHANGES, TOGETHER = 500, 100_000, 1000
_LIMIT = 1800.0


def alone(said: Callable[[str], None]) -> dict[str, Metric]:
    """In a lab of its own."""
    lab = Lab("bench-monitor")
    try:
        lab.down()
        lab.up()
        stage = Stage(lab, phases.ACCOUNTS)
        stage.prepare()
        said(f"the lab is up; {sync_phases.BULK_USERS} users come to CORP")
        sync_phases.populate(stage)
        said(f"monitoring of {sync_phases.BULK_USERS} users and {sync_phases.BULK_GROUPS} groups")
        return measure(stage, MANY_ALONE)
    finally:
        lab.down()


def measure(stage: Stage, turns: int = MANY) -> dict[str, Metric]:
    """First read, changes and idling of CORP as it is now, and what memory keeps of many changes."""
    url = f"sqlite:///{stage.work / 'monitor.db'}"
    store, registered = stage.register(url)
    store.close()
    people = [user.corp.dn for user in registered.users.values()]
    bulk = [
        f"CN=bulk{number:05},OU=Bulk,{stage.lab.base_dn('corp')}" for number in range(sync_phases.BULK_USERS)
    ]
    crowd = [*people[:WATCHED], *bulk[WATCHED:]]
    order = {
        "phase": "monitor_large",
        "principal": stage.lab.principal(r"priv\svc-bastide"),
        "keytab": str(stage.keytab),
        "priv_domain": plan.PRIV.dns,
        "priv_controller": CONTROLLER,
        "domain": plan.CORP.dns,
        "controller": f"{HOST}.{plan.CORP.dns}",
        "base": stage.lab.base_dn("corp"),
        "socket": str(stage.lab.site.data(plan.host(HOST)) / "private" / "ldap_priv" / "ldapi"),
        "database": url,
        "people": people[:CHANGES],
        "crowd": [dn for first in range(PARTS) for dn in crowd[first::PARTS]],
        "parts": PARTS,
        "many": turns,
        "database_of_samba": str(stage.lab.site.database(plan.host(HOST))),
        "turns": TURNS,
        "changes": CHANGES,
        "idle": IDLE_S,
    }
    environment = {"KRB5_CLIENT_KTNAME": f"FILE:{stage.keytab}", "KRB5CCNAME": "MEMORY:bench"}
    seen = stage.run_phase("benchmarks.monitor_drive", order, host=HOST, env=environment, timeout=_LIMIT)
    kept = stage.run_phase(
        "benchmarks.monitor_drive",
        {
            "phase": "monitor_memory",
            "people": MEMORY_PEOPLE,
            "changes": MEMORY_CHANGES,
            "together": TOGETHER,
        },
        timeout=_LIMIT,
    )
    return {
        **_ratio("load", seen["loads"], 1.0, "s"),
        **_ratio("delta", seen["spans"], 1000.0, "ms"),
        "monitor_idle_cpu_s_per_min": Metric(seen["cpu"] * 60 / IDLE_S, "s"),
        "monitor_changes_read_per_s": Metric(seen["rate"], "/s"),
        "monitor_changes": Metric(seen["changed"], ""),
        "monitor_memory_grown_mb": Metric(seen["grown"] / 2**20, "MiB"),
        "monitor_memory_100000_changes_kb": Metric(kept["grown"] / 2**10, "KiB"),
    }


def _ratio(name: str, spans: list[tuple[float, float]], scale: float, unit: str) -> dict[str, Metric]:
    """The medians, and the median of the ratios turn by turn."""
    ours, theirs = (statistics.median(column) * scale for column in zip(*spans, strict=True))
    ratio = statistics.median(one / other for one, other in spans)
    return {
        f"monitor_{name}_{unit}": Metric(ours, unit, peer=theirs),
        f"dirsync_{name}_ratio": Metric(ratio, "", goal=2.0),
    }


if __name__ == "__main__":
    sys.exit(report.alone(alone))
