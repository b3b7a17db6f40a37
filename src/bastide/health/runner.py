"""Runs checks side by side. Whatever a check does, it becomes results: one that raises, one that hangs, one that says nothing. In order:

(1) What a check needs is looked at first; what is missing is its result: skipped, with the reason.
(2) A check runs in a thread of its own. If it takes longer than its time-out, that is its result, and nobody waits for the thread any more.
(3) What it raises on purpose is an error with the words of what was raised; of any other exception the type alone is told: its text may hold anything.
(4) The results stand in the order of the checks, however long each took.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

from bastide.domain.health import Finding, Result, Severity
from bastide.health.check import Check
from bastide.health.look import refusal
from bastide.health.world import World

SIDE_BY_SIDE = 8
#: The check that says whether the settings can be used.
SETTINGS = "configuration.settings"


def run(
    checks: Sequence[Check],
    world: World,
    *,
    done: Callable[[Check], None] = lambda _check: None,
    side_by_side: int = SIDE_BY_SIDE,
) -> tuple[Result, ...]:
    """`done` is told of each check when its results are there, by any thread."""

    def one(check: Check) -> tuple[Result, ...]:
        results = _run(check, world)
        done(check)
        return results

    with ThreadPoolExecutor(side_by_side, thread_name_prefix="health") as threads:
        return tuple(result for results in threads.map(one, checks) for result in results)  # (4)


def refuse(checks: Iterable[Check], text: str, remedy: str) -> tuple[Result, ...]:
    """What the checks say where there are no settings: that of the settings that they cannot be used, and the others that nothing was looked at."""
    why = f"there are no settings that can be used: see {SETTINGS}"
    return tuple(
        _result(one, Finding("settings", Severity.CRITICAL, text, remedy=remedy), 0.0)
        if one.id == SETTINGS
        else _result(one, Finding(one.subject, Severity.SKIPPED, why), 0.0)
        for one in checks
    )


def _run(check: Check, world: World) -> tuple[Result, ...]:
    began = world.clock.monotonic()
    found: list[Finding] = []

    def work() -> None:
        try:
            unmet = next((why for need in check.needs if (why := world.unmet(need))), "")  # (1)
            if unmet:
                found.append(Finding(check.subject, Severity.SKIPPED, unmet))
            else:
                found.extend(check.run(world))
        except Exception as error:  # noqa: BLE001  # a check that fails is a result, whatever it failed of
            found.append(refusal(check.subject, error))  # (3)

    thread = Thread(target=work, name=check.id, daemon=True)
    thread.start()
    thread.join(check.timeout.total_seconds())  # (2)
    said = list(found)
    if thread.is_alive():
        limit = check.timeout.total_seconds()
        said.append(Finding(check.subject, Severity.ERROR, f"no answer within {limit:g} s", remedy=_HANGS))
    elif not said:
        said.append(Finding(check.subject, Severity.SKIPPED, "there is nothing of the kind here"))
    seconds = world.clock.monotonic() - began
    return tuple(_result(check, one, seconds) for one in said)


_HANGS = (
    "look for a host that drops packets, a disk that hangs or a locked database; the other checks say which"
)


def _result(check: Check, finding: Finding, seconds: float) -> Result:
    return Result(
        check=check.id,
        category=check.category,
        subject=finding.about,
        severity=finding.severity,
        text=finding.text,
        evidence=finding.evidence,
        remedy=finding.remedy,
        why=check.why,
        seconds=round(seconds, 3),
    )
