"""`bastide serve` and `bastide worker` with [monitoring], [alerts] and [intake] as processes: an event that comes in gives an alert that goes out, and no secret with it;
told to stop, they hang up and are gone. No directory is near: monitoring waits for one, and keeps nobody from stopping.
"""

import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bastide_lab.targets import Pair
from tests.contract.test_alert_outlets import Receiver
from tests.support.certificates import issue
from tests.support.intake_world import nxlog
from tests.support.patience import PATIENCE
from tests.support.served_process import BASTIDE, CANARY, free_port, make_settings, trusting, wait_for

pytest.importorskip("ldap")
pytest.importorskip("gssapi")
#: In the address of a mail server where nobody listens.
MAIL = "Canary-of-the-mail-server"
#: It is half a second; who waited for a forwarder, a directory or a mail server would need longer than this.
SECONDS = 10.0
_TABLES = """
[monitoring]
owner = "Team Directory"

[alerts]
[[alerts.destinations]]
name = "siem"
syslog = "tls://localhost:{siem}"
syslog_ca = "{siem_ca}"
format = "cef"

[[alerts.destinations]]
name = "operations"
url = "{mail}"

[intake]
address = "127.0.0.1"
port = {door}
ca = "{forwarders}"

[[intake.sources]]
name = "collector"
format = "windows"
subject = "wec.test"
complete = true
"""


@dataclass(frozen=True)
class Site:
    """What an administrator set up: the settings, who forwards, who receives."""

    config: Path
    url: str
    door: int
    server: Pair
    forwarder: Pair
    receiver: Receiver

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """`serve` that is ready, or a worker that is up."""
        what, *flags = arguments
        command = [*BASTIDE, what, "--config", str(self.config), *flags]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                if what == "serve":
                    wait_for(self.url, process, trusting(self.server.certificate))
                else:
                    assert process.stderr is not None
                    assert any("worker is up" in line for line in process.stderr)
                yield process
            finally:
                process.kill()

    @contextmanager
    def forwarding(self) -> Iterator[ssl.SSLSocket]:
        """A connection to the door, with the forwarder's certificate."""
        context = ssl.create_default_context(cafile=str(self.server.certificate))
        context.load_cert_chain(self.forwarder.certificate, self.forwarder.key)
        plain = socket.create_connection(("127.0.0.1", self.door), PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost") as channel:
            yield channel

    def gaps(self) -> list[str]:
        """The lines of CEF that the receiver took about missing events: there may be others, of a domain that nobody reads."""
        lines = [said[said.index("CEF:") :] for said in map(bytes.decode, self.receiver.messages())]
        return [line for line in lines if "|event-gap|" in line]

    def logged(self) -> str:
        """By all processes, in files."""
        return "".join(one.read_text() for one in sorted((self.config.parent / "logs").iterdir()))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    return make_settings(tmp_path_factory.mktemp("watching"))


@pytest.fixture
def site(settings: tuple[Path, int], tmp_path: Path) -> Iterator[Site]:
    """With a database of its own."""
    made, port = settings
    config = tmp_path / made.name
    shutil.copy(made.parent / "bastide.db", tmp_path)
    server, forwarders = issue(tmp_path, "server", "localhost"), issue(tmp_path, "forwarders", "ca.test")
    forwarder = issue(tmp_path, "wec", "wec.test", ca=forwarders.certificate, ca_key=forwarders.key)
    mail, door = tmp_path / "mail", free_port()
    mail.write_text(f"mailtos://bastide:{MAIL}@localhost:{free_port()}?to=operations@corp.test\n")
    mail.chmod(0o600)
    with closing(Receiver(tmp_path)) as receiver:
        text = made.read_text().replace(f"{made.parent}/bastide.db", f"{tmp_path}/bastide.db")
        for name, value in (
            ("certificate", server.certificate), ("key", server.key), ("folder", tmp_path / "logs"),
        ):  # fmt: skip
            text = re.sub(rf'^{name} = ".*"$', f'{name} = "{value}"', text, count=1, flags=re.MULTILINE)
        tables = _TABLES.format(
            siem=receiver.port,
            siem_ca=receiver.ca,
            mail=mail,
            door=door,
            forwarders=forwarders.certificate,
        )
        config.write_text(text + tables)
        yield Site(config, f"https://localhost:{port}/api/v1", door, server, forwarder, receiver)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def stop(*processes: subprocess.Popen[str]) -> float:
    """In order; the seconds that it took all of them."""
    began = time.monotonic()
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        _, log = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, log
        assert "Traceback" not in log
    return time.monotonic() - began


def gap(channel: ssl.SSLSocket) -> None:
    """Two records of the Security log, with three missing between them."""
    for number in (1, 5):
        channel.sendall(nxlog(number, 4728) + b"\n")


@pytest.mark.parametrize(
    "processes",
    [(("serve",),), (("serve", "--no-worker"), ("worker",))],
    ids=["one-process", "two-processes"],
)
def test_an_event_in_gives_an_alert_out_and_all_stop_within_seconds(
    site: Site, processes: tuple[tuple[str, ...], ...]
) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(site.running(*one)) for one in processes]
        with site.forwarding() as channel:
            gap(channel)
            until(lambda: bool(site.gaps()))
            (alert,) = site.gaps()
            assert alert.startswith("CEF:0|Bastide|Bastide|")
            assert "|event-gap|Events of the source collector are missing|5|" in alert
            assert " act=raised " in alert
            assert "cs1=event-gap" in alert
            until(lambda: "alerts to operations" in site.logged())
            assert stop(*running) < SECONDS
            assert channel.recv(1) == b"", "the forwarder is hung up on"
    log = site.logged()
    assert "listening for events on port" in log
    assert "priv.invalid is not monitored" in log
    told = log + site.receiver.got.decode()
    keys = [one.key.read_text().splitlines()[1] for one in (site.server, site.forwarder)]
    for secret in (MAIL, CANARY, *keys):
        assert secret not in told
    assert len(site.gaps()) == 1, "told once"
