"""`bastide keys generate --backup`, `bastide backup`, `bastide restore`, as an administrator types them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bastide.backup.remote import Lost
from bastide.backup.share import Patience, Share
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.config import load
from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import storage
from bastide.wiring.database import database_url
from tests.support import build
from tests.support.memory_share import MemoryFolder, MemoryServer


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return init(tmp_path / "here")


def init(folder: Path) -> Path:
    """Settings with an empty database."""
    folder.mkdir()
    answers, config = folder / "answers.toml", folder / "bastide.toml"
    answers.write_text(
        f'[priv]\ndomain = "priv.invalid"\n[database]\nurl = "sqlite:///{folder}/bastide.db"\n'
    )
    made = run("init", "--answers", answers, "--output", config, "--offline")
    assert made.exit_code == 0, made.output
    migrations.upgrade(database_url(load(config)))
    return config


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


def said(result: Result) -> str:
    return " ".join((result.output + result.stderr).split())


def test_made_proved_and_put_back(tmp_path: Path, config: Path) -> None:
    made_key = run("keys", "generate", "--backup", "--to", tmp_path / "keys", "--json")
    public = json.loads(made_key.stdout)["public"]
    key = tmp_path / "keys" / "backup.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert "AGE-SECRET-KEY" not in made_key.output
    store = SqlStore(database_url(load(config)))
    with store.write() as uow:
        uow.users.add(build.user("alice"))
        uow.commit()
    store.close()
    place = tmp_path / "place"
    place.mkdir()
    made = run("backup", "--to", place, "--recipient", public, "--config", config)
    assert made.exit_code == 0, made.output
    (file,) = place.iterdir()
    assert f"made {file}" in said(made).replace("- ", "-") or str(file.name) in made.output.replace("\n", "")
    checked = run("restore", file, "--identity", key, "--check", "--config", config, "--json")
    assert checked.exit_code == 0, checked.output
    shown = json.loads(checked.stdout)
    assert (shown["restored"], shown["rows"]["pam_users"]) == (False, 1)
    refused = run("restore", file, "--identity", key, "--config", config)
    assert refused.exit_code == Exit.REFUSED
    assert "not empty" in said(refused)
    there = init(tmp_path / "there")
    restored = run("restore", file, "--identity", key, "--config", there)
    assert restored.exit_code == 0, restored.output
    assert "Do not start the service yet" in said(restored)
    back = SqlStore(database_url(load(there)))
    with back.read() as uow:
        assert [user.name for user in uow.users.all()] == ["priv.alice"]
    back.close()


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    run("keys", "generate", "--backup", "--to", tmp_path)
    before = (tmp_path / "backup.key").read_bytes()
    again = run("keys", "generate", "--backup", "--to", tmp_path)
    assert again.exit_code == Exit.REFUSED
    assert "never overwritten" in said(again)
    assert (tmp_path / "backup.key").read_bytes() == before
    assert run("keys", "generate", "--backup", "--openpgp", "--to", tmp_path).exit_code == Exit.USAGE


def test_a_connection_that_was_lost_on_the_way_is_told(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = json.loads(run("keys", "generate", "--backup", "--to", tmp_path, "--json").stdout)["public"]
    server = MemoryServer()

    def lose(verb: str, _name: str) -> None:
        if verb == "write":
            server.faults.clear()
            raise Lost("the connection was given up: the witness says RESOURCE_CHANGE")

    share = Share(MemoryFolder(server), Patience(pause=0))
    monkeypatch.setattr(storage, "place", lambda *_: share)
    order = ("backup", "--to", "smb://files/backups", "--recipient", public, "--config", config)
    server.faults.append(lose)
    assert "went on after: the connection was given up: the witness says" in said(run(*order))
    server.files.clear()
    server.faults.append(lose)
    (reason,) = json.loads(run(*order, "--json").stdout)["lost"]
    assert reason.endswith("RESOURCE_CHANGE")
    server.files.clear()
    assert json.loads(run(*order, "--json").stdout)["lost"] == []


def test_what_is_wrong_is_said_with_what_to_do(tmp_path: Path, config: Path) -> None:
    bad_key = run("backup", "--to", tmp_path, "--recipient", "age1x", "--config", config)
    assert bad_key.exit_code == Exit.REFUSED
    assert "this is no public key of age" in said(bad_key)
    no_file = run("restore", tmp_path / "nothing", "--identity", tmp_path / "nothing", "--check")
    assert no_file.exit_code == Exit.UNAVAILABLE
    assert "name the file backup.key" in said(no_file)
