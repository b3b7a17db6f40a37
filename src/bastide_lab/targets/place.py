"""Where a connected system lies and runs, and how a program gets at it."""

import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bastide_lab import network
from bastide_lab.errors import LabError
from bastide_lab.plan import TARGETS, Host, Site
from bastide_lab.process import Command, environment, inside, run, run_inside, spawn

START_LIMIT = 30.0
#: A user without rights cannot be where root is: a clone below /root, say.
HOME = Path("/")
POLL = 0.05


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (PEM, with its chain) and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a target. `port`: STARTTLS or the protocol's own TLS; `tls_port`: TLS from the first byte (LDAPS), else the same.

    `admin` may do everything there; `base`: suffix or database.
    """

    kind: str
    host: str
    port: int
    tls_port: int
    admin: str
    base: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """One server's directory, its user (none of these runs as root) and its host."""

    site: Site
    directory: Path
    user: str
    group: str
    stop_signal: signal.Signals
    host: Host = TARGETS

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def run(self, command: Command, *, stdin: str = "", timeout: float = 60) -> str:
        """A program of root in the host's namespace, to its end. Raises LabError."""
        return run_inside(self.site, self.host, command, stdin=stdin, timeout=timeout)

    def run_as_user(self, command: Command, *, stdin: str = "", timeout: float = 60) -> str:
        """A program of the target's user."""
        return run(
            inside(self.site, self.host, self._as_user(command)),
            stdin=stdin,
            env=self._environment(),
            timeout=timeout,
            cwd=HOME,
        )

    def spawn_as_user(self, command: Command) -> None:
        """A daemon of the target's user."""
        spawn(
            inside(self.site, self.host, self._as_user(command)),
            log=self.log,
            env=self._environment(),
            cwd=HOME,
        )

    def wait_until(self, question: Callable[[], object]) -> None:
        """Until the question no longer raises LabError; after START_LIMIT it does."""
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                question()
            except LabError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL)
            else:
                return

    def processes(self) -> list[int]:
        """What runs of this target: PostgreSQL's processes change their arguments, and slapd its working directory."""
        return [pid for pid in network.processes(self.site, self.host) if self._is_mine(pid)]

    def runs(self, argument: Path) -> bool:
        """Whether one of them was started with that among its arguments."""
        return any(str(argument).encode() in _arguments(pid) for pid in self.processes())

    def give(self, path: Path) -> None:
        """To the server's user."""
        shutil.chown(path, self.user, self.group)

    def leaders(self) -> list[int]:
        """Those of them that started the others."""
        mine = self.processes()
        return [pid for pid in mine if _parent(pid) not in mine]

    def _is_mine(self, pid: int) -> bool:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
            directory = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:  # it has just ended
            return False
        return f"{self.directory}/".encode() in arguments or directory.is_relative_to(self.directory)

    def _as_user(self, command: Command) -> Command:
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.group}", "--init-groups", *command]

    def _environment(self) -> Mapping[str, str]:
        return {**environment(self.site, self.host), "LC_ALL": "C.UTF-8", "HOME": str(self.directory)}


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return []


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
