"""Running programs: on the machine, and inside of a host of the lab.

Secrets reach a program through standard input or a file of mode 0600, never through its arguments: an error shows the
arguments.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bastide_lab.errors import LabError
from bastide_lab.plan import Host, Site

# Debian's samba bindings are built for this interpreter and no other.
SYSTEM_PYTHON = "/usr/bin/python3"
RUN_SAMBA = Path("/run/samba")
LONGEST_EXCERPT = 2000
# `ip netns exec` has already made the mount namespace private: the bind mount ends with the process.
BIND_RUN_SAMBA = 'mount --bind "$0" /run/samba && exec "$@"'

Command = Sequence[str | Path]


def inside(site: Site, host: Host, command: Command) -> list[str]:
    """The argument vector that runs `command` in the network and mount namespace of `host`."""
    enter = ["ip", "netns", "exec", site.namespace(host), "sh", "-c", BIND_RUN_SAMBA, str(site.run(host))]
    return [*enter, *map(str, command)]


def environment(site: Site, host: Host, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment with the host's own Kerberos and Samba configuration."""
    own = {
        "KRB5_CONFIG": str(site.krb5_conf(host)),
        "KRB5CCNAME": f"FILE:{site.run(host) / 'krb5cc'}",
        "SMB_CONF_PATH": str(site.smb_conf(host)),
    }
    if site.gnupg(host).exists():
        # Samba, and samba-tool beside it, encrypt with the keys that they find there: see `capture.py`.
        own["GNUPGHOME"] = str(site.gnupg(host))
    return {**os.environ, **own, **(extra or {})}


def run(
    command: Command,
    *,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return what it printed; LabError with the end of its output if it fails."""
    arguments = list(map(str, command))
    try:
        done = subprocess.run(
            arguments,
            input=stdin,
            env=env,
            timeout=timeout,
            text=True,
            capture_output=True,
            check=False,
            cwd=cwd,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(arguments)}: no end after {timeout:g} s") from error
    except FileNotFoundError as error:
        raise LabError(f"{arguments[0]} is not installed. Run: python3 tools/install.py --lab") from error
    if done.returncode:
        excerpt = (done.stdout + done.stderr)[-LONGEST_EXCERPT:].strip()
        raise LabError(f"{' '.join(arguments)}: exit code {done.returncode}\n{excerpt}")
    return done.stdout


def spawn(
    command: Command, *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Start a program that outlives us and is not our child; what it prints goes to `log`."""
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            check=True,
            cwd=cwd,
        )


def run_inside(site: Site, host: Host, command: Command, *, stdin: str = "", timeout: float = 60) -> str:
    """`run`, in the namespaces of `host`."""
    return run(inside(site, host, command), stdin=stdin, env=environment(site, host), timeout=timeout)
