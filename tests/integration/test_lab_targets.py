"""The lab's connected systems: they start in seconds, take TLS only, run as nobody that matters, and go with the lab."""

import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bastide_lab import network, plan
from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from bastide_lab.process import Command
from bastide_lab.targets import KINDS, ds389
from bastide_lab.targets.place import Place
from tests.support.inside import inside

pytest_plugins = ["tests.support.lab"]
pytestmark = pytest.mark.lab


def owners(lab: Lab) -> set[str]:
    """Who owns the processes of the targets. A back end of PostgreSQL may be gone between the list and the look."""
    found = set()
    for pid in network.processes(lab.site, plan.TARGETS):
        with suppress(FileNotFoundError):
            found.add(Path(f"/proc/{pid}").owner())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_starts_stops_dies_and_comes_back(lab: Lab, kind: str) -> None:
    name = f"{kind}-of-this-test"
    endpoint = lab.start_target(kind, name)
    assert endpoint.password not in repr(endpoint)
    secret = lab.site.directory(plan.TARGETS) / name / "endpoint.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert set() < owners(lab) <= {"openldap", "dirsrv", "postgres", "mysql"}
    reach = [
        "python3",
        "-c",
        f"import socket; socket.create_connection(({endpoint.host!r}, {endpoint.port}), 2)",
    ]
    for kill in (False, True):
        assert lab.exec("bastide", reach).returncode == 0
        lab.stop_target(name, kill=kill)
        assert lab.exec("bastide", reach).returncode != 0
        assert lab.start_target(kind, name) == endpoint
    lab.stop_target(name, forget=True)
    assert not secret.exists()
    with pytest.raises(LabError):
        lab.stop_target(name)


@pytest.mark.parametrize("at", ["pk12util", "ldif2db", "-D"])
def test_a_first_start_that_was_interrupted_begins_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """389 Directory Server is made of several steps: a half instance would run, and know nobody. `-D` alone is the start itself."""
    name, whole = f"cut-at-{at.strip('-').lower()}", Place.run_as_user

    def cut(place: Place, command: Command, **more: Any) -> str:
        if command[1:2] == [at] or command[:1] == [at]:
            raise LabError(f"interrupted at {at}")
        return whole(place, command, **more)

    monkeypatch.setattr(Place, "run_as_user", cut)
    with pytest.raises(LabError, match=f"interrupted at {at}"):
        lab.start_target("389-ds", name)
    monkeypatch.undo()
    endpoint = lab.start_target("389-ds", name)
    question = ["ldapsearch", "-x", "-LLL", "-H", f"ldap://localhost:{endpoint.port}", "-D", endpoint.admin]
    question += ["-y", "/dev/stdin", "-b", endpoint.base, "1.1"]
    assert ds389.SERVICE in lab.exec("targets", question, input=endpoint.password).stdout
    left = {path.name for path in (lab.site.directory(plan.TARGETS) / name).iterdir()}
    assert left.isdisjoint({"configuration.new", "content.ldif", "server.p12"})
    lab.stop_target(name, forget=True)


def test_two_of_a_kind_have_ports_of_their_own(lab: Lab) -> None:
    one, two = lab.start_target("slapd", "twin-one"), lab.start_target("slapd", "twin-two")
    assert {one.port, one.tls_port}.isdisjoint({two.port, two.tls_port})
    for name in ("twin-one", "twin-two"):
        lab.stop_target(name, forget=True)
    with pytest.raises(LabError, match="slapd, 389-ds, postgres, mariadb"):
        lab.start_target("oracle")


def test_databases_take_tls_with_a_certificate_of_the_lab_and_nothing_else(lab: Lab) -> None:
    postgres = lab.start_target("postgres")
    mariadb = lab.start_target("mariadb")
    with inside(lab.namespace("bastide")):
        where = f"host={postgres.host} port={postgres.port} user={postgres.admin} dbname={postgres.base}"
        verified = f"{where} sslmode=verify-full sslrootcert={lab.ca}"
        with psycopg.connect(verified, password=postgres.password) as connection:
            assert connection.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"{where} sslmode=disable", password=postgres.password)
    client: list[str | Path] = [
        "mariadb",
        "--no-defaults",
        "-h",
        mariadb.host,
        f"-P{mariadb.port}",
        f"-u{mariadb.admin}",
    ]
    tls = [f"--ssl-ca={lab.ca}", "--ssl-verify-server-cert"]
    for options, works in ((tls, True), (["--skip-ssl"], False)):
        done: subprocess.CompletedProcess[str] = lab.exec(
            "bastide", [*client, *options, "-e", "SELECT 1"], env={"MYSQL_PWD": mariadb.password}
        )
        assert (done.returncode == 0) is works, done.stderr


def test_they_go_with_the_lab(own_lab: Lab) -> None:
    """Also one that was started from inside of another host, as tests do: slapd outlived its lab, because its host's name was known in there only."""
    own_lab.up()
    with inside(own_lab.namespace("bastide")):
        own_lab.start_target("slapd")
    assert own_lab.status()["up"]
    pids = network.processes(own_lab.site, plan.TARGETS)
    assert pids
    own_lab.down()
    assert not network.exists(own_lab.site.namespace(plan.TARGETS))
    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
