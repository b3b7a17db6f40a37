"""The stage: the lab, a Bastide server on it, and how both acts do things there. What is done is timed and printed."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from bastide_lab.lab import Lab

PYTHON = sys.executable
BASTIDE = [PYTHON, "-m", "bastide.cli.main"]
PRIV, CORP = "priv.bastide.test", "corp.bastide.test"
SERVER = f"https://bastide.{PRIV}:8443"
CAP = 125
PATIENCE = 60.0
#: Succeeds when the address answers over TLS that this authority vouches for.
READY = """
import ssl, sys, urllib.request
handler = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=sys.argv[2]))
urllib.request.build_opener(urllib.request.ProxyHandler({}), handler).open(sys.argv[1], timeout=5)
"""

ANSWERS = """
[server]
url = "{server}"
certificate = "{tls}/server.crt"
key = "{tls}/server.key"

[database]
url = "sqlite:///{work}/bastide.db"

[priv]
domain = "{priv}"
keytab = "{work}/bastide.keytab"

[priv.preparer]
principal = "svc-bastide-prepare@{realm}"
keytab = "{work}/preparer.keytab"

[corp]
domain = "{corp}"

[http]
keytab = "{work}/http.keytab"

[policy]
ticket_cap_seconds = {cap}

[audit]
checkpoint_minutes = 1

[passwords]
vault = "sqlite:///{work}/vault.db"
openpgp = ["{work}/openpgp/openpgp.key"]
keytab = "{work}/pcnsclnt.keytab"
"""


class DemoError(Exception):
    """A step did not go as it must."""


class Timeline:
    """Each step with its measured time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._colour = sys.stdout.isatty()

    def act(self, text: str) -> None:
        """A line above the steps that belong together."""
        print(f"\n{'':11}{self._in('1', text)}")

    def do(self, text: str, action: Callable[[], str]) -> None:
        """Run a step and print it with its outcome; lines that begin with "$ " are commands that were run."""
        if self._colour:
            print(f"{'':11}{text} ...", end="\r", flush=True)
        began = time.monotonic()
        outcome = action()
        print(f"{time.monotonic() - began:7.2f} s  {text}{'    ' if self._colour else ''}", flush=True)
        for line in map(str.rstrip, outcome.splitlines()):
            print(f"{'':11}{self._in('2' if line.startswith('$ ') else '32', line)}".rstrip(), flush=True)

    def end(self) -> None:
        """The sum."""
        print(f"{time.monotonic() - self._began:7.2f} s  in all")

    def _in(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and text else text


class Stage:
    """The lab with its server, and everything that is started on it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.server: subprocess.Popen[str] | None = None
        #: What must end before the lab does, the newest first.
        self.processes: list[subprocess.Popen[str]] = []
        self.logs: list[IO[str]] = []

    @property
    def work(self) -> Path:
        return self.lab.root / "demo"

    @property
    def config(self) -> Path:
        return self.work / "bastide.toml"

    def cache(self, name: str) -> Path:
        return self.work / f"cc-{name}"

    # ------------------------------------------------------------------------------------------------------------ setting

    def lab_up(self) -> str:
        self.lab.up()
        self.work.mkdir(mode=0o700, exist_ok=True)
        return f"{', '.join(self.lab.status()['hosts'])}; nothing outside of their own network namespaces"

    def init(self) -> str:
        self.lab.keytab("priv", ["svc-bastide"], self.work / "bastide.keytab")
        self.lab.keytab("priv", ["svc-bastide-prepare"], self.work / "preparer.keytab")
        for forest, domain in (("priv", PRIV), ("corp", CORP)):
            self.lab.keytab(forest, [f"HTTP/bastide.{domain}"], self.work / "http.keytab")
        self.lab.keytab("corp", [f"PCNSCLNT/bastide.{CORP}"], self.work / "pcnsclnt.keytab")
        answers = self.work / "answers.toml"
        answers.write_text(
            ANSWERS.format(
                server=SERVER, tls=self.lab.site.tls, work=self.work, priv=PRIV, corp=CORP,
                realm=self.lab.realm("priv"), cap=CAP,
            )
        )  # fmt: skip
        self.host("keys", "generate", "--openpgp", "--to", self.work / "openpgp", config=False)
        done = self.host("init", "--answers", answers, "--output", self.config, config=False)
        self.host("db", "upgrade")
        good = [line for line in done.splitlines() if line.startswith("OK")]
        bad = [line for line in done.splitlines() if line.startswith("ERROR")]
        if bad or not good:
            raise DemoError("\n".join(bad) or done)
        return f"{len(good)} checks passed: DNS, ports, keytabs, tickets, sealed LDAP, trust"

    def delegate(self, group: str) -> str:
        for forest, host in (("priv", "privdc"), ("corp", "corpdc")):
            wanted = ["--corp-group", group] if forest == "corp" else []
            script = self.host("delegation", "script", "--forest", forest, *wanted)
            self.on(host, ["sh", "-s"], stdin=script, timeout=180)
        ldif = self.host("delegation", "script", "--for", "policy")
        self.lab.kinit("client", r"priv\Administrator").check_returncode()
        add = ["ldapmodify", "-N", "-Q", "-Y", "GSSAPI", "-H", f"ldap://privdc.{PRIV}"]
        self.on("client", add, stdin=ldif)
        self.on("client", ["kdestroy", "-q"])
        return f"by the printed scripts; tickets of PAM users live {CAP} s at most"

    def start(self) -> str:
        self.server = self.spawn("bastide", [*BASTIDE, "serve", "--config", self.config], "service.log")
        ready: list[str | Path] = [PYTHON, "-c", READY, f"{SERVER}/api/v1/health/ready", self.lab.ca]
        if not wait(lambda: self.lab.exec("client", ready).returncode == 0, PATIENCE):
            raise DemoError(f"the service did not start:\n{self.log_tail()}")
        return f"TLS, {resident(self.server.pid)} MB resident"

    def stop(self) -> None:
        """End what was started here; the lab's own end takes the rest."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
        for log in self.logs:
            log.close()

    def log_tail(self) -> str:
        """The last of what the service said."""
        with suppress(OSError):
            return "\n".join((self.work / "service.log").read_text().splitlines()[-20:])
        return ""

    # -------------------------------------------------------------------------------------------------------------- doing

    def on(
        self,
        host: str,
        command: Sequence[str | Path],
        *,
        stdin: str = "",
        timeout: float = 60,
        env: dict[str, str] | None = None,
    ) -> str:
        """Run on a host; what it printed. Raises DemoError with what it said, never with its input."""
        done = self.lab.exec(host, command, input=stdin, timeout=timeout, env=env)
        if done.returncode != 0:
            raise DemoError(
                f"{' '.join(map(str, command[:8]))}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def spawn(self, host: str, command: Sequence[str | Path], log: str) -> "subprocess.Popen[str]":
        """Start what runs to the end of the play; what it says goes to a file."""
        file = (self.work / log).open("w")
        self.logs.append(file)
        started = self.lab.popen(host, command, stdout=file, stderr=file)
        self.processes.append(started)
        return started

    def host(self, *arguments: str | Path, config: bool = True) -> str:
        """Bastide on its server."""
        options: list[str | Path] = ["--config", self.config] if config else []
        return self.on("bastide", [*BASTIDE, *arguments, *options], timeout=120)

    def remote(self, *arguments: str | Path) -> list[str | Path]:
        """A command that asks the server."""
        return [*BASTIDE, *arguments, "--server", SERVER, "--ca", self.lab.ca]

    def sign_in(self, name: str) -> None:
        """A ticket of a PRIV person, in a cache of their own."""
        self.lab.kinit("client", f"priv\\{name}", ccache=self.cache(name)).check_returncode()

    def priv(self, name: str, *arguments: str | Path, stdin: str = "") -> str:
        """Bastide on the client, as a PRIV person with a ticket."""
        return self.on(
            "client", self.remote(*arguments), stdin=stdin, env={"KRB5CCNAME": f"FILE:{self.cache(name)}"}
        )

    def shown(self, program: str, *arguments: str | Path) -> str:
        """A command as a person types it in the folder of the demo."""
        return f"$ {program} {shlex.join(map(str, arguments))}".replace(f"{self.work}{os.sep}", "")


def wait(ready: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def clock(moment: str | None) -> str:
    """The time of day of an ISO moment."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%H:%M:%S UTC") if moment else "now"


def resident(pid: int) -> int:
    """Megabytes of the process and what it started; `ip netns exec` becomes the command it runs."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024
