"""A master key that does not fit what was sealed is found by `config check` and at the start, not by the first person with a code."""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bastide.cli.config_file import render
from bastide.config import Config, Database, Keys, Passwords, Priv, Rights
from bastide.domain.errors import StoreUnavailable
from bastide.domain.health import Finding
from bastide.domain.ids import Sid
from bastide.health.checks import configuration
from bastide.services.reset.ports import Registration
from bastide.services.signin import Factor
from bastide.store import migrations
from bastide.store.keys import AeadSealer, generate_key_files, load_sealer
from bastide.store.sealed import sealed_by, waiting
from bastide.store.unit_of_work import SqlStore
from bastide.store.vault import SqlVault
from bastide.wiring.master_key import check_master_key, sealed_values
from tests.support.callers import STRANGER
from tests.support.health import by_key, looking_at

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


def made(folder: Path) -> AeadSealer:
    folder.mkdir()
    generate_key_files(folder)
    return load_sealer([folder / "master.key"])


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A database and a vault in which one key sealed a factor and a data key."""
    sealer = made(tmp_path / "keys")
    url, vault = f"sqlite:///{tmp_path}/bastide.db", f"sqlite:///{tmp_path}/vault.db"
    migrations.upgrade(url)
    store = SqlStore(url)
    with store.write() as uow:
        uow.factors.add(
            Factor(
                id="f",
                person=Sid("S-1-5-21-1-2-3-1001"),
                method="totp",
                secret_encrypted=sealer.seal(b"secret", "factor:f"),
                created_at=NOW,
            )
        )
        uow.commit()
    store.close()
    filled = SqlVault(vault, sealer)
    filled.put({"r": bytes(32), "s": bytes(32)})
    filled.close()
    return Config(
        database=Database(url=url),
        keys=Keys(master=f"{tmp_path}/keys/master.key", signing=f"{tmp_path}/keys/signing.key"),
        priv=Priv(domain="p.test", principal="s@P.TEST", keytab="/k", users_container="U", groups_container="G"),
        rights=Rights(administrators=["A"], auditors=[], approvers=[]),
        passwords=Passwords(vault=vault, openpgp=["/o"], keytab="/k"),
    )  # fmt: skip


def with_keys(config: Config, folder: Path, *lost: str) -> Config:
    keys = Keys(master=f"{folder}/master.key", signing=f"{folder}/signing.key", lost=list(lost))
    return msgspec.structs.replace(config, keys=keys)


def master(config: Config) -> Finding:
    return by_key(configuration.keys(looking_at(config)))["keys: master"]


def one_id(config: Config) -> str:
    (id_,) = load_sealer([Path(config.keys.master)]).ids
    return id_


def test_the_right_key_opens_all_in_database_and_vault(config: Config) -> None:
    assert sealed_values(config) == Counter({one_id(config): 3})
    assert check_master_key(config, sealed_values(config)) == 3
    assert "fits the 3 sealed values" in master(config).text


def test_what_was_registered_for_a_reset_needs_the_key_as_well(config: Config) -> None:
    store = SqlStore(config.database.url)
    sealed = load_sealer([Path(config.keys.master)]).seal(b"secret", "reset:a")
    with store.write() as uow:
        uow.resets.register(
            Registration(person=Sid("S-1-5-21-1-2-3-1001"), name="a", registered_at=NOW, sealed=sealed)
        )
        uow.commit()
    store.close()
    assert sealed_values(config) == Counter({one_id(config): 4})


def test_another_key_is_refused_and_nobody_is_sent_to_make_one(config: Config, tmp_path: Path) -> None:
    wanted = one_id(config)
    made(tmp_path / "other")
    other = with_keys(config, tmp_path / "other")
    with pytest.raises(StoreUnavailable, match=f"does not open 3 .* sealed with {wanted}") as refused:
        check_master_key(other, sealed_values(other))
    assert f"put the master key {wanted} back" in refused.value.remedy
    found = master(other)
    assert not found.ok
    assert wanted in found.remedy
    assert "generate" not in found.remedy


@pytest.mark.parametrize("content", [b"\x93garbage", bytes(32), None])
def test_what_is_no_key_is_refused_with_the_remedy_that_helps(
    config: Config, tmp_path: Path, content: bytes | None
) -> None:
    """Where values are sealed: the old key. Where nothing is: a new one."""
    wanted = one_id(config)
    (tmp_path / "bad").mkdir()
    bad = with_keys(config, tmp_path / "bad")
    if content is not None:
        Path(bad.keys.master).write_bytes(content)
        Path(bad.keys.master).chmod(0o600)
    found = master(bad)
    assert not found.ok
    assert wanted in found.remedy
    assert "generate" not in found.remedy
    with pytest.raises(StoreUnavailable) as refused:
        check_master_key(bad, sealed_values(bad))
    assert wanted in refused.value.remedy
    empty = msgspec.structs.replace(bad, database=Database(url=f"sqlite:///{tmp_path}/none"), passwords=None)
    assert "`bastide keys generate --to" in master(empty).remedy
    assert ", or set keys.master" in master(empty).remedy


def test_a_mode_that_is_wrong_is_a_mode_that_is_wrong(config: Config) -> None:
    Path(config.keys.master).chmod(0o640)
    with pytest.raises(StoreUnavailable) as refused:
        check_master_key(config, sealed_values(config))
    assert refused.value.remedy.startswith("chmod 0600")


def test_root_may_look_at_the_keys_of_the_service_s_user(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        for path in (config.keys.master, config.keys.signing):
            os.chown(path, STRANGER, STRANGER)
    else:  # the keys are ours, and we are told to be root
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = by_key(configuration.keys(looking_at(config)))
    assert found["keys: master"].ok
    assert found["keys: signing"].ok
    with pytest.raises(StoreUnavailable, match="another user"):
        check_master_key(config, sealed_values(config))


def test_a_signing_key_that_is_none_is_found(config: Config) -> None:
    Path(config.keys.signing).write_bytes(b"garbage!")
    found = by_key(configuration.keys(looking_at(config)))["keys: signing"]
    assert "32 bytes" in found.text


def test_a_key_that_is_lost_for_ever_can_be_given_up(config: Config, tmp_path: Path) -> None:
    lost = one_id(config)
    made(tmp_path / "other")
    anew = with_keys(config, tmp_path / "other", lost)
    assert check_master_key(anew, sealed_values(anew)) == 0
    assert master(anew).ok


def test_looking_makes_and_changes_nothing(config: Config, tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    before = files()
    passwords = config.passwords
    assert passwords is not None
    assert sum(sealed_by(passwords.vault).values()) == waiting(passwords.vault) == 2
    assert sealed_by(f"sqlite:///{tmp_path}/none") == Counter()
    assert waiting(f"sqlite:///{tmp_path}/none") is None
    assert waiting(config.database.url) is None
    found = by_key(configuration.passwords(looking_at(config)))
    assert "2 changes" in found["passwords: vault"].text
    assert {name: text for name, text in files().items() if not name.endswith(("-wal", "-shm"))} == before


def test_a_database_that_cannot_be_read_sends_nobody_to_make_a_key(config: Config) -> None:
    """It says only that nothing was compared."""
    Path(config.database.url.removeprefix("sqlite:///")).write_bytes(b"no database" * 100)
    assert "not compared" in master(config).text


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_the_service_does_not_start_with_another_key(config: Config, tmp_path: Path, command: str) -> None:
    made(tmp_path / "other")
    server = msgspec.structs.replace(config.server, address="127.0.0.1")
    file = tmp_path / "bastide.toml"
    file.write_text(render(msgspec.structs.replace(with_keys(config, tmp_path / "other"), server=server)))
    done = subprocess.run(
        [sys.executable, "-m", "bastide.cli.main", command, "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    said = done.stderr
    assert f"sealed with {one_id(config)}" in (said if said[:1] != "{" else json.loads(said)["detail"])
