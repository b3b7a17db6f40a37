"""MariaDB that takes connections over TLS only, with an administrator's account and the database `people`."""

import shutil
import signal

from bastide_lab.targets.place import Endpoint, Place

USER, GROUP = "mysql", "mysql"
PORT, TLS_PORT = 3306, 0
STOP_SIGNAL = signal.SIGTERM
ADMIN = "lab_admin"
BASE = "people"
OPTIONS = """\
[mariadbd]
datadir = {place}/data
socket = {place}/socket
pid-file = {place}/run.pid
tmpdir = {place}/data
bind-address = 0.0.0.0
port = {port}
ssl-cert = {place}/server.crt
ssl-key = {place}/server.key
ssl-ca = {ca}
tls-version = TLSv1.2,TLSv1.3
require-secure-transport = ON
skip-name-resolve
character-set-server = utf8mb4
innodb-flush-log-at-trx-commit = 0
innodb-buffer-pool-size = 64M
"""
FIRST = """\
CREATE USER '{admin}'@'%' IDENTIFIED BY '{password}' REQUIRE SSL;
GRANT ALL ON *.* TO '{admin}'@'%' WITH GRANT OPTION;
CREATE DATABASE {base};
"""


def start(place: Place, endpoint: Endpoint) -> None:
    """Returns when it answers."""
    options = place.directory / "my.cnf"
    fresh = not (place.directory / "ready").exists()
    if fresh:
        shutil.rmtree(place.directory / "data", ignore_errors=True)
        options.write_text(
            OPTIONS.format(place=place.directory, ca=place.site.tls / "ca.crt", port=endpoint.port)
        )
        install = [
            "mariadb-install-db",
            f"--defaults-file={options}",
            "--auth-root-authentication-method=socket",
        ]
        place.run_as_user([*install, "--skip-test-db"])
    place.spawn_as_user(["/usr/sbin/mariadbd", f"--defaults-file={options}"])
    place.wait_until(lambda: _say(place, "SELECT 1;"))
    if fresh:
        # Letters, digits, "-" and "_" only: Endpoint.password is ours.
        _say(place, FIRST.format(admin=ADMIN, base=BASE, password=endpoint.password))
        (place.directory / "ready").touch()


def _say(place: Place, sql: str) -> None:
    """As root, whom the server knows by its Unix socket."""
    place.run(["mariadb", "--no-defaults", f"--socket={place.directory / 'socket'}"], stdin=sql)
