"""Where systemd credentials are found: as systemd says, or by root in the unit; and what is said where they are not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bastide import credentials
from bastide.config import NoCredential, secret_path
from bastide.domain.health import Finding, Severity
from bastide.health.check import Need
from bastide.health.checks import audit
from bastide.health.diagnose import Step, walk
from bastide.health.look import good, look, secret
from bastide.health.opened import opened
from bastide.health.runner import run
from bastide.health.world import Unasked
from bastide.store.unit_of_work import SqlStore
from tests.support.health import MINIMAL, ToldDomain, looking_at, memory
from tests.support.world import TestClock

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "bastide.service"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Those of the package and of the administrator; and root, without credentials."""
    made = tmp_path / "usr", tmp_path / "etc"
    for folder in made:
        folder.mkdir()
    monkeypatch.setattr(credentials, "UNIT_FOLDERS", made)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return made


@pytest.fixture
def store() -> Iterator[SqlStore]:
    yield from memory()


def drop_in(folder: Path, name: str, text: str) -> None:
    (folder / "bastide.service.d").mkdir(exist_ok=True)
    (folder / "bastide.service.d" / name).write_text(text)


def test_root_reads_the_files_that_the_delivered_unit_names(folders: tuple[Path, Path]) -> None:
    (folders[0] / "bastide.service").write_text(UNIT.read_text())
    assert secret_path("credential:master.key") == Path("/etc/bastide/keys/master.key")
    assert secret_path("credential:server.key") == Path("/etc/bastide/tls/server.key")
    with pytest.raises(NoCredential):
        secret_path("credential:other.key")


def test_the_administrator_s_words_count_more(folders: tuple[Path, Path]) -> None:
    usr, etc = folders
    (usr / "bastide.service").write_text("[Service]\nLoadCredential=a:/usr/a\nLoadCredential=b:/usr/b\n")
    drop_in(usr, "10-a.conf", "[Service]\nLoadCredential=c:/usr/c\n")
    drop_in(etc, "10-a.conf", "[Service]\nLoadCredential = a:/etc/a\n#LoadCredential=d:/etc/d\n")
    assert credentials.in_units(folders) == {"a": Path("/etc/a"), "b": Path("/usr/b")}
    drop_in(etc, "20-b.conf", "[Service]\nLoadCredential=\nLoadCredential=e:/etc/e\n")
    assert credentials.in_units(folders) == {"e": Path("/etc/e")}
    (etc / "bastide.service").write_text("[Service]\nLoadCredentialEncrypted=e:/etc/e.cred\n")
    drop_in(etc, "20-b.conf", "[Service]\nLoadCredential=f\nLoadCredential=g:/etc/%N\n")
    assert credentials.in_units(folders) == {"a": Path("/etc/a")}


def test_a_node_that_only_works_has_a_unit_of_its_own(folders: tuple[Path, Path]) -> None:
    (folders[0] / "bastide-worker.service").write_text("[Service]\nLoadCredential=a:/worker/a\n")
    assert credentials.in_units(folders) == {"a": Path("/worker/a")}


def test_what_systemd_says_counts_and_nobody_but_root_looks(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders[1] / "bastide.service").write_text("[Service]\nLoadCredential=a:/etc/a\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/given")
    assert secret_path("credential:a") == Path("/run/given/a")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NoCredential, match="LoadCredential="):
        secret_path("credential:a")


@pytest.mark.parametrize(
    ("user", "remedy"), [(1000, "sudo bastide validate"), (0, "CREDENTIALS_DIRECTORY=DIR")]
)
def test_what_cannot_be_read_is_skipped_with_a_remedy(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, user: int, remedy: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    for found in (
        secret("keys: master", "credential:master.key"),
        look("x", lambda: str(secret_path("credential:master.key"))),
    ):
        assert found.severity is Severity.SKIPPED
        assert "was given no systemd credentials" in found.text
        assert remedy in found.remedy


def test_what_nobody_looked_at_is_no_error_and_nobody_is_blamed(store: SqlStore) -> None:
    why = "credential:signing.key: this process was given no systemd credentials (LoadCredential=)"

    def no_key() -> Any:
        raise NoCredential(why)

    domains = {"priv.test": ToldDomain({"dc1": Unasked(why), "dc2": Unasked(why)})}
    world = replace(looking_at(store=store, domains=domains), signer=no_key)
    (chain,) = run([replace(audit.CHECKS[0], needs=())], world)
    assert chain.severity is Severity.SKIPPED
    assert (chain.text, chain.remedy != "") == (why, True)
    unmet = world.unmet(Need.DIRECTORY)
    assert unmet == f"no domain controller of PRIV was asked: {why}; see kerberos.keytabs"
    shut = looking_at(domains={"priv.test": ToldDomain({"dc1": "port 88: refused"})})
    assert "lets the service account in" in shut.unmet(Need.DIRECTORY)
    without = replace(world, database=no_key)
    assert without.unmet(Need.DATABASE) == f"the database was not asked: {why}"


def test_a_walk_goes_on_where_nothing_can_be_looked_at() -> None:
    def no_key() -> Finding:
        raise NoCredential("credential:a: none")

    seen = list(walk([Step("PRIV", no_key), Step("tickets", lambda: good("t", "fine"))]))
    assert [one.finding.severity for one in seen] == [Severity.SKIPPED, Severity.OK]


def test_the_keytab_of_a_domain_that_cannot_be_read(folders: tuple[Path, Path]) -> None:
    priv = msgspec.structs.replace(MINIMAL.priv, keytab="credential:k", controllers=["dc1.priv.test"])
    config = msgspec.structs.replace(MINIMAL, priv=priv)
    with opened(config, Path("/etc/bastide/bastide.toml"), TestClock()) as world:
        assert "was given no systemd credentials" in world.unmet(Need.DIRECTORY)
        assert "lets the service account in" not in world.unmet(Need.DIRECTORY)
