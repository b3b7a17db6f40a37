"""A private MariaDB of Debian's package, as a connected system: TLS from a throw-away authority, every statement in its logs, gone after the run.

A test module says `pytest_plugins = ["tests.support.mariadb"]` and marks its tests `mariadb`. The general log and the binary log are on: a
test can look for what must not be in them. What is missing is a failure that says what to run, never a skip.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pymysql
import pytest

from bastide_lab import tls

_DAEMON = Path("/usr/sbin/mariadbd")
_PREFIX = "bastide-maria-"
_START_LIMIT = 60.0


@dataclass(slots=True)
class MariaDb:
    """One server. It answers on its Unix socket and, with TLS for the name "localhost", on a port of the loopback."""

    folder: Path
    port: int = 0
    _daemon: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def ca(self) -> Path:
        """The certificate of the authority that signed the server's."""
        return self.folder / "ca.crt"

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return self.folder / "socket"

    def start(self) -> None:
        """Make the data directory if there is none, and start. Root has no password on the Unix socket."""
        data = self.folder / "data"
        if not data.exists():
            tls.issue(self.folder, "ca", "ca", ["throw-away CA"])
            tls.issue(self.folder, "server", "server", ["localhost"])
            self._hand_over()
            # Not /tmp: each server that starts there removes the temporary tables of all others.
            self._run("mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--tmpdir={self.folder}",
                      "--skip-test-db", "--auth-root-authentication-method=normal")  # fmt: skip
        self.port = self.port or _free_port()
        self._daemon = subprocess.Popen(
            [_DAEMON, "--no-defaults", *self._options(data)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            user=_user(),
            group=_user(),
        )
        (self.folder / "pid").write_text(str(self._daemon.pid))
        self._await()

    def stop(self) -> None:
        """Stop at once: nothing of it is kept."""
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGKILL)
            self._daemon.wait(30)
            self._daemon = None

    def root(self, database: str = "") -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection that may do everything."""
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database or None, autocommit=True
        )

    def bare(self, user: str, password: str) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection as anybody else would make it: TCP, TLS, verified."""
        context = ssl.create_default_context(cafile=str(self.ca))
        return pymysql.connect(
            host="localhost",
            port=self.port,
            user=user,
            password=password.encode(),
            ssl=context,
            autocommit=True,
        )

    def opens(self, user: str, password: str) -> bool:
        """Whether the server lets that user in with that password."""
        try:
            self.bare(user, password).close()
        except pymysql.OperationalError as error:
            if error.args[0] == 1045:
                return False
            raise
        return True

    def logs(self) -> bytes:
        """Everything that the server has written into its logs: general, slow, error, binary."""
        with closing(self.root()) as connection, connection.cursor() as cursor:
            cursor.execute("FLUSH LOGS")
        files = [*self.folder.glob("*.log"), *self.folder.glob("data/binlog.0*")]
        return b"".join(path.read_bytes() for path in files)

    def _options(self, data: Path) -> list[str]:
        return [
            f"--datadir={data}",
            f"--socket={self.socket}",
            f"--tmpdir={data}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--ssl-ca={self.ca}",
            f"--ssl-cert={self.folder / 'server.crt'}",
            f"--ssl-key={self.folder / 'server.key'}",
            f"--pid-file={self.folder / 'run.pid'}",
            f"--log-error={self.folder / 'error.log'}",
            "--general-log=ON",
            f"--general-log-file={self.folder / 'general.log'}",
            f"--log-bin={data / 'binlog'}",
            "--server-id=1",
            "--plugin-load-add=auth_ed25519",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=8M",
            "--performance-schema=OFF",
        ]

    def _await(self) -> None:
        until = time.monotonic() + _START_LIMIT
        while True:
            try:
                # Not with PyMySQL, which leaves its socket open when nobody answers.
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.socket))
            except OSError:
                if self._daemon is None or self._daemon.poll() is not None or time.monotonic() > until:
                    log = self.folder / "error.log"
                    said = log.read_text()[-2000:] if log.exists() else "nothing"
                    pytest.fail(f"mariadbd did not start; it said: {said}", pytrace=False)
                time.sleep(0.05)
            else:
                return

    def _hand_over(self) -> None:
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, "mysql", "mysql")

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, capture_output=True, check=False, cwd=self.folder, user=_user(), group=_user()
        )
        if done.returncode:
            pytest.fail(f"{command[0]}: {(done.stdout + done.stderr).decode()}", pytrace=False)


def _user() -> str | None:
    return "mysql" if os.geteuid() == 0 else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop_orphans() -> None:
    """Servers of runs that were killed; the name of a server's folder holds the run's process id."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*-*"):
        if Path(f"/proc/{folder.name.removeprefix(_PREFIX).partition('-')[0]}").exists():
            continue
        pid = folder / "pid"
        if pid.exists() and str(folder).encode() in _command_line(pid.read_text()):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A server for this run (with xdist: for this worker)."""
    if not _DAEMON.exists():
        pytest.fail("MariaDB is missing; run: apt-get install -y mariadb-server", pytrace=False)
    _stop_orphans()
    # /tmp, not pytest's folder: the path of a Unix socket has at most 107 bytes, and user mysql must reach it.
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir="/tmp"))
    server = MariaDb(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
