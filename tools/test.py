"""Run every test room on this machine, the lab's included, and leave nothing behind. `make test` installs first and then comes here."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bastide_lab.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "test"
PYTEST = [sys.executable, "-m", "pytest", "-q"]
#: The lab's tests share two cores with real domain controllers: one after the other.
STAGES: tuple[tuple[str, Sequence[str]], ...] = (
    ("unit and contract", ("-n", "2", "-m", "not lab", "tests/unit", "tests/contract", "tests/integration", "tests/e2e")),
    ("on the lab", ("-m", "lab", "tests/contract", "tests/integration", "tests/e2e")),
)


def main() -> int:
    """Exit status of the first stage that failed, or 0."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        for name, arguments in STAGES:
            began = time.monotonic()
            code = subprocess.run([*PYTEST, *arguments], cwd=ROOT, check=False).returncode
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
            if code != 0:
                return code
    finally:
        Lab(prefix=PREFIX).down()
    return 0


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
