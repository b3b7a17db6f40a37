"""A process that holds a secret leaves none of it behind."""

import ctypes
import os
import resource

from bastide.cli.exits import Stop

#: prctl(2)
_PR_SET_DUMPABLE = 4


def harden() -> None:
    """No core dumps, no ptrace by the same user, and files of its own for nobody else. Raises Stop."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Stop("the process cannot be made undumpable", remedy="it must run on Linux")
