"""One node of several: its settings file, `bastide serve` in a process on a host of its own, and its end."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from bastide_lab import plan
from bastide_lab.lab import Lab
from tests.support import directory_lab
from tests.support.directory_lab import DirectoryLab
from tests.support.password_node import until

API = "/api/v1"
STOP_LIMIT = 40.0
_SETTINGS = """
[server]
url = "{url}"
port = {port}
node = "{name}"
partition = "{partition}"
heartbeat_seconds = 2
certificate = "{certificate}"
key = "{key}"
[database]
url = "{database}"
password = "{password}"
mark = "{own}/mark"
[audit]
file = "{own}/audit.jsonl"
[logs]
folder = "{own}/logs"
[keys]
master = "{work}/master.key"
signing = "{work}/signing.key"
[priv]
domain = "{priv}"
principal = "svc-bastide@{realm}"
keytab = "{keytab}"
users_container = "{users}"
groups_container = "{groups}"
user_prefix = "ha."
group_prefix = "HA-"
[priv.preparer]
principal = "svc-bastide-prepare@{realm}"
keytab = "{preparer}"
[corp]
domain = "{corp}"
[http]
keytab = "{work}/http.keytab"
priv_host = "{priv_host}"
corp_host = "{corp_host}"
[rights]
administrators = ["Bastide Administrators"]
auditors = ["Bastide Auditors"]
approvers = ["Bastide Approvers"]
[policy]
ticket_cap_seconds = {cap}
ticket_policy = "{policy}"
"""


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a node is: two of them may share a host, with a port each."""

    name: str
    host: str
    port: int = 8443
    partition: str = "default"


class FailoverNode:
    """Its settings are those of docs/operations/postgresql-patroni.md."""

    def __init__(self, forests: DirectoryLab, work: Path, seat: Seat) -> None:
        self.lab: Lab = forests.lab
        self.name = seat.name
        self.host = seat.host
        self.log = work / f"{seat.name}.log"
        #: What it keeps on its host's disk.
        self.own = self.lab.site.directory(plan.host(seat.host)) / seat.name
        self.own.mkdir(exist_ok=True)
        self.settings = work / f"{seat.name}.toml"
        self._process: subprocess.Popen[str] | None = None
        priv_host, corp_host = plan.server_names(plan.host(seat.host))
        pair = "server" if seat.host == plan.BASTIDE.name else seat.host
        self.url = f"https://{priv_host}:{seat.port}"
        self.settings.write_text(
            _SETTINGS.format(
                url=self.url, port=seat.port, name=seat.name, partition=seat.partition, work=work, own=self.own,
                certificate=self.lab.site.tls / f"{pair}.crt", key=self.lab.site.tls / f"{pair}.key",
                database=self.lab.databases.url, password=self.lab.databases.password_file,
                priv=directory_lab.PRIV, corp=directory_lab.CORP, realm=self.lab.realm("priv"),
                keytab=forests.identity("svc-bastide", "priv").keytab,
                preparer=forests.identity("svc-bastide-prepare", "priv").keytab,
                users=directory_lab.USERS, groups=directory_lab.GROUPS,
                priv_host=priv_host, corp_host=corp_host,
                cap=int(directory_lab.CAP.total_seconds()), policy=directory_lab.POLICY,
            )
        )  # fmt: skip
        trust = ssl.create_default_context(cafile=self.lab.ca)
        self.http = httpx.Client(base_url=self.url + API, verify=trust, timeout=15, trust_env=False)

    # ----------------------------------------------------------------------------------------------------- the process

    @property
    def runs(self) -> bool:
        """Whether it has a process that is not over."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True, env: Mapping[str, str] | None = None) -> None:
        """`bastide serve`; unless it runs already."""
        if not self.runs:
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "bastide.cli.main",
                "serve",
                "--config",
                self.settings,
            ]
            with self.log.open("a") as log:
                self._process = self.lab.popen(self.host, command, env=env, stdout=log, stderr=log)
        if wait:
            self.until_ready()

    def until_ready(self) -> None:
        until(lambda: self.health() == httpx.codes.OK, self.tail)

    def health(self) -> int:
        """What a load balancer is told; 0: nobody answers."""
        try:
            return self.http.get("/health/ready").status_code
        except httpx.HTTPError:
            return 0

    def kill(self) -> None:
        """SIGKILL: no handler runs, and nothing is given back."""
        self._send(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """In order, and wait for it."""
        self.ask_to_stop()
        self._wait()

    def ask_to_stop(self) -> None:
        """SIGTERM: it finishes what it holds."""
        self._send(signal.SIGCONT)
        self._send(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it does nothing, and nobody is told."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: for it no time has passed."""
        self._send(signal.SIGCONT)

    def close(self) -> None:
        self.stop()
        self.http.close()

    def holds(self, owner: str) -> bool:
        """Whether the owner of a lease is this node."""
        return owner.rpartition(":")[0] == self.name

    def mark(self) -> str:
        """The newest audit record that it noted on its disk: it follows with each heartbeat."""
        return (self.own / "mark").read_text()

    def tail(self) -> str:
        return self.log.read_text()[-4000:] if self.log.exists() else "nothing was said"

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self.runs:
            os.kill(self._process.pid, number)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(STOP_LIMIT)
