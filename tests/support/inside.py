"""Take this thread, and those it starts, into namespaces and back.

`inside` a namespace of the lab the tests meet the lab's network, DNS and Kerberos. On a `small_disk` they meet its end.

A host's files over /etc are mounted once, in a mount namespace that is entered again the next time: threads that outlive one test module
(pools of connections) keep seeing them. Kerberos is told by its variable: where the machine has no /etc/krb5.conf, there is nothing to mount over,
and its library would turn the service's second name into the first, because both have one address.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bastide_lab import plan

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_FS, _CLONE_NEWNS, _CLONE_NEWNET = 0x00000200, 0x00020000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_SLAVE = 4096, 16384, 1 << 18, 1 << 19
_mounted: dict[str, int] = {}


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """As `ip netns exec` does: the network namespace, and its files over /etc, in a mount namespace of our own."""
    here = Path.cwd()
    home_net = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    home_files = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter_files(namespace)
        os.chdir(here)
        _call(_libc.setns, there, _CLONE_NEWNET)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("KRB5_CONFIG", str(_krb5_conf(namespace)))
            yield
    finally:
        _call(_libc.setns, home_net, _CLONE_NEWNET)
        _switch_files(home_files)
        os.chdir(here)
        for descriptor in (home_net, home_files, there):
            os.close(descriptor)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size at `folder`, for this thread and what it starts. It ends with the process at the latest: nobody else sees it."""
    if os.geteuid() != 0:
        pytest.fail("a mount needs root. Run as root: make test", pytrace=False)
    here = Path.cwd()
    home_files = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)
    try:
        _call(_libc.unshare, _CLONE_NEWNS)
        _call(_libc.mount, b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        _call(_libc.mount, b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode())
        yield
    finally:
        _switch_files(home_files)
        os.chdir(here)
        os.close(home_files)


@contextmanager
def filled(folder: Path, *, left: int = 0) -> Iterator[None]:
    """All room of that file system is taken but `left` bytes, until the end of the block."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - left))
    try:
        yield
    finally:
        filler.unlink()


def _krb5_conf(namespace: str) -> Path:
    prefix, _, host = namespace.rpartition("-")
    return plan.Site(prefix).krb5_conf(plan.host(host))


def _enter_files(namespace: str) -> None:
    if namespace in _mounted:
        _switch_files(_mounted[namespace])
        return
    _call(_libc.unshare, _CLONE_NEWNS)
    _call(_libc.mount, b"none", b"/", None, _MS_REC | _MS_SLAVE, None)
    for file in Path(f"/etc/netns/{namespace}").iterdir():
        _call(_libc.mount, str(file).encode(), str(Path("/etc") / file.name).encode(), None, _MS_BIND, None)
    _mounted[namespace] = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)


def _switch_files(descriptor: int) -> None:
    """A thread whose working directory is shared with others may not change its mount namespace (setns(2)): it stops sharing first."""
    _call(_libc.unshare, _CLONE_FS)
    _call(_libc.setns, descriptor, _CLONE_NEWNS)


def _call(function: object, *arguments: object) -> None:
    if callable(function) and function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), getattr(function, "__name__", ""))
