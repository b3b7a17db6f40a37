"""PostgreSQL under Patroni: one member a host, strictly synchronous, TLS for clients, for replication and for Patroni's own API."""

import signal
from collections.abc import Mapping

from bastide_lab.cluster import etcd
from bastide_lab.plan import DATABASES
from bastide_lab.targets.place import Place
from bastide_lab.targets.postgres import programs

USER, GROUP = "postgres", "postgres"
STOP_SIGNAL = signal.SIGTERM
PORT, REST_PORT = 5432, 8008
REPLICATION, REWIND = "replicator", "rewind"
#: Seconds. The first loops decide nothing that could go wrong: until the cluster is whole they go quicker.
TTL, LOOP_WAIT, FIRST_LOOP_WAIT, RETRY = 20, 5, 1, 5
SETTINGS = """\
scope: bastide
name: {name}
restapi:
  listen: {address}:{rest}
  connect_address: {fqdn}:{rest}
  cafile: {folder}/ca.crt
  certfile: {folder}/host.crt
  keyfile: {folder}/host.key
  verify_client: optional
ctl:
  cacert: {folder}/ca.crt
  certfile: {folder}/host.crt
  keyfile: {folder}/host.key
etcd:
  hosts: [{etcd}]
  protocol: https
  cacert: {folder}/ca.crt
  cert: {folder}/host.crt
  key: {folder}/host.key
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: {loop_wait}
    retry_timeout: {retry}
    maximum_lag_on_failover: 1048576
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
      remove_data_directory_on_rewind_failure: true
      parameters:
        wal_level: replica
        hot_standby: "on"
        wal_log_hints: "on"
        max_connections: 200
        max_wal_senders: 10
        max_replication_slots: 10
        wal_keep_size: 128MB
  initdb: [data-checksums, no-sync, {{encoding: UTF8}}, {{locale: C.UTF-8}}]
postgresql:
  listen: {address}:{port}
  connect_address: {fqdn}:{port}
  data_dir: {folder}/data
  bin_dir: {programs}
  pgpass: {folder}/pgpass
  use_unix_socket: true
  use_unix_socket_repl: true
  authentication:
    superuser: {{username: {user}}}
    replication: {{username: {replication}, password: "{replication_password}", sslmode: verify-full, sslrootcert: {folder}/ca.crt}}
    rewind: {{username: {rewind}, password: "{rewind_password}", sslmode: verify-full, sslrootcert: {folder}/ca.crt}}
  parameters:
    unix_socket_directories: {folder}
    password_encryption: scram-sha-256
    ssl: "on"
    ssl_ca_file: {folder}/ca.crt
    ssl_cert_file: {folder}/host.crt
    ssl_key_file: {folder}/host.key
    ssl_min_protocol_version: TLSv1.2
    fsync: "off"
    shared_buffers: 64MB
  pg_hba:
  - local all {user} peer
  - local replication {replication} scram-sha-256
  - hostssl replication {replication} samenet scram-sha-256
  - hostssl all all samenet scram-sha-256
"""


def lay_out(place: Place, passwords: Mapping[str, str]) -> None:
    """The settings file, which holds passwords: mode 0600."""
    host, folder = place.host, place.directory
    settings = folder / "patroni.yml"
    settings.touch(mode=0o600)
    settings.write_text(
        SETTINGS.format(
            name=host.name, address=host.address, fqdn=host.fqdn, folder=folder, programs=programs(), user=USER,
            etcd=", ".join(f'"{one.fqdn}:{etcd.CLIENT_PORT}"' for one in DATABASES),
            port=PORT, rest=REST_PORT, ttl=TTL, loop_wait=FIRST_LOOP_WAIT, retry=RETRY,
            replication=REPLICATION, replication_password=passwords[REPLICATION],
            rewind=REWIND, rewind_password=passwords[REWIND],
        )
    )  # fmt: skip
    place.give(settings)


def is_running(place: Place) -> bool:
    """Whether it has a process. PostgreSQL alone does not count."""
    return place.runs(place.directory / "patroni.yml")


def start(place: Place) -> None:
    """Returns at once. It starts PostgreSQL itself, and makes or copies its data if there is none."""
    place.spawn_as_user(["patroni", place.directory / "patroni.yml"])
