"""`make simulate`: many seeds on all processors, and the table of docs/operations/simulation.md. `--seed N`: one seed alone, as it failed."""

import argparse
import gc
import logging
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tests.simulation.cluster import NODES, SITES
from tests.simulation.faults import PER_HOUR
from tests.simulation.story import REQUESTS, Story, Told

PAGE = Path(__file__).parents[2] / "docs/operations/simulation.md"
BEGIN, END = "<!-- figures: make simulate -->", "<!-- end of figures -->"
ALONE = ".venv/bin/python -m tests.simulation.run --seed {}"
SEEDS = 1000


def one(seed: int) -> Told | str:
    """What came of it; or why it failed, and how to see it again."""
    try:
        return Story(seed).until_quiet()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told with its seed
        return f"seed {seed}: {type(error).__name__}: {error}\n  alone: {ALONE.format(seed)}"
    finally:
        gc.collect()


def _begin() -> None:
    """In each process. Who stops them is the one that started them."""
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # what a seed leaves is collected at once, at its end


def told(seeds: Sequence[int], processes: int) -> Iterator[Told | str]:
    """Of each, as it comes."""
    with multiprocessing.get_context("spawn").Pool(processes, initializer=_begin) as pool:
        yield from pool.imap_unordered(one, seeds)


def table(results: Sequence[Told], failed: Sequence[str], minutes: float) -> str:
    """Markdown."""
    counted: Counter[str] = sum((result.counted for result in results), Counter())
    seeds = len(results) + len(failed)
    hours = sum(result.hours for result in results)
    rows = [
        ("seeds", f"{seeds:,}"),
        ("of them with a broken rule", f"{len(failed):,}"),
        ("nodes and sites in each", f"{NODES} and {len(SITES)}"),
        ("hours of the simulation", f"{hours:,.0f}"),
        ("requests asked for", f"{seeds * REQUESTS:,}"),
        ("requests acknowledged", f"{counted['requests']:,}"),
        ("grants that became active", f"{counted['grants']:,}"),
        (
            "calls refused by a rule, and not answered",
            f"{counted['calls refused']:,}, {counted['calls without an answer']:,}",
        ),
        (
            "turns of a job, and of them halted in the middle",
            f"{counted['turns']:,}, {counted['turns halted']:,}",
        ),
        ("nodes killed, some of them in the middle of a turn or a call", f"{counted['kills']:,}"),
        ("work taken over from another claim", f"{counted['work taken over']:,}"),
        ("claims that came back too late, and were refused", f"{counted['claims that were lost']:,}"),
        ("late writes of a node that had been asleep, taken back", f"{counted['late writes taken back']:,}"),
        *((f"fault: {name}", f"{counted[name]:,}") for name in PER_HOUR),
    ]
    lines = ["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]
    moment = datetime.now(UTC)
    return "\n".join(
        [*lines, "", f"{moment:%Y-%m-%d %H:%M} UTC; {minutes:.0f} minutes on {os.cpu_count()} cores."]
    )


def main() -> int:
    """The exit code: 1 if a rule is broken."""
    options = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    options.add_argument("--seeds", type=int, default=SEEDS)
    options.add_argument("--seed", type=int, help="this one alone, with its traceback")
    options.add_argument("--processes", type=int, default=os.cpu_count())
    options.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    chosen = options.parse_args()
    if chosen.seed is not None:
        print(Story(chosen.seed).until_quiet())
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    results: list[Told] = []
    failed: list[str] = []
    with suppress(KeyboardInterrupt):  # the table is of what was told until then
        for result in told(range(1, chosen.seeds + 1), chosen.processes):
            if isinstance(result, Told):
                results.append(result)
            else:
                failed.append(result)
                print(result, flush=True)
    made = table(results, failed, (time.monotonic() - began) / 60)
    print(made)
    if chosen.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
