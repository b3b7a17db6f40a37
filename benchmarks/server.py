"""The server's process, from outside: start, stop, memory, CPU."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.stage import HOST, ROOT, Stage

STOP_LIMIT = 20.0


class ServerProcess:
    """A process of the run, by its number."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def rss_mb(self) -> float:
        """Memory that is in use now, in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self.process.pid)

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU since it started; proc_pid_stat(5)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Stopped where it is; it goes on at the end."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raises RuntimeError if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended with {self.process.returncode}")


@contextmanager
def running(stage: Stage, settings: Path, command: Sequence[str | Path] = ()) -> Iterator[ServerProcess]:
    """`bastide serve`, or another command that does it, from the start to SIGTERM."""
    command = command or [Path(sys.executable).with_name("bastide"), "serve", "--config", settings]
    log = settings.with_suffix(".log")
    with log.open("w") as output:
        process = stage.lab.popen(HOST, command, cwd=ROOT, stdout=output, stderr=output)
    server = ServerProcess(process, log)
    try:
        yield server
        server.check()
    except Exception:
        print(*complaints(log), sep="\n", file=sys.stderr)
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def complaints(log: Path) -> list[str]:
    """The last lines of the server's log that are more than news."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [line[-2000:] for line in lines if '"level": "info"' not in line][-5:]


def counting(settings: Path) -> list[str | Path]:
    """The command of a server that counts its statements."""
    return [sys.executable, "-m", "benchmarks.serve", settings, counts_file(settings)]


def counts_file(settings: Path) -> Path:
    """Where it writes them."""
    return settings.with_suffix(".counts")


def ask_counts(server: ServerProcess, settings: Path) -> str:
    """What it counted so far, as JSON."""
    path = counts_file(settings)
    path.unlink(missing_ok=True)
    os.kill(server.process.pid, signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while not path.exists():
        server.check()
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not say what it counted")
        time.sleep(0.01)
    return path.read_text()
