r"""A lab: two forests, one trust, a server and a client, in network namespaces of this machine.

    lab = Lab(prefix="mine")
    lab.up()
    lab.kinit("client", "corp\\alice").check_returncode()
    lab.down()

Labs of different prefixes live side by side. A lab belongs to the machine, not to the process that built it: it stays up
until `down`, which needs no record of it and therefore works after any crash.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bastide_lab import capture, controller, network, passwords, plan, scene, snapshot, targets, tls
from bastide_lab.cluster import NEEDED as NEEDED_BY_CLUSTER
from bastide_lab.cluster import Databases
from bastide_lab.errors import LabError
from bastide_lab.locks import exclusive, interruptible
from bastide_lab.plan import (
    ADMINISTRATOR,
    CLUSTER,
    CORPDC,
    FILES,
    FIRST_CONTROLLERS,
    HOSTS,
    ON_DEMAND,
    PRIV,
    PRIVDC,
    PRIVDC2,
    TARGETS,
    Host,
    Site,
)
from bastide_lab.process import environment, inside
from bastide_lab.shares import NEEDED as NEEDED_BY_SHARES
from bastide_lab.shares import Shares

NEEDED = ("ip", "samba-tool", "/usr/sbin/samba", "smbclient", "kinit", "openssl")
INSTALL = "python3 tools/install.py --lab"
TRUST_ATTEMPTS = 8
REMOVAL_ATTEMPTS = 50
REMOVAL_PAUSE = 0.1


class Lab:
    def __init__(self, prefix: str = "bastide", state_root: Path = plan.STATE_ROOT) -> None:
        self.site = Site(prefix, state_root)

    @property
    def prefix(self) -> str:
        return self.site.prefix

    @property
    def root(self) -> Path:
        return self.site.root

    @property
    def ca(self) -> Path:
        """The certificate that signed those of the server and of the controllers (LDAPS)."""
        return self.site.tls / "ca.crt"

    @staticmethod
    def realm(forest: str) -> str:
        """The Kerberos realm of "corp" or "priv"."""
        return plan.realm(forest).kerberos

    @staticmethod
    def base_dn(forest: str) -> str:
        return plan.realm(forest).base_dn

    @staticmethod
    def address(host: str) -> str:
        return plan.host(host).address

    @staticmethod
    def fqdn(host: str) -> str:
        return plan.host(host).fqdn

    @staticmethod
    def principal(name: str) -> str:
        r"""The Kerberos name of an account: "corp\alice" is alice@CORP.BASTIDE.TEST."""
        forest, _, account = name.partition("\\")
        return f"{account}@{plan.realm(forest).kerberos}"

    def password(self, name: str) -> str:
        r"""The password of "corp\alice" or "priv\Administrator"; LabError if there is none."""
        known = passwords.load(self.site.secrets)
        if name.lower() not in known:
            raise LabError(f"no account is called {name!r}: it is one of {', '.join(sorted(known))}")
        return known[name.lower()]

    def namespace(self, host: str) -> str:
        return self.site.namespace(plan.host(host))

    # --- life ---------------------------------------------------------------------------------------------------------

    def up(self, *, second_dc: bool = False, cluster: bool = False, shares: bool = False) -> None:
        """Bring the lab up, or up again, and return when it answers. Whatever stops it half-way takes it down again.

        `cluster`: with two more hosts for servers, and three with PostgreSQL (`databases`). `shares`: with two file servers (`shares`).
        """
        further = (*(NEEDED_BY_CLUSTER if cluster else ()), *(NEEDED_BY_SHARES if shares else ()))
        _check_machine((*NEEDED, *further))
        with exclusive(self.prefix), interruptible():
            try:
                if self._is_built():
                    self._resume()
                else:
                    self._destroy()
                    self._build(second_dc=second_dc)
                if second_dc and not self._has("second_dc"):
                    self._add_second_dc()
                if cluster and not self._has("cluster"):
                    self._add_cluster()
                if shares and not self._has("shares"):
                    self._add_shares()
            except BaseException:
                self._destroy()
                raise

    def down(self) -> None:
        """Leave nothing behind: no process, namespace, mount or file. Snapshots stay."""
        _check_root()
        with exclusive(self.prefix):
            self._destroy()

    def add_second_dc(self) -> None:
        """Join privdc2 to the running lab."""
        self._add("second_dc", (), self._add_second_dc)

    def add_cluster(self) -> None:
        """Add the hosts of `up(cluster=True)` to the running lab."""
        self._add("cluster", NEEDED_BY_CLUSTER, self._add_cluster)

    def add_shares(self) -> None:
        """Add the hosts of `up(shares=True)` to the running lab."""
        self._add("shares", NEEDED_BY_SHARES, self._add_shares)

    @property
    def shares(self) -> Shares:
        """The verbs for the file servers."""
        return Shares(self.site)

    @property
    def databases(self) -> Databases:
        """The verbs for the databases of a cluster."""
        return Databases(self.site)

    def stop_dc(self, host: str, *, kill: bool = False) -> None:
        """Stop samba on a controller: in order, or as a power cut would."""
        end = controller.kill if kill else _stop_one
        end(self.site, self._controller(host))

    def start_dc(self, host: str, *, env: Mapping[str, str] | None = None) -> None:
        """Start a stopped controller and wait until it answers. `env` is added to its environment: a clock that is wrong, for example."""
        chosen = self._controller(host)
        if not controller.is_running(self.site, chosen):
            controller.start(self.site, [chosen], env)

    def enable_capture(self, certificate: bytes, *, hosts: Sequence[str] = ("corpdc",)) -> list[str]:
        """From now on these controllers also keep each new password encrypted to an OpenPGP certificate, or to several in a row.

        Gives the fingerprints. Samba is started again; a snapshot has none of it, and so the next lab starts without.
        """
        fingerprints: list[str] = []
        for host in hosts:
            chosen = self._controller(host)
            fingerprints = capture.enable(self.site, chosen, certificate)
            controller.stop(self.site, [chosen])
            controller.start(self.site, [chosen])
        return fingerprints

    def cut(self, host: str, *others: str) -> None:
        """Pull the host's network cable; or, with others, lose only what it sends to them."""
        for other in others:
            network.lose(self.site, self._present(host), self._present(other))
        if not others:
            network.set_link(self.site, self._present(host), up=False)

    def mend(self, host: str) -> None:
        """Undo every cut of the host."""
        network.set_link(self.site, self._present(host), up=True)

    def kill_host(self, host: str) -> None:
        """End all that runs on a host, as a power cut does. What stood there is on its disk. LabError for whoever is on it himself."""
        network.kill(self.site, self._present(host))

    def pause(self, host: str) -> None:
        """Stop all that runs on a host without ending it (SIGSTOP). LabError for whoever is on it himself."""
        network.signal_all(self.site, self._present(host), signal.SIGSTOP)

    def resume(self, host: str) -> None:
        """Let it go on (SIGCONT), as if no time had passed."""
        network.signal_all(self.site, self._present(host), signal.SIGCONT)

    def start_target(
        self, kind: str, name: str = "", *, pair: targets.Pair | None = None
    ) -> targets.Endpoint:
        """Start a connected system on the host `targets`: "slapd", "postgres", "mariadb". It runs until `stop_target` or `down`.

        `name`: several of a kind side by side. `pair`: its certificate, instead of a good one of the lab's CA.
        """
        with exclusive(self.prefix):
            self._check_up()
            return targets.start(self.site, kind, name or kind, pair)

    def stop_target(self, name: str, *, kill: bool = False, forget: bool = False) -> None:
        """Stop one: in order, or as a power cut would. It keeps its data, unless it is to be forgotten."""
        with exclusive(self.prefix):
            self._present(TARGETS.name)
            targets.stop(self.site, name, kill=kill, forget=forget)

    # --- use ----------------------------------------------------------------------------------------------------------

    def exec(
        self,
        host: str,
        command: Sequence[str | Path],
        *,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run gives it
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host to its end. `env` is added to the caller's environment and the host's own."""
        where = self._present(host)
        return subprocess.run(
            inside(self.site, where, command),
            input=input or "",
            env=environment(self.site, where, env),
            timeout=timeout,
            check=check,
            text=True,
            capture_output=True,
        )

    def popen(
        self,
        host: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[str]:
        """Start a command on a host; `options` are those of subprocess.Popen. `down` kills what is still running."""
        where = self._present(host)
        options = {"text": True, "stdin": subprocess.DEVNULL, **options}
        started: subprocess.Popen[str] = subprocess.Popen(
            inside(self.site, where, command), env=environment(self.site, where, env), **options
        )
        return started

    def command(self, host: str, command: Sequence[str | Path]) -> tuple[list[str], dict[str, str]]:
        """Arguments and environment with which any process starts `command` on a host."""
        where = self._present(host)
        return inside(self.site, where, command), environment(self.site, where)

    def kinit(
        self, host: str, name: str, *, ccache: Path | None = None, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        r"""Get a ticket for "corp\alice" on a host, into `ccache` or the host's own cache."""
        cache = ["-c", f"FILE:{ccache}"] if ccache else []
        command = ["kinit", *cache, *options, self.principal(name)]
        return self.exec(host, command, input=self.password(name) + "\n")

    def keytab(self, forest: str, principals: Sequence[str], path: Path) -> None:
        """Add the present keys of the forest's principals to a keytab of mode 0600."""
        where = CORPDC if plan.realm(forest) is plan.CORP else PRIVDC
        if not path.exists():
            path.touch(mode=0o600)
            path.unlink()  # an empty file is no keytab; the exporter makes its own
        order = {"path": str(path), "principals": list(principals)}
        controller.samba_side(self.site, where, "export_keytab", order)
        path.chmod(0o600)

    def status(self) -> dict[str, Any]:
        """What stands and what runs, for people and programs."""
        present = [host for host in HOSTS.values() if network.exists(self.site.namespace(host))]
        return {
            "prefix": self.prefix,
            "root": str(self.root),
            "up": self._is_built() and all(controller.is_running(self.site, dc) for dc in FIRST_CONTROLLERS),
            "second_dc": self._has("second_dc"),
            "cluster": self._has("cluster"),
            "shares": self._has("shares"),
            "primary": self._primary(),
            "hosts": {host.name: self._host_status(host) for host in present},
        }

    def _primary(self) -> str:
        """Empty: there is none, or nobody can say."""
        if not self._has("cluster"):
            return ""
        try:
            return self.databases.primary()
        except LabError:
            return ""

    def _host_status(self, host: Host) -> dict[str, Any]:
        status: dict[str, Any] = {
            "address": host.address,
            "fqdn": host.fqdn,
            "realm": host.realm.kerberos,
            "namespace": self.site.namespace(host),
            "linked": network.is_linked(self.site, host),
            "processes": len(network.processes(self.site, host)),
        }
        if host.is_controller:
            status["running"] = controller.is_running(self.site, host)
        return status

    # --- building -----------------------------------------------------------------------------------------------------

    @property
    def _marker(self) -> Path:
        """Says that the lab was built to its end."""
        return self.root / "built.json"

    def _is_built(self) -> bool:
        return self._marker.exists() and network.is_complete(self.site, self._hosts())

    def _has(self, group: str) -> bool:
        """Whether the hosts are there that come on demand: "second_dc", "cluster", "shares"."""
        return self._marker.exists() and bool(json.loads(self._marker.read_text()).get(group))

    def _mark(self, *groups: str) -> None:
        """These are there, and what was there before."""
        before = json.loads(self._marker.read_text()) if self._marker.exists() else {}
        self._marker.write_text(json.dumps({**before, **dict.fromkeys(groups, True)}))

    def _hosts(self) -> list[Host]:
        """Those that must be there."""
        standing = [host for host in HOSTS.values() if host not in ON_DEMAND]
        second = [PRIVDC2] if self._has("second_dc") else []
        further = (*(CLUSTER if self._has("cluster") else ()), *(FILES if self._has("shares") else ()))
        return [*standing, *second, *further]

    def _check_up(self) -> None:
        if not self._is_built():
            raise LabError(f"the lab {self.prefix!r} is not up. Run: bastide-lab up --prefix {self.prefix}")

    def _present(self, name: str) -> Host:
        host = plan.host(name)
        if not network.exists(self.site.namespace(host)):
            raise LabError(
                f"{name} is not up in the lab {self.prefix!r}. Run: bastide-lab up --prefix {self.prefix}"
            )
        return host

    def _controller(self, name: str) -> Host:
        host = self._present(name)
        if not host.is_controller:
            raise LabError(f"{name} is not a domain controller")
        return host

    def _resume(self) -> None:
        network.start_resolver(self.site)
        for host in self._hosts():
            network.set_link(self.site, host, up=True)
        stopped = [h for h in self._hosts() if h.is_controller and not controller.is_running(self.site, h)]
        controller.start(self.site, stopped)
        if self._has("cluster"):
            for host in CLUSTER:
                network.signal_all(self.site, host, signal.SIGCONT)
            self.databases.start()
        if self._has("shares"):
            for host in FILES:
                network.signal_all(self.site, host, signal.SIGCONT)
            self.shares.start()

    def _destroy(self) -> None:
        network.destroy(self.site)
        # A copy that a killed `up` had started may still be writing; it ends when it finds its directory gone.
        for _ in range(REMOVAL_ATTEMPTS):
            shutil.rmtree(self.root, ignore_errors=True)
            if not self.root.exists():
                return
            time.sleep(REMOVAL_PAUSE)
        raise LabError(f"{self.root} cannot be removed: something still writes there")

    def _build(self, *, second_dc: bool) -> None:
        self.root.mkdir(parents=True)
        network.create(self.site, [host for host in HOSTS.values() if host not in ON_DEMAND])
        recipe = snapshot.key()
        # Two labs that both find no snapshot would make it twice; the second waits and uses the first one's.
        with exclusive(f"snapshot-{recipe}"):
            base = snapshot.directory(snapshot.BASE, recipe)
            second = snapshot.directory(snapshot.SECOND_DC, recipe)
            if not base.exists():
                self._provision()
                snapshot.save(self.site, FIRST_CONTROLLERS, base)
            elif not (second_dc and second.exists()):
                snapshot.restore(self.site, FIRST_CONTROLLERS, base)
            if second_dc:
                self._lay_down_second_dc(second)
        controller.start(self.site, (*FIRST_CONTROLLERS, PRIVDC2) if second_dc else FIRST_CONTROLLERS)
        self._mark(*(["second_dc"] if second_dc else []))

    def _lay_down_second_dc(self, second: Path) -> None:
        """Its files and those of the others, all stopped."""
        three = (*FIRST_CONTROLLERS, PRIVDC2)
        network.add_host(self.site, PRIVDC2)
        if second.exists():
            snapshot.restore(self.site, three, second)
            return
        controller.start(self.site, FIRST_CONTROLLERS)
        self._join_second_dc()
        controller.stop(self.site, three)
        snapshot.save(self.site, three, second)

    def _provision(self) -> None:
        """Both forests, the scene, and the trust; at the end everything is stopped."""
        secrets = passwords.generate(scene.accounts())
        passwords.save(self.site.secrets, secrets)
        tls.create(self.site.tls)
        for host in FIRST_CONTROLLERS:
            controller.provision(self.site, host, secrets[f"{host.realm.key}\\{ADMINISTRATOR}".lower()])
            controller.samba_side(self.site, host, "populate", scene.order(self.site, host, secrets))
        controller.start(self.site, FIRST_CONTROLLERS)
        for host in FIRST_CONTROLLERS:
            controller.update_principals(self.site, host)
        self._trust()
        controller.stop(self.site, FIRST_CONTROLLERS)

    def _trust(self) -> None:
        """CORP trusts PRIV. The first attempts after a start can fail."""
        order = {
            "domain": PRIV.dns,
            "account": self.principal(rf"priv\{ADMINISTRATOR}"),
            "password": self.password(rf"priv\{ADMINISTRATOR}"),
        }
        for attempt in range(1, TRUST_ATTEMPTS + 1):
            try:
                controller.samba_side(self.site, CORPDC, "trust", order)
            except LabError:
                if attempt == TRUST_ATTEMPTS:
                    raise
            else:
                return

    def _add(self, group: str, needed: Sequence[str], build: Callable[[], None]) -> None:
        with exclusive(self.prefix), interruptible():
            self._check_up()
            _check_machine(needed)
            if not self._has(group):
                build()

    def _add_second_dc(self) -> None:
        network.add_host(self.site, PRIVDC2)
        self._join_second_dc()
        self._mark("second_dc")

    def _add_cluster(self) -> None:
        self._add_hosts(CLUSTER)
        self.databases.build()
        self._mark("cluster")

    def _add_shares(self) -> None:
        self._add_hosts(FILES)
        self.shares.build(self.principal(rf"priv\{ADMINISTRATOR}"), self.password(rf"priv\{ADMINISTRATOR}"))
        self._mark("shares")

    def _add_hosts(self, hosts: Sequence[Host]) -> None:
        """An attempt that ended half-way may have left some of it."""
        network.remove(self.site, hosts)
        for host in hosts:
            shutil.rmtree(self.site.directory(host), ignore_errors=True)
            network.add_host(self.site, host)

    def _join_second_dc(self) -> None:
        password = self.password(rf"priv\{ADMINISTRATOR}")
        controller.join(self.site, PRIVDC2, password)
        controller.start(self.site, [PRIVDC2])
        controller.publish(self.site, PRIVDC2, password)


def _stop_one(site: Site, host: Host) -> None:
    controller.stop(site, [host])


def _check_root() -> None:
    if os.geteuid() != 0:
        raise LabError(
            "the lab makes network namespaces and needs root. Run it as root, for example with sudo"
        )


def _check_machine(needed: Sequence[str]) -> None:
    _check_root()
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        raise LabError(f"not installed: {', '.join(missing)}. Run: {INSTALL}")
