"""Take this thread, and those it starts, into a namespace of the lab and back: the tests then meet the lab's network, DNS and Kerberos."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_BIND, _MS_REC, _MS_SLAVE, _MNT_DETACH = 4096, 16384, 1 << 19, 2


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """As `ip netns exec` does: the network namespace, and its files over /etc, in a mount namespace of our own."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    mounted: list[Path] = []
    try:
        _call(_libc.unshare, _CLONE_NEWNS)
        _call(_libc.mount, b"none", b"/", None, _MS_REC | _MS_SLAVE, None)
        for file in Path(f"/etc/netns/{namespace}").iterdir():
            target = Path("/etc") / file.name
            _call(_libc.mount, str(file).encode(), str(target).encode(), None, _MS_BIND, None)
            mounted.append(target)
        _call(_libc.setns, there, _CLONE_NEWNET)
        yield
    finally:
        _call(_libc.setns, home, _CLONE_NEWNET)
        for target in mounted:
            _call(_libc.umount2, str(target).encode(), _MNT_DETACH)
        os.close(home)
        os.close(there)


def _call(function: object, *arguments: object) -> None:
    if callable(function) and function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), getattr(function, "__name__", ""))
