"""Which process this is, in a word that no other one has: the machine, when it was started, the namespace of process ids, the id, and when the process began.

A process of the same machine, start and namespace can be looked up, so that a node that was killed starts again at once. Of any other nobody here knows whether it lives: there the
heartbeat decides. The kernel's own boot id is hidden from a unit with ProcSubset=pid; and a machine-id alone says little, for machines are cloned.
"""

import os
import socket
from pathlib import Path

from bastide.clock import booted
from bastide.config import Config

_MACHINE = Path("/etc/machine-id")
_NAMESPACE = Path("/proc/self/ns/pid")
#: proc(5): the state and the start time of a process, counted from the fields behind its name.
_STATE, _STARTED = 0, 19
_ZOMBIE = "Z"
#: The start of the machine is computed from two clocks that are read one after the other, in seconds.
_APART = 2
_PARTS = 5


def node_name(config: Config) -> str:
    """What this node is called in leases and logs."""
    return config.server.node or socket.gethostname()


def this_process() -> str:
    """The word for this one."""
    pid = os.getpid()
    return f"{_machine()}/{int(booted())}/{_NAMESPACE.readlink()}/{pid}/{_fields(pid)[_STARTED]}"


def is_gone(process: str) -> bool:
    """Whether that process is over, as far as can be proved from here."""
    parts = process.split("/")
    if len(parts) != _PARTS or not _is_here(*parts[:3]):
        return False
    pid, started = int(parts[3]), parts[4]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is there, and another user's
    try:
        fields = _fields(pid)
    except OSError:
        return False  # hidden from us (ProtectProc=invisible)
    return fields[_STARTED] != started or fields[_STATE] == _ZOMBIE


def _is_here(machine: str, start: str, namespace: str) -> bool:
    """Not where nothing says which machine this is."""
    same = bool(machine) and machine == _machine() and namespace == str(_NAMESPACE.readlink())
    return same and abs(int(start) - booted()) <= _APART


def _machine() -> str:
    try:
        return _MACHINE.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _fields(pid: int) -> list[str]:
    """Behind the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
