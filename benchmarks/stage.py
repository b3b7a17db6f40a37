"""The lab, with what a benchmark needs in it: accounts by the thousand, the product's own delegation, settings, keys and database."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bastide.cli import config_file
from bastide.config import AuditSettings, Config, Corp, Database, Http, Keys, Passwords, Priv, Rights, Server
from bastide.directory import delegation
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.store import keys, migrations
from bastide.store.unit_of_work import SqlStore
from bastide_lab import plan
from bastide_lab.lab import Lab
from benchmarks import objects
from benchmarks.bare import filetime
from benchmarks.objects import Reference, Registered

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent
PORT = 8443
HOST = "bastide"
CONTROLLER = "privdc.priv.bastide.test"
GROUP, SHARE, PEOPLE = "PAM-Bench", "BenchShare", "BenchPeople"
#: groupType ([MS-ADTS] 2.2.12), as the signed number on the wire.
GLOBAL, DOMAIN_LOCAL = 0x2 - 2**31, 0x4 - 2**31
ASLEEP = str(filetime(0))


@dataclass(slots=True)
class Stage:
    """One lab, prepared."""

    lab: Lab
    size: int
    priv: dict[str, Reference] = field(default_factory=dict)
    corp: dict[str, Reference] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Files of the run; they go with the lab."""
        return self.lab.root / "bench"

    @property
    def names(self) -> list[str]:
        return [f"priv.b{number:04d}" for number in range(self.size)]

    @property
    def users(self) -> str:
        return f"OU=Users,OU=PAM Objects,{self.lab.base_dn('priv')}"

    @property
    def group(self) -> str:
        return self.priv[GROUP]["dn"]

    def prepare(self) -> None:
        """Both forests side by side."""
        self.work.mkdir(mode=0o700)
        with ThreadPoolExecutor(2) as pool:
            priv, corp = pool.submit(self._populate_priv), pool.submit(self._populate_corp)
            self.priv, self.corp = priv.result(), corp.result()
            rights = [pool.submit(self._delegate, *where) for where in self._rights()]
            for done in rights:
                done.result()
        self.lab.keytab("priv", ["svc-bastide"], self.keytab)
        for forest, name in zip(("priv", "corp"), plan.SERVER_NAMES, strict=True):
            self.lab.keytab(forest, [f"HTTP/{name}"], self.work / "http.keytab")
        keys.generate_key_files(self.work)

    @property
    def keytab(self) -> Path:
        return self.work / "bastide.keytab"

    def _populate_priv(self) -> dict[str, Reference]:
        order = {
            "users": self.names,
            "users_container": self.users,
            "groups": {GROUP: GLOBAL},
            "groups_container": self.users.replace("OU=Users", "OU=Groups"),
            "members": [],
            "known": ["svc-bastide", "svc-bastide-prepare"],
            "expires": ASLEEP,
        }
        made: dict[str, Reference] = self.samba_side("privdc", "populate", order)
        return made

    def _populate_corp(self) -> dict[str, Reference]:
        base = self.lab.base_dn("corp")
        order = {
            "users": [_corp_name(name) for name in self.names],
            "users_container": f"CN=Users,{base}",
            "groups": {PEOPLE: GLOBAL, SHARE: DOMAIN_LOCAL},
            "groups_container": f"OU=Groups,{base}",
            "members": [PEOPLE],
            "known": [],
            "expires": "0",
        }
        made: dict[str, Reference] = self.samba_side("corpdc", "populate", order)
        return made

    def _rights(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        account = {
            name: delegation.Account(Sid.parse(self.priv[name]["sid"]), rf"PRIV\{name}")
            for name in ("svc-bastide", "svc-bastide-prepare")
        }
        wanted = delegation.Plan(
            service=account["svc-bastide"],
            preparer=account["svc-bastide-prepare"],
            priv_base=self.lab.base_dn("priv"),
            corp_base=self.lab.base_dn("corp"),
            users=self.users,
            groups=(self.users.replace("OU=Users", "OU=Groups"),),
            corp_groups=(delegation.CorpGroup(self.corp[SHARE]["dn"]),),
        )
        for host, forest in (("privdc", Forest.PRIV), ("corpdc", Forest.CORP)):
            yield host, [(right.dn, right.sddl) for right in delegation.rights(wanted, forest)]

    def _delegate(self, host: str, rights: Sequence[tuple[str, str]]) -> None:
        self.samba_side(host, "grant_rights", {"rights": rights})

    def arrange(self, members: Sequence[str], expires: str = ASLEEP) -> None:
        """The group with exactly these members; everybody's account with this end."""
        order = {
            "group": self.group,
            "members": [self.priv[name]["dn"] for name in members],
            "users": [self.priv[name]["dn"] for name in members or self.names],
            "expires": expires,
        }
        self.samba_side("privdc", "arrange", order)

    def samba_side(self, host: str, operation: str, order: Mapping[str, Any], timeout: float = 120) -> Any:
        """Run one operation of samba_side.py beside a controller."""
        database = self.lab.site.database(plan.host(host))
        message = json.dumps({"operation": operation, "database": str(database), **order})
        command: list[str | Path] = ["/usr/bin/python3", "-I", HERE / "samba_side.py"]
        done = self.lab.exec(host, command, input=message, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{operation} on {host}: {done.stderr[-1000:]}")
        return json.loads(done.stdout.splitlines()[-1])  # samba-tool talks too

    # ------------------------------------------------------------------------------------------------ the product

    def settings(
        self, name: str, database: str, port: int = PORT, passwords: Passwords | None = None
    ) -> Path:
        """The settings of one server of the run."""
        tls = self.lab.site.tls
        domains = {forest: plan.realm(forest).dns for forest in ("priv", "corp")}
        config = Config(
            server=Server(
                address=self.lab.address(HOST),
                port=port,
                certificate=str(tls / "server.crt"),
                key=str(tls / "server.key"),
                node=name,
            ),
            database=Database(url=database),
            keys=Keys(master=str(self.work / "master.key"), signing=str(self.work / "signing.key")),
            priv=Priv(
                domain=domains["priv"],
                principal=self.lab.principal(r"priv\svc-bastide"),
                keytab=str(self.keytab),
                users_container=self.users,
                groups_container=self.users.replace("OU=Users", "OU=Groups"),
            ),
            corp=Corp(domain=domains["corp"]),
            http=Http(
                keytab=str(self.work / "http.keytab"),
                priv_host=plan.SERVER_NAMES[0],
                corp_host=plan.SERVER_NAMES[1],
            ),
            rights=Rights(
                administrators=["Bastide Administrators"],
                auditors=["Bastide Auditors"],
                approvers=["Bastide Approvers"],
            ),
            audit=AuditSettings(file=str(self.work / f"{name}.audit.jsonl")),
            passwords=passwords,
        )
        path = self.work / f"{name}.toml"
        path.write_text(config_file.render(config), encoding="utf-8")
        return path

    def register(self, url: str) -> tuple[SqlStore, Registered]:
        """A database with the PAM users, the group and the role."""
        migrations.upgrade(url)
        store = SqlStore(url)
        people = {name: (self.corp[_corp_name(name)], self.priv[name]) for name in self.names}
        registered = objects.register(store, people, (self.corp[SHARE], self.priv[GROUP]), self.corp[PEOPLE])
        return store, registered

    # ------------------------------------------------------------------------------------------------ timed phases

    def drive(self, phase: str, names: Sequence[str], **order: Any) -> Any:
        """Run one phase of the first part on the server's host, and give its result."""
        message = {
            "phase": phase,
            "accounts": [(name, self.priv[name]["dn"]) for name in names],
            "controller": CONTROLLER,
            "container": self.users,
            "group": self.group,
            **order,
        }
        environment = {"KRB5_CLIENT_KTNAME": f"FILE:{self.keytab}", "KRB5CCNAME": "MEMORY:bench"}
        return self.run_phase("benchmarks.drive", message, env=environment)

    def run_phase(
        self,
        module: str,
        order: Mapping[str, Any],
        *,
        host: str = HOST,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Any:
        """Run one phase in a process of its own on a host, and give its result. Raises RuntimeError with what it said."""
        name = order["phase"]
        result, said = self.work / f"{name}.{host}.json", self.work / f"{name}.{host}.err"
        message = json.dumps({"result": str(result), **order})
        command = [sys.executable, "-m", module]
        with said.open("w") as errors:
            process = self.lab.popen(
                host, command, env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=errors, stderr=errors
            )
        try:
            process.communicate(message, timeout=timeout)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            raise RuntimeError(f"{name}: {said.read_text()[-1500:]}")
        return json.loads(result.read_text())


def _corp_name(name: str) -> str:
    return name.removeprefix("priv.")
