"""`bastide serve` as it is, with each SQL statement counted. SIGUSR1 writes the counts to a file.

Usage: python -m benchmarks.serve SETTINGS COUNTS
"""

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from bastide.cli.server import serve


def main() -> None:
    """Serve until SIGTERM."""
    settings, counts = map(Path, sys.argv[1:])
    executed: Counter[str] = Counter()

    def count(_connection: Any, _cursor: Any, statement: str, *_: object) -> None:
        executed[" ".join(statement.split())] += 1

    def write(*_: object) -> None:
        new = counts.with_suffix(".new")
        new.write_text(json.dumps(executed), encoding="utf-8")
        new.rename(counts)

    event.listen(Engine, "before_cursor_execute", count)
    signal.signal(signal.SIGUSR1, write)
    serve(settings, with_worker=True)


if __name__ == "__main__":
    main()
