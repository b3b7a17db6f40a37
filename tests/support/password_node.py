"""A Bastide server of the password scene: its settings as `bastide init` writes them, and its processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bastide_lab import plan
from bastide_lab.lab import Lab
from tests.support.patience import PATIENCE

CORP_DNS, PRIV_DNS = plan.CORP.dns, plan.PRIV.dns
SERVER = f"bastide.{PRIV_DNS}"
BASTIDE: tuple[str, ...] = (sys.executable, "-m", "bastide.cli.main")
_READY = """
import ssl, sys, urllib.request
handler = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=sys.argv[2]))
urllib.request.build_opener(urllib.request.ProxyHandler({}), handler).open(sys.argv[1], timeout=5)
"""
_ANSWERS = """
[server]
url = "https://{server}:{port}"
port = {port}
node = "{node}"
certificate = "{tls}/server.crt"
key = "{tls}/server.key"
[database]
url = "sqlite:///{work}/database/bastide.db"
[priv]
domain = "{priv}"
keytab = "{work}/bastide.keytab"
[corp]
domain = "{corp}"
[http]
keytab = "{work}/http.keytab"
[audit]
file = "{work}/audit.jsonl"
[passwords]
vault = "sqlite:///{work}/vault/vault.db"
openpgp = ["{work}/keys/openpgp.key"]
keytab = "{work}/pcns.keytab"
port = {pcns}
event_level = 3
"""


class Node:
    """One Bastide server: its settings, and `serve` in a process of its own."""

    def __init__(self, lab: Lab, work: Path, name: str, port: int = 8443, pcns: int = 8446) -> None:
        self.lab = lab
        self.work = work
        self.started: list[subprocess.Popen[str]] = []
        self.name = name
        self.url = f"https://{SERVER}:{port}"
        self.settings = work / f"{name}.toml"
        self.log = work / f"{name}.log"
        self.process: subprocess.Popen[str] | None = None
        answers = work / f"{name}.answers.toml"
        answers.write_text(
            _ANSWERS.format(
                server=SERVER, port=port, pcns=pcns, node=name, tls=lab.site.tls, work=work,
                priv=PRIV_DNS, corp=CORP_DNS,
            )
        )  # fmt: skip
        self.host("init", "--answers", answers, "--output", self.settings, "--offline", config=False)

    def host(self, *command: str | Path, config: bool = True) -> str:
        """A command of the server's administrator, without its API."""
        more: list[str | Path] = ["--config", self.settings] if config else []
        done = self.lab.exec("bastide", [*BASTIDE, *command, *more])
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(
        self, command: str = "serve", *flags: str, env: Mapping[str, str] | None = None, wait: bool = True
    ) -> "subprocess.Popen[str]":
        """`serve`, until it answers; or `worker`, which is a node of its own beside it."""
        settings = self._of_worker() if command == "worker" else self.settings
        with self.log.open("a") as log:
            started = self.lab.popen(
                "bastide",
                [*BASTIDE, command, *flags, "--config", settings],
                stdout=log,
                stderr=log,
                env=env,
                cwd=self.work,
            )
        self.started.append(started)
        if command == "serve":
            self.process = started
            if wait:
                self.until_ready()
        return started

    def _of_worker(self) -> Path:
        """The same settings with another name: two processes under one are refused."""
        made = self.work / f"{self.name}-worker.toml"
        said = self.settings.read_text()
        named = f'node = "{self.name}"'
        assert said.count(named) == 1, said
        made.write_text(said.replace(named, f'node = "{self.name}-worker"'))
        return made

    def until_ready(self) -> None:
        ready: list[str | Path] = [
            sys.executable, "-c", _READY, f"{self.url}/api/v1/health/ready", self.lab.ca,
        ]  # fmt: skip
        until(lambda: self.lab.exec("bastide", ready).returncode == 0, self.tail)

    def kill(self) -> None:
        """SIGKILL: no handler runs."""
        end(self.process, signal.SIGKILL)
        self.process = None

    def stop(self) -> None:
        end(self.process, signal.SIGTERM)
        self.process = None

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def close(self) -> None:
        """All processes that were ever started here."""
        for one in self.started:
            end(one, signal.SIGTERM)

    def end_others(self) -> None:
        """Those that are not the server: workers of their own."""
        for one in self.started:
            if one is not self.process:
                end(one, signal.SIGKILL)

    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def tail(self) -> str:
        return self.log.read_text()[-4000:] if self.log.exists() else "nothing was said"


def end(process: "subprocess.Popen[str] | None", number: signal.Signals) -> None:
    if process is None or process.poll() is not None:
        return
    os.kill(process.pid, number)
    process.wait(40)


def until(good: Callable[[], object], said: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not good():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE} s: {said()}")
        time.sleep(0.01)
