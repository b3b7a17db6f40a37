"""What is measured, phase by phase. Each gives metrics by name; docs/benchmarks.md says what they mean."""

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bastide.domain.ids import RequestId
from bastide.domain.requests import State
from bastide.store import keys
from bastide.store.unit_of_work import SqlStore
from bastide_lab import plan
from benchmarks import bare, objects, server
from benchmarks.objects import Registered
from benchmarks.postgres import Postgres
from benchmarks.report import Metric
from benchmarks.server import ServerProcess
from benchmarks.stage import HOST, PORT, Stage

CONCURRENCY = 16
WARM_UP = 32
ROUNDS = 5
PER_ROUND = 120
SINGLES = 10
TOGETHER = 1000
#: From planting the grants to their end: both sides are ready by then.
LEAD = timedelta(seconds=6)
SETTLE_S = 5.0
IDLE_S = 30.0
ACCOUNTS = WARM_UP + ROUNDS * PER_ROUND + SINGLES + TOGETHER
SETTLED_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the phases share."""

    stage: Stage
    store: SqlStore
    registered: Registered

    def names(self, start: int, count: int) -> list[str]:
        """Accounts that no other phase uses."""
        return self.stage.names[start : start + count]

    def settled(self, ids: Sequence[RequestId]) -> None:
        """Every one of the requests has ended, by its own time. Raises RuntimeError."""
        deadline = time.monotonic() + SETTLED_LIMIT_S
        while (seen := objects.states(self.store, ids)) != {State.EXPIRED: len(ids)}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"requests are {seen}")
            time.sleep(0.2)


# -------------------------------------------------------------------------------------------------------- activation


def activations(run: Run) -> dict[str, Metric]:
    """Bastide and the bare script in turns, with the same accounts in the same empty group."""
    names = run.names(0, WARM_UP + ROUNDS * PER_ROUND)
    sealer = keys.load_sealer([run.stage.work / "master.key"])
    tokens = objects.open_sessions(run.store, run.registered, names, sealer)
    order = {
        "tokens": tokens,
        "role": run.registered.role.name,
        "host": plan.SERVER_NAMES[0],
        "port": PORT,
        "ca": str(run.stage.lab.ca),
        "concurrency": CONCURRENCY,
    }
    run.stage.drive("activate", names[:WARM_UP], who="bastide", **order)
    rates: dict[str, list[float]] = {"bastide": [], "bare": []}
    spans: dict[str, list[float]] = {"bastide": [], "bare": []}
    answers: list[float] = []
    for number in range(ROUNDS):
        start = WARM_UP + number * PER_ROUND
        chosen = names[start : start + PER_ROUND]
        for who in ("bare", "bastide") if number % 2 else ("bastide", "bare"):
            run.stage.arrange([])
            seen = run.stage.drive("activate", chosen, who=who, **order)
            rates[who].append(len(chosen) / seen["seconds"])
            spans[who] += seen["spans"]
            if who == "bastide":
                answers += seen["answers"]
    run.stage.arrange([])
    return _activation_metrics(rates, spans, answers)


def _activation_metrics(
    rates: Mapping[str, Sequence[float]], spans: Mapping[str, Sequence[float]], answers: Sequence[float]
) -> dict[str, Metric]:
    rate = {who: statistics.median(values) for who, values in rates.items()}
    p50 = {who: 1000 * percentile(values, 50) for who, values in spans.items()}
    p99 = {who: 1000 * percentile(values, 99) for who, values in spans.items()}
    ratios = [ours / theirs for ours, theirs in zip(rates["bastide"], rates["bare"], strict=True)]
    return {
        "activations_per_s": Metric(rate["bastide"], "/s", peer=rate["bare"]),
        "activation_p50_ms": Metric(p50["bastide"], "ms", peer=p50["bare"]),
        "activation_p99_ms": Metric(p99["bastide"], "ms", peer=p99["bare"]),
        "activation_answer_p50_ms": Metric(1000 * percentile(answers, 50), "ms"),
        "activation_rate_ratio": Metric(statistics.median(ratios), "", goal=0.7, more=True),
        "activation_p50_ratio": Metric(p50["bastide"] / p50["bare"], "", goal=2.0),
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


# ----------------------------------------------------------------------------------------------------------- removal


def single_removals(run: Run) -> dict[str, Metric]:
    """Grants that end one after the other on an idle server."""
    names = run.names(WARM_UP + ROUNDS * PER_ROUND, SINGLES)
    first = objects.now() + LEAD
    ends = {name: first + timedelta(milliseconds=730 * number) for number, name in enumerate(names)}
    run.stage.arrange(names, str(bare.filetime(first.timestamp())))
    ids = objects.plant_grants(run.store, run.registered, ends)
    moments = [end.timestamp() for end in ends.values()]
    late = [1000 * value for value in run.stage.drive("lateness", names, ends=moments)["late"]]
    run.settled(list(ids.values()))
    return {
        "removal_lateness_ms": Metric(statistics.median(late), "ms", goal=250),
        "removal_lateness_worst_ms": Metric(max(late), "ms"),
    }


def many_removals(run: Run) -> dict[str, Metric]:
    """Grants that all end in the same second, and the bare script with the same members."""
    names = run.names(WARM_UP + ROUNDS * PER_ROUND + SINGLES, TOGETHER)
    ours = []
    peers: dict[int, list[float]] = {bare.BATCH: [], 1: []}
    for batch in (bare.BATCH, 1, bare.BATCH):
        run.stage.arrange(names)
        peers[batch].append(run.stage.drive("bare_removal", names, batch=batch)["seconds"])
        if batch != 1:
            ours.append(_remove_many(run, names))
    mine = statistics.mean(ours)
    together, one_by_one = (statistics.mean(peers[batch]) for batch in (bare.BATCH, 1))
    return {
        "removal_1000_s": Metric(mine, "s", peer=together),
        "removal_1000_ratio": Metric(mine / together, "", goal=1.5),
        "removal_1000_single_ratio": Metric(mine / one_by_one, "", peer=1.0),
    }


def _remove_many(run: Run, names: Sequence[str]) -> float:
    end = datetime.fromtimestamp(int(time.time()), UTC) + LEAD
    run.stage.arrange(names, str(bare.filetime(end.timestamp())))
    ids = objects.plant_grants(run.store, run.registered, dict.fromkeys(names, end))
    seconds: float = run.stage.drive("removal", names, end=end.timestamp())["seconds"]
    run.settled(list(ids.values()))
    return seconds


# -------------------------------------------------------------------------------------------------------------- cost


def memory(process: ServerProcess) -> dict[str, Metric]:
    """After the load."""
    return {"server_rss_mb": Metric(process.rss_mb, "MiB", goal=120)}


def idle(run: Run, settings: Path, postgres: Postgres) -> dict[str, Metric]:
    """Two servers with nothing to do, one on each database, side by side."""
    other = run.stage.settings("idle-postgres", postgres.url, PORT + 1)
    store, _ = run.stage.register(postgres.url)
    store.close()
    with ExitStack() as stack:
        nodes = {
            name: stack.enter_context(server.running(run.stage, path, server.counting(path)))
            for name, path in (("sqlite", settings), ("postgres", other))
        }
        time.sleep(SETTLE_S)
        before = {name: node.cpu_s for name, node in nodes.items()}
        counted = {"sqlite": _counts(nodes["sqlite"], settings), "postgres": postgres.statements()}
        time.sleep(IDLE_S)
        spent = {name: node.cpu_s - before[name] for name, node in nodes.items()}
        after = {"sqlite": _counts(nodes["sqlite"], settings), "postgres": postgres.statements()}
    metrics: dict[str, Metric] = {}
    for name in nodes:
        new = after[name] - counted[name]
        _keep_statements(run.stage.work, name, new)
        metrics |= _idle_metrics(name, new, spent[name])
    return metrics


def _counts(node: ServerProcess, settings: Path) -> Counter[str]:
    return Counter(json.loads(server.ask_counts(node, settings)))


def _idle_metrics(name: str, counted: Counter[str], cpu: float) -> dict[str, Metric]:
    """A look is the question when the next work is due: asked after a wake-up that found nothing more to do."""
    per_minute = 60 / IDLE_S
    looks = sum(calls for text, calls in counted.items() if "min(work.ready)" in text)
    return {
        f"idle_{name}_looks_per_min": Metric(looks * per_minute, "", goal=60 if name == "sqlite" else 0),
        f"idle_{name}_sql_per_min": Metric(counted.total() * per_minute, ""),
        f"idle_{name}_cpu_s_per_min": Metric(cpu * per_minute, "s"),
    }


def _keep_statements(work: Path, name: str, counted: Counter[str]) -> None:
    """For who wants to know which they were: $BENCH_KEEP names a directory."""
    keep = os.environ.get("BENCH_KEEP")
    lines = [f"{calls:6} {text}" for text, calls in counted.most_common()]
    path = Path(keep or work) / f"idle-{name}.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def start_postgres(stage: Stage) -> Postgres:
    """In the server's namespace, so that it goes with the lab."""
    return Postgres(stage.lab, HOST, stage.lab.root / "postgres")
