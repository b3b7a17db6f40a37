"""The lab keeps its promises: two forests, a one-way trust, a scene, and nothing left behind."""

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bastide_lab import network, plan
from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from bastide_lab.scene import accounts

pytest_plugins = ["tests.support.lab"]
pytestmark = pytest.mark.lab

DENIED = "NT_STATUS_ACCESS_DENIED"
DOMAIN_ADMINISTRATORS_FILE = "the quarterly figures"


def read_report(lab: Lab, name: str, tmp_path: Path, share: str = "files") -> str:
    """What a person sees of the file, with a fresh ticket."""
    ccache = tmp_path / "ccache"
    ticket = lab.kinit("client", name, ccache=ccache)
    assert ticket.returncode == 0, ticket.stderr
    command = [
        "smbclient",
        f"//{lab.fqdn('corpdc')}/{share}",
        "--use-kerberos=required",
        "-c",
        "get report.txt -",
    ]
    done = lab.exec("client", command, env={"KRB5CCNAME": f"FILE:{ccache}"})
    return done.stdout + done.stderr


def leftovers(lab: Lab) -> list[str]:
    """Everything a lab is made of that still exists."""
    namespaces = [lab.site.switch, *map(lab.site.namespace, plan.HOSTS.values())]
    paths = [lab.root, plan.LOCK_ROOT / f"{lab.prefix}.lock", *map(lab.site.netns_files, plan.HOSTS.values())]
    found = [name for name in namespaces if network.exists(name)]
    found += [str(path) for path in paths if path.exists()]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [line for line in mounts if f"/{lab.prefix}/" in line or f"/{lab.prefix}-" in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{plan.STATE_ROOT}/{lab.prefix}/".encode() in process.read_bytes():
                found.append(str(process))
        except OSError:
            continue
    return found


def test_status_tells_what_runs(lab: Lab) -> None:
    status = lab.status()
    assert status["up"]
    assert {"corpdc", "privdc", "bastide", "client"} <= set(status["hosts"])
    assert status["hosts"]["privdc"]["running"]
    assert status["hosts"]["client"]["linked"]


def test_up_again_is_quick_and_changes_nothing(lab: Lab) -> None:
    before = lab.site.secrets.read_bytes()
    started = time.monotonic()
    lab.up()
    assert time.monotonic() - started < 5
    assert lab.site.secrets.read_bytes() == before


def test_exec_runs_in_the_hosts_network(lab: Lab) -> None:
    shown = lab.exec("client", ["ip", "-o", "-4", "address", "show", "dev", "eth0"], check=True).stdout
    assert lab.address("client") in shown
    assert lab.exec("client", ["cat"], input="Zoë").stdout == "Zoë"
    assert lab.exec("client", ["sh", "-c", "exit 7"]).returncode == 7


def test_popen_runs_in_the_hosts_network(lab: Lab) -> None:
    with lab.popen("bastide", ["hostname", "-I"], stdout=subprocess.PIPE) as started:
        output, _ = started.communicate(timeout=10)
    assert output.split() == [lab.address("bastide")]


def test_unknown_names_are_refused_with_the_known_ones(lab: Lab) -> None:
    with pytest.raises(LabError, match="corpdc, privdc"):
        lab.exec("nowhere", ["true"])
    with pytest.raises(LabError, match="corp, priv"):
        lab.realm("nowhere")
    with pytest.raises(LabError, match="alice"):
        lab.password("corp\\nobody")


@pytest.mark.parametrize("name", accounts())
def test_everybody_gets_a_ticket_on_either_host(lab: Lab, name: str, tmp_path: Path) -> None:
    for host in ("client", "bastide"):
        done = lab.kinit(host, name, ccache=tmp_path / host)
        assert done.returncode == 0, done.stderr


def test_both_hosts_resolve_both_realms(lab: Lab) -> None:
    for host in ("client", "bastide"):
        for name in (*plan.SERVER_NAMES, lab.fqdn("corpdc"), lab.fqdn("privdc")):
            assert lab.exec(host, ["getent", "hosts", name]).returncode == 0, (host, name)
    started = time.monotonic()
    assert lab.exec("client", ["getent", "hosts", "no.such.name.test"]).returncode == 2
    assert time.monotonic() - started < 1, "an unknown name must not loop between name servers"


def test_shares_are_for_their_readers_only(lab: Lab, tmp_path: Path) -> None:
    assert DENIED in read_report(lab, "corp\\alice", tmp_path)
    assert DENIED in read_report(lab, "corp\\alice", tmp_path, share="db")
    assert DOMAIN_ADMINISTRATORS_FILE in read_report(lab, "corp\\Administrator", tmp_path)


def test_a_priv_account_is_let_in_through_the_trust_and_has_no_rights(lab: Lab, tmp_path: Path) -> None:
    assert DENIED in read_report(lab, "priv\\adm.dave", tmp_path)


def test_a_priv_group_in_a_corp_group_opens_the_share(lab: Lab, tmp_path: Path) -> None:
    """The carrier `foreign-principal`, end to end, undone at the end."""
    sid = ldb_value(lab, "privdc", "(sAMAccountName=Team Network)", "objectSid")
    member = f"dn: CN=FileAdmins,OU=Groups,{lab.base_dn('corp')}\nchangetype: modify\n{{}}: member\nmember: <SID={sid}>\n"
    assert DENIED in read_report(lab, "priv\\apr.ivan", tmp_path)
    modify_corp(lab, member.format("add"), tmp_path)
    try:
        assert DOMAIN_ADMINISTRATORS_FILE in read_report(lab, "priv\\apr.ivan", tmp_path)
    finally:
        modify_corp(lab, member.format("delete"), tmp_path)
    assert DENIED in read_report(lab, "priv\\apr.ivan", tmp_path)


def test_the_trust_is_one_way(lab: Lab, tmp_path: Path) -> None:
    """A CORP account gets a ticket for the server's CORP name and none for its PRIV name."""
    env = {"KRB5CCNAME": f"FILE:{tmp_path / 'ccache'}"}
    lab.kinit("client", "corp\\alice", ccache=tmp_path / "ccache").check_returncode()
    priv, corp = plan.SERVER_NAMES
    assert lab.exec("client", ["kvno", f"HTTP/{corp}@{lab.realm('corp')}"], env=env).returncode == 0
    assert lab.exec("client", ["kvno", f"HTTP/{priv}@{lab.realm('priv')}"], env=env).returncode != 0


def test_the_scene_keeps_names_as_they_are_written(lab: Lab) -> None:
    assert ldb_value(lab, "corpdc", "(sAMAccountName=zoe)", "displayName") == "Zoë Müller-Łukasz"
    assert ldb_value(lab, "corpdc", "(sAMAccountName=zoe)", "mail") == "zoe@corp.bastide.test"


def test_keytabs_hold_aes_keys_of_both_forests(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "http.keytab"
    lab.keytab("priv", ["HTTP/bastide.priv.bastide.test"], path)
    lab.keytab("corp", ["HTTP/bastide.corp.bastide.test"], path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shown = lab.exec("bastide", ["klist", "-kte", str(path)], check=True).stdout
    for name in plan.SERVER_NAMES:
        assert f"HTTP/{name}@" in shown
    assert "aes256" in shown
    assert "arcfour" not in shown


def test_the_certificates_verify(lab: Lab) -> None:
    verify: list[str | Path] = [
        "openssl",
        "verify",
        "-x509_strict",
        "-CAfile",
        lab.ca,
        lab.root / "tls" / "server.crt",
    ]
    assert lab.exec("bastide", verify).returncode == 0
    search = [
        "ldapsearch",
        "-x",
        "-H",
        f"ldaps://{lab.fqdn('privdc')}",
        "-s",
        "base",
        "-b",
        "",
        "dnsHostName",
    ]
    assert lab.exec("bastide", search, env={"LDAPTLS_CACERT": str(lab.ca)}).returncode == 0


def test_no_secret_is_readable_or_written_to_a_log(lab: Lab) -> None:
    secrets = set(json.loads(lab.site.secrets.read_text()).values())
    assert len(secrets) == len(accounts())
    keys = [lab.site.secrets, *(lab.root / "tls").glob("*.key")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    logs = [path for path in lab.root.glob("hosts/*/log/**/*") if path.is_file()]
    assert logs
    for path in logs:
        text = path.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], path


def test_a_cut_host_answers_nothing_until_it_is_mended(lab: Lab) -> None:
    probe = ["python3", "-c", f"import socket; socket.create_connection(({lab.address('privdc')!r}, 88), 1)"]
    lab.cut("bastide")
    try:
        assert lab.exec("bastide", probe).returncode != 0
        assert not lab.status()["hosts"]["bastide"]["linked"]
    finally:
        lab.mend("bastide")
    deadline = time.monotonic() + 20
    while lab.exec("bastide", probe).returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    assert lab.exec("bastide", probe).returncode == 0


def test_a_second_controller_serves_priv_when_the_first_is_gone(own_lab: Lab) -> None:
    own_lab.up()
    own_lab.add_second_dc()
    for away, back in ((own_lab.stop_dc, own_lab.start_dc), (own_lab.cut, own_lab.mend)):
        away("privdc")
        assert own_lab.kinit("bastide", "priv\\adm.dave").returncode == 0
        back("privdc")
    own_lab.stop_dc("privdc2", kill=True)
    assert not own_lab.status()["hosts"]["privdc2"]["running"]
    own_lab.start_dc("privdc2")
    own_lab.cut("privdc")
    assert own_lab.kinit("bastide", "priv\\apr.grace").returncode == 0


def test_down_leaves_nothing_behind_and_up_survives_kill_9(own_lab: Lab, lab: Lab) -> None:
    own_lab.up()
    bystander = own_lab.popen("client", ["sleep", "1000"])
    assert leftovers(own_lab)
    while pids := [pid for host in plan.HOSTS.values() for pid in network.processes(own_lab.site, host)]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        bystander.poll()
        time.sleep(0.05)  # samba forks while it is being killed
    assert not own_lab.status()["up"]
    own_lab.up()
    assert own_lab.kinit("client", "corp\\alice").returncode == 0
    own_lab.down()
    bystander.wait(timeout=5)
    assert leftovers(own_lab) == []
    assert lab.status()["up"], "the other lab must not notice"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_up_that_is_killed_leaves_nothing_that_down_does_not_find(
    own_lab: Lab, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "bastide_lab.cli", "up", "--prefix", own_lab.prefix]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as up:
        while not network.exists(own_lab.site.namespace(plan.CLIENT)):
            assert up.poll() is None
            time.sleep(0.01)
        up.send_signal(number)
        up.communicate(timeout=30)
    assert up.returncode == code
    if number is signal.SIGKILL:
        own_lab.down()
    assert leftovers(own_lab) == []


def ldb_value(lab: Lab, host: str, query: str, attribute: str) -> str:
    """One attribute, read on the controller itself and out of its own files."""
    database = lab.site.database(plan.host(host))
    ldif = lab.exec(host, ["ldbsearch", "-H", database, query, attribute], check=True).stdout
    for line in ldif.splitlines():
        if line.startswith(f"{attribute}:: "):
            return base64.b64decode(line.partition(":: ")[2]).decode()
        if line.startswith(f"{attribute}: "):
            return line.partition(": ")[2]
    raise AssertionError(ldif)


def modify_corp(lab: Lab, ldif: str, tmp_path: Path) -> None:
    """Change CORP over LDAP, as its Administrator, sealed by Kerberos."""
    ccache = tmp_path / "administrator"
    lab.kinit("client", "corp\\Administrator", ccache=ccache).check_returncode()
    command = ["ldapmodify", "-N", "-Q", "-Y", "GSSAPI", "-H", f"ldap://{lab.fqdn('corpdc')}"]
    done = lab.exec("client", command, input=ldif, env={"KRB5CCNAME": f"FILE:{ccache}"})
    assert done.returncode == 0, done.stderr
