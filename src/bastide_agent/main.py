"""`bastide-agent run | status [--json] | check | filter`. Imports little by itself: Samba waits for `filter`."""

import os
import sys
from collections.abc import Sequence

USAGE = """usage: bastide-agent run|status|check [--config FILE]
       bastide-agent filter --when-down=allow|refuse [--socket=PATH]

  run              work until SIGTERM; started as root, runs as `user`
  status [--json]  what the running agent does: queue, targets, key
  check            look at everything that `run` needs, and connect to each target once
  filter           for Samba's `check password script`: see docs/how-to/install-the-agent.md
"""


def main() -> int:
    """The console script."""
    try:
        status = dispatch(sys.argv[1:])
        sys.stdout.flush()
    except (
        BrokenPipeError
    ):  # whoever read has seen enough; what is left in the buffer must not fail again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def dispatch(arguments: Sequence[str]) -> int:
    """The exit code: 0 well, 1 not, 64 misused (EX_USAGE)."""
    command, *rest = arguments or [""]
    if command == "filter":
        from bastide_agent.filter import run  # noqa: PLC0415  # the quick way

        return run(rest)
    if command in {"run", "status", "check"}:
        from bastide_agent.commands import perform  # noqa: PLC0415

        return perform(command, rest)
    sys.stderr.write(USAGE)
    return 0 if command in {"-h", "--help"} else 64


if __name__ == "__main__":
    raise SystemExit(main())
