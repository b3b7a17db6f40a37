"""The lab as the directory tests want it: adapters under the delegated accounts, and an administrator to arrange and to look behind them."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from bastide.directory import delegation
from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.entries import Entry, by_guid, child
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import Controllers, SealedConnect, discover
from bastide.directory.preparer import AdPreparer
from bastide.directory.session import Change, Session
from bastide.domain.errors import NoSuchObject
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide_lab.lab import Lab

__all__ = ["DirectoryLab", "NoSuchObject", "Session"]

PRIV, CORP = "priv.bastide.test", "corp.bastide.test"
PRIV_BASE, CORP_BASE = Lab.base_dn("priv"), Lab.base_dn("corp")
USERS = f"OU=Users,OU=PAM Objects,{PRIV_BASE}"
GROUPS = f"OU=Groups,OU=PAM Objects,{PRIV_BASE}"
CORP_GROUPS = f"OU=Groups,{CORP_BASE}"
POLICY = "bastide-test-cap"
CAP = timedelta(seconds=150)
PASSWORD = "Correct-Horse-Battery-1"
#: groupType ([MS-ADTS] 2.2.12) as the signed number on the wire.
DOMAIN_LOCAL, GLOBAL, UNIVERSAL = (kind - (1 << 31) for kind in (4, 2, 8))
#: Where the rights of a forest are given.
HOSTS = {Forest.PRIV: "privdc", Forest.CORP: "corpdc"}
_GIVE = """
import json
import sys
from samba.netcmd.main import samba_tool
for dn, sddl in json.load(sys.stdin):
    if samba_tool("dsacl", "set", f"--objectdn={dn}", f"--sddl={sddl}"):
        sys.exit(f"no rights on {dn}")
"""


@dataclass
class DirectoryLab:
    """Made once per test run, inside the namespace of the server."""

    lab: Lab
    work: Path
    names: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self.closing: list[Controllers] = []
        self.run = f"{os.getpid() % 100000}x{int(time.monotonic()) % 10000}"
        self.admins = {
            forest: self.controllers(forest, "Administrator") for forest in (Forest.PRIV, Forest.CORP)
        }
        self.service_sid = self._sid("svc-bastide")
        self.preparer_sid = self._sid("svc-bastide-prepare")
        corp_groups = tuple(
            delegation.CorpGroup(f"CN={name},{CORP_GROUPS}") for name in ("FileAdmins", "DbAdmins")
        )
        self.plan = delegation.Plan(
            service=delegation.Account(self.service_sid, r"PRIV\svc-bastide"),
            preparer=delegation.Account(self.preparer_sid, r"PRIV\svc-bastide-prepare"),
            priv_base=PRIV_BASE,
            corp_base=CORP_BASE,
            users=USERS,
            groups=(GROUPS,),
            corp_groups=corp_groups,
            policy=POLICY,
            cap=CAP,
        )
        self._prepare_rights()
        self._add_policy()
        self.priv = ActiveDirectory(Forest.PRIV, self.controllers(Forest.PRIV, "svc-bastide"))
        self.corp = ActiveDirectory(Forest.CORP, self.controllers(Forest.CORP, "svc-bastide", realm="priv"))
        self.preparer = AdPreparer(self.controllers(Forest.PRIV, "svc-bastide-prepare"))

    def close(self) -> None:
        for controllers in self.closing:
            controllers.close()

    def identity(self, account: str, realm: str) -> Identity:
        path = self.work / f"{realm}-{account}.keytab"
        if not path.exists():
            self.lab.keytab(realm, [account], path)
        return Identity(f"{account}@{self.lab.realm(realm)}", path)

    def controllers(self, forest: Forest, account: str, *, realm: str = "") -> Controllers:
        """Connections to the forest's domain as that account; `realm`: where the account is, if it is another forest."""
        connect = SealedConnect(self.identity(account, realm or forest.value), self.now)
        domain = PRIV if forest is Forest.PRIV else CORP
        made = Controllers(domain, discover(domain), connect, time.monotonic)
        self.closing.append(made)
        return made

    def new_name(self, prefix: str) -> str:
        return f"{prefix}{self.run}{next(self.names)}"

    def admin_add(
        self, forest: Forest, dn: str, values: Mapping[str, Sequence[bytes]], *, settle: bool = True
    ) -> Entry:
        """Make an object as the domain's administrator, and wait until every controller has it."""

        def make(session: Session) -> Entry:
            session.add(dn, values)
            return session.must_read(dn, ["*"])

        made = self.admins[forest].on_any("arrange", make, repeat=False)
        if settle:
            self.settle(forest, by_guid(made.guid()))
        return made

    def admin_modify(self, forest: Forest, dn: str, changes: Sequence[Change]) -> None:
        self.admins[forest].on_any("arrange", lambda session: session.modify(dn, changes))

    def admin_read(self, forest: Forest, dn: str, *attributes: str) -> Entry:
        return self.admins[forest].on_any("look", lambda session: session.must_read(dn, attributes or ["*"]))

    @contextmanager
    def late(self) -> Iterator[None]:
        """The two controllers of PRIV hear nothing of each other; afterwards they have heard of it."""
        self.lab.cut("privdc", "privdc2")
        self.lab.cut("privdc2", "privdc")
        try:
            yield
        finally:
            self.lab.mend("privdc")
            self.lab.mend("privdc2")
        self.add_user(Forest.PRIV, self.new_name("again"))

    def admin_on(self, controller: int, action: Callable[[Session], object]) -> None:
        """As PRIV's administrator on one of its controllers; 0: the one that is asked first."""
        admins = self.admins[Forest.PRIV]
        admins.on(admins.names()[controller], action)

    def settle(self, forest: Forest, dn: str) -> None:
        """Wait until the object is on every controller."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answers = self.admins[forest].on_each(lambda session: session.read(dn, ["cn"]))
            if all(isinstance(answer, Entry) for answer in answers.values()):
                return
            time.sleep(0.1)
        raise TimeoutError(f"{dn} did not replicate: {answers}")

    def add_group(
        self, forest: Forest, name: str, *, cn: str = "", kind: int = GLOBAL, container: str = ""
    ) -> ObjectRef:
        where = container or (GROUPS if forest is Forest.PRIV else CORP_GROUPS)
        values = {
            "objectClass": [b"group"],
            "sAMAccountName": [name.encode()],
            "groupType": [str(kind).encode()],
        }
        return self.admin_add(forest, child(cn or name, where), values).ref()

    def add_user(
        self,
        forest: Forest,
        name: str,
        *,
        cn: str = "",
        upn: str = "",
        display_name: str = "",
        container: str = "",
        enabled: bool = True,
        settle: bool = True,
    ) -> ObjectRef:
        where = container or (USERS if forest is Forest.PRIV else f"CN=Users,{CORP_BASE}")
        values = {
            "objectClass": [b"user"],
            "sAMAccountName": [name.encode()],
            "userAccountControl": [b"544" if enabled else b"546"],
        }
        values |= {"userPrincipalName": [upn.encode()]} if upn else {}
        values |= {"displayName": [display_name.encode()]} if display_name else {}
        return self.admin_add(forest, child(cn or name, where), values, settle=settle).ref()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def _sid(self, account: str) -> Sid:
        found = self.admins[Forest.PRIV].on_any(
            "look", lambda session: session.search(PRIV_BASE, f"(sAMAccountName={account})", ["objectSid"])
        )
        return found[0].sid()

    def delegate(self) -> None:
        """What docs tell an administrator to do: the scripts as they are generated, on one controller of each forest."""
        for forest, host in HOSTS.items():
            script = self.work / f"delegate-{forest.value}.sh"
            script.write_text(delegation.samba_script(self.plan, forest))
            done = self.lab.exec(host, ["sh", script], timeout=120)
            if done.returncode != 0:
                raise RuntimeError(done.stdout + done.stderr)

    def _prepare_rights(self) -> None:
        """What those scripts do, in one process of samba-tool for each forest: nineteen starts of it are half a minute of every lab."""
        with ThreadPoolExecutor(len(HOSTS)) as pool:
            for done in pool.map(self._give_rights, HOSTS):
                if done.returncode != 0:
                    raise RuntimeError(done.stdout + done.stderr)

    def _give_rights(self, forest: Forest) -> subprocess.CompletedProcess[str]:
        wanted = json.dumps([(right.dn, right.sddl) for right in delegation.rights(self.plan, forest)])
        command = ["/usr/bin/python3", "-I", "-c", _GIVE]
        return self.lab.exec(HOSTS[forest], command, input=wanted, timeout=120)

    def _add_policy(self) -> None:
        """As an Enterprise Admin adds it."""
        ldif = delegation.policy_ldif(self.plan)
        self.lab.kinit("client", r"priv\Administrator").check_returncode()
        added = self.lab.exec(
            "client",
            ["ldapmodify", "-N", "-Q", "-Y", "GSSAPI", "-H", f"ldap://privdc.{PRIV}"],
            input=ldif,
        )
        if added.returncode not in {0, 68}:  # 68: an earlier run added it
            raise RuntimeError(added.stdout + added.stderr)
