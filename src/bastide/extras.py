"""What only an extra of the distribution installs."""

import shlex
import sys


def install(extra: str) -> str:
    """The command that adds `bastide[extra]` to this installation. Bastide itself is there, so no index is asked for it."""
    return f"{shlex.quote(f'{sys.prefix}/bin/pip')} install 'bastide[{extra}]'"
