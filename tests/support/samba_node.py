"""The real commands on the server's host, in processes of their own, with the settings file a real node would have."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bastide.store import keys
from tests.support import directory_lab as plan
from tests.support.patience import PATIENCE
from tests.support.samba_world import SambaWorld


class SambaNode:
    """`bastide` on the database of a world."""

    def __init__(self, world: SambaWorld, work: Path) -> None:
        self.lab = world.lab
        self.settings = work / "bastide.toml"
        self.log = work / "worker.log"
        keys.generate_key_files(work)
        self.settings.write_text(f"""
[database]
url = "sqlite:///{work}/bastide.db"
[keys]
master = "{work}/master.key"
signing = "{work}/signing.key"
[priv]
domain = "{plan.PRIV}"
principal = "svc-bastide@{self.lab.realm("priv")}"
keytab = "{world.forests.identity("svc-bastide", "priv").keytab}"
users_container = "{plan.USERS}"
groups_container = "{plan.GROUPS}"
[corp]
domain = "{plan.CORP}"
[rights]
administrators = ["Bastide Administrators"]
auditors = ["Bastide Auditors"]
approvers = ["Bastide Approvers"]
""")

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return self.lab.exec("bastide", self._bastide(*command), env=env, timeout=PATIENCE)

    def start_worker(self, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Its words go to `log`."""
        with self.log.open("a") as output:
            return self.lab.popen("bastide", self._bastide("worker"), stdout=output, stderr=output, env=env)

    def _bastide(self, *command: str) -> list[str | Path]:
        return [sys.executable, "-m", "bastide.cli.main", *command, "--config", self.settings]
