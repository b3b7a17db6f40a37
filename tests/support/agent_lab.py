"""The agent on a real domain controller of the lab, its configuration in the directory, and a server for it to talk to."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from pysequoia import Tsk, decrypt

from bastide import pcns, wire
from bastide.clock import SystemClock
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import Controllers, SealedConnect, discover
from bastide.directory.pcns import AdNotificationDirectory
from bastide.directory.session import Session
from bastide.wire import Notification
from bastide_lab import plan
from bastide_lab.lab import Lab
from tests.support.gss_server import GssServer
from tests.support.patience import PATIENCE

#: Debian's user without rights; the docs make one of its own.
USER = "nobody"
SERVER = "bastide.corp.bastide.test"
POLICY_PASSWORD = "Changed-Pass-{}-ü"


class AgentOnDc:
    """One agent on one controller."""

    def __init__(self, lab: Lab, host: str, work: Path) -> None:
        self.lab = lab
        self.host = plan.host(host)
        self.work = work
        account = pwd.getpwnam(USER)
        work.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.state, self.runtime = work / "state", work / "runtime"
        self.log = work / "agent.log"
        self.settings = work / "bastide-agent.toml"
        self.owner = (account.pw_uid, account.pw_gid)
        self.process: subprocess.Popen[str] | None = None
        self.write_settings()

    def write_settings(self, more: str = "") -> None:
        site = self.lab.site
        self.settings.write_text(f"""
user = "{USER}"
state = "{self.state}"
runtime = "{self.runtime}"
log_level = 3
key_check_interval = 5
{more}
[samba]
private = "{site.data(self.host) / "private"}"
configuration = "{site.smb_conf(self.host)}"
gnupg = "{site.gnupg(self.host)}"
""")

    def command(self, *arguments: str | Path) -> list[str | Path]:
        return [sys.executable, "-m", "bastide_agent.main", *arguments, "--config", self.settings]

    def start(self, *, wait: bool = True) -> None:
        before = len(self.events(2001))
        with self.log.open("a") as log:
            self.process = self.lab.popen(self.host.name, self.command("run"), stderr=log, stdout=log)
        if wait:
            self.until(lambda: len(self.events(2001)) > before)

    def kill(self) -> None:
        """SIGKILL: no handler runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid(), number)
            self.process.wait(30)
            self.process = None

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def pid(self) -> int:
        """Of the agent itself: `ip netns exec` and the shell become it."""
        assert self.process is not None
        return self.process.pid

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.lab.exec(self.host.name, self.command(*arguments))

    def status(self) -> dict[str, object]:
        shown = self.run("status", "--json")
        assert shown.returncode == 0, shown.stderr
        found: dict[str, object] = json.loads(shown.stdout)
        return found

    def events(self, number: int | None = None) -> list[dict[str, object]]:
        if not self.log.exists():
            return []
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [one for one in found if number is None or one["event"] == number]

    def until(self, good: Callable[[], object], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not good():
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the agent ended: {self.log.read_text()[-3000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; the log ends: {self.log.read_text()[-3000:]}")
            time.sleep(0.01)


class AgentLab:
    """A lab whose controllers capture; made once for a module, inside the server's namespace."""

    def __init__(
        self,
        lab: Lab,
        work: Path,
        *,
        forest: str = "corp",
        hosts: Sequence[str] = ("corpdc",),
        port: int = wire.PORT,
    ) -> None:
        self.lab = lab
        self.work = work
        self.forest = forest
        self.key = Tsk.generate("Bastide <bastide@bastide.test>")
        self.hosts = tuple(hosts)
        self.fingerprints = lab.enable_capture(bytes(self.key.extract_certificate()), hosts=hosts)
        self.admins = self._controllers("Administrator")
        self.keytab = work / "pcns.keytab"
        self.server_name = f"bastide.{plan.realm(forest).dns}"
        lab.keytab(forest, [f"PCNSCLNT/{self.server_name}"], self.keytab)
        self.server = GssServer(lab.address("bastide"), self.keytab, port)
        self.server.start()
        self._configure()

    def close(self) -> None:
        self.server.stop()
        self.admin(lambda session: AdNotificationDirectory(session).remove_target(self.target_dn))
        self.admins.close()

    def _controllers(self, account: str) -> Controllers:
        path = self.work / f"{account}.keytab"
        self.lab.keytab(self.forest, [account], path)
        connect = SealedConnect(Identity(f"{account}@{self.lab.realm(self.forest)}", path), SystemClock().now)
        domain = plan.realm(self.forest).dns
        return Controllers(domain, discover(domain), connect, time.monotonic)

    def admin(self, work: Callable[[Session], object]) -> None:
        self.admins.on_any("arrange", work)

    def _configure(self) -> None:
        self.admin(lambda session: AdNotificationDirectory(session).extend_schema())
        self.admin(
            lambda session: AdNotificationDirectory(session).save_service(
                pcns.ServiceSettings(retry_interval=10)
            )
        )
        self.target = pcns.Target(
            name="Bastide",
            guid=uuid4(),
            server=f"{self.server_name}:{self.server.port}",
            spn=f"PCNSCLNT/{self.server_name}",
            inclusion=self.group_sid("Domain Users"),
            exclusion=self.group_sid("Domain Admins"),
        )
        self.admin(lambda session: self._only(AdNotificationDirectory(session)))

    def _only(self, directory: AdNotificationDirectory) -> None:
        """This target, and none that an earlier module left."""
        for dn in directory.read().dns.values():
            directory.remove_target(dn)
        directory.add_target(self.target)

    def group_sid(self, name: str) -> str:
        found: list[str] = []
        self.admin(lambda session: found.append(AdNotificationDirectory(session).group_sid(name)))
        return found[-1]

    @property
    def target_dn(self) -> str:
        return f"CN=Bastide,{pcns.CONTAINER},{self.lab.base_dn(self.forest)}"

    def save_target(self, **changes: object) -> None:
        self.target = replace(self.target, **changes)  # type: ignore[arg-type]
        self.admin(lambda session: AdNotificationDirectory(session).save_target(self.target_dn, self.target))

    def opened(self, notification: Notification) -> str:
        """With the server's private key, which no controller ever had."""
        done = decrypt(notification.secret, self.key.decryptor())
        clear = done.bytes
        assert clear is not None
        return bytes(clear).decode("utf-16-le")
