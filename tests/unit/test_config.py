"""Settings that cannot be meant are refused when they are read: the message names the field, and the command says what belongs there."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.cli.config_file import remedy_for
from bastide.clock import SystemClock
from bastide.config import Config, ConfigError, load, secret_path, source_domains
from bastide.domain.contacts import SILENCE_MINUTES
from bastide.domain.management_agents import PasswordSource, check
from bastide.services.passwords.coverage import FRESH
from bastide.wiring.issuer import issued_tokens
from tests.support.spaces import draft

BASE = """
[keys]
master = "/m"
signing = "/s"
[priv]
domain = "{priv}"
principal = "svc@PRIV.TEST"
keytab = "/k"
users_container = "OU=U"
groups_container = "OU=G"
[corp]
domain = "corp.test"
[rights]
administrators = []
auditors = []
approvers = []
"""
PASSWORDS = '[passwords]\nopenpgp = ["/o"]\nkeytab = "/p"\n'
SOURCE = '[[passwords.source_domains]]\ndomain = "{}"\n'


def read(folder: Path, more: str, priv: str = "priv.test") -> Config:
    file = folder / "bastide.toml"
    file.write_text(BASE.format(priv=priv) + more, encoding="utf-8")
    return load(file)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("event_level", 0, 3), ("silence_minutes", 0, 43_200), ("coverage_minutes", 1, 10_080)],
    ids=str,
)
def test_numbers_have_a_range(tmp_path: Path, name: str, least: int, most: int) -> None:
    for good in (least, most):
        assert getattr(read(tmp_path, f"{PASSWORDS}{name} = {good}").passwords, name) == good
    for bad in (least - 1, most + 1):
        with pytest.raises(
            ConfigError, match=rf"passwords\.{name} is {least} to {most}, not {bad}"
        ) as refused:
            read(tmp_path, f"{PASSWORDS}{name} = {bad}")
        assert remedy_for(str(refused.value)).startswith(f"set passwords.{name}. ")


def test_the_age_of_a_drill_has_a_range(tmp_path: Path) -> None:
    for good in (1, 3653):
        assert read(tmp_path, f"[policy]\ndrill_days = {good}\n").policy.drill_days == good
    for bad in (0, 3654):
        with pytest.raises(ConfigError, match=f"policy.drill_days is 1 to 3653, not {bad}"):
            read(tmp_path, f"[policy]\ndrill_days = {bad}\n")


def test_who_warns_of_long_intervals_knows_the_default(tmp_path: Path) -> None:
    """services/passwords/notification.py cannot read the server's settings."""
    settings = read(tmp_path, PASSWORDS).passwords
    assert settings is not None
    assert settings.silence_minutes == SILENCE_MINUTES


def test_coverage_waits_as_long_as_the_settings_do_by_default(tmp_path: Path) -> None:
    settings = read(tmp_path, PASSWORDS).passwords
    assert settings is not None
    assert timedelta(minutes=settings.coverage_minutes) == FRESH


NAMES = {
    "sales.test": True,
    "SALES.test": True,
    "test": True,
    "sub.corp.test": True,
    "straße.test": True,
    "1.test": True,
    f"{'a' * 63}.test": True,
    "": False,
    ".": False,
    "sales.test.": False,
    ".sales.test": False,
    "sales..test": False,
    "la b.test": False,
    "sales.test\\t": False,
    "sales\\u0000.test": False,
    "*.test": False,
    "a_b.test": False,
    "-sales.test": False,
    "sales-.test": False,
    "sales.test:389": False,
    "SALES.TEST@X": False,
    "192.0.2.1": False,
    f"{'a' * 64}.test": False,
    ".".join(["a" * 63] * 4): False,
}


@pytest.mark.parametrize(("name", "good"), NAMES.items(), ids=lambda value: str(value)[:20])
def test_a_source_domain_is_a_dns_name(tmp_path: Path, name: str, good: bool) -> None:
    """What is one here can be that of a source, too."""
    text = PASSWORDS + SOURCE.format(name)
    if not good:
        with pytest.raises(ConfigError, match="no DNS name") as refused:
            read(tmp_path, text)
        assert remedy_for(str(refused.value)).startswith("set passwords.source_domains.domain. ")
        return
    assert name.lower() in source_domains(read(tmp_path, text))
    found = check(draft("x", source=PasswordSource(domain=name)).agent).source
    assert found is not None
    assert found.domain == name.lower()


def test_a_dot_at_the_end_is_no_second_domain(tmp_path: Path) -> None:
    assert "priv.test" in source_domains(read(tmp_path, "", priv="PRIV.test."))
    with pytest.raises(ConfigError, match="named twice"):
        read(tmp_path, PASSWORDS + SOURCE.format("priv.test"), priv="priv.test.")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "../a", "a:b", "a\\nb", "a\\u0000", "é", "a" * 256],
    ids=lambda one: one[:9],
)
@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("passwords.openpgp", '[passwords]\nopenpgp = ["/o", "{}"]\nkeytab = "/p"\n'),
        ("passwords.keytab", '[passwords]\nopenpgp = ["/o"]\nkeytab = "{}"\n'),
        (
            "passwords.source_domains.keytab",
            PASSWORDS + SOURCE.format("sales.test") + 'principal = "p"\nkeytab = "{}"\n',
        ),
        ("priv.preparer.keytab", '[priv.preparer]\nprincipal = "p"\nkeytab = "{}"\n'),
        ("database.password", '[database]\npassword = "{}"\n'),
    ],
)
def test_a_credential_has_a_name_that_systemd_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, text: str, name: str
) -> None:
    """Found when the file is read, not when the key is first wanted; and no path leads out of the directory."""
    with pytest.raises(ConfigError, match="a plain name") as refused:
        read(tmp_path, text.format(f"credential:{name}"))
    assert f"{where}: " in str(refused.value)
    assert remedy_for(str(refused.value)).startswith(f"set {where}. ")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match="a plain name"):
        secret_path(f"credential:{name}".replace("\\n", "\n").replace("\\u0000", "\0"))


def test_a_good_credential_is_a_file_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read(tmp_path, '[passwords]\nopenpgp = ["credential:open pgp.key"]\nkeytab = "/p"\n')
    assert settings.passwords is not None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret_path(settings.passwords.openpgp[0]) == tmp_path / "open pgp.key"


@pytest.mark.parametrize(
    ("more", "said"),
    [("x = " + "[" * 5000 + "]" * 5000, "nested too deep"), ("x = " + "1" * 5000, "4300 digits")],
)
def test_a_file_that_the_parser_gives_up_is_refused_too(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, more)


@pytest.mark.parametrize(
    ("database", "vault", "same"),
    [
        ("sqlite:///{0}/b.db", "sqlite:///{0}/b.db", True),
        ("sqlite:///{0}/b.db", "sqlite:///{0}/x/../b.db?timeout=1", True),
        ("sqlite:///{0}/b.db", "sqlite:///{0}/link.db", True),
        ("sqlite:///{0}/b.db", "sqlite:///{0}/hard.db", True),
        ("sqlite:///{0}/b.db", "sqlite:///{0}/v.db", False),
        ("sqlite://", "sqlite://", False),
        ("postgresql://a@H.test/bastide", "postgresql+psycopg://b:p@h.test.:5432/bastide?x=1", True),
        ("postgresql://a@h1,h2:5433/bastide", "postgres://a@h2:5433/bastide", True),
        ("postgresql:///?host=h&dbname=bastide&port=5433", "postgresql://a@h:5433/bastide", True),
        ("postgresql://bastide@[::1]:5432", "postgresql://[::1]/bastide", True),
        ("postgresql://a@h/bastide", "postgresql://a@h/vault", False),
        ("postgresql://a@h/bastide", "postgresql://a@h:5433/bastide", False),
        ("postgresql://a@h/bastide", "postgresql://a@other/bastide", False),
        ("postgresql://[h/bastide", "postgresql://[h/bastide", False),
        ("postgresql://a@h/bastide", "sqlite:///{0}/v.db", False),
    ],
)
def test_the_vault_is_a_database_of_its_own(tmp_path: Path, database: str, vault: str, same: bool) -> None:
    """However the two are spelled. What is no URL is refused elsewhere."""
    (tmp_path / "b.db").touch()
    (tmp_path / "x").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "b.db")
    (tmp_path / "hard.db").hardlink_to(tmp_path / "b.db")
    file = tmp_path / "bastide.toml"
    file.write_text(
        f"""
database = {{ url = "{database.format(tmp_path)}" }}
keys = {{ master = "/m", signing = "/s" }}
priv = {{ domain = "p.test", principal = "s@P", keytab = "/k", users_container = "u", groups_container = "g" }}
rights = {{ administrators = [], auditors = [], approvers = [] }}
passwords = {{ openpgp = ["/o"], keytab = "/k", vault = "{vault.format(tmp_path)}" }}
"""
    )
    if not same:
        assert load(file).passwords is not None
        return
    with pytest.raises(ConfigError, match="must be a database of its own"):
        load(file)


# -------------------------------------------------------------------------------------------------- an issuer of tokens


ISSUER = {
    "issuer": "https://sso.test/staff",
    "audience": "api://bastide",
    "applications": ["scripts"],
    "claim": "onprem_sid",
    "account": "sid",
}


def issuer(**changes: object) -> str:
    said = {name: value for name, value in {**ISSUER, **changes}.items() if value is not None}
    lines = (f"{name} = {json.dumps(value)}" for name, value in said.items())
    return "[oidc]\n" + "\n".join(lines) + "\n"


def test_an_issuer_is_off_until_it_is_named(tmp_path: Path) -> None:
    assert read(tmp_path, "").oidc is None
    settings = read(tmp_path, issuer()).oidc
    assert settings is not None
    assert (settings.forest, settings.ca_file, settings.second_factor) == ("corp", "", [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "http://sso.test"}, "oidc.issuer"),
        ({"issuer": "https://"}, "oidc.issuer"),
        ({"issuer": "https://sso.test/?x=1"}, "oidc.issuer"),
        ({"issuer": "https://user@sso.test"}, "oidc.issuer"),
        ({"issuer": None}, "issuer"),
        ({"audience": ""}, "oidc.audience"),
        ({"applications": []}, "oidc.applications"),
        ({"applications": [""]}, "oidc.applications"),
        ({"claim": ""}, "oidc.claim"),
        ({"account": "mail"}, "account"),
        ({"account": None}, "account"),
        ({"forest": "both"}, "forest"),
        ({"keys_minutes": 0}, "oidc.keys_minutes is 1 to 1440, not 0"),
        ({"keys_minutes": 1441}, "oidc.keys_minutes"),
        ({"second_factor": ["mfa"]}, "oidc.second_factor: 'mfa'"),
        ({"second_factor": ["amr="]}, "oidc.second_factor"),
        ({"algorithms": ["none"]}, "algorithms"),
    ],
)
def test_an_issuer_that_cannot_be_meant_is_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read(tmp_path, issuer(**changes))


def test_in_one_forest_there_is_no_issuer_of_the_other(tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    alone = BASE.format(priv="priv.test").replace('[corp]\ndomain = "corp.test"\n', "")
    file.write_text(alone + issuer(), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"oidc\.forest"):
        load(file)
    file.write_text(alone + issuer(forest="priv"), encoding="utf-8")
    assert load(file).oidc is not None


def test_authorities_that_are_not_there_stop_the_start(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.pem", tmp_path):
        settings = read(tmp_path, issuer(ca_file=str(path))).oidc
        assert settings is not None
        with pytest.raises(ConfigError, match=r"oidc\.ca_file"):
            issued_tokens(settings, SystemClock())
