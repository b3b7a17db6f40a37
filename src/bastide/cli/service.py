"""What `bastide serve` and `bastide worker` become: the service without the command line's own libraries, 19 MiB less."""

import sys
from collections.abc import Sequence
from pathlib import Path

from bastide.cli.exits import as_stop, described


def main(arguments: Sequence[str]) -> int:
    """`serve` or `worker`, the settings, and flags; the exit code."""
    what, config, *flags = arguments
    try:
        from bastide.cli import server  # noqa: PLC0415  # without an extra it cannot be loaded, and that is to be said

        if what == "serve":
            server.serve(Path(config), with_worker="--no-worker" not in flags)
        else:
            server.work(Path(config))
    except Exception as error:
        stop = as_stop(error)
        if stop is None:
            raise
        sys.stderr.write(described(stop, as_json="--json" in flags))
        return int(stop.status)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
