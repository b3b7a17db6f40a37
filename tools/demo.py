"""The main job across two real Samba forests, with real tickets, through the real command line. `make demo` runs this as root.

A CORP share may be read by FileAdmins only. Alice has no standing right to it: she asks with her CORP account and a second factor, Grace
approves with hers, a fresh ticket for Alice's PRIV account opens the share, the grant ends, and a fresh ticket is refused.

Passwords go over standard input only. Codes come from the secrets that the people's authenticators got; where a person would wait for the
next code, an earlier one that is still good is used first, so that nobody waits. Nothing is left behind, on success, failure or Ctrl-C.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

import pyotp

from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from bastide_lab.locks import exclusive

PYTHON = sys.executable
BASTIDE = [PYTHON, "-m", "bastide.cli.main"]
PRIV, CORP = "priv.bastide.test", "corp.bastide.test"
SERVER = f"https://bastide.{PRIV}:8443"
SHARE = f"//corpdc.{CORP}/files"
ROLE, GROUP = "File administrator", "FileAdmins"
LENGTH = 60
CAP = 125
STEP = 30
#: Succeeds when the address answers over TLS that this authority vouches for.
READY = """
import ssl, sys, urllib.request
handler = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=sys.argv[2]))
urllib.request.build_opener(urllib.request.ProxyHandler({}), handler).open(sys.argv[1], timeout=5)
"""
PATIENCE = 60.0

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
"""


class DemoError(Exception):
    """A step did not go as it must."""


class Timeline:
    """Each step with its measured time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._colour = sys.stdout.isatty()

    def do(self, text: str, action: Callable[[], str]) -> None:
        """Run a step and print it with its outcome."""
        if self._colour:
            print(f"{'':11}{text} ...", end="\r", flush=True)
        began = time.monotonic()
        outcome = action()
        print(f"{time.monotonic() - began:7.2f} s  {text}    ")
        for line in outcome.splitlines():
            print(f"{'':11}{self._green(line)}")

    def end(self) -> None:
        print(f"{time.monotonic() - self._began:7.2f} s  in all")

    def _green(self, text: str) -> str:
        return f"\x1b[32m{text}\x1b[0m" if self._colour else text


class Authenticator:
    """What a phone does. A code works once, and the one before and after the present one are good as well (RFC 6238 5.2)."""

    def __init__(self, uri: str) -> None:
        self._generator = pyotp.HOTP(parse_qs(urlsplit(uri).query)["secret"][0])
        self._last = 0

    def code(self) -> str:
        """A good code that was not used yet; waits only if all three were."""
        while self._last >= (latest := int(time.time()) // STEP + 1):
            time.sleep(0.2)
        self._last = max(self._last + 1, latest - 2)
        return self._generator.at(self._last)


class Demo:
    """The job, and the stage it is played on."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.server: subprocess.Popen[str] | None = None
        self.log: IO[str] | None = None
        self.phones: dict[str, Authenticator] = {}
        self.request: dict[str, Any] = {}
        self.asking: subprocess.Popen[str] | None = None
        self.alice_priv = secrets.token_urlsafe(18) + "-aA7"

    @property
    def work(self) -> Path:
        return self.lab.root / "demo"

    def play(self, timeline: Timeline) -> None:
        do = timeline.do
        do("two Samba forests come up, CORP trusts PRIV", self.lab_up)
        do("the administrator of the server sets Bastide up (bastide init)", self.init)
        do("the forests' administrators give its accounts their rights, and no more", self.delegate)
        do("Bastide starts: API and workers in one process", self.start)
        do("dave prepares alice, the group FileAdmins and a role", self.prepare)
        do("dave tests the trust and both domains", self.test_directories)
        do("alice and grace set up their authenticators", self.set_up_factors)
        do("before: may alice read the share?", self.before)
        do("alice asks for the role: CORP password and code", self.ask)
        do("grace approves, with her ticket and a code", self.approve)
        do("alice sees her access open", self.opened)
        do("alice buys a fresh ticket for her PRIV account and reads the share", self.use)
        do("the grant ends (the shortest there is: 60 s)", self.ended)
        do("alice buys a fresh ticket for her PRIV account", self.after)
        do("alice's other tickets", self.kept)
        do("frank verifies the audit", self.verify)
        timeline.end()

    # ----------------------------------------------------------------------------------------------------------- the stage

    def lab_up(self) -> str:
        self.lab.up()
        self.work.mkdir(mode=0o700, exist_ok=True)
        return f"{', '.join(self.lab.status()['hosts'])}; nothing outside of their own network namespaces"

    def init(self) -> str:
        self.lab.keytab("priv", ["svc-bastide"], self.work / "bastide.keytab")
        self.lab.keytab("priv", ["svc-bastide-prepare"], self.work / "preparer.keytab")
        for forest, domain in (("priv", PRIV), ("corp", CORP)):
            self.lab.keytab(forest, [f"HTTP/bastide.{domain}"], self.work / "http.keytab")
        answers = self.work / "answers.toml"
        answers.write_text(
            ANSWERS.format(
                server=SERVER, tls=self.lab.site.tls, work=self.work, priv=PRIV, corp=CORP,
                realm=self.lab.realm("priv"), cap=CAP,
            )
        )  # fmt: skip
        done = self.host("init", "--answers", answers, "--output", self.config, config=False)
        self.host("db", "upgrade")
        good = [line for line in done.splitlines() if line.startswith("ok ")]
        bad = [line for line in done.splitlines() if line.startswith("PROBLEM")]
        if bad:
            raise DemoError("\n".join(bad))
        return f"{len(good)} checks passed: DNS, ports, keytabs, tickets, sealed LDAP, trust"

    def delegate(self) -> str:
        for forest, host in (("priv", "privdc"), ("corp", "corpdc")):
            wanted = ["--corp-group", GROUP] if forest == "corp" else []
            script = self.host("delegation", "script", "--forest", forest, *wanted)
            self.on(host, ["sh", "-s"], stdin=script, timeout=180)
        ldif = self.host("delegation", "script", "--for", "policy")
        self.lab.kinit("client", r"priv\Administrator").check_returncode()
        add = ["ldapmodify", "-N", "-Q", "-Y", "GSSAPI", "-H", f"ldap://privdc.{PRIV}"]
        self.on("client", add, stdin=ldif)
        self.on("client", ["kdestroy", "-q"])
        return f"by the printed scripts; tickets of PAM users live {CAP} s at most"

    def start(self) -> str:
        self.log = (self.work / "service.log").open("w")
        command: list[str | Path] = [*BASTIDE, "serve", "--config", self.config]
        self.server = self.lab.popen("bastide", command, stdout=self.log, stderr=self.log)
        ready: list[str | Path] = [PYTHON, "-c", READY, f"{SERVER}/api/v1/health/ready", self.lab.ca]
        if not _wait(lambda: self.lab.exec("client", ready).returncode == 0, PATIENCE):
            raise DemoError(f"the service did not start:\n{self.log_tail()}")
        return f"TLS, {_resident(self.server.pid)} MB resident"

    def stop(self) -> None:
        """End what was started here; the lab's own end takes the rest."""
        for process in (self.asking, self.server):
            if process is not None and process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
        if self.log is not None:
            self.log.close()

    # ------------------------------------------------------------------------------------------------------------ the job

    def test_directories(self) -> str:
        found = [
            finding
            for noun in ("trust", "domain")
            for finding in json.loads(self.priv("adm.dave", noun, "test", "--json"))["items"]
        ]
        good = sum(finding["severity"] == "ok" for finding in found)
        notable = [f"{f['severity']}: {f['text']}" for f in found if f["severity"] != "ok"]
        return "\n".join([f"{good} of {len(found)} findings are ok", *notable])

    def prepare(self) -> str:
        self.sign_in("adm.dave")
        self.priv("adm.dave", "pam", "user", "add", "alice")
        self.priv("adm.dave", "pam", "user", "password", "priv.alice", stdin=f"{self.alice_priv}\n")
        self.priv("adm.dave", "pam", "group", "add", GROUP)
        self.priv(
            "adm.dave", "role", "add", ROLE, "--gives", f"PAM-{GROUP}", "--candidate", r"CORP\alice",
            "--approver", r"PRIV\apr.grace", "--for", "60s", "--min", "60s", "--max", "1h",
        )  # fmt: skip
        return (
            "priv.alice is dormant; the role gives PAM-FileAdmins, needs a second factor and grace's approval"
        )

    def set_up_factors(self) -> str:
        invitation = self.priv("adm.dave", "mfa", "invite", "priv.alice").strip()
        enrolment = self.alice("mfa", "enrol", "--invited", "--json", stdin=f"{invitation}\n")
        self.phones["alice"] = Authenticator(json.loads(enrolment)["uri"])
        self.alice("mfa", "confirm", stdin=f"{self.phones['alice'].code()}\n")
        self.sign_in("apr.grace")
        enrolment = self.priv("apr.grace", "mfa", "enrol", "--json")
        self.phones["grace"] = Authenticator(json.loads(enrolment)["uri"])
        self.priv("apr.grace", "mfa", "confirm", stdin=f"{self.phones['grace'].code()}\n")
        return "alice by an invitation, because a CORP password alone must not be enough; grace by her PRIV ticket"

    def before(self) -> str:
        self.lab.kinit("client", r"corp\alice", ccache=self.cache("corp-alice")).check_returncode()
        corp, said = self.read_share("corp-alice")
        priv = self.buy("before")
        if corp or "ACCESS_DENIED" not in said or not priv:
            raise DemoError(f"alice should have had no access: {said}")
        return f"with her CORP account: {said}\nwith priv.alice: no ticket ({priv})"

    def ask(self) -> str:
        """The command waits until access is there, while grace decides."""
        command = self.bastide(
            "request", "new", ROLE, "--for", str(LENGTH), "-j", "restore the figures, INC-42", "--wait", "--json",
            "--account", r"CORP\alice",
        )  # fmt: skip
        self.asking = self.lab.popen(
            "client", command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if self.asking.stdin is None:
            raise DemoError("no standard input")
        self.asking.stdin.write(
            f"{self.lab.password('corp' + chr(92) + 'alice')}\n{self.phones['alice'].code()}\n"
        )
        self.asking.stdin.close()
        self.asking.stdin = None
        if not _wait(self._is_waiting, PATIENCE):
            raise DemoError("the request did not come to grace")
        return f"{self.request['user']} asks for {self.request['role']}: {self.request['justification']}"

    def _is_waiting(self) -> bool:
        if self.asking is not None and self.asking.poll() is not None:
            raise DemoError(self.asking.communicate()[1])
        found = json.loads(self.priv("apr.grace", "approval", "list", "--json"))["items"]
        self.request = found[0] if found else {}
        return bool(found)

    def approve(self) -> str:
        code = self.phones["grace"].code()
        self.priv(
            "apr.grace", "approval", "approve", self.request["id"], "--reason", "agreed", stdin=f"{code}\n"
        )
        return "approved"

    def opened(self) -> str:
        if self.asking is None:
            raise DemoError("nobody asked")
        out, err = self.asking.communicate(timeout=PATIENCE)
        if self.asking.returncode != 0:
            raise DemoError(err or out)
        self.request = json.loads(out)
        return (
            f"{self.request['state']}, read back from every domain controller; the directory enforces the end: "
            f"{self.request['enforcer']}\nends {_clock(self.request['ends_at'])}; "
            f"true end of access {_clock(self.request['true_end'])}, when the last ticket is over"
        )

    def use(self) -> str:
        if problem := self.buy("fresh"):
            raise DemoError(f"no ticket: {problem}")
        content, said = self.read_share("fresh")
        if not content:
            raise DemoError(f"the share did not open: {said}")
        return f"{SHARE}/report.txt: {content!r}"

    def ended(self) -> str:
        began = time.monotonic()
        ends = datetime.fromisoformat(self.request["ends_at"]).timestamp()
        time.sleep(max(0.0, ends - time.time()))
        if not _wait(lambda: self._state() == "Expired", PATIENCE):
            raise DemoError(f"the request is still {self._state()}")
        return (
            f"Expired, after waiting {time.monotonic() - began:.1f} s; {time.time() - ends:.1f} s after its end "
            "its absence had been read back from both forests"
        )

    def _state(self) -> str:
        shown = self.alice("request", "show", self.request["id"], "--json")
        state: str = json.loads(shown)["state"]
        return state

    def after(self) -> str:
        if not (problem := self.buy("after")):
            raise DemoError("priv.alice still buys tickets")
        return f"refused ({problem})"

    def kept(self) -> str:
        """The ticket for the share that she holds is good until it ends: nobody can take a ticket back. That is the true end."""
        opens, _ = self.read_share("fresh")
        end = _clock(self.request["true_end"])
        held = "still opens it" if opens else "does not open it any more"
        return f"the ticket for the share bought during the grant {held}; by {end}, the true end of access, it is over"

    def verify(self) -> str:
        self.sign_in("aud.frank")
        told = self.priv("aud.frank", "audit", "verify").splitlines()[0]
        who = json.loads(self.priv("aud.frank", "audit", "who", "--person", "priv.alice", "--json"))["items"]
        here = self.host("audit", "verify", "--local").splitlines()[0]
        if here.partition(":")[0] != told.partition(":")[0]:
            raise DemoError(here)
        spans = [
            f"{h['person']} held {h['group']} from {_clock(h['since'])} to {_clock(h['until'])}" for h in who
        ]
        memory = f"the service holds {_resident(self.server.pid)} MB" if self.server else ""
        return "\n".join([told, *spans, memory])

    # -------------------------------------------------------------------------------------------------------------- doing

    @property
    def config(self) -> Path:
        return self.work / "bastide.toml"

    def cache(self, name: str) -> Path:
        return self.work / f"cc-{name}"

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

    def host(self, *arguments: str | Path, config: bool = True) -> str:
        """Bastide on its server."""
        options: list[str | Path] = ["--config", self.config] if config else []
        return self.on("bastide", [*BASTIDE, *arguments, *options], timeout=120)

    def bastide(self, *arguments: str) -> list[str | Path]:
        return [*BASTIDE, *arguments, "--server", SERVER, "--ca", self.lab.ca]

    def sign_in(self, name: str) -> None:
        """A ticket of a PRIV person, in a cache of their own."""
        self.lab.kinit("client", f"priv\\{name}", ccache=self.cache(name)).check_returncode()

    def priv(self, name: str, *arguments: str, stdin: str = "") -> str:
        """Bastide on the client, as a PRIV person with a ticket."""
        return self.on(
            "client", self.bastide(*arguments), stdin=stdin, env={"KRB5CCNAME": f"FILE:{self.cache(name)}"}
        )

    def alice(self, *arguments: str, stdin: str = "") -> str:
        """Bastide on the client, as alice with her CORP password."""
        password = self.lab.password(r"corp\alice")
        return self.on(
            "client", self.bastide(*arguments, "--account", r"CORP\alice"), stdin=f"{password}\n{stdin}"
        )

    def buy(self, name: str) -> str:
        """A fresh ticket for priv.alice; why not, or nothing."""
        principal = f"priv.alice@{self.lab.realm('priv')}"
        cache = f"FILE:{self.cache(name)}"
        done = self.lab.exec("client", ["kinit", "-c", cache, principal], input=f"{self.alice_priv}\n")
        return "" if done.returncode == 0 else done.stderr.strip().removeprefix("kinit: ")

    def read_share(self, name: str) -> tuple[str, str]:
        """What report.txt holds (nothing if the share does not open), and what was said."""
        cache = f"--use-krb5-ccache=FILE:{self.cache(name)}"
        done = self.lab.exec(
            "client", ["smbclient", SHARE, "--use-kerberos=required", cache, "-c", "get report.txt -"]
        )
        said = done.stdout.strip()
        return (said, "") if done.returncode == 0 else ("", said or done.stderr.strip())

    def log_tail(self) -> str:
        with suppress(OSError):
            return "\n".join((self.work / "service.log").read_text().splitlines()[-20:])
        return ""


def _wait(ready: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _clock(moment: str | None) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%H:%M:%S UTC") if moment else "now"


def _resident(pid: int) -> int:
    """Megabytes of the process and what it started; `ip netns exec` becomes the command it runs."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """0 if every step went as it must."""
    if os.geteuid() != 0:
        print(
            "the demo makes network namespaces and needs root: sudo make demo; or without: make demo-embedded",
            file=sys.stderr,
        )
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    prefix = os.environ.get("BASTIDE_DEMO_PREFIX", "demo")
    # A second demo would use the same namespaces, and its end would take them from the first.
    with exclusive(f"{prefix}-run"):
        return run(Demo(Lab(prefix=prefix)), Timeline())


def run(demo: Demo, timeline: Timeline) -> int:
    """Play, and take everything down whatever happens."""
    try:
        demo.play(timeline)
    except (DemoError, LabError, subprocess.SubprocessError, OSError) as error:
        print(f"\nfailed: {error}\n{demo.log_tail()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not stop the cleaning up
        demo.stop()
        demo.lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
