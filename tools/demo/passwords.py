"""Act two: bob changes his password in CORP once, with kpasswd, and signs in with it to OpenLDAP, PostgreSQL and MariaDB.

Everything that sets Bastide up is done with the commands that an operator types; they are printed. Nobody sees a password but bob and the server: the
controller holds what only the server can open. At the end that is looked for, in every file of the lab.
"""

import json
import pwd
from pathlib import Path
from typing import Any

from bastide_lab import network, plan
from tools.demo import systems
from tools.demo.search import search, shapes
from tools.demo.stage import CORP, PATIENCE, PYTHON, DemoError, Stage, wait
from tools.demo.systems import TITLES, System, fresh

#: The agent runs as a user without rights; on a machine of one's own it gets one to itself (docs/how-to/install-the-agent.md).
AGENT_USER = "nobody"
AGENT = [PYTHON, "-m", "bastide_agent.main"]
#: A change in the agent's queue, in bytes: its OpenPGP message alone is longer. It stays there, encrypted, until the file is written anew.
SEALED_LEAST = 200
SETTINGS = """\
user = "{user}"
state = "{folder}/state"
runtime = "{folder}/run"
[samba]
private = "{private}"
configuration = "{configuration}"
gnupg = "{gnupg}"
"""


class Passwords:
    """The scenes of the act."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.lab = stage.lab
        self.systems: dict[str, System] = {}
        self.new = fresh()

    @property
    def agent_folder(self) -> Path:
        """Its user must be able to reach it, as it cannot what lies in the demo's own folder."""
        return self.lab.root / "agent"

    # ----------------------------------------------------------------------------------------------------------- scenes

    def systems_up(self) -> str:
        self.systems = systems.start(self.stage)
        names = [f"{system.title} as {system.login}" for system in self.systems.values()]
        return f"{', '.join(names)}; each with a password of its own"

    def encrypt(self) -> str:
        certificate = self.stage.work / "openpgp" / "openpgp.pgp"
        fingerprints = self.lab.enable_capture(certificate.read_bytes())
        return (
            f"$ gpg --import openpgp.pgp\nsmb.conf: password hash gpg key ids = {' '.join(fingerprints)}\n"
            "the private key stays on the server: a controller can encrypt, and open nothing"
        )

    def configure(self) -> str:
        self.lab.kinit(
            "client", r"corp\Administrator", ccache=self.stage.cache("corp-admin")
        ).check_returncode()
        server = f"bastide.{CORP}"
        shown = [
            self.pcns("extend-schema", "--yes"),
            self.pcns("service", "--max-age", "72h", "--retry-interval", "10s"),
            self.pcns(
                "target", "add", "bastide", "--server-address", server, "--spn", f"PCNSCLNT/{server}",
                "--include", "Domain Users", "--exclude", "Domain Admins",
            ),
        ]  # fmt: skip
        return "\n".join([*shown, "told are Domain Users; administrators' passwords stay where they are"])

    def start_agent(self) -> str:
        account = pwd.getpwnam(AGENT_USER)
        self.agent_folder.mkdir(mode=0o755)
        site, dc = self.lab.site, plan.CORPDC
        self.agent_settings.write_text(
            SETTINGS.format(
                user=AGENT_USER, folder=self.agent_folder, private=site.data(dc) / "private",
                configuration=site.smb_conf(dc), gnupg=site.gnupg(dc),
            )
        )  # fmt: skip
        checked = self.stage.on("corpdc", self.agent("check"))
        self.stage.spawn("corpdc", self.agent("run"), "agent.log")
        if not wait(lambda: bool(self.agent_status()["connected"]), PATIENCE):
            raise DemoError(f"the agent does not reach the server: {self.agent_log()}")
        good = [line.removeprefix("ok").strip() for line in checked.splitlines() if line.startswith("ok")]
        return "\n".join(
            ["$ bastide-agent check", *good, f"$ bastide-agent run   (user id {account.pw_uid})"]
        )

    def add_agents(self) -> str:
        shown = []
        for system in self.systems.values():
            (self.stage.work / f"{system.name}.toml").write_text(system.document(self.lab.ca))
            secret = systems.secret_file(self.stage, system)
            shown.append(
                self.dave("ma", "add", self.stage.work / f"{system.name}.toml", "--secret-file", secret)[0]
            )
        (self.stage.work / "corp.toml").write_text(systems.source_document(self.stage))
        shown.append(self.dave("ma", "add", self.stage.work / "corp.toml")[0])
        return "\n".join(shown)

    def import_all(self) -> str:
        lines: list[str] = []
        for name in ("corp", *TITLES):
            shown, said = self.dave("ma", "import", name)
            lines += [shown, *said.splitlines()]
        return "\n".join(lines)

    def explain_join(self) -> str:
        """All three must be joined; one is shown."""
        joined = {system.name: self._person(system) for system in self.systems.values()}
        if not all(joined.values()) or len(set(joined.values())) > 1:
            raise DemoError(f"joined with: {joined}")
        shown, said = self.dave("join", "explain", self.systems["postgresql"].login, "--agent", "postgresql")
        return f"{shown}\n{said[said.index('join rule 1:') :].strip()}"

    def _person(self, system: System) -> str:
        """The id of the person that bob's account there belongs to; empty: nobody."""
        said = json.loads(self.dave("join", "explain", system.login, "--agent", system.name, "--json")[1])
        return str(said["object"]["person"] or "")

    def enable(self) -> str:
        shown = [self.dave("ma", "enable", name, "--target")[0] for name in TITLES]
        shown.append(self.dave("ma", "enable", "corp", "--source")[0])
        shown.append(self.dave("passwords", "enable")[0])
        return "\n".join(shown)

    def change(self) -> str:
        """The program signs in with the passwords of before, first: what is said to be new was not there."""
        order = {
            "principal": self.lab.principal(r"corp\bob"),
            "old": self.lab.password(r"corp\bob"),
            "new": self.new,
            "systems": {name: system.sign_in(self.lab.ca) for name, system in self.systems.items()},
        }
        program = [PYTHON, str(Path(__file__).with_name("person.py"))]
        done = json.loads(self.stage.on("client", program, stdin=json.dumps(order), timeout=3 * PATIENCE))
        lines = [f"$ kpasswd {order['principal']}", f"it took {done['kpasswd']:.0f} ms; since it returned:"]
        late = [name for name, took in done["took"].items() if took is None]
        if late or any(done["old_opens"].values()):
            raise DemoError(f"{done}\n{self.dave('passwords', 'explain', 'bob')[1]}")
        for name, took in sorted(done["took"].items(), key=lambda item: item[1]):
            lines.append(
                f"{took:6.0f} ms  {TITLES[name]:10} lets {self.systems[name].login} in with the new password, and refuses the old one"
            )
        return "\n".join([*lines, self._corp()])

    def _corp(self) -> str:
        """CORP itself, where MIT's kpasswd said that it was done."""
        asked = self.lab.kinit("client", r"corp\bob", ccache=self.stage.cache("bob-old"))
        if asked.returncode == 0:
            raise DemoError("CORP still takes bob's old password")
        fresh_ticket = self.lab.exec(
            "client",
            ["kinit", "-c", f"FILE:{self.stage.cache('bob')}", self.lab.principal(r"corp\bob")],
            input=f"{self.new}\n",
        )
        if fresh_ticket.returncode != 0:
            raise DemoError(f"CORP does not take bob's new password: {fresh_ticket.stderr}")
        return f"{'':11}{'CORP':10} gives a ticket for the new password, and none for the old one"

    def explain(self) -> str:
        shown, said = self.dave("passwords", "explain", "bob")
        return f"{shown}\n{said.strip()}"

    def search(self) -> str:
        """The same search must find what is there, or it would prove nothing: bob's address is in the databases of the controller, the server and the targets."""
        waiting = self.agent_status()["waiting"]
        hosts = [plan.host(name) for name in self.lab.status()["hosts"]]
        processes = [pid for host in hosts for pid in network.processes(self.lab.site, host)]
        found = search(self.lab.root, processes, shapes(self.new))
        if found.hits:
            raise DemoError(f"bob's new password is in {', '.join(found.hits)}")
        control = search(self.lab.root, [], {"address": systems.MAIL.encode()})
        if not any("corpdc" in hit for hit in control.hits):
            raise DemoError("the search does not even find bob's address on the controller")
        queue = (self.agent_folder / "state" / "queue.dat").stat().st_size
        if queue < SEALED_LEAST:
            raise DemoError("the agent's queue does not hold what was searched for")
        return (
            "nowhere: not in clear, UTF-16, base64 or hex, and not its NT hash\n"
            f"looked at: {found.megabytes} MB in {found.files} files (controllers, agent, server, targets, logs), and the arguments and "
            f"environment of {found.processes} processes\n"
            f"the same search finds bob's address in {len(control.hits)} files; in the agent's queue ({queue} bytes, encrypted) {waiting} changes wait"
        )

    # -------------------------------------------------------------------------------------------------------------- doing

    def dave(self, *arguments: str | Path) -> tuple[str, str]:
        """A command of dave, who administers Bastide: as he types it, and what it says."""
        return self.stage.shown("bastide", *arguments), self.stage.priv("adm.dave", *arguments)

    def pcns(self, *arguments: str) -> str:
        """A command of CORP's administrator, as typed. It needs no server: the settings lie in the directory."""
        where = ["--domain", CORP]
        command = [PYTHON, "-m", "bastide.cli.main", "pcns", *arguments, *where]
        self.stage.on("client", command, env={"KRB5CCNAME": f"FILE:{self.stage.cache('corp-admin')}"})
        return self.stage.shown("bastide", "pcns", *arguments)

    @property
    def agent_settings(self) -> Path:
        return self.agent_folder / "bastide-agent.toml"

    def agent(self, *arguments: str) -> list[str | Path]:
        return [*AGENT, *arguments, "--config", self.agent_settings]

    def agent_status(self) -> dict[str, Any]:
        """How many changes wait, and whether it is connected to all targets."""
        asked = self.lab.exec("corpdc", self.agent("status", "--json"))
        if asked.returncode != 0:
            return {"waiting": -1, "connected": False}
        status = json.loads(asked.stdout)
        targets = status["targets"]
        return {
            "waiting": status["waiting"],
            "connected": bool(targets) and all(t["connected"] for t in targets),
        }

    def agent_log(self) -> str:
        return (self.stage.work / "agent.log").read_text()[-2000:]
