"""Three hosts with PostgreSQL under Patroni, and etcd: strictly synchronous, TLS on every port. They come up when somebody asks.

    lab.up(cluster=True)
    primary = lab.databases.primary()
    lab.kill_host(primary)
    lab.databases.start(primary)

What a person has to know of it is in docs/operations/postgresql-patroni.md: the settings here are those of that page.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bastide_lab import network, passwords
from bastide_lab.cluster import etcd, patroni
from bastide_lab.errors import LabError
from bastide_lab.plan import DATABASES, Host, Site
from bastide_lab.process import SYSTEM_PYTHON, Command, run_inside
from bastide_lab.targets.place import Place
from bastide_lab.targets.postgres import programs

__all__ = ["NEEDED", "Databases", "Standby"]

NEEDED = ("etcd", "patroni")
BASE = "bastide"
#: Roles of the server. Administrators come over the Unix socket, as the user postgres, and need none.
ROLES = (BASE, patroni.REPLICATION, patroni.REWIND)
REST = Path(__file__).with_name("rest.py")
ANSWER_LIMIT = 3.0
SWITCH_LIMIT = 60.0
WHOLE_LIMIT = 120.0
POLL = 0.2
LOG_LINES = 5
_FIRST = """\
\\set ON_ERROR_STOP on
CREATE ROLE {base} LOGIN PASSWORD '{password}';
CREATE DATABASE {base} OWNER {base};
"""
_STANDBYS = (
    "SELECT json_build_object('name', application_name, 'state', state, 'sync', sync_state, "
    "'lag', coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), -1)) FROM pg_stat_replication"
)


@dataclass(frozen=True, slots=True)
class Standby:
    """As the primary sees it. `lag`: bytes that were written and are not replayed there; -1: it has not said."""

    streaming: bool
    synchronous: bool
    lag: int


class Databases:
    """The verbs for them."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def url(self) -> str:
        """The database of Bastide, for `database.url`: every host is named, and who reads from it finds the one that takes writes."""
        hosts = ",".join(f"{host.fqdn}:{patroni.PORT}" for host in DATABASES)
        options = (
            "target_session_attrs=read-write&connect_timeout=2&tcp_user_timeout=3000"
            "&keepalives_idle=2&keepalives_interval=1&keepalives_count=3"
        )
        trust = f"sslmode=verify-full&sslrootcert={self._site.tls / 'ca.crt'}"
        return f"postgresql://{BASE}@{hosts}/{BASE}?{options}&{trust}"

    @property
    def password_file(self) -> Path:
        """For `database.password`. Mode 0600."""
        return self._site.root / "database-password"

    # ------------------------------------------------------------------------------------------------------------- verbs

    def primary(self) -> str:
        """The host that holds the leader's lock. A dead one holds it until the lock is over (`ttl`). Raises LabError."""
        found = [one["name"] for one in self._members() if one["role"] == "leader"]
        if not found:
            raise LabError("no database is the primary at the moment")
        return str(found[0])

    def standbys(self) -> dict[str, Standby]:
        """What the primary itself says. Patroni calls a replica "running" that gets nothing. Raises LabError."""
        host = _database(self.primary())
        printed = self._psql(host, _STANDBYS + ";")
        rows = (json.loads(line) for line in printed.splitlines())
        return {
            row["name"]: Standby(row["state"] == "streaming", row["sync"] in {"sync", "quorum"}, row["lag"])
            for row in rows
        }

    def start(self, *names: str) -> None:
        """Bring hosts back (without a name: all) and return when the cluster is whole. What runs is left alone."""
        self._launch([_database(name) for name in names] or list(DATABASES))
        self.until_whole()

    def switchover(self, to: str = "") -> str:
        """A planned change of the primary; who it is afterwards. Raises LabError."""
        order = {"leader": self.primary(), **({"candidate": to} if to else {})}
        self._ask("POST", "switchover", order, limit=SWITCH_LIMIT)
        return self.primary()

    def is_whole(self) -> bool:
        """One primary, everybody else streams from it, and one of them is synchronous. Raises LabError while nobody can say."""
        standbys = self.standbys()
        return (
            len(standbys) == len(DATABASES) - 1
            and all(one.streaming for one in standbys.values())
            and any(one.synchronous for one in standbys.values())
            and any(one["role"] == "sync_standby" for one in self._members())
        )

    def until_whole(self) -> None:
        """Raises LabError after WHOLE_LIMIT."""
        deadline = time.monotonic() + WHOLE_LIMIT
        said: object = ""
        while True:
            try:
                if self.is_whole():
                    return
            except LabError as error:
                said = error
            if time.monotonic() > deadline:
                logs = "".join(map(self._log_end, DATABASES))
                raise LabError(f"the databases are not whole after {WHOLE_LIMIT:g} s. {said}\n{logs}")
            time.sleep(POLL)

    # ---------------------------------------------------------------------------------------------------------- building

    def build(self) -> None:
        """On hosts that are there and empty: everything up to an empty database. Raises LabError."""
        secrets = passwords.generate(ROLES)
        for host in DATABASES:
            self._lay_out(self._place(host), secrets)
        self._launch(list(DATABASES))
        self.until_whole()
        # Letters, digits, "-" and "_" only: they are ours.
        self._psql(_database(self.primary()), _FIRST.format(base=BASE, password=secrets[BASE]))
        self.password_file.unlink(missing_ok=True)
        descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets[BASE])
        self._ask("PATCH", "config", {"loop_wait": patroni.LOOP_WAIT})

    def _place(self, host: Host) -> Place:
        directory = self._site.directory(host) / "database"
        return Place(self._site, directory, patroni.USER, patroni.GROUP, patroni.STOP_SIGNAL, host)

    def _lay_out(self, place: Place, secrets: Mapping[str, str]) -> None:
        """The folder with the host's certificate, and what the two programs need in it."""
        place.directory.mkdir(mode=0o700)
        place.give(place.directory)
        stem = place.host.name
        for source, name in (("ca.crt", "ca.crt"), (f"{stem}.crt", "host.crt"), (f"{stem}.key", "host.key")):
            copy = place.directory / name
            copy.touch(mode=0o600)
            copy.write_bytes((self._site.tls / source).read_bytes())
            place.give(copy)
        etcd.lay_out(place)
        patroni.lay_out(place, secrets)

    def _launch(self, hosts: list[Host]) -> None:
        for program in (etcd, patroni):
            for host in hosts:
                if not program.is_running(self._place(host)):
                    program.start(self._place(host))

    # ------------------------------------------------------------------------------------------------------------ asking

    def _members(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._ask("GET", "cluster"))["members"]
        return found

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        limit: float = ANSWER_LIMIT,
    ) -> str:
        """Of the first Patroni that answers. One without a cable would tell what it knew before."""
        said = "all of them are cut off"
        for host in DATABASES:
            if not network.is_linked(self._site, host):
                continue
            folder = self._place(host).directory
            order = {
                "url": f"https://{host.fqdn}:{patroni.REST_PORT}/{path}",
                "method": method,
                "body": body,
                "limit": limit,
                "ca": str(folder / "ca.crt"),
                "certificate": str(folder / "host.crt"),
                "key": str(folder / "host.key"),
            }
            command: Command = [SYSTEM_PYTHON, "-I", REST]
            try:
                return run_inside(self._site, host, command, stdin=json.dumps(order), timeout=limit + 10)
            except LabError as error:
                said = str(error)
        raise LabError(f"no Patroni answers: {said}")

    def _log_end(self, host: Host) -> str:
        """`up` takes it away when it fails."""
        log = self._place(host).log
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
        return "".join(f"{host.name}: {line}\n" for line in lines)

    def _psql(self, host: Host, order: str) -> str:
        place = self._place(host)
        command: Command = [programs() / "psql", "-X", "-q", "-A", "-t", "-h", place.directory, "postgres"]
        return place.run_as_user(command, stdin=order)


def _database(name: str) -> Host:
    for host in DATABASES:
        if host.name == name:
            return host
    raise LabError(f"no database is called {name!r}: it is one of {', '.join(one.name for one in DATABASES)}")
