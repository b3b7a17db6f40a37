"""`bastide config check` on a machine that has nothing yet: every problem has a command or a setting that ends it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bastide.cli import config_file, probes
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.config import Account, Config, Corp, Database, Http, Keys, Passwords, Priv, Rights, Server
from bastide.domain.errors import DirectoryUnavailable


def nothing_is_there(folder: Path) -> Config:
    def at(name: str) -> str:
        return str(folder / "nowhere" / name)

    return Config(
        server=Server(url="https://bastide.priv.test:8443", certificate=at("tls.crt"), key=at("tls.key")),
        database=Database(url=f"sqlite:///{folder}/nowhere/bastide.db"),
        keys=Keys(master=at("master.key"), signing=at("signing.key")),
        priv=Priv(
            domain="priv.test",
            principal="svc@PRIV.TEST",
            keytab=at("svc.keytab"),
            users_container="OU=U,DC=priv,DC=test",
            groups_container="OU=G,DC=priv,DC=test",
            preparer=Account(principal="prep@PRIV.TEST", keytab=at("prep.keytab")),
        ),
        corp=Corp(domain="corp.test"),
        rights=Rights(administrators=["A"], auditors=[], approvers=[]),
        http=Http(keytab=at("http.keytab"), priv_host="bastide.priv.test"),
        passwords=Passwords(openpgp=[at("openpgp.key")], keytab=at("pcns.keytab"), vault="sqlite://vault"),
    )


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    def nobody(domain: str) -> None:
        raise DirectoryUnavailable(f"nobody answers for {domain}")

    monkeypatch.setattr(probes, "find_controllers", nobody)
    file = tmp_path / "bastide.toml"
    file.write_text(config_file.render(nothing_is_there(tmp_path)), encoding="utf-8")
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file), "--json"])
    assert result.exit_code == Exit.REFUSED
    return {one["check"]: one for one in json.loads(result.stdout)}


def test_each_problem_has_a_command_or_a_setting_as_its_remedy(checked: dict[str, dict[str, str]]) -> None:
    problems = [one for one in checked.values() if not one["ok"]]
    assert len(problems) >= 12
    names = "|".join(re.escape(path) for path in config_file.settings())
    for one in problems:
        assert re.search(rf"`[a-z][^`]* [^`]+`|\b({names})\b|`controllers`", one["remedy"]), one
        assert "Errno" not in one["problem"]
        assert "docs/" not in one["remedy"]


def test_the_remedies_make_what_is_missing(checked: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """Followed as they stand."""
    for name in ("keys: master", f"passwords: OpenPGP key {tmp_path}/nowhere/openpgp.key"):
        command = checked[name]["remedy"].split("`")[1].split()
        assert CliRunner().invoke(app, command[1:]).exit_code == 0
    assert {path.name for path in (tmp_path / "nowhere").iterdir()} >= {
        "master.key",
        "signing.key",
        "openpgp.key",
    }
    assert "exportkeytab svc.keytab --principal=svc@PRIV.TEST" in checked["svc@PRIV.TEST: keytab"]["remedy"]
    assert "--principal=HTTP/bastide.priv.test" in checked["http: keytab"]["remedy"]
    assert "--principal=PCNSCLNT/bastide.priv.test" in checked["passwords: keytab"]["remedy"]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('[priv]\ndomani = "x"', "did you mean domain?"),
        ("[server]\nqqq = 1", "there are url, address, port"),
        ("x = 1", "there are server, database"),
        ('[server]\nport = "x"', "set server.port. The port it listens on."),
        ("[server]\ntrusted_proxies = [1]", "set server.trusted_proxies. "),
        ('[passwords]\nkeytab = "x"', "set passwords.openpgp. "),
        ("[server", "mend it, then `bastide config check` looks again"),
        (None, "`bastide init` makes it"),
    ],
)
def test_settings_that_cannot_be_used_say_which_and_what_it_is(
    tmp_path: Path, text: str | None, remedy: str
) -> None:
    file = tmp_path / "bastide.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert result.exit_code == Exit.REFUSED
    assert remedy in result.stderr.partition("  -> ")[2]


def test_a_file_of_another_user_is_said_to_be_so() -> None:
    def probe() -> str:
        raise PermissionError(13, "no", "/x")

    check = probes.look("key", probe)
    assert (check.problem, "config check" in check.remedy) == ("/x cannot be read by this user", True)


def test_a_library_that_is_missing_is_installed_by_a_command() -> None:
    def probe() -> str:
        raise ModuleNotFoundError("No module named 'gssapi'", name="gssapi")

    assert probes.look("ticket", probe).remedy == "`pip install 'bastide[ad]'`"


def test_an_empty_file_says_what_makes_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "key").touch(0o600)
    assert probes.secret("key", str(tmp_path / "key"), "`make it`").remedy == "`make it`"
