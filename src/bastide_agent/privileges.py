"""Root opens, somebody else works.

What only root may open on a domain controller: the privileged ldapi socket, the machine account's keytab, and the public key ring that Samba encrypts with. A tiny process
stays root for that, because the socket must be opened again after each start of Samba, and the keytab read again after the machine password changed. All the rest runs as an
unprivileged user.

What this is worth, honestly: an open ldapi socket *is* the right of the domain controller over its directory, and so is its keytab. The split keeps root's rights over the
machine (files, kernel, other processes) from the code that talks to the network; it does not make the agent harmless to the domain.

The procedure, in this order:
  (1) This process's memory is closed: no core files, no debugger of another user, files for the owner only.
  (2) The opener is split off before anything is read from the network. It knows three names; a request is one byte of them, and nothing else of a request is looked at.
  (3) The opener keeps nothing: it closes every other descriptor, gains no privileges any more, and ends when the agent does.
  (4) State and runtime directory belong to the unprivileged user, mode 0700.
  (5) The agent gives up all groups, then the group, then the user, for good, and proves that there is no way back.
  (6) What the opener hands over is one descriptor; anything else counts as nothing.
"""

import array
import ctypes
import errno
import os
import pwd
import resource
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import NoReturn

from bastide_agent.failures import AgentError, DirectoryGone, Stop

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_GET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 3, 38
_PATIENCE = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


class Thing(Enum):
    """What the opener opens."""

    LDAPI = b"L"
    KEYTAB = b"K"
    KEYRING = b"R"


class NotOpened(AgentError):
    """The opener could not open it; it says why by errno alone."""


def close_memory() -> None:
    """(1) Raises Stop if the kernel does not do it."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) or _libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0):
        raise Stop(7000, "the kernel does not keep this process's memory to itself")


class Opener:
    """The agent's end. Safe to use from several threads."""

    def __init__(self, end: socket.socket, pid: int) -> None:
        self._end = end
        self._lock = Lock()
        self.pid = pid
        end.settimeout(_PATIENCE)

    def open(self, thing: Thing) -> int:
        """A descriptor. Raises NotOpened."""
        with self._lock:
            try:
                self._end.sendall(thing.value)
                answer, descriptors, flags = self._answer_for(thing)
            except OSError as error:
                raise NotOpened(f"the opener does not answer: {type(error).__name__}") from None
        # (6) one descriptor and a zero
        if len(descriptors) != 1 or answer != b"\0" or flags & socket.MSG_CTRUNC:
            for descriptor in descriptors:
                os.close(descriptor)
            why = os.strerror(answer[0]) if answer and answer[0] else "it ended"
            raise NotOpened(f"{thing.name.lower()} could not be opened: {why}")
        return descriptors[0]

    def _answer_for(self, thing: Thing) -> tuple[bytes, list[int], int]:
        """What is still there of a request that was given up is thrown away: a keytab must not be taken for the directory. Raises OSError."""
        while True:
            answer, descriptors, flags, _ = socket.recv_fds(self._end, 2, 4)
            if not answer or answer[:1] == thing.value:
                return answer[1:], descriptors, flags
            for descriptor in descriptors:
                os.close(descriptor)

    def ldapi(self) -> int:
        """The socket. Raises DirectoryGone."""
        try:
            return self.open(Thing.LDAPI)
        except NotOpened as error:
            raise DirectoryGone(str(error)) from None

    def close(self) -> None:
        """The opener ends by it."""
        self._end.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def split_off(paths: Mapping[Thing, Path]) -> Opener:
    """(2) Root only."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        _serve(theirs, dict(paths))
    theirs.close()
    return Opener(ours, pid)


def _serve(end: socket.socket, paths: dict[Thing, Path]) -> NoReturn:
    """(3) One byte in; that byte, an errno and perhaps a descriptor out, until there is nobody left."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the agent ends first and uses us to its end
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        kept = end.detach()
        os.closerange(3, kept)
        os.closerange(kept + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        with socket.socket(fileno=kept) as mine:
            while asked := mine.recv(1):
                _answer(mine, asked, paths)
    finally:
        os._exit(0)


def _answer(end: socket.socket, asked: bytes, paths: dict[Thing, Path]) -> None:
    try:
        descriptor = _open(Thing(asked), paths)
    except (OSError, ValueError, KeyError) as error:
        end.sendall(asked + bytes([getattr(error, "errno", None) or errno.EINVAL]))
        return
    try:
        end.sendmsg([asked + b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
    finally:
        os.close(descriptor)


def _open(thing: Thing, paths: dict[Thing, Path]) -> int:
    if thing is not Thing.LDAPI:
        return os.open(paths[thing], os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(_PATIENCE)
        made.connect(str(paths[thing]))
        made.settimeout(None)
        return made.detach()


def drop(user: str, directories: tuple[Path, ...]) -> None:
    """(4), (5). Raises Stop, also where we never had the rights to give up."""
    if os.geteuid() != 0:
        raise Stop(
            7000,
            "the agent must be started as root: it opens the privileged ldapi socket and then runs as `user`",
        )
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise Stop(6007, f"there is no user {user}: useradd --system --no-create-home {user}") from None
    if account.pw_uid == 0:
        raise Stop(6007, "`user` is root: the agent refuses to stay it")
    for directory in directories:
        try:
            _give(directory, account.pw_uid, account.pw_gid)
        except OSError as error:
            raise Stop(
                6007, f"the directory {directory} cannot be made for {user}: {error.strerror}"
            ) from None
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    close_memory()  # a change of user opened it again
    _prove(account.pw_uid)


def _give(directory: Path, uid: int, gid: int) -> None:
    """The directory alone. What lies in it was put there by that user, who could have put a link there to have root give away another's file."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_mode & 0o777 != 0o700:  # noqa: PLR2004  # the owner, nobody else
            os.fchmod(descriptor, 0o700)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.fchown(descriptor, uid, gid)
    finally:
        os.close(descriptor)


def _prove(uid: int) -> None:
    if os.getresuid() != (uid, uid, uid) or os.getgroups():
        raise Stop(7000, "root's rights were not given up")
    with suppress(PermissionError):
        os.setuid(0)
        raise Stop(7000, "root's rights could be taken back")


def machine_keytab(opener: Opener) -> tuple[int, str]:
    """The machine account's keytab, in memory of our own: a descriptor, to be closed, and the name that Kerberos opens it by. Raises NotOpened."""
    source = opener.open(Thing.KEYTAB)
    with open(source, "rb", closefd=True) as keytab:  # noqa: PTH123  # a descriptor has no path
        content = keytab.read()
    descriptor = os.memfd_create("keytab")
    os.write(descriptor, content)
    return descriptor, f"FILE:/proc/self/fd/{descriptor}"
