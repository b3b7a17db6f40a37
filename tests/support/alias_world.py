"""What the contract tests of the cluster alias stand on: the twin in memory and PRIV on Samba, arranged by the same few verbs.

Three people: the administrator; `maker`, who may make computer objects in the clusters' OU and nothing else; `nobody`, who has no right at all.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bastide.directory.alias import AdAliasDirectory
from bastide.directory.alias_keys import GssProof, KeytabFile
from bastide.directory.ldap import SealedConnect
from bastide.directory.memory_alias import MemoryAliasDirectory, MemoryKeyFile, MemoryProof
from bastide.directory.session import REPLACE
from bastide.domain.cluster import Alias
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.cluster.ports import AliasDirectory, Caller, KeyFile, TicketProof
from tests.support.directory_lab import PRIV, PRIV_BASE, DirectoryLab
from tests.support.patience import PATIENCE

ADMINISTRATOR, MAKER, NOBODY = "Administrator", "maker", "nobody"
#: schemaIDGUID of the class computer ([MS-ADSC] 2.21).
COMPUTER = "bf967a86-0de6-11d0-a285-00aa003049e2"
_names = itertools.count(1)
_START = datetime(2026, 3, 1, 9, tzinfo=UTC)


def soon(fact: Callable[[], bool]) -> None:
    """Another controller may sell the ticket, and learn of the key a little later."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)


class AliasWorld(Protocol):
    """A domain with an OU for clusters."""

    ou: str

    def directory(self, who: str = ADMINISTRATOR) -> AliasDirectory: ...
    def proof(self, who: str = ADMINISTRATOR) -> TicketProof: ...
    def key_file(self) -> KeyFile: ...
    def new_alias(self) -> Alias: ...
    def other_holds(self, spn: str) -> str:
        """Another account gets this service principal name. Its DN."""


class MemoryAliasWorld:
    """One state, seen by three people."""

    ou = f"OU=Clusters,{PRIV_BASE}"

    def __init__(self) -> None:
        rights = {ADMINISTRATOR: True, MAKER: True, NOBODY: False}
        self._seen = {
            who: MemoryAliasDirectory(
                PRIV, lambda: _START, {self.ou: (True, makes)}, me=Caller(f"S-1-5-21-1-2-3-{number}", who)
            )
            for number, (who, makes) in enumerate(rights.items(), 500)
        }
        admin = self._seen[ADMINISTRATOR]
        for one in self._seen.values():
            one.accounts, one.passwords, one.others = admin.accounts, admin.passwords, admin.others

    def directory(self, who: str = ADMINISTRATOR) -> MemoryAliasDirectory:
        return self._seen[who]

    def proof(self, who: str = ADMINISTRATOR) -> MemoryProof:
        return MemoryProof(self._seen[who])

    def key_file(self) -> MemoryKeyFile:
        return MemoryKeyFile()

    def new_alias(self) -> Alias:
        return Alias.parse(f"web{next(_names)}", PRIV)

    def other_holds(self, spn: str) -> str:
        dn = f"CN=other,CN=Users,{PRIV_BASE}"
        self._seen[ADMINISTRATOR].others[spn] = (dn,)
        return dn


class SambaAliasWorld:
    """PRIV, with two controllers."""

    def __init__(self, forests: DirectoryLab) -> None:
        self.forests = forests
        self.lab = forests.lab
        self.run = f"{os.getpid() % 1000}{int(time.monotonic()) % 1000}"
        self.ou = self.new_ou()
        self.people = {ADMINISTRATOR: ADMINISTRATOR}
        self.sids: dict[str, Sid] = {}
        self._open: dict[str, AdAliasDirectory] = {}
        for who in (MAKER, NOBODY):
            name = f"hc-{who}-{self.run}"
            made = forests.add_user(Forest.PRIV, name, container=f"CN=Users,{PRIV_BASE}", enabled=False)
            quoted = f'"Correct-Horse-{self.run}-Battery"'.encode("utf-16-le")
            forests.admin_modify(Forest.PRIV, made.dn, [(REPLACE, "unicodePwd", [quoted])])
            forests.admin_modify(Forest.PRIV, made.dn, [(REPLACE, "userAccountControl", [b"512"])])
            self.people[who], self.sids[who] = name, made.sid
        self.allow(self.ou, f"(OA;CI;CC;{COMPUTER};;{self.sids[MAKER]})")

    def new_ou(self) -> str:
        dn = f"OU=Clusters{self.run}x{next(_names)},{PRIV_BASE}"
        self.forests.admin_add(Forest.PRIV, dn, {"objectClass": [b"organizationalUnit"]})
        return dn

    def allow(self, dn: str, sddl: str) -> None:
        """Add entries to the permissions, and wait until the second controller has them too."""
        done = self.lab.exec("privdc", ["samba-tool", "dsacl", "set", f"--objectdn={dn}", f"--sddl={sddl}"])
        assert done.returncode == 0, done.stderr

    def close(self, dn: str) -> None:
        """Nobody but administrators may read its properties: what a hardened domain does."""
        everybody = "(A;;RPLCLORC;;;AU)"
        done = self.lab.exec(
            "privdc", ["samba-tool", "dsacl", "delete", f"--objectdn={dn}", f"--sddl={everybody}"]
        )
        assert done.returncode == 0, done.stderr

    def do(self, remedy: str) -> None:
        """The command of a remedy for Samba, on the controller, as it is."""
        command = next(one for one in remedy.split("`") if one.startswith("samba-tool"))
        done = self.lab.exec("privdc", ["sh", "-c", command])
        assert done.returncode == 0, done.stderr

    def directory(self, who: str = ADMINISTRATOR) -> AdAliasDirectory:
        if who not in self._open:
            account = self.people[who]
            controllers = self.forests.controllers(Forest.PRIV, account)
            connect = SealedConnect(self.forests.identity(account, "priv"), self.forests.now)
            self._open[who] = AdAliasDirectory(controllers, self.lab.fqdn("privdc"), connect)
        return self._open[who]

    def proof(self, who: str = ADMINISTRATOR) -> GssProof:
        return GssProof(self.forests.identity(self.people[who], "priv"))

    def key_file(self) -> KeytabFile:
        return KeytabFile(self.forests.work / f"alias-{self.run}-{next(_names)}.keytab")

    def new_alias(self) -> Alias:
        return Alias.parse(f"w{self.run}x{next(_names)}", PRIV)

    def other_holds(self, spn: str) -> str:
        made = self.forests.add_user(
            Forest.PRIV, self.forests.new_name("spn."), container=f"CN=Users,{PRIV_BASE}"
        )
        self.forests.admin_modify(Forest.PRIV, made.dn, [(REPLACE, "servicePrincipalName", [spn.encode()])])
        return made.dn

    # ------------------------------------------------------------------------------------------- Samba alone

    def pre_stage(
        self, alias: Alias, *, enabled: bool = False, by: str = ADMINISTRATOR, creator: Sid | None = None
    ) -> str:
        """A computer account as `New-ADComputer -Enabled $false` makes it. `creator`: who made it on the quota."""
        dn = f"CN={alias.name},{self.ou}"
        values = {
            "objectClass": [b"computer"],
            "sAMAccountName": [alias.account.encode()],
            "userAccountControl": [b"4096" if enabled else b"4098"],
        } | ({"mS-DS-CreatorSID": [creator.to_bytes()]} if creator else {})
        if by == ADMINISTRATOR:
            self.forests.admin_add(Forest.PRIV, dn, values)
        else:
            self.forests.controllers(Forest.PRIV, self.people[by]).on(
                self.lab.fqdn("privdc"), lambda session: session.add(dn, values), repeat=False
            )
        return dn

    def publish(self, alias: Alias, *, cname: str = "") -> None:
        """The alias has the address of the server's host, or is another name for a name."""
        server, zone = self.lab.fqdn("privdc"), alias.domain
        what = ["CNAME", cname] if cname else ["A", self.lab.address("bastide")]
        done = self.lab.exec("privdc", ["samba-tool", "dns", "add", server, zone, alias.name, *what, "-P"])
        assert done.returncode == 0, done.stderr

    def run_command(self, who: str, *words: str, wanted: int) -> str:
        """`bastide cluster` on the server's host, with that person's ticket (nobody's: none). What it prints."""
        env = {"KRB5CCNAME": self.ticket(who) if who else "FILE:/nowhere", "HOME": "/nowhere"}
        command = [sys.executable, "-m", "bastide.cli.main", "cluster", *words]
        nowhere = ("--config", "/nowhere/bastide.toml", "--controller", self.lab.fqdn("privdc"))
        done = self.lab.exec("bastide", [*command, *nowhere], env=env, timeout=120)
        assert done.returncode == wanted, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ticket(self, who: str) -> str:
        """A cache with a fresh ticket."""
        account = self.people[who]
        cache = f"FILE:{self.forests.work / account}.cc"
        keytab = self.forests.identity(account, "priv").keytab
        command = ["kinit", "-k", "-t", str(keytab), f"{account}@{self.lab.realm('priv')}"]
        self.lab.exec("bastide", command, env={"KRB5CCNAME": cache}, check=True)
        return cache

    def set_quota(self, limit: int) -> None:
        self.forests.admin_modify(
            Forest.PRIV, PRIV_BASE, [(REPLACE, "ms-DS-MachineAccountQuota", [str(limit).encode()])]
        )

    def make_on_quota(self, who: str, name: str) -> str:
        """As a person without rights does: [MS-SAMR] 3.1.5.4.4. Empty: done; else the controller's refusal."""
        account, realm = self.people[who], self.lab.realm("priv")
        order = json.dumps({"server": self.lab.fqdn("privdc"), "name": name, "realm": realm, "user": account})
        env = {"KRB5CCNAME": self.ticket(who)}
        script = Path(__file__).with_name("samr_computer.py")
        done = self.lab.exec("bastide", ["/usr/bin/python3", str(script)], input=order, env=env)
        return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
