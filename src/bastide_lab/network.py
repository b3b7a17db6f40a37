"""Namespaces, the switch between them, and the files of /etc that differ from host to host.

Names are made from the fixed list of hosts, so that taking a lab down needs no record of what was built: it works after
kill -9, and the lab "a" never touches the lab "a-b".
"""

import os
import shutil
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bastide_lab import samba_conf
from bastide_lab.errors import LabError
from bastide_lab.plan import (
    CORP,
    DATABASES,
    FILES,
    HOSTS,
    PREFIX_LENGTH,
    PRIV,
    RESOLVER,
    SHARE,
    TARGETS,
    Host,
    Site,
)
from bastide_lab.process import RUN_SAMBA, SYSTEM_PYTHON, Command, run, spawn

NETNS = Path("/run/netns")
ETC_NETNS = Path("/etc/netns")
BRIDGE = "br0"
NOWHERE = "02:00:00:00:00:01"
KILL_LIMIT = 10.0
POLL = 0.02


def exists(namespace: str) -> bool:
    return (NETNS / namespace).exists()


def is_complete(site: Site, hosts: Iterable[Host]) -> bool:
    return exists(site.switch) and all(exists(site.namespace(host)) for host in hosts)


def create(site: Site, hosts: Iterable[Host]) -> None:
    """The switch and the hosts. The caller has destroyed what was there."""
    RUN_SAMBA.mkdir(parents=True, exist_ok=True)
    run(["ip", "netns", "add", site.switch])
    run(["ip", "-n", site.switch, "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "-n", site.switch, "addr", "add", f"{RESOLVER}/{PREFIX_LENGTH}", "dev", BRIDGE])
    run(["ip", "-n", site.switch, "link", "set", BRIDGE, "up"])
    start_resolver(site)
    for host in hosts:
        add_host(site, host)


def start_resolver(site: Site) -> None:
    """The site's name server, unless it runs: it is the only process of the switch."""
    if _processes(site.switch):
        return
    zones = {r: [h.address for h in HOSTS.values() if h.realm is r and h.is_controller] for r in (CORP, PRIV)}
    arguments = [f"{r.dns}={','.join(addresses)}" for r, addresses in zones.items()]
    program: Command = [SYSTEM_PYTHON, "-I", Path(__file__).with_name("resolver.py"), RESOLVER, *arguments]
    spawn(["ip", "netns", "exec", site.switch, *program], log=site.root / "resolver.log")


def add_host(site: Site, host: Host) -> None:
    """Plug one more host into the switch. Both ends of its cable live inside of namespaces only."""
    namespace = site.namespace(host)
    run(["ip", "netns", "add", namespace])
    run(
        [
            *("ip", "link", "add", _port(host), "netns", site.switch, "type", "veth"),
            *("peer", "name", "eth0", "netns", namespace),
        ]
    )
    run(["ip", "-n", site.switch, "link", "set", _port(host), "master", BRIDGE, "up"])
    run(["ip", "-n", namespace, "link", "set", "lo", "up"])
    run(["ip", "-n", namespace, "addr", "add", f"{host.address}/{PREFIX_LENGTH}", "dev", "eth0"])
    run(["ip", "-n", namespace, "link", "set", "eth0", "up"])
    _write_files(site, host)


def set_link(site: Site, host: Host, *, up: bool) -> None:
    """Plug the host's cable in, or pull it: what it sends is lost, nothing answers. Plugged in, it reaches everybody again."""
    run(["ip", "-n", site.switch, "link", "set", _port(host), "up" if up else "down"])
    if up:
        # All of them: whom it could not find while it was cut, it would go on not finding for seconds.
        run(["ip", "-n", site.namespace(host), "neighbour", "flush", "dev", "eth0", "nud", "all"])


def lose(site: Site, host: Host, other: Host) -> None:
    """What the host sends to the other is lost, until its cable is plugged in: it goes to a network card that nobody has."""
    entry = [other.address, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent"]
    run(["ip", "-n", site.namespace(host), "neighbour", "replace", *entry])


def is_linked(site: Site, host: Host) -> bool:
    return ",UP" in run(["ip", "-n", site.switch, "-o", "link", "show", _port(host)])


def processes(site: Site, host: Host) -> list[int]:
    """Every process whose network is the host's."""
    return _processes(site.namespace(host))


def signal_all(site: Site, host: Host, number: signal.Signals) -> None:
    """To every process of the host. LabError if the caller is one of them: a test that went inside would end itself."""
    pids = processes(site, host)
    if os.getpid() in pids:
        raise LabError(f"this process is on {host.name} itself")
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(site: Site, host: Host) -> None:
    """End every process of the host without a word, as a power cut does. Raises LabError."""
    signal_all(site, host, signal.SIGKILL)
    _kill_processes(site.namespace(host))


def destroy(site: Site) -> None:
    """Take away every process, namespace and file in /etc of the lab, whatever is there."""
    remove(site, HOSTS.values())
    _end(site.switch)
    with suppress(OSError):  # other labs, or the machine's own namespaces, keep it
        ETC_NETNS.rmdir()


def remove(site: Site, hosts: Iterable[Host]) -> None:
    """Take these hosts away, whatever is there of them. A cable would end some time after its namespace: it is pulled out first."""
    switched = exists(site.switch)
    for host in hosts:
        if switched:
            with suppress(LabError):
                run(["ip", "-n", site.switch, "link", "delete", _port(host)])
        _end(site.namespace(host))
        shutil.rmtree(site.netns_files(host), ignore_errors=True)


def _end(namespace: str) -> None:
    if exists(namespace):
        _kill_processes(namespace)
        run(["ip", "netns", "delete", namespace])


def _processes(namespace: str) -> list[int]:
    if not exists(namespace):
        return []
    return [int(pid) for pid in run(["ip", "netns", "pids", namespace]).split()]


def _kill_processes(namespace: str) -> None:
    """SIGKILL to every process of the namespace, until there is none: one that lives on would keep it alive, unnamed."""
    deadline = time.monotonic() + KILL_LIMIT
    while pids := _processes(namespace):
        if time.monotonic() > deadline:
            raise LabError(f"processes {pids} of {namespace} do not end")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL)


def _port(host: Host) -> str:
    return f"p-{host.name}"


def _write_files(site: Site, host: Host) -> None:
    files = site.netns_files(host)
    files.mkdir(parents=True, exist_ok=True)
    for directory in (site.run(host), site.log(host), site.krb5_conf(host).parent):
        directory.mkdir(parents=True, exist_ok=True)
    (files / "resolv.conf").write_text(_resolv_conf(host))
    (files / "hosts").write_text(_hosts(host))
    site.krb5_conf(host).write_text(_krb5_conf(host))
    samba_conf.write(site, host)
    # The machine may have no /etc/krb5.conf, and then `ip netns exec` has nothing to bind over: KRB5_CONFIG is the
    # door that is always there. This one is for programs that clear their environment.
    if Path("/etc/krb5.conf").exists():
        (files / "krb5.conf").write_text(_krb5_conf(host))


def _hosts(host: Host) -> str:
    """Connected systems, databases and the share are in no zone: with every controller cut off, they are still found."""
    known = dict.fromkeys((host, TARGETS, *DATABASES, *FILES, SHARE))
    names = "".join(f"{one.address} {one.fqdn} {one.name}\n" for one in known)
    return f"127.0.0.1 localhost\n{names}"


def _resolv_conf(host: Host) -> str:
    """A controller asks itself first, as they do: only so does one that is cut off still know its own names."""
    servers = [host.address, RESOLVER] if host.is_controller else [RESOLVER]
    lines = [f"search {host.realm.dns}", *(f"nameserver {server}" for server in servers)]
    return "\n".join([*lines, "options timeout:2 attempts:2"]) + "\n"


def _krb5_conf(host: Host) -> str:
    realms = "".join(f" .{r.dns} = {r.kerberos}\n {r.dns} = {r.kerberos}\n" for r in (CORP, PRIV))
    return (
        f"[libdefaults]\n default_realm = {host.realm.kerberos}\n dns_lookup_kdc = true\n dns_lookup_realm = false\n dns_uri_lookup = false\n"
        f" rdns = false\n dns_canonicalize_hostname = false\n\n[domain_realm]\n{realms}"
    )
