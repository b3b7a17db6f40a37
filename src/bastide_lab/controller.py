"""A domain controller: its configuration, its start and its end."""

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from bastide_lab import network, samba_conf, tls
from bastide_lab.errors import LabError
from bastide_lab.plan import ADMINISTRATOR, PRIVDC, Host, Site
from bastide_lab.process import SYSTEM_PYTHON, Command, environment, inside, run, run_inside

SAMBA = "/usr/sbin/samba"
HERE = Path(__file__).parent
START_LIMIT = 90.0
STOP_LIMIT = 20.0
OPERATION_LIMIT = 120.0
POLL = 0.05
# Started by name; what they start themselves lies in a directory called samba.
DAEMONS = {"samba", "smbd", "winbindd"}


def samba_side(site: Site, host: Host, operation: str, order: Mapping[str, object]) -> None:
    """One operation of `samba_side.py` in the host's namespace; the order goes by standard input."""
    message = json.dumps({"operation": operation, **order})
    command: Command = [SYSTEM_PYTHON, "-I", HERE / "samba_side.py"]
    printed = run_inside(site, host, command, stdin=message, timeout=OPERATION_LIMIT)
    (site.log(host) / f"{operation}.log").write_text(printed)


def provision(site: Site, host: Host, password: str) -> None:
    """A new forest with this controller. Debian's smb.conf is kept out: it would be merged into ours."""
    arguments = [
        *_common_arguments(site, host),
        f"--realm={host.realm.kerberos}",
        f"--domain={host.realm.netbios}",
        "--server-role=dc",
        "--function-level=2016",
        f"--host-name={host.name}",
        f"--host-ip={host.address}",
    ]
    samba_side(site, host, "provision", {"arguments": arguments, "password": password})
    _finish_data(site, host)


def join(site: Site, host: Host, password: str) -> None:
    """A further controller of the host's realm; the first one is running."""
    arguments = [*_common_arguments(site, host), f"--option=netbios name = {host.name}"]
    order = {"domain": host.realm.dns, "arguments": arguments, "account": ADMINISTRATOR, "password": password}
    samba_side(site, host, "join", order)
    _finish_data(site, host)


def publish(site: Site, host: Host, password: str) -> None:
    """After a join and a start: the SRV records of the new controller, and replication in both directions."""
    run_inside(site, host, ["/usr/sbin/samba_dnsupdate", "--use-samba-tool"], timeout=120)
    update_principals(site, host)
    order = {
        "controllers": [PRIVDC.fqdn, host.fqdn],
        "base_dn": host.realm.base_dn,
        "account": ADMINISTRATOR,
        "password": password,
    }
    samba_side(site, host, "knit", order)


def update_principals(site: Site, host: Host) -> None:
    """Give a running controller its ldap/ and other service principals; neither provision nor join does."""
    run_inside(site, host, ["/usr/sbin/samba_spnupdate"])


def is_running(site: Site, host: Host) -> bool:
    pid = _pid(site, host)
    return pid is not None and pid in daemons(site, host)


def daemons(site: Site, host: Host) -> list[int]:
    """The processes of the host that run one of Samba's programs; what a test started there is not among them."""
    return [pid for pid in network.processes(site, host) if _is_daemon(pid)]


def kill(site: Site, host: Host) -> None:
    """End samba without a word, the way a power cut does."""
    deadline = time.monotonic() + STOP_LIMIT
    while pids := daemons(site, host):
        if time.monotonic() > deadline:
            raise LabError(f"processes {pids} on {host.name} do not end")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL)


def launch(site: Site, host: Host, env: Mapping[str, str] | None = None) -> None:
    """Start samba as a daemon: it must outlive us and must not be our child. `await_ready` waits for it. `env` is added to the host's own."""
    kill(site, host)
    (site.run(host) / "samba.pid").unlink(missing_ok=True)
    samba_conf.write(site, host)
    samba: Command = [SAMBA, "--daemon", "--model=prefork", "-s", site.smb_conf(host), "-l", site.log(host)]
    run(inside(site, host, samba), env=environment(site, host, env))


def await_ready(site: Site, hosts: Iterable[Host]) -> None:
    """Return when each of them answers; LabError, with what they wait for, after START_LIMIT."""
    for host in hosts:
        pipe = site.run(host) / "winbindd" / "pipe"
        probe: Command = ["python3", "-I", HERE / "ready.py", host.address, f"{START_LIMIT:g}", pipe]
        run_inside(site, host, probe, timeout=START_LIMIT + 30)


def start(site: Site, hosts: Iterable[Host], env: Mapping[str, str] | None = None) -> None:
    """Start controllers side by side and wait until all answer."""
    chosen = list(hosts)
    for host in chosen:
        launch(site, host, env)
    await_ready(site, chosen)


def stop(site: Site, hosts: Iterable[Host]) -> None:
    """Stop samba in order, as a snapshot needs it, and wait until its processes are gone."""
    chosen = list(hosts)
    for host in chosen:
        pid = _pid(site, host)
        if pid is not None and pid in daemons(site, host):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT
    for host in chosen:
        while daemons(site, host):
            if time.monotonic() > deadline:
                raise LabError(f"samba on {host.name} did not stop within {STOP_LIMIT:g} s")
            time.sleep(POLL)


def _common_arguments(site: Site, host: Host) -> list[str]:
    empty = site.directory(host) / "empty.conf"
    empty.write_text("[global]\n")
    site.data(host).mkdir(parents=True, exist_ok=True)
    return [
        f"--configfile={empty}",
        f"--targetdir={site.data(host)}",
        "--dns-backend=SAMBA_INTERNAL",
        "--option=ad dc functional level = 2016",
        "--option=interfaces = lo eth0",
        "--option=bind interfaces only = yes",
    ]


def _finish_data(site: Site, host: Host) -> None:
    tls.install(site, host)
    samba_conf.write(site, host)


def _is_daemon(pid: int) -> bool:
    try:
        program = Path(f"/proc/{pid}/exe").readlink()
    except OSError:  # it has just ended
        return False
    return program.name in DAEMONS or program.parent.name == "samba"


def _pid(site: Site, host: Host) -> int | None:
    try:
        return int((site.run(host) / "samba.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None
