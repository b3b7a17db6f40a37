"""The lab, prepared for password synchronization: capture on CORP's controller, its configuration in the directory, slapd with people in it, the agent.

What a management agent's import would bring is put into the database directly: imports are not what is measured.
"""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from bastide import config
from bastide.store.openpgp import PRIVATE, PUBLIC, generate_openpgp
from bastide_lab import plan
from bastide_lab.targets import Endpoint, slapd
from benchmarks.objects import Reference
from benchmarks.server import ServerProcess
from benchmarks.stage import HOST, ROOT, Stage

CONTROLLER = "corpdc"
SERVER = f"bastide.{plan.CORP.dns}"
PCNS_PORT = 8446
#: Debian's user without rights.
USER = "nobody"
#: People who change their password themselves: of CORP, and entries of slapd.
CHANGERS = tuple(f"k{number:03}" for number in range(20))
#: Of slapd, and in our database only: their changes are planted.
CROWD = tuple(f"w{number:05}" for number in range(20_000))
#: Those who change their password during an outage.
BACKLOG = CROWD[:5000]
FIRST_PASSWORD = "First-Pass-{}-aA7"
_START_LIMIT = 30.0
_AGENT_SETTINGS = """\
user = "{user}"
state = "{state}"
runtime = "{runtime}"
[samba]
private = "{private}"
configuration = "{configuration}"
gnupg = "{gnupg}"
"""


@dataclass(slots=True)
class SyncStage:
    """On a lab that has been prepared for the first part."""

    stage: Stage
    slapd: Endpoint = field(init=False)
    #: GUID of the target in the directory's configuration.
    target: str = field(init=False, default="")
    #: By account name.
    changers: dict[str, Reference] = field(init=False, default_factory=dict)
    anchors: dict[str, str] = field(init=False, default_factory=dict)

    @property
    def keys(self) -> Path:
        return self.stage.work / "openpgp"

    @property
    def certificate(self) -> bytes:
        return (self.keys / PUBLIC).read_bytes()

    @property
    def vault(self) -> str:
        return f"sqlite:///{self.stage.work / 'vault.db'}"

    def prepare(self) -> None:
        """Controller and slapd side by side."""
        self.keys.mkdir(mode=0o700)
        generate_openpgp(self.keys)
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(self._prepare_controller), pool.submit(self._prepare_slapd)]
            for one in done:
                one.result()

    def _prepare_controller(self) -> None:
        lab, stage = self.stage.lab, self.stage
        lab.enable_capture(self.certificate, hosts=[CONTROLLER])
        order = {
            "users": CHANGERS,
            "users_container": f"CN=Users,{lab.base_dn('corp')}",
            "groups": {},
            "groups_container": "",
            "members": [],
            "known": [],
            "expires": "0",
        }
        self.changers = stage.samba_side(CONTROLLER, "populate", order)
        passwords = {name: FIRST_PASSWORD.format(name) for name in CHANGERS}
        stage.samba_side(CONTROLLER, "set_passwords", {"passwords": passwords})
        lab.keytab("corp", ["Administrator"], stage.work / "corp-admin.keytab")
        lab.keytab("corp", [f"PCNSCLNT/{SERVER}"], stage.work / "pcns.keytab")
        self.target = str(uuid4())
        where = {
            "domain": plan.CORP.dns,
            "principal": lab.principal(r"corp\Administrator"),
            "keytab": str(stage.work / "corp-admin.keytab"),
            "server": f"{SERVER}:{PCNS_PORT}",
            "spn": f"PCNSCLNT/{SERVER}",
            "guid": self.target,
        }
        self.phase("configure", where)

    def _prepare_slapd(self) -> None:
        self.slapd = self.stage.lab.start_target("slapd")
        self.anchors = self.phase("people", {"names": [*CHANGERS, *CROWD], **self.slapd_order})

    @property
    def slapd_order(self) -> dict[str, Any]:
        """How a phase gets at slapd."""
        return {
            "host": self.slapd.host,
            "port": self.slapd.tls_port,
            "ca": str(self.stage.lab.ca),
            "base": slapd.PEOPLE,
            "admin": self.slapd.admin,
            "service": slapd.SERVICE,
            "password": self.slapd.password,
        }

    def phase(self, name: str, order: Mapping[str, Any], host: str = HOST) -> Any:
        """Run one phase of sync_drive in a process on a host of the lab, and give its result."""
        return self.stage.run_phase("benchmarks.sync_drive", {"phase": name, **order}, host=host)

    def settings(self, name: str, database: str) -> Path:
        """The settings of a server that synchronizes passwords."""
        return self.stage.settings(
            name,
            database,
            passwords=config.Passwords(
                vault=self.vault,
                openpgp=[str(self.keys / PRIVATE)],
                keytab=str(self.stage.work / "pcns.keytab"),
                port=PCNS_PORT,
            ),
        )

    @contextmanager
    def slapd_down(self) -> Iterator[None]:
        """As if somebody had pulled the plug."""
        self.stage.lab.stop_target("slapd", kill=True)
        try:
            yield
        finally:
            self.stage.lab.start_target("slapd")


class Agent:
    """The agent on CORP's controller, in a folder of its own."""

    def __init__(self, sync: SyncStage, name: str) -> None:
        lab = sync.stage.lab
        self._lab = lab
        home = lab.root / name
        home.mkdir(mode=0o755)
        self.state = home / "state"
        self._log = home / "log"
        host = plan.host(CONTROLLER)
        self._settings = home / "agent.toml"
        self._settings.write_text(
            _AGENT_SETTINGS.format(
                user=USER,
                state=self.state,
                runtime=home / "runtime",
                private=lab.site.data(host) / "private",
                configuration=lab.site.smb_conf(host),
                gnupg=lab.site.gnupg(host),
            )
        )
        self.process: ServerProcess | None = None

    def start(self) -> ServerProcess:
        """Until it captures and delivers (event 2001)."""
        before = self.said(2001)
        command: list[str | Path] = [sys.executable, "-m", "bastide_agent.main", "run"]
        command += ["--config", self._settings]
        with self._log.open("a") as log:
            process = self._lab.popen(CONTROLLER, command, cwd=ROOT, stdout=log, stderr=log)
        started = self.process = ServerProcess(process, self._log)
        until(lambda: self.said(2001) > before, _START_LIMIT, "the agent starts", started.check)
        return started

    def stop(self) -> None:
        """In order."""
        if self.process is not None:
            end(self.process.process)
            self.process = None

    def said(self, number: int) -> int:
        """How often it wrote an event."""
        if not self._log.exists():
            return 0
        lines = (line for line in self._log.read_text().splitlines() if line.startswith("{"))
        return sum(json.loads(line)["event"] == number for line in lines)

    def hand_over(self) -> None:
        """What root made in its folder is the agent's."""
        account = pwd.getpwnam(USER)
        for path in (self.state, *self.state.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)


class SyncPasswords:
    """`samba-tool user syncpasswords --script` with the same job: the script sets the password in slapd."""

    def __init__(self, sync: SyncStage) -> None:
        """Alone among our programs it needs the private key on the controller."""
        self._lab = sync.stage.lab
        self._work = sync.stage.work / "syncpasswords"
        self._work.mkdir(mode=0o700)
        gnupg = self._work / "gnupg"
        gnupg.mkdir(mode=0o700)
        self._env = {"GNUPGHOME": str(gnupg)}
        key = (sync.keys / PRIVATE).read_bytes()
        subprocess.run(
            ["gpg", "--homedir", gnupg, "--batch", "--quiet", "--import"],
            input=key,
            check=True,
            capture_output=True,
        )
        order = self._work / "order.json"
        order.touch(mode=0o600)
        order.write_text(json.dumps(sync.slapd_order))
        script = self._work / "script"
        program = Path(__file__).with_name("sync_script.py")
        script.write_text(f"#!/bin/sh\nexec {sys.executable} {program} {order}\n")
        script.chmod(0o700)
        self._cache = self._work / "cache.ldb"
        self._log = self._work / "log"
        names = "".join(f"(sAMAccountName={name})" for name in sync.changers)
        self._run(
            "--cache-ldb-initialize",
            "--decrypt-samba-gpg",
            "--attributes=sAMAccountName,virtualClearTextUTF8",
            f"--filter=(|{names})",
            f"--script={script}",
        ).wait(60)

    @contextmanager
    def running(self, people: int) -> Iterator[None]:
        """After it has gone through everybody once, as it always does first."""
        process = self._run()
        try:
            until(lambda: self._done() >= people, 60, "syncpasswords goes through everybody", lambda: None)
            yield
            if process.poll() is not None:
                raise RuntimeError(f"syncpasswords ended: {self._log.read_text()[-1000:]}")
        finally:
            end(process)

    def _run(self, *options: str) -> "subprocess.Popen[str]":
        command = ["samba-tool", "user", "syncpasswords", f"--cache-ldb={self._cache}", *options]
        with self._log.open("a") as log:
            return self._lab.popen(CONTROLLER, command, env=self._env, stdout=log, stderr=log)

    def _done(self) -> int:
        return self._log.read_text().count("DONE-EXIT: ")


def end(process: "subprocess.Popen[str]") -> None:
    """SIGTERM, and what does not heed it is killed."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(good: Callable[[], object], seconds: float, doing: str, check: Callable[[], None]) -> None:
    """Raises TimeoutError, and whatever `check` raises."""
    deadline = time.monotonic() + seconds
    while not good():
        check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{doing}: not within {seconds:g} s")
        time.sleep(0.01)
