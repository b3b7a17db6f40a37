"""etcd: one member a host. It holds who the primary is. Members and clients show a certificate each, and verify the other's."""

from bastide_lab.plan import DATABASES
from bastide_lab.targets.place import Place

CLIENT_PORT, PEER_PORT = 2379, 2380


def lay_out(place: Place) -> None:
    """Nothing but the folder: its settings are arguments, and none is a secret."""
    (place.directory / "etcd").mkdir(mode=0o700)
    place.give(place.directory / "etcd")


def is_running(place: Place) -> bool:
    """Whether it has a process."""
    return place.runs(place.directory / "etcd")


def start(place: Place) -> None:
    """Returns at once: it answers when two of them are there."""
    host, folder = place.host, place.directory
    members = ",".join(f"{one.name}=https://{one.fqdn}:{PEER_PORT}" for one in DATABASES)
    place.spawn_as_user(
        [
            *("etcd", "--name", host.name, "--data-dir", folder / "etcd"),
            *("--listen-client-urls", f"https://{host.address}:{CLIENT_PORT}"),
            *("--advertise-client-urls", f"https://{host.fqdn}:{CLIENT_PORT}"),
            *("--listen-peer-urls", f"https://{host.address}:{PEER_PORT}"),
            *("--initial-advertise-peer-urls", f"https://{host.fqdn}:{PEER_PORT}"),
            *("--initial-cluster", members, "--initial-cluster-state", "new"),
            *("--client-cert-auth", "--trusted-ca-file", folder / "ca.crt"),
            *("--cert-file", folder / "host.crt", "--key-file", folder / "host.key"),
            *("--peer-client-cert-auth", "--peer-trusted-ca-file", folder / "ca.crt"),
            *("--peer-cert-file", folder / "host.crt", "--peer-key-file", folder / "host.key"),
            # Its defaults, 100 and 1000 ms, elect a new leader for nothing on a machine that does much else.
            *("--heartbeat-interval", "250", "--election-timeout", "2500"),
            # A member that was cut off and comes back must not force an election on those who went on.
            "--pre-vote",
            # Through version 3 of the API Patroni before 3.0.3 overwrites another's lock: see docs/operations/postgresql-patroni.md.
            "--enable-v2",
            *("--logger", "zap", "--log-level", "error"),
        ]
    )
