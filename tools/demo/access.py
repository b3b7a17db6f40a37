"""Act one: privileged access for an hour instead of for ever.

A CORP share may be read by FileAdmins only. Alice has no standing right to it: she asks with her CORP account and a second factor, Grace
approves with hers, a fresh ticket for Alice's PRIV account opens the share, the grant ends, and a fresh ticket is refused.

Passwords go over standard input only. Codes come from the secrets that the people's authenticators got; where a person would wait for the
next code, an earlier one that is still good is used first, so that nobody waits.
"""

import json
import secrets
import subprocess
import time
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp

from tools.demo.stage import CORP, PATIENCE, DemoError, Stage, clock, wait

SHARE = f"//corpdc.{CORP}/files"
ROLE, GROUP = "File administrator", "FileAdmins"
LENGTH = 60
STEP = 30
#: What may pass between the making of a code and its use, in seconds: a command starts, and the machine may be busy.
SLOWNESS = 10


class Authenticator:
    """What a phone does. A code works once, and the one before and after the present one are good as well (RFC 6238 5.2)."""

    def __init__(self, uri: str) -> None:
        self._generator = pyotp.HOTP(parse_qs(urlsplit(uri).query)["secret"][0])
        self._last = 0

    def code(self) -> str:
        """A good code that was not used yet, and is good long enough to be typed; waits only if all were used."""
        while self._last >= int(time.time()) // STEP + 1:
            time.sleep(0.2)
        self._last = max(self._last + 1, self.earliest(time.time()))
        return self._generator.at(self._last)

    @staticmethod
    def earliest(now: float) -> int:
        """The number of the oldest code that will still be good when it arrives."""
        return int(now + SLOWNESS) // STEP - 1


class Access:
    """The scenes of the act."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.lab = stage.lab
        self.phones: dict[str, Authenticator] = {}
        self.request: dict[str, Any] = {}
        self.asking: subprocess.Popen[str] | None = None
        self.alice_priv = secrets.token_urlsafe(18) + "-aA7"

    # ------------------------------------------------------------------------------------------------------- preparations

    def prepare(self) -> str:
        self.stage.sign_in("adm.dave")
        priv = self.stage.priv
        priv("adm.dave", "pam", "user", "add", "alice")
        priv("adm.dave", "pam", "user", "password", "priv.alice", stdin=f"{self.alice_priv}\n")
        priv("adm.dave", "pam", "group", "add", GROUP)
        priv(
            "adm.dave", "role", "add", ROLE, "--gives", f"PAM-{GROUP}", "--candidate", r"CORP\alice",
            "--approver", r"PRIV\apr.grace", "--for", "60s", "--min", "60s", "--max", "1h",
        )  # fmt: skip
        return (
            "priv.alice is dormant; the role gives PAM-FileAdmins, needs a second factor and grace's approval"
        )

    def test_directories(self) -> str:
        found = [
            finding
            for noun in ("trust", "domain")
            for finding in json.loads(self.stage.priv("adm.dave", noun, "test", "--json"))["items"]
        ]
        good = sum(finding["severity"] == "ok" for finding in found)
        notable = [f"{f['severity']}: {f['text']}" for f in found if f["severity"] != "ok"]
        return "\n".join([f"{good} of {len(found)} findings are ok", *notable])

    def set_up_factors(self) -> str:
        priv = self.stage.priv
        invitation = priv("adm.dave", "mfa", "invite", "priv.alice").strip()
        enrolment = self.alice("mfa", "enrol", "--invited", "--json", stdin=f"{invitation}\n")
        self.phones["alice"] = Authenticator(json.loads(enrolment)["uri"])
        self.alice("mfa", "confirm", stdin=f"{self.phones['alice'].code()}\n")
        self.stage.sign_in("apr.grace")
        enrolment = priv("apr.grace", "mfa", "enrol", "--json")
        self.phones["grace"] = Authenticator(json.loads(enrolment)["uri"])
        priv("apr.grace", "mfa", "confirm", stdin=f"{self.phones['grace'].code()}\n")
        return "alice by an invitation, because a CORP password alone must not be enough; grace by her PRIV ticket"

    # ------------------------------------------------------------------------------------------------------------ the job

    def before(self) -> str:
        self.lab.kinit("client", r"corp\alice", ccache=self.stage.cache("corp-alice")).check_returncode()
        corp, said = self.read_share("corp-alice")
        priv = self.buy("before")
        if corp or "ACCESS_DENIED" not in said or not priv:
            raise DemoError(f"alice should have had no access: {said}")
        return f"with her CORP account: {said}\nwith priv.alice: no ticket ({priv})"

    def ask(self) -> str:
        """The command waits until access is there, while grace decides."""
        command = self.stage.remote(
            "request", "new", ROLE, "--for", str(LENGTH), "-j", "restore the figures, INC-42", "--wait", "--json",
            "--account", r"CORP\alice",
        )  # fmt: skip
        self.asking = self.lab.popen(
            "client", command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.stage.processes.append(self.asking)
        if self.asking.stdin is None:
            raise DemoError("no standard input")
        self.asking.stdin.write(
            f"{self.lab.password('corp' + chr(92) + 'alice')}\n{self.phones['alice'].code()}\n"
        )
        self.asking.stdin.close()
        self.asking.stdin = None
        if not wait(self._is_waiting, PATIENCE):
            raise DemoError("the request did not come to grace")
        return f"{self.request['user']} asks for {self.request['role']}: {self.request['justification']}"

    def _is_waiting(self) -> bool:
        if self.asking is not None and self.asking.poll() is not None:
            raise DemoError(self.asking.communicate()[1])
        found = json.loads(self.stage.priv("apr.grace", "approval", "list", "--json"))["items"]
        self.request = found[0] if found else {}
        return bool(found)

    def approve(self) -> str:
        code = self.phones["grace"].code()
        self.stage.priv(
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
            f"{self.request['enforcer']}\nends {clock(self.request['ends_at'])}; "
            f"true end of access {clock(self.request['true_end'])}, when the last ticket is over"
        )

    def use(self) -> str:
        if problem := self.buy("fresh"):
            raise DemoError(f"no ticket: {problem}")
        content, said = self.read_share("fresh")
        if not content:
            raise DemoError(f"the share did not open: {said}")
        return f"{SHARE}/report.txt: {content!r}"

    # ------------------------------------------------------------------------------------------------------------ the end

    def ended(self) -> str:
        """Says when Bastide had read the end back, not when somebody looked: others may have played meanwhile."""
        began = time.monotonic()
        ends = datetime.fromisoformat(self.request["ends_at"])
        time.sleep(max(0.0, ends.timestamp() - time.time()))
        if not wait(lambda: self._look()["state"] == "Expired", PATIENCE):
            raise DemoError(f"the request is still {self._look()['state']}")
        closed = datetime.fromisoformat(self.request["closed_at"])
        return (
            f"Expired, after waiting {time.monotonic() - began:.1f} s; {(closed - ends).total_seconds():.1f} s after its end "
            "its absence had been read back from both forests"
        )

    def _look(self) -> dict[str, Any]:
        self.request = json.loads(self.alice("request", "show", self.request["id"], "--json"))
        return self.request

    def after(self) -> str:
        if not (problem := self.buy("after")):
            raise DemoError("priv.alice still buys tickets")
        return f"refused ({problem})"

    def kept(self) -> str:
        """The ticket for the share that she holds is good until it ends: nobody can take a ticket back. That is the true end."""
        opens, _ = self.read_share("fresh")
        end = clock(self.request["true_end"])
        held = "still opens it" if opens else "does not open it any more"
        return f"the ticket for the share bought during the grant {held}; by {end}, the true end of access, it is over"

    def held(self) -> list[str]:
        """Who had what until when, as the audit has it. Needs aud.frank's ticket."""
        asked = self.stage.priv("aud.frank", "audit", "who", "--person", "priv.alice", "--json")
        return [
            f"{h['person']} held {h['group']} from {clock(h['since'])} to {clock(h['until'])}"
            for h in json.loads(asked)["items"]
        ]

    # -------------------------------------------------------------------------------------------------------------- doing

    def alice(self, *arguments: str, stdin: str = "") -> str:
        """Bastide on the client, as alice with her CORP password."""
        password = self.lab.password(r"corp\alice")
        return self.stage.on(
            "client", self.stage.remote(*arguments, "--account", r"CORP\alice"), stdin=f"{password}\n{stdin}"
        )

    def buy(self, name: str) -> str:
        """A fresh ticket for priv.alice; why not, or nothing."""
        principal = f"priv.alice@{self.lab.realm('priv')}"
        cache = f"FILE:{self.stage.cache(name)}"
        done = self.lab.exec("client", ["kinit", "-c", cache, principal], input=f"{self.alice_priv}\n")
        return "" if done.returncode == 0 else done.stderr.strip().removeprefix("kinit: ")

    def read_share(self, name: str) -> tuple[str, str]:
        """What report.txt holds (nothing if the share does not open), and what was said."""
        cache = f"--use-krb5-ccache=FILE:{self.stage.cache(name)}"
        done = self.lab.exec(
            "client", ["smbclient", SHARE, "--use-kerberos=required", cache, "-c", "get report.txt -"]
        )
        said = done.stdout.strip()
        return (said, "") if done.returncode == 0 else ("", said or done.stderr.strip())
