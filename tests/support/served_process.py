"""`bastide serve` as a process on this machine, with SQLite and no directory near: it starts without one."""

import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.support.commands import run_here
from tests.support.patience import PATIENCE

BASTIDE = [sys.executable, "-m", "bastide.cli.main"]
CANARY = "keytab-CANARY"
#: Whatever proxy the environment names: the service is on this machine.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def make_settings(home: Path) -> tuple[Path, int]:
    """As an administrator makes them, with a database. The file, and the port."""
    port = free_port()
    keytab = home / "x.keytab"
    keytab.write_text(CANARY)
    keytab.chmod(0o600)
    (home / "answers.toml").write_text(
        f'[server]\naddress = "127.0.0.1"\nport = {port}\n[database]\nurl = "sqlite:///{home}/bastide.db"\n'
        f'[priv]\ndomain = "priv.invalid"\nkeytab = "{keytab}"\n[http]\nkeytab = "{keytab}"\n'
    )
    config = home / "bastide.toml"
    run_here("init", "--answers", str(home / "answers.toml"), "--output", str(config), "--offline")
    run_here("db", "upgrade", "--config", str(config))
    return config, port


def trusting(certificate: Path) -> urllib.request.OpenerDirector:
    """Asks a service that shows this certificate, and none else."""
    context = ssl.create_default_context(cafile=str(certificate))
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )


def wait_for(
    url: str, process: subprocess.Popen[str], opener: urllib.request.OpenerDirector = DIRECT
) -> None:
    """Until it is ready."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(f"{url}/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(
        process.stderr.read() if process.stderr and process.poll() is not None else "not ready"
    )


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
