"""Both acts on one lab. Nothing is left behind, on success, failure or Ctrl-C."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from bastide_lab.locks import exclusive
from tools.demo.access import GROUP, Access
from tools.demo.passwords import Passwords
from tools.demo.stage import DemoError, Stage, Timeline, resident


class Demo:
    """The order of the scenes. Act two is played while the grant of act one runs, so that nobody waits for its end."""

    def __init__(self, lab: Lab) -> None:
        self.stage = Stage(lab)
        self.access = Access(self.stage)
        self.passwords = Passwords(self.stage)

    def play(self, timeline: Timeline) -> None:
        """Raises DemoError at the first step that does not go as it must."""
        do, stage = timeline.do, self.stage
        timeline.act("THE STAGE")
        do("two Samba forests come up, CORP trusts PRIV", stage.lab_up)
        do("the administrator of the server sets Bastide up (bastide init)", stage.init)
        do(
            "the forests' administrators give its accounts their rights, and no more",
            lambda: stage.delegate(GROUP),
        )
        do("Bastide starts: API, workers and the receiver of passwords in one process", stage.start)
        self._act_one(timeline)
        self._act_two(timeline)
        self._end_of_act_one(timeline)
        do("frank verifies the audit of both acts", self.verify)
        timeline.end()

    def _act_one(self, timeline: Timeline) -> None:
        do, one = timeline.do, self.access
        timeline.act("ACT ONE: access for a minute instead of for ever")
        do("dave prepares alice, the group FileAdmins and a role", one.prepare)
        do("dave tests the trust and both domains", one.test_directories)
        do("alice and grace set up their authenticators", one.set_up_factors)
        do("before: may alice read the share?", one.before)
        do("alice asks for the role: CORP password and code", one.ask)
        do("grace approves, with her ticket and a code", one.approve)
        do("alice sees her access open", one.opened)
        do("alice buys a fresh ticket for her PRIV account and reads the share", one.use)

    def _act_two(self, timeline: Timeline) -> None:
        do, two = timeline.do, self.passwords
        timeline.act("ACT TWO, while alice's minute runs: one password for every system")
        do("three systems come up, and each has an account for bob", two.systems_up)
        do("CORP's controller encrypts each new password to the key of Bastide's server", two.encrypt)
        do("CORP's administrator extends the schema, and says who is told", two.configure)
        do("dave tells Bastide of the systems; targets first, because the source names them", two.add_agents)
        do("dave imports who is there", two.import_all)
        do("how Bastide knows that it is the same bob", two.explain_join)
        do("dave switches it on", two.enable)
        # Last: an agent that comes while it is off is told to come again in a minute.
        do("the agent starts on CORP's controller", two.start_agent)
        do("bob changes his password, once, and signs in everywhere", two.change)
        do("dave asks what became of it", two.explain)
        do("does anybody hold bob's new password in clear?", two.search)

    def _end_of_act_one(self, timeline: Timeline) -> None:
        do, one = timeline.do, self.access
        timeline.act("THE END OF ACT ONE")
        do("the grant ends (the shortest there is: 60 s)", one.ended)
        do("alice buys a fresh ticket for her PRIV account", one.after)
        do("alice's other tickets", one.kept)

    def verify(self) -> str:
        """Over the API as an auditor, and once more on the server itself."""
        self.stage.sign_in("aud.frank")
        told = self.stage.priv("aud.frank", "audit", "verify").splitlines()[0]
        here = self.stage.host("audit", "verify", "--local").splitlines()
        whole = told.partition(":")[0]
        if not any(line.partition(":")[0] == whole for line in here):
            raise DemoError("\n".join(here))
        memory = f"the service holds {resident(self.stage.server.pid)} MB" if self.stage.server else ""
        return "\n".join([told, *self.access.held(), memory])


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every step went as it must."""
    argparse.ArgumentParser(
        prog="python -m tools.demo",
        description="Both jobs across two real Samba forests, as a time-line. It takes no arguments.",
        epilog="`sudo make demo` installs what is missing first; `make demo-embedded` plays it in memory, without root. "
        "BASTIDE_DEMO_PREFIX begins the names of the network namespaces (demo).",
    ).parse_args(arguments)
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
        print(f"\nfailed: {error}\n{demo.stage.log_tail()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not stop the cleaning up
        demo.stage.stop()
        demo.stage.lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
