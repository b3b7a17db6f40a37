"""PostgreSQL that speaks TLS only, with an administrator's role and the database `people`."""

import shutil
import signal
from pathlib import Path

from bastide_lab.errors import LabError
from bastide_lab.process import Command
from bastide_lab.targets.place import Endpoint, Place

USER, GROUP = "postgres", "postgres"
PORT, TLS_PORT = 5432, 0
#: The fast shutdown; SIGTERM would wait for the clients.
STOP_SIGNAL = signal.SIGINT
ADMIN = "lab_admin"
BASE = "people"
OPTIONS = """\
listen_addresses = '*'
port = {port}
unix_socket_directories = '{place}'
ssl = on
ssl_cert_file = '{place}/server.crt'
ssl_key_file = '{place}/server.key'
ssl_min_protocol_version = 'TLSv1.2'
password_encryption = 'scram-sha-256'
fsync = off
full_page_writes = off
max_connections = 50
"""
WHO_MAY = """\
local all postgres peer
hostssl all all all scram-sha-256
"""
FIRST = """\
\\set ON_ERROR_STOP on
CREATE ROLE {admin} SUPERUSER LOGIN PASSWORD '{password}';
CREATE DATABASE {base} OWNER {admin};
"""


def start(place: Place, endpoint: Endpoint) -> None:
    """Returns when it answers."""
    data = place.directory / "data"
    fresh = not (place.directory / "ready").exists()
    if fresh:
        _make(place, endpoint)
    place.run_as_user([programs() / "pg_ctl", "-D", data, "-l", place.log, "-w", "-t", "60", "-s", "start"])
    if fresh:
        command: Command = [
            programs() / "psql",
            "-q",
            "-h",
            place.directory,
            "-p",
            str(endpoint.port),
            "postgres",
        ]
        # Letters, digits, "-" and "_" only: Endpoint.password is ours.
        order = FIRST.format(admin=ADMIN, base=BASE, password=endpoint.password)
        place.run_as_user(command, stdin=order)
        (place.directory / "ready").touch()


def _make(place: Place, endpoint: Endpoint) -> None:
    data = place.directory / "data"
    shutil.rmtree(data, ignore_errors=True)
    make: Command = [
        programs() / "initdb",
        "-D",
        data,
        "-U",
        USER,
        "-A",
        "peer",
        "--no-sync",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
    ]
    place.run_as_user(make)
    (data / "postgresql.auto.conf").write_text(OPTIONS.format(place=place.directory, port=endpoint.port))
    (data / "pg_hba.conf").write_text(WHO_MAY)


def programs() -> Path:
    """Where PostgreSQL's own are: the newest of Debian's. Raises LabError."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        raise LabError("PostgreSQL is not installed. Run: python3 tools/install.py --lab")
    return found[-1].parent
