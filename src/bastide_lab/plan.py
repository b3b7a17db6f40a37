"""Who stands where: realms, hosts, addresses and paths. Decides nothing, touches nothing.

Every lab has a switch namespace of its own, so the same addresses serve any number of labs side by side and none of
them is ever seen outside of the lab's namespaces.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from bastide_lab.errors import LabError

STATE_ROOT = Path("/var/lib/bastide-lab")
CACHE_ROOT = Path("/var/cache/bastide-lab")
LOCK_ROOT = Path("/run/bastide-lab")
SWITCH = "sw"
ADMINISTRATOR = "Administrator"
# Prefix and host name become one namespace name, and unix socket paths below the state root must stay below 108 bytes.
PREFIX_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,15}")


@dataclass(frozen=True, slots=True)
class Realm:
    key: str
    dns: str
    netbios: str

    @property
    def kerberos(self) -> str:
        return self.dns.upper()

    @property
    def base_dn(self) -> str:
        return ",".join(f"DC={label}" for label in self.dns.split("."))


@dataclass(frozen=True, slots=True)
class Host:
    name: str
    address: str
    realm: Realm
    is_controller: bool = False

    @property
    def fqdn(self) -> str:
        return f"{self.name}.{self.realm.dns}"


CORP = Realm("corp", "corp.bastide.test", "CORP")
PRIV = Realm("priv", "priv.bastide.test", "PRIV")
REALMS = {realm.key: realm for realm in (CORP, PRIV)}

CORPDC = Host("corpdc", "10.51.0.10", CORP, is_controller=True)
PRIVDC = Host("privdc", "10.51.0.20", PRIV, is_controller=True)
PRIVDC2 = Host("privdc2", "10.51.0.21", PRIV, is_controller=True)
BASTIDE = Host("bastide", "10.51.0.40", PRIV)
CLIENT = Host("client", "10.51.0.50", CORP)
#: Connected systems that are no domain controllers, when somebody starts one.
TARGETS = Host("targets", "10.51.0.60", PRIV)
BASTIDE2 = Host("bastide2", "10.51.0.41", PRIV)
BASTIDE3 = Host("bastide3", "10.51.0.42", PRIV)
#: Where nodes of Bastide run.
SERVERS = (BASTIDE, BASTIDE2, BASTIDE3)
#: PostgreSQL under Patroni, and etcd: `cluster/`.
DATABASES = (
    Host("db1", "10.51.0.71", PRIV),
    Host("db2", "10.51.0.72", PRIV),
    Host("db3", "10.51.0.73", PRIV),
)
CLUSTER = (BASTIDE2, BASTIDE3, *DATABASES)
#: A share that survives one of them, with CTDB: `shares.py`.
FILES = (Host("files1", "10.51.0.81", PRIV), Host("files2", "10.51.0.82", PRIV))
#: What both are called together. Its address goes where a living one of them is.
SHARE = Host("files", "10.51.0.91", PRIV)
#: A second address of theirs, on the host that does not have the first: Samba's witness answers at such addresses alone.
WITNESS = "10.51.0.92"
HOSTS = {host.name: host for host in (CORPDC, PRIVDC, PRIVDC2, BASTIDE, CLIENT, TARGETS, *CLUSTER, *FILES)}
#: The others are there from the beginning. A host cannot be added by somebody who is inside of another one: its namespace would end with his mounts.
ON_DEMAND = (PRIVDC2, *CLUSTER, *FILES)
FIRST_CONTROLLERS = (PRIVDC, CORPDC)
PREFIX_LENGTH = 16
# The switch has an address of its own, where the site's name server listens.
RESOLVER = "10.51.0.2"


def server_names(server: Host) -> tuple[str, str]:
    """What a host of Bastide is called in PRIV and in CORP: the trust is one way, so it needs a name, and a service principal, in each."""
    return server.fqdn, f"{server.name}.{CORP.dns}"


SERVER_NAMES = server_names(BASTIDE)


def realm(key: str) -> Realm:
    """The realm called `key` ("corp" or "priv"); LabError for any other."""
    if key.lower() not in REALMS:
        raise LabError(f"no forest is called {key!r}: it is one of {', '.join(REALMS)}")
    return REALMS[key.lower()]


def host(name: str) -> Host:
    """The host called `name`; LabError for any other."""
    if name not in HOSTS:
        raise LabError(f"no host is called {name!r}: it is one of {', '.join(HOSTS)}")
    return HOSTS[name]


@dataclass(frozen=True, slots=True)
class Site:
    """One lab's names and paths."""

    prefix: str
    state_root: Path = STATE_ROOT

    def __post_init__(self) -> None:
        if not PREFIX_PATTERN.fullmatch(self.prefix):
            raise LabError(f"the prefix {self.prefix!r} is not 1 to 16 of a-z, 0-9 and '-', a letter first")

    @property
    def root(self) -> Path:
        return self.state_root / self.prefix

    @property
    def tls(self) -> Path:
        return self.root / "tls"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    @property
    def switch(self) -> str:
        return f"{self.prefix}-{SWITCH}"

    def namespace(self, host: Host) -> str:
        return f"{self.prefix}-{host.name}"

    def netns_files(self, host: Host) -> Path:
        """What `ip netns exec` binds over /etc: see ip-netns(8)."""
        return Path("/etc/netns") / self.namespace(host)

    def directory(self, host: Host) -> Path:
        return self.root / "hosts" / host.name

    def data(self, host: Host) -> Path:
        """All that a controller must keep; the only part of a host that a snapshot holds."""
        return self.directory(host) / "data"

    def run(self, host: Host) -> Path:
        """Stands at /run/samba for every process of the host: libwbclient has that path compiled in."""
        return self.directory(host) / "run"

    def log(self, host: Host) -> Path:
        return self.directory(host) / "log"

    def smb_conf(self, host: Host) -> Path:
        return self.directory(host) / "etc" / "smb.conf"

    def krb5_conf(self, host: Host) -> Path:
        return self.directory(host) / "etc" / "krb5.conf"

    def gnupg(self, host: Host) -> Path:
        """GnuPG's home of a controller that encrypts its passwords (`capture.py`); no snapshot holds it."""
        return self.directory(host) / "gnupg"

    def database(self, host: Host) -> Path:
        return self.data(host) / "private" / "sam.ldb"
