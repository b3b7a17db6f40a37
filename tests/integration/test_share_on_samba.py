"""Backups on a share of two Samba servers with CTDB: cut in the middle, moved to the other server, and with the server killed, with and without a witness; and what the share is said to offer."""

import hashlib
import json
import os
import queue
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bastide.backup import sealed
from bastide.backup import smb as smb_module
from bastide.backup.place import Sink, Written
from bastide.backup.share import Patience, Share, ShareFile
from bastide.backup.smb import SmbFile, SmbFolder, address
from bastide.backup.smb_login import ByPassword, ByTicket
from bastide.backup.witness import Unwatched, Watch
from bastide.backup.witness_rpc import RpcWitness
from bastide.cli.main import app
from bastide.config import load
from bastide.directory.kerberos import Identity
from bastide.domain.errors import StoreUnavailable
from bastide.domain.health import Severity
from bastide.health.checks import recovery
from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore
from bastide.wiring.database import database_url
from bastide_lab.lab import Lab
from bastide_lab.plan import FILES, SHARE, WITNESS
from bastide_lab.shares import SNAPSHOTS, WRITER
from tests.support import plain_smbd
from tests.support.health import looking_at
from tests.support.patience import PATIENCE
from tests.support.share_fixtures import URL

pytest_plugins = ["tests.support.lab", "tests.support.share_fixtures"]
pytestmark = pytest.mark.lab

NAME = "node-1-20261121T210000Z.bastide.age"
MEGABYTES = 24
FIRST, SECOND = (host.name for host in FILES)


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to get the file back."""
    done: list[str] = []
    for verb in ("create", "resume", "reopen"):
        real = getattr(SmbFolder, verb)

        def asked(
            folder: SmbFolder, what: object, *, verb: str = verb, real: Callable[..., SmbFile] = real
        ) -> SmbFile:
            file = real(folder, what)
            done.append(verb)
            return file

        monkeypatch.setattr(SmbFolder, verb, asked)
    return done


def write(smb: SmbFolder, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], object]) -> Written[ShareFile]:
    """One backup with a fault after a third of it."""
    real, numbers = SmbFile.write, count(1)

    def written(file: SmbFile, offset: int, data: bytes) -> None:
        real(file, offset, data)
        if next(numbers) == MEGABYTES // 3:
            fault()

    monkeypatch.setattr(SmbFile, "write", written)
    digest = hashlib.sha256()

    def fill(target: Sink) -> None:
        for _ in range(MEGABYTES):
            data = os.urandom(1024 * 1024)
            digest.update(data)
            target.write(data)

    made = Share(smb, Patience(PATIENCE)).write(NAME, fill)
    assert (made.sha256, made.size) == (digest.hexdigest(), MEGABYTES * 1024 * 1024)
    return made


def found(folder: Path) -> dict[str, str]:
    """On the servers' own disk."""
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.iterdir()}


def test_cut_in_the_middle_it_goes_on_where_it_was(
    smb: SmbFolder, share_folder: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write(smb, monkeypatch, smb.cut)
    assert found(share_folder) == {NAME: made.sha256}
    assert verbs == ["create", "resume"]


def test_a_moved_address_is_followed(
    smb: SmbFolder, share_lab: Lab, share_folder: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = share_lab.shares
    other = SECOND if shares.holder() == FIRST else FIRST
    made = write(smb, monkeypatch, lambda: shares.move(other))
    assert shares.holder() == other
    assert found(share_folder) == {NAME: made.sha256}
    assert len(verbs) > 1, "the connection was lost"


def test_a_killed_server_is_replaced_by_the_other(
    smb: SmbFolder, share_lab: Lab, share_folder: Path, verbs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = share_lab.shares
    killed = shares.holder()
    made = write(smb, monkeypatch, lambda: shares.kill(killed))
    assert shares.holder() != killed
    assert found(share_folder) == {NAME: made.sha256}
    assert len(verbs) > 1, "the connection was lost"
    assert "witness" not in " ".join(made.lost)


@pytest.fixture
def watched(smb: SmbFolder, watchers: "queue.Queue[Watch]") -> Iterator[SmbFolder]:
    """The same, and the cluster is asked to tell."""
    folder = SmbFolder(smb.where, smb.login, RpcWitness(smb.login))
    yield folder
    folder.close()


@pytest.fixture
def watchers(monkeypatch: pytest.MonkeyPatch) -> "queue.Queue[Watch]":
    """Who watches, as soon as somebody does."""
    real, seen = RpcWitness.watch, queue.Queue[Watch]()

    def watch(witness: RpcWitness, server: str, at: str) -> Watch:
        made = real(witness, server, at)
        seen.put(made)
        return made

    monkeypatch.setattr(RpcWitness, "watch", watch)
    return seen


@contextmanager
def silence(smb: SmbFolder) -> Iterator[None]:
    """Nothing that comes to the connection is heard any more, as behind a firewall that knows connections: not even that the address has gone to another server."""
    own, port = smb._connection.transport._sock.getsockname()[:2]
    policy = ["dir", "in", "src", f"{smb.peer}/32", "dst", f"{own}/32", "proto", "tcp"]
    policy += ["sport", "445", "dport", str(port)]
    subprocess.run(["ip", "xfrm", "policy", "add", *policy, "action", "block"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "xfrm", "policy", "delete", *policy], check=True)


def test_a_killed_server_is_told_of_by_the_other(
    watched: SmbFolder,
    watchers: "queue.Queue[Watch]",
    share_lab: Lab,
    share_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else could tell: the connection is silent, and silence is borne for as long as a test may take."""
    monkeypatch.setattr(smb_module, "_ANSWER", PATIENCE)
    shares = share_lab.shares
    killed = shares.holder()
    with ExitStack() as stack:

        def kill() -> None:
            watchers.get(timeout=PATIENCE)
            stack.enter_context(silence(watched))
            shares.kill(killed)

        made = write(watched, monkeypatch, kill)
    assert [reason.rpartition(": ")[2] for reason in made.lost] == ["the witness says RESOURCE_CHANGE"]
    assert shares.holder() != killed
    assert found(share_folder) == {NAME: made.sha256}


def test_who_is_sent_to_another_server_goes_there(
    watched: SmbFolder,
    watchers: "queue.Queue[Watch]",
    share_lab: Lab,
    share_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The address stays where it is, and its server serves on."""
    shares = share_lab.shares
    (other,) = {FIRST, SECOND} - {shares.holder()}
    peers = []

    def send() -> None:
        watch = watchers.get(timeout=PATIENCE)
        peers.append(watched.peer)
        deadline = time.monotonic() + PATIENCE
        while watched._connection.notice is None and time.monotonic() < deadline:
            shares.send_clients(other)
            time.sleep(1)
        assert WITNESS in watch.by

    real = SmbFolder.connect

    def connect(folder: SmbFolder) -> None:
        real(folder)
        peers.append(folder.peer)

    monkeypatch.setattr(SmbFolder, "connect", connect)
    made = write(watched, monkeypatch, send)
    assert f"CLIENT_MOVE, to {WITNESS}" in made.lost[0]
    assert peers[:3] == [SHARE.address, SHARE.address, WITNESS]
    assert found(share_folder) == {NAME: made.sha256}


def test_whoever_signs_in_with_a_password_is_told_too(
    share_lab: Lab, share_folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(share_lab.password(rf"priv\{WRITER}") + "\n")
    watch = RpcWitness(ByPassword(rf"PRIV\{WRITER}", secret)).watch(SHARE.fqdn, SHARE.address)
    watch.close()
    assert watch.by == f"{SHARE.fqdn} ({WITNESS})"
    secret.write_text("Certainly-Wrong-1\n")
    with pytest.raises(Unwatched, match=r"bind|access is denied|sign-in") as refused:
        RpcWitness(ByPassword(rf"PRIV\{WRITER}", secret)).watch(SHARE.fqdn, SHARE.address)
    assert "Certainly" not in f"{refused.value} {refused.value.remedy}"


# -------------------------------------------------------------------------------------------------------------- commands


@pytest.fixture
def config(tmp_path: Path, writer: Identity) -> Path:
    """Settings with an empty database, and the service account that writes backups."""
    answers, made = tmp_path / "answers.toml", tmp_path / "bastide.toml"
    answers.write_text(
        f'[priv]\ndomain = "priv.invalid"\nprincipal = "{writer.principal}"\nkeytab = "{writer.keytab}"\n'
        f'[database]\nurl = "sqlite:///{tmp_path}/bastide.db"\n'
    )
    done = run("init", "--answers", answers, "--output", made, "--offline")
    assert done.exit_code == 0, done.output
    migrations.upgrade(database_url(load(made)))
    return made


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


def test_made_kept_read_and_put_back_as_from_a_folder(
    share_folder: Path, config: Path, tmp_path: Path
) -> None:
    public = sealed.generate(tmp_path)
    order = ("backup", "--to", URL, "--recipient", public, "--config", config, "--keep", "1", "--json")
    made = json.loads(run(*order).stdout)
    assert made["file"] == f"{URL}/{made['file'].rpartition('/')[2]}"
    assert list(found(share_folder).values()) == [made["sha256"]]
    store = SqlStore(database_url(load(config)))
    with closing(store):
        _, there = recovery.backups(looking_at(load(config), store=store))
        (share_folder / made["file"].rpartition("/")[2]).rename(share_folder / "elsewhere")
        _, gone = recovery.backups(looking_at(load(config), store=store))
        (share_folder / "elsewhere").rename(share_folder / made["file"].rpartition("/")[2])
    assert (there.severity, gone.severity) == (Severity.OK, Severity.ERROR)
    assert f"{made['size']:,} bytes" in there.text
    assert "is not there" in gone.text
    key = tmp_path / sealed.KEY
    checked = run("restore", made["file"], "--identity", key, "--check", "--config", config)
    assert checked.exit_code == 0, checked.output
    assert "can be put back" in checked.output
    refused = run("restore", f"{URL}/nothing", "--identity", key, "--check", "--config", config)
    assert "is not there" in refused.stderr


def test_what_the_share_offers(share_folder: Path, config: Path) -> None:
    said = run("storage", "test", URL, "--megabytes", "4", "--config", config, "--json")
    assert said.exit_code == 0, said.output
    offers = json.loads(said.stdout)
    assert offers["level"] == 3
    assert offers["watched_by"] == f"{SHARE.fqdn} ({WITNESS})"
    assert offers["unwatched"] == ""
    assert offers["dialect"] == "3.1.1"
    assert offers["cipher"].startswith("AES-")
    assert offers["durable"] > 0
    assert offers["resumed"]
    assert not offers["persistent"], "Samba has none"
    assert offers["clustered"]
    assert offers["witness"]
    assert {one.partition(" ")[0] for one in offers["interfaces"]} & {
        host.address for host in (*FILES, SHARE)
    }
    assert offers["writes"] > 0
    assert offers["reads"] > 0
    assert found(share_folder) == {}, "nothing of it stays"
    shown = run("storage", "test", URL.rpartition("/")[0] + f"/{SNAPSHOTS}", "--config", config).stdout
    assert "level 3 of" in shown
    assert any(line.split()[:3] == ["witness", "registered", "at"] for line in shown.splitlines())
    assert any(line.split() == ["snapshots", "1"] for line in shown.splitlines())
    assert any(line.split() == ["persistent", "handles", "no"] for line in shown.splitlines())


def test_who_may_not_and_what_is_not_there(share_folder: Path, writer: Identity, tmp_path: Path) -> None:
    ticket = ByTicket(writer)
    secret = tmp_path / "password"
    secret.write_text("Certainly-Wrong-1\n")
    for url, login, reason in (
        (f"{URL}/nowhere", ticket, "no such folder"),
        (f"{URL}x", ticket, "no such share"),
        (URL, ByPassword("PRIV\\svc-bastide", secret), "did not take the sign-in"),
        ("smb://corpdc.corp.bastide.test/files", ticket, "may not"),
        ("smb://nobody.priv.bastide.test/x", ticket, "the connection is gone"),
    ):
        with pytest.raises(StoreUnavailable, match=reason) as refused:
            Share(SmbFolder(address(url), login)).write(NAME, lambda target: target.flush())
        assert refused.value.remedy
        assert "Certainly" not in f"{refused.value} {refused.value.remedy}"
    assert found(share_folder) == {}


# ------------------------------------------------------------------------------------------- servers that are in no domain


@pytest.fixture
def by_password(tmp_path: Path) -> ByPassword:
    file = tmp_path / "password"
    file.write_text("Just-For-This-Test-1\n")
    return ByPassword(plain_smbd.ACCOUNT, file)


def sealed_bytes(target: Sink) -> None:
    target.write(b"sealed")


def test_a_server_in_no_domain_takes_a_password(
    share_lab: Lab, share_folder: Path, by_password: ByPassword
) -> None:
    smb = SmbFolder(address(plain_smbd.URL), by_password)
    with plain_smbd.serving(share_lab, by_password.password.read_text().strip()) as shown:
        made = Share(smb).write(NAME, sealed_bytes)
        assert found(shown) == {NAME: made.sha256}
        by_password.password.write_text("Certainly-Wrong-1\n")
        with pytest.raises(StoreUnavailable, match="did not take the sign-in") as refused:
            smb.connect()
        assert "Certainly" not in f"{refused.value} {refused.value.remedy} {smb!r} {by_password!r}"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("server max protocol = SMB3_02", "does not speak SMB 3.1.1"),
        ("server smb encrypt = off", "does not encrypt"),
        ("map to guest = bad user", "as a guest"),
    ],
)
def test_nothing_less_is_taken(
    share_lab: Lab, share_folder: Path, by_password: ByPassword, setting: str, reason: str
) -> None:
    """A guest has no key, so nothing that is written would be encrypted."""
    secret = by_password.password.read_text().strip()
    login = ByPassword("nobody-knows-me", by_password.password) if "guest" in reason else by_password
    with plain_smbd.serving(share_lab, secret, setting) as shown:
        with pytest.raises(StoreUnavailable, match=reason) as refused:
            Share(SmbFolder(address(plain_smbd.URL), login)).write(NAME, lambda target: target.flush())
        assert "SMB 3.1.1" in refused.value.remedy
        assert found(shown) == {}
