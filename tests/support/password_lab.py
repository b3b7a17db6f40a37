"""Password synchronization as a whole, as the documents tell an operator to set it up: two source domains, agents on their controllers, one server
with its API, five connected systems. Everything is done with the commands of the product.

CORP is the source for all five systems, PRIV for OpenLDAP alone; PRIV is a target of CORP too. Passwords that people get here are planted: they have
one distinctive beginning, by which `canary.py` finds them wherever they should not be.
"""

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ldap

from bastide_lab import plan
from bastide_lab.lab import Lab
from tests.support.agent_lab import AgentOnDc
from tests.support.canary import Watch, beginnings, hashes, in_files
from tests.support.password_node import BASTIDE, CORP_DNS, PRIV_DNS, Node, until
from tests.support.password_systems import EVERYWHERE, LDAP, PRIV, RECORDER, PrivSystem, make_systems

EXCLUDED = "NotSynchronized"
#: As `corp` is imported: it makes the people.
_CORP_AGENT = """
name = "corp"
connector = "active-directory"
project = "person"
flows = ["employeeID -> employeeNumber 100"]
filters = ["employeeID absent"]
[settings]
domain = "{corp}"
principal = "svc-bastide@{realm}"
keytab = "{work}/bastide.keytab"
[source]
domain = "{corp}"
targets = {targets}
daily_limit = 500
"""


@dataclass(slots=True)
class Person:
    """Somebody with an account in one of the domains and in some systems. `old`: passwords of before, the oldest first."""

    name: str
    number: str
    forest: str
    dn: str
    systems: tuple[str, ...]
    password: str = field(repr=False)
    old: list[str] = field(default_factory=list, repr=False)


class PasswordLab:
    """The scene. Made once; the thread that uses it is in the namespace of the server."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.work = lab.root / "passwords"
        self.server = self.work / "server"
        self.mark = f"Cnry{secrets.token_hex(4)}"
        self.planted: list[str] = []
        self.began = time.time()
        self.people: dict[str, Person] = {}
        self.nodes: list[Node] = []
        self.agents: dict[str, AgentOnDc] = {}
        self.systems: dict[str, Any] = {}
        self.watch = Watch(beginnings(self.mark), more=(str(self.work / "recorder").encode(),))

    def build(self) -> None:
        """All of it, in the order of docs/operations/install.md and docs/how-to/."""
        for folder in (self.work, self.server, self.server / "database", self.server / "vault"):
            folder.mkdir(mode=0o755 if folder is self.work else 0o700)
        self.dave, self.frank = (self._ticket(rf"priv\{name}") for name in ("adm.dave", "aud.frank"))
        self._keys()
        with ThreadPoolExecutor() as pool:  # the controllers start again, and the databases make themselves
            capturing = [pool.submit(self._capture, host) for host in ("corpdc", "privdc", "privdc2")]
            starting = pool.submit(make_systems, self.lab, self.work)
            self.node = self.new_node("first")
            self.node.host("db", "upgrade")
            for one in capturing:
                one.result()
            self.systems = starting.result()
        self.systems[PRIV] = PrivSystem(self.lab, self.work)
        self.watch.start()
        self.at_once(partial(self._configure, "corp", "corpdc"), partial(self._configure, "priv", "privdc"))
        self.agents = {
            host: AgentOnDc(self.lab, host, self.work / host) for host in ("corpdc", "privdc", "privdc2")
        }
        self._people()
        self.node.start()
        self._agents()
        self.cli("passwords", "enable")
        self._begin()

    def close(self) -> None:
        """Everything of ours ends in order; the lab stays, and so does what was written."""
        for agent in self.agents.values():
            agent.stop()
        for node in self.nodes:
            node.close()
        self.watch.stop()

    def new_node(self, name: str, port: int = 8443, pcns: int = 8446) -> Node:
        """Another server on the same database and vault, with the same keys."""
        made = Node(self.lab, self.server, name, port, pcns)
        self.nodes.append(made)
        return made

    def restore(self) -> None:
        """Everything runs again that a test has stopped, and nothing else, so that one that fails does not take the others with it."""
        for node in self.nodes:
            node.end_others()
        for host in ("corpdc", "targets"):
            self.lab.mend(host)
        self.lab.start_dc("corpdc")
        self.lab.start_target("slapd")
        if not self.node.is_running():
            self.node.start()
        for host in ("corpdc", "privdc"):
            if not self.agents[host].is_running():
                self.agents[host].start()

    # ------------------------------------------------------------------------------------------------------------ set up

    def _keys(self) -> None:
        keytabs = {
            "bastide.keytab": [("priv", "svc-bastide")],
            "http.keytab": [("priv", f"HTTP/bastide.{PRIV_DNS}"), ("corp", f"HTTP/bastide.{CORP_DNS}")],
            "pcns.keytab": [
                ("priv", f"PCNSCLNT/bastide.{PRIV_DNS}"),
                ("corp", f"PCNSCLNT/bastide.{CORP_DNS}"),
            ],
        }
        for file, principals in keytabs.items():
            for forest, principal in principals:
                self.lab.keytab(forest, [principal], self.server / file)
        command: list[str | Path] = ["keys", "generate", "--openpgp", "--to", self.server / "keys"]
        done = self.lab.exec("bastide", [*BASTIDE, *command])
        assert done.returncode == 0, done.stdout + done.stderr

    def _capture(self, host: str) -> None:
        """docs/how-to/install-the-agent.md, step 1, on every controller."""
        certificate = (self.server / "keys" / "openpgp.pgp").read_bytes()
        self.lab.enable_capture(certificate, hosts=(host,))

    def _ticket(self, name: str) -> Path:
        cache: Path = self.server / f"{name.replace(chr(92), '-')}.ccache"
        self.lab.kinit("bastide", name, ccache=cache).check_returncode()
        return cache

    def _configure(self, forest: str, controller: str) -> None:
        """As a domain administrator, who is told to look at the settings of one controller."""
        self._ticket(rf"{forest}\Administrator")
        domain = plan.realm(forest).dns
        server = f"bastide.{domain}"
        self.tool(controller, "group", "add", EXCLUDED)
        self.domain_cli(forest, "extend-schema", "--yes")
        self.domain_cli(forest, "service", "--retry-interval", "10s")
        self.domain_cli(
            forest, "target", "add", "Bastide", "--server-address", server, "--spn", f"PCNSCLNT/{server}",
            "--include", "Domain Users", "--exclude", EXCLUDED,
        )  # fmt: skip

    def domain_cli(self, forest: str, *command: str) -> str:
        """`bastide pcns`, by an administrator of the domain, on its first controller."""
        domain = plan.realm(forest).dns
        where = ("--domain", domain, "--controller", f"{forest}dc.{domain}")
        return self._cli(self.server / f"{forest}-Administrator.ccache", "pcns", *command, *where)

    def _people(self) -> None:
        """Accounts everywhere, with passwords that nobody tells of: there is no agent yet."""
        for number in range(1, 9):
            self.add_person(f"p{number}", str(1000 + number), "corp", EVERYWHERE)
        self.add_person("chief", "1100", "corp", EVERYWHERE, groups=(EXCLUDED,))
        self.add_person("ghost", "1101", "corp", EVERYWHERE)
        for number in range(1, 4):
            self.add_person(f"q{number}", str(2000 + number), "priv", (LDAP,))

    def add_person(
        self, name: str, number: str, forest: str, systems: Collection[str], groups: Collection[str] = ()
    ) -> Person:
        realm = plan.realm(forest)
        unit = f"CN=Users,{realm.base_dn}" if forest == "corp" else self.systems[PRIV].samba.unit
        person = Person(name, number, forest, f"CN={name},{unit}", tuple(systems), self.new_password())
        raw = self.administrator(forest)
        values = {
            "objectClass": "user", "sAMAccountName": name, "userPrincipalName": f"{name}@{realm.dns}",
            "employeeID": number, "userAccountControl": "544",
        }  # fmt: skip
        raw.add_s(person.dn, [(key, [value.encode()]) for key, value in values.items()])
        password = (ldap.MOD_REPLACE, "unicodePwd", [quoted(person.password)])
        raw.modify_s(person.dn, [password, (ldap.MOD_REPLACE, "userAccountControl", [b"512"])])
        for group in groups:
            raw.modify_s(
                f"CN={group},CN=Users,{realm.base_dn}", [(ldap.MOD_ADD, "member", [person.dn.encode()])]
            )
        raw.unbind_s()
        for system in systems:
            self.systems[system].add(name, number)
        self.people[name] = person
        return person

    def _agents(self) -> None:
        """docs/how-to/management-agents.md. Targets first: a source names them."""
        self.at_once(
            *(
                partial(self._add_agent, name, one.document(), one.secret)
                for name, one in self.systems.items()
            )
        )
        corp = _CORP_AGENT.format(
            corp=CORP_DNS,
            realm=self.lab.realm("priv"),
            work=self.server,
            targets=json.dumps(list(EVERYWHERE)),
        )
        self._add_agent("corp", corp, "")
        priv = (
            f"source.domain={json.dumps(PRIV_DNS)}",
            f"source.targets={json.dumps([LDAP])}",
            "source.daily_limit=500",
        )
        self.cli("ma", "edit", PRIV, *(part for one in priv for part in ("--set", one)), "--yes")
        self.cli("ma", "import", "corp")
        self.at_once(*(partial(self.cli, "ma", "import", name) for name in EVERYWHERE))
        targets = [partial(self.cli, "ma", "enable", name, "--target") for name in EVERYWHERE]
        self.at_once(
            *targets, *(partial(self.cli, "ma", "enable", name, "--source") for name in ("corp", PRIV))
        )

    def at_once(self, *steps: Callable[[], object]) -> None:
        """Steps that do not need each other: they wait more than they work."""
        with ThreadPoolExecutor(3) as pool:
            for one in [pool.submit(step) for step in steps]:
                one.result()

    def _add_agent(self, name: str, document: str, secret: str) -> None:
        file, hidden = self.server / f"{name}.toml", self.server / f"{name}.secret"
        file.write_text(document)
        more: list[str | Path] = []
        if secret:
            hidden.touch(0o600)
            hidden.write_text(secret + "\n")
            more = ["--secret-file", hidden]
        self.cli("ma", "add", file, *more)

    def _begin(self) -> None:
        """Agents run on CORP's controller and on the first of PRIV."""
        for host in ("corpdc", "privdc"):
            self.agents[host].start()

    # ------------------------------------------------------------------------------------------------------------ people

    def new_password(self) -> str:
        """Planted: by the beginning it is found, by the rest it is one of a kind."""
        made = f"{self.mark}-{secrets.token_hex(6)}-ü€"
        self.planted.append(made)
        return made

    def changed(self, person: Person, password: str) -> None:
        """Remember that this one counts now."""
        person.old.append(person.password)
        person.password = password

    def kpasswd(self, person: Person, password: str) -> "subprocess.CompletedProcess[str]":
        """MIT's client, as the person does it."""
        words = f"{person.password}\n{password}\n{password}\n"
        principal = f"{person.name}@{self.lab.realm(person.forest)}"
        done = self.lab.exec("client", ["setsid", "-w", "kpasswd", principal], input=words)
        if done.returncode == 0:
            self.changed(person, password)
        return done

    def change_by_ldap(self, person: Person, password: str) -> None:
        """The person's own bind over LDAPS, with the old password."""
        raw = self.ldaps("corpdc", f"{person.name}@{CORP_DNS}", person.password)
        raw.modify_s(
            person.dn,
            [
                (ldap.MOD_DELETE, "unicodePwd", [quoted(person.password)]),
                (ldap.MOD_ADD, "unicodePwd", [quoted(password)]),
            ],
        )
        raw.unbind_s()
        self.changed(person, password)

    def reset_by_ldap(self, person: Person, password: str) -> None:
        """An administrator's set."""
        raw = self.administrator(person.forest)
        raw.modify_s(person.dn, [(ldap.MOD_REPLACE, "unicodePwd", [quoted(password)])])
        raw.unbind_s()
        self.changed(person, password)

    def reset_by_tool(self, person: Person, password: str, *options: str, host: str = "corpdc") -> None:
        """samba-tool as root of a controller."""
        self.tool(host, "user", "setpassword", person.name, *options, stdin=f"{password}\n{password}\n")
        self.changed(person, password)

    def tool(self, host: str, *arguments: str, stdin: str = "") -> str:
        """samba-tool; passwords on standard input. Without a terminal, or it would ask that."""
        done = self.lab.exec(host, ["setsid", "-w", "samba-tool", *arguments], input=stdin)
        assert done.returncode == 0, f"samba-tool {arguments[:3]}: {done.stdout}{done.stderr}"
        return done.stdout

    def administrator(self, forest: str) -> Any:
        """Over LDAPS, on the forest's first controller."""
        name = f"Administrator@{plan.realm(forest).dns}"
        return self.ldaps(f"{forest}dc", name, self.lab.password(rf"{forest}\Administrator"))

    def ldaps(self, host: str, name: str, password: str) -> Any:
        raw = ldap.initialize(f"ldaps://{self.lab.fqdn(host)}")
        raw.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self.lab.ca))
        raw.set_option(ldap.OPT_NETWORK_TIMEOUT, 10)
        raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        raw.simple_bind_s(name, password)
        return raw

    # ----------------------------------------------------------------------------------------------------------- looking

    def arrives(self, person: Person, systems: Collection[str] | None = None) -> dict[str, float]:
        """Until every system lets the person in with the newest password; the seconds that each took."""
        began = time.perf_counter()
        waiting = list(person.systems if systems is None else systems)
        took: dict[str, float] = {}

        def look() -> bool:
            for name in list(waiting):
                if self.systems[name].accepts(person.name, person.password):
                    took[name] = time.perf_counter() - began
                    waiting.remove(name)
            return not waiting

        until(
            look,
            lambda: f"{person.name} waits for {waiting}\n{self.explain(person)}\n{self._ends()}",
        )
        return took

    def _ends(self) -> str:
        """What agents and server said last."""
        logs = [self.node.log, *(agent.log for agent in self.agents.values())]
        return "\n".join(f"{log}:\n{log.read_text()[-4000:]}" for log in logs if log.exists())

    def repeated(self, person: Person) -> int:
        """How often the recorder was written to with what it had already. Fails if an older password ever came after a newer one."""
        recorder = self.systems[RECORDER]
        known = {recorder.digest(one): number for number, one in enumerate([*person.old, person.password])}
        order = [known[digest] for digest in recorder.writes(person.name)]
        assert order == sorted(order), f"{person.name}: {order}"
        return len(order) - len(set(order))

    def traces(self) -> dict[Path, list[str]]:
        """Where a planted password is in a file of ours, in whatever form: databases, vault, logs, settings, queues and places of the agents, backups."""
        return in_files([self.work], {**beginnings(self.mark), **hashes(self.planted)})

    def explain(self, person: Person) -> str:
        return self.cli("passwords", "explain", person.name)

    def history(self, person: Person) -> list[dict[str, Any]]:
        """Notifications of the person as the server shows them, the newest first."""
        found = json.loads(self.cli("passwords", "history", "list", "--user", person.name, "--json"))
        return list(found["items"] if isinstance(found, dict) else found)

    def waiting(self) -> int:
        return int(json.loads(self.cli("passwords", "status", "--json"))["waiting"])

    # --------------------------------------------------------------------------------------------------------- commands

    def cli(self, *command: str | Path, node: Node | None = None, code: int = 0) -> str:
        """A command of dave, who administers Bastide, with his ticket."""
        return self._cli(self.dave, *command, node=node, code=code)

    def auditor_cli(self, *command: str | Path) -> str:
        """A command of frank, who audits it."""
        return self._cli(self.frank, *command)

    def _cli(self, cache: Path, *command: str | Path, node: Node | None = None, code: int = 0) -> str:
        env = {
            "KRB5CCNAME": f"FILE:{cache}",
            "BASTIDE_SERVER": (node or self.node).url if hasattr(self, "node") else "",
            "BASTIDE_CA": str(self.lab.ca),
        }
        done = self.lab.exec("bastide", [*BASTIDE, *command], env=env)
        assert done.returncode == code, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def cut(self, host: str) -> Iterator[None]:
        """Its network cable is out."""
        self.lab.cut(host)
        try:
            yield
        finally:
            self.lab.mend(host)


def quoted(password: str) -> bytes:
    return f'"{password}"'.encode("utf-16-le")
