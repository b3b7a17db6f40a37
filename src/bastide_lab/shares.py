"""Two file servers that are one: Samba with CTDB, members of PRIV, a share and an address that goes where a living one of them is.

    lab.up(shares=True)
    lab.shares.move(to="files2")
    lab.shares.kill("files2")
    lab.shares.start("files2")

Both see the same folder of this machine, as they would see a cluster's file system.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from bastide_lab import network
from bastide_lab.errors import LabError
from bastide_lab.plan import FILES, PREFIX_LENGTH, SHARE, WITNESS, Host, Site
from bastide_lab.process import Command, environment, inside, run, run_inside, spawn

NEEDED = ("ctdb", "ctdbd", "smbd", "winbindd", "net")
#: The account that backups are written as, and the user of this machine that its files belong to.
WRITER, OWNER = "svc-bastide", "daemon"
BACKUPS, SNAPSHOTS = "backups", "snapshots"
#: What a snapshot is called below `.snapshots` of the second share.
FIRST_SNAPSHOT = "snap-2026.01.02-03.04.05"
WHOLE_LIMIT, JOIN_LIMIT = 60.0, 40.0
POLL = 0.1
#: Seconds. CTDB's own, 5 and 5, notice a pulled cable after half a minute.
KEEPALIVE, KEEPALIVES = 1, 3
#: The paths are compiled in: `$0` is the host's folder. `ip netns exec` has made the mount namespace private.
BIND = (
    'mount --bind "$0/run" /run/ctdb && mount --bind "$0/lib" /var/lib/ctdb && mount --bind "$0/etc" /etc/ctdb'
    ' && exec "$@"'
)
CTDB = """\
[logging]
  location = file:{log}
[cluster]
  node address = {address}
  cluster lock = {lock}
[legacy]
  realtime scheduling = false
"""
TUNABLES = f"""\
KeepaliveInterval={KEEPALIVE}
KeepaliveLimit={KEEPALIVES}
NoIPFailback=1
"""
#: Instead of CTDB's own, which want a real network card and a firewall, and start services with systemd.
EVENTS = f"""\
#!/bin/sh
case "$1" in
init) for each in {SHARE.address} {WITNESS}; do ip addr del $each/{PREFIX_LENGTH} dev eth0 2>/dev/null; done ;;
takeip) ip addr add "$3/$4" dev "$2" ;;
releaseip) ip addr del "$3/$4" dev "$2" ;;
esac
exit 0
"""
SMB = """\
[global]
\tnetbios name = {name}
\trealm = {realm}
\tworkgroup = {workgroup}
\tsecurity = ads
\tclustering = yes
\tinterfaces = eth0
\tserver min protocol = SMB3_11
\tserver smb encrypt = required
\tserver signing = mandatory
\tserver multi channel support = yes
\trpc start on demand helpers = no
\tdisable netbios = yes
\tsmb ports = 445
\tload printers = no
\tdisable spoolss = yes
\tprivate dir = {folder}/private
\tlock directory = {folder}
\tstate directory = {folder}
\tcache directory = {folder}
\tpid directory = {run}
\tncalrpc dir = {run}/ncalrpc
\tlogging = file
\tlog file = {logs}/log.%m
\tmachine password timeout = 0
\tidmap config * : backend = tdb
\tidmap config * : range = 3000-7999
\tidmap config {workgroup} : backend = rid
\tidmap config {workgroup} : range = 1000000-1999999
\tusername map = {users}
\tmin domain uid = 0
\tkernel oplocks = no
\tkernel share modes = no
\tposix locking = no
\tread only = no
\tfileid:algorithm = fsname
[{backups}]
\tpath = {shared}/{backups}
\tvfs objects = fileid
[{snapshots}]
\tpath = {shared}/{snapshots}
\tvfs objects = fileid shadow_copy2
\tshadow:snapdir = {shared}/{snapshots}/.snapshots
\tshadow:basedir = {shared}/{snapshots}
\tshadow:format = snap-%Y.%m.%d-%H.%M.%S
"""


class Shares:
    """The verbs for them."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def folder(self) -> Path:
        """What the share `backups` shows, on this machine."""
        return self._shared / BACKUPS

    # ------------------------------------------------------------------------------------------------------------- verbs

    def holder(self, address: str = SHARE.address) -> str:
        """The host that has the address, of those that can be reached. Raises LabError."""
        for host in FILES:
            if network.is_linked(self._site, host):
                shown = run(["ip", "-n", self._site.namespace(host), "-o", "addr", "show", "dev", "eth0"])
                if f" {address}/" in shown:
                    return host.name
        raise LabError(f"nobody has the address {address}")

    def move(self, to: str, address: str = SHARE.address) -> None:
        """The address, to another host that lives: what was connected there is cut off."""
        target = _files(to)
        self._run(target, ["ctdb", "moveip", address, str(FILES.index(target))])
        self._until(lambda: self.holder(address) == to, f"{address} does not go to {to}")

    def send_clients(self, to: str) -> None:
        """Have the witness tell all who listen to go to that host's address, of their own accord."""
        address = SHARE.address if self.holder() == to else WITNESS
        self._run(
            _files(to),
            ["net", "witness", "client-move", "--witness-apply-to-all", f"--witness-new-ip={address}"],
        )

    def kill(self, name: str) -> None:
        """As a power cut does: every process, and the cable with it."""
        host = _files(name)
        network.set_link(self._site, host, up=False)
        network.kill(self._site, host)

    def start(self, *names: str) -> None:
        """Bring hosts back (without a name: all) and return when both are well. What runs is left alone."""
        hosts = [_files(name) for name in names] or list(FILES)
        for host in hosts:
            network.set_link(self._site, host, up=True)
        new = [host for host in hosts if self._launch_ctdb(host)]
        try:
            self._until(self._is_well, "CTDB is not well", JOIN_LIMIT)
        except LabError:
            # Now and then both sides refuse each other's connections by turns ("Incoming queue active"), without end.
            for host in new:
                network.kill(self._site, host)
                self._launch_ctdb(host)
            self._until(self._is_well, "CTDB is not well")
        for host in hosts:
            self._launch_samba(host)
        holder = self.holder()
        if self.holder(WITNESS) == holder:
            self.move(next(host.name for host in FILES if host.name != holder), WITNESS)
        self._until(self._answers, f"nobody serves at {SHARE.fqdn}")

    # ---------------------------------------------------------------------------------------------------------- building

    def build(self, administrator: str, password: str) -> None:
        """On hosts that are there and empty, in a forest that runs: up to a share that answers. Raises LabError."""
        for share in (BACKUPS, SNAPSHOTS):
            folder = self._shared / share
            folder.mkdir(parents=True)
            folder.chmod(0o700)
            shutil.chown(folder, OWNER)
        (self._shared / SNAPSHOTS / ".snapshots" / FIRST_SNAPSHOT).mkdir(parents=True)
        for host in FILES:
            self._lay_out(host)
            self._launch_ctdb(host)
        self._until(self._is_well, "CTDB is not well")
        first = FILES[0]
        run_inside(self._site, first, ["kinit", administrator], stdin=f"{password}\n")
        self._run(first, ["net", "ads", "join", "--use-kerberos=required", "--no-dns-updates"])
        self.start()

    def _lay_out(self, host: Host) -> None:
        folder = self._folder(host)
        events = folder / "etc" / "events" / "legacy"
        for directory in (events, folder / "run", folder / "samba" / "private", *self._databases(host)):
            directory.mkdir(parents=True)
        lock = self._shared / "lock"
        log = self._site.log(host) / "log.ctdb"
        (folder / "etc" / "ctdb.conf").write_text(CTDB.format(log=log, address=host.address, lock=lock))
        (folder / "etc" / "ctdb.tunables").write_text(TUNABLES)
        (folder / "etc" / "nodes").write_text("".join(f"{one.address}\n" for one in FILES))
        (folder / "etc" / "public_addresses").write_text(
            "".join(f"{address}/{PREFIX_LENGTH} eth0\n" for address in (SHARE.address, WITNESS))
        )
        script = events / "50.lab.script"
        script.write_text(EVENTS)
        script.chmod(0o755)
        users = folder / "users"
        domain = host.realm.netbios
        # The second is the servers' own account, for `_answers`.
        users.write_text(f"{OWNER} = {domain}\\{WRITER} {domain}\\{SHARE.name.upper()}$\n")
        self._site.smb_conf(host).write_text(
            SMB.format(
                name=SHARE.name, realm=host.realm.kerberos, workgroup=domain, folder=folder / "samba",
                run=self._site.run(host), logs=self._site.log(host), users=users, shared=self._shared,
                backups=BACKUPS, snapshots=SNAPSHOTS,
            )
        )  # fmt: skip

    def _databases(self, host: Host) -> list[Path]:
        return [self._folder(host) / "lib" / name for name in ("volatile", "persistent", "state")]

    def _launch_ctdb(self, host: Host) -> bool:
        """False: it ran already."""
        if self._is_running(host, "ctdbd"):
            return False
        (self._folder(host) / "run" / "ctdbd.pid").unlink(missing_ok=True)
        self._spawn(host, ["ctdbd", "-i"])
        return True

    def _launch_samba(self, host: Host) -> None:
        for program in ("winbindd", "smbd"):
            if not self._is_running(host, program):
                self._spawn(host, [program, "-F", "--no-process-group"])
        if not self._is_running(host, "samba-dcerpcd"):
            self._spawn(host, ["/usr/libexec/samba/samba-dcerpcd", "-F", "--libexec-rpcds"])

    # ------------------------------------------------------------------------------------------------------------ asking

    @property
    def _shared(self) -> Path:
        return self._site.root / "shared"

    def _folder(self, host: Host) -> Path:
        return self._site.directory(host) / "files"

    def _is_well(self) -> bool:
        """Both are in, nobody is banned, and the address is somewhere."""
        for host in FILES:
            self._run(host, ["ctdb", "nodestatus", "all"])
        return bool(self.holder() and self.holder(WITNESS))

    def _answers(self) -> bool:
        """The shares are listed to the machine's own account."""
        listing: Command = ["smbclient", "-L", SHARE.fqdn, "--machine-pass", "--use-kerberos=required", "-g"]
        return all(BACKUPS in self._run(host, listing) for host in FILES)

    def _until(self, question: Callable[[], bool], otherwise: str, limit: float = WHOLE_LIMIT) -> None:
        """Raises LabError after `limit` seconds."""
        deadline = time.monotonic() + limit
        said: object = ""
        while True:
            try:
                if question():
                    return
            except LabError as error:
                said = error
            if time.monotonic() > deadline:
                raise LabError(f"{otherwise} after {limit:g} s. {said}")
            time.sleep(POLL)

    def _is_running(self, host: Host, program: str) -> bool:
        return any(_program(pid) == program for pid in network.processes(self._site, host))

    def _inside(self, host: Host, command: Command) -> list[str]:
        Path("/run/ctdb").mkdir(exist_ok=True)
        return inside(self._site, host, ["sh", "-c", BIND, self._folder(host), *command])

    def _run(self, host: Host, command: Command) -> str:
        return run(self._inside(host, command), env=environment(self._site, host))

    def _spawn(self, host: Host, command: Command) -> None:
        spawn(
            self._inside(host, command),
            log=self._site.log(host) / "log.start",
            env=environment(self._site, host),
        )


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:  # it has just ended
        return ""


def _files(name: str) -> Host:
    for host in FILES:
        if host.name == name:
            return host
    raise LabError(f"no file server is called {name!r}: it is one of {', '.join(one.name for one in FILES)}")
