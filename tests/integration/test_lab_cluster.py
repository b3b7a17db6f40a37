"""The lab's databases: three hosts, strictly synchronous, TLS on every port, and verbs that do what they say."""

import json
import re
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from bastide_lab import network, plan
from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from tests.support.inside import inside

pytest_plugins = ["tests.support.lab", "tests.support.failover_fixtures", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab

NAMES = {host.name for host in plan.DATABASES}
ASK = """
import json, ssl, sys, urllib.error, urllib.request
url, method, ca, folder = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if folder:
    context.load_cert_chain(f"{folder}/host.crt", f"{folder}/host.key")
door = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
try:
    print(door.open(urllib.request.Request(url, data=b"{}" if method != "GET" else None, method=method), timeout=10).status)
except urllib.error.HTTPError as refused:
    print(refused.code)
except OSError as refused:
    print(refused)
"""


@pytest.fixture
def databases(cluster_lab: Lab) -> Lab:
    cluster_lab.databases.until_whole()
    return cluster_lab


def say(lab: Lab, query: str, options: str = "") -> str:
    """One query from the server's host, with the URL that a node of Bastide has; what came back, or why not."""
    secret = lab.databases.password_file.read_text()
    url = lab.databases.url.replace("bastide@", f"bastide:{quote(secret, safe='')}@", 1) + options
    program = "import sys, psycopg\nurl, query = sys.stdin.read().split('\\0')\nprint(psycopg.connect(url).execute(query).fetchone())"
    done = lab.exec("bastide", [sys.executable, "-c", program], input=f"{url}\0{query}")
    return done.stdout + done.stderr


def ask(lab: Lab, port: int, path: str, method: str = "GET", *, certificate: bool = True) -> str:
    """The status of the answer of Patroni (8008) or etcd (2379), asked on one of the hosts; or what refused."""
    host = plan.DATABASES[0]
    folder = str(lab.site.directory(host) / "database") if certificate else ""
    url = f"https://{host.fqdn}:{port}/{path}"
    command: list[str | Path] = ["/usr/bin/python3", "-c", ASK, url, method, lab.ca, folder]
    return lab.exec(host.name, command).stdout.strip()


def test_one_takes_writes_and_the_others_stream_from_it_one_of_them_synchronously(databases: Lab) -> None:
    primary = databases.databases.primary()
    standbys = databases.databases.standbys()
    assert standbys.keys() == NAMES - {primary}
    assert all(one.streaming and one.lag >= 0 for one in standbys.values())
    assert sum(one.synchronous for one in standbys.values()) == 1
    assert databases.status()["primary"] == primary
    assert plan.host(primary).address in say(databases, "SELECT host(inet_server_addr())")


def test_every_door_is_tls(databases: Lab) -> None:
    assert "(True,)" in say(databases, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert "no encryption" in say(databases, "SELECT 1", "&sslmode=disable")
    assert ask(databases, 8008, "health", certificate=False) == "200"
    assert ask(databases, 8008, "restart", "POST", certificate=False) == "403", "changes need a certificate"
    assert ask(databases, 2379, "health") == "200"
    refused = ask(databases, 2379, "health", certificate=False)
    assert re.search("alert (bad certificate|certificate required)", refused), refused


def test_no_password_is_where_others_see_it(databases: Lab) -> None:
    files = [databases.databases.password_file, *databases.root.glob("hosts/db*/database/patroni.yml")]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert len(files) == 1 + len(NAMES)
    secrets = {databases.databases.password_file.read_text()}
    for file in files[1:]:
        secrets |= set(re.findall(r'password: "(.+?)"', file.read_text()))
    assert len(secrets) == 3
    seen = [
        path.read_bytes()
        for host in plan.DATABASES
        for pid in network.processes(databases.site, host)
        for path in (Path(f"/proc/{pid}/cmdline"), Path(f"/proc/{pid}/environ"))
        if path.exists()
    ]
    assert seen
    assert not [one for one in seen if any(secret.encode() in one for secret in secrets)]


def test_a_planned_switchover_changes_the_primary(databases: Lab) -> None:
    before = databases.databases.primary()
    to = next(name for name, one in databases.databases.standbys().items() if one.synchronous)
    assert databases.databases.switchover(to) == to
    databases.databases.until_whole()
    assert before in databases.databases.standbys()


def test_a_standby_that_is_paused_goes_on_when_it_is_let(databases: Lab) -> None:
    asynchronous = next(name for name, one in databases.databases.standbys().items() if not one.synchronous)
    databases.pause(asynchronous)
    try:
        states = {_state(pid) for pid in network.processes(databases.site, plan.host(asynchronous))}
        assert states == {"T"}
        assert "(1,)" in say(databases, "SELECT 1")
    finally:
        databases.resume(asynchronous)
    databases.databases.until_whole()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_nobody_kills_the_host_that_he_is_on(databases: Lab) -> None:
    with inside(databases.namespace("bastide2")), pytest.raises(LabError, match="bastide2 itself"):
        databases.kill_host("bastide2")


def test_what_no_database_is_called_is_refused_with_the_known_names(databases: Lab) -> None:
    with pytest.raises(LabError, match="db1, db2, db3"):
        databases.databases.start("db4")


def test_the_status_is_json(databases: Lab) -> None:
    assert json.loads(json.dumps(databases.status()))["cluster"] is True
