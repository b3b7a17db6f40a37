"""What a keytab holds is said before a KDC is asked, and instead of what GSS-API would say of a name that is not in it."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bastide.config import Config, Corp, Http, Keys, Passwords, Priv, Rights, SourceDomain
from bastide.directory.kerberos import Identity
from bastide.directory.keytab import principals, require
from bastide.domain.errors import DirectoryDenied, InvalidInput, TargetDenied
from bastide.domain.health import Finding
from bastide.health.checks import kerberos
from bastide.targets.ad_connection import ActiveDirectorySettings, open_session
from bastide.targets.kinds import Opening
from bastide.targets.registry import Registry
from tests.support.health import by_key, looking_at
from tests.support.keytabs import keytab

SVC, OTHER = "svc-bastide@PRIV.TEST", "svc-old@PRIV.TEST"


def test_the_names_are_those_that_mit_shows(tmp_path: Path) -> None:
    file = keytab(tmp_path / "k", SVC, "HTTP/b.corp.test@CORP.TEST", "my svc@PRIV.TEST")
    assert principals(file) == ("HTTP/b.corp.test@CORP.TEST", "my svc@PRIV.TEST", SVC)
    klist = shutil.which("klist")
    if klist is None:
        pytest.fail("klist, of krb5-user, is missing; as root: python3 tools/install.py --lab", pytrace=False)
    shown = subprocess.run([klist, "-k", str(file)], capture_output=True, text=True, check=True).stdout
    assert {line.strip().partition(" ")[2] for line in shown.splitlines() if "@" in line} == set(
        principals(file)
    )


@pytest.mark.parametrize("wanted", [SVC, "svc-bastide", "HTTP/*@CORP.TEST"])
def test_a_name_that_is_there(tmp_path: Path, wanted: str) -> None:
    require(keytab(tmp_path / "k", SVC, "HTTP/b.corp.test@CORP.TEST"), wanted)


@pytest.mark.parametrize(
    "wanted", [OTHER, "svc-bastide@PRIV.OTHER", "SVC-bastide@PRIV.TEST", "HTTP/*@PRIV.TEST", "PCNSCLNT/*@CORP.TEST"]
)  # fmt: skip
def test_a_name_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, wanted: str) -> None:
    file = keytab(tmp_path / "k", SVC, "HTTP/b.corp.test@CORP.TEST")
    with pytest.raises(DirectoryDenied) as refused:
        require(file, SVC, wanted)
    assert refused.value.message == (
        f"the keytab {file} has HTTP/b.corp.test@CORP.TEST and {SVC}, not {wanted}"
    )
    assert f"klist -k {file}" in refused.value.remedy


@pytest.mark.parametrize(
    "raw",
    [b"", b"garbage", b"\x05\x01\0\0", b"\x05\x02\0\0\0\x09\0\x01\xff\xff", b"\x05\x02\0\0\0\x07\0\0\0\x03\xff\xff\xff"],
)  # fmt: skip
def test_what_is_no_keytab_is_said_to_be_none_and_not_shown(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "k").write_bytes(raw)
    with pytest.raises(DirectoryDenied, match="is no keytab") as refused:
        principals(tmp_path / "k")
    assert "garbage" not in str(refused.value) + refused.value.remedy


def test_an_empty_keytab_and_none(tmp_path: Path) -> None:
    with pytest.raises(DirectoryDenied, match="has no key, not svc"):
        require(keytab(tmp_path / "k"), SVC)
    with pytest.raises(DirectoryDenied, match="cannot be read: no such file"):
        principals(tmp_path / "none")


def test_a_ticket_for_a_name_that_is_not_there_is_not_asked_for(tmp_path: Path) -> None:
    identity = Identity(SVC, keytab(tmp_path / "k", OTHER))
    with pytest.raises(DirectoryDenied, match=f"has {OTHER}, not {SVC}"), identity.used():
        pass


# ------------------------------------------------------------------------------------------------------------ config check


def settings(folder: Path) -> Config:
    return Config(
        keys=Keys(master="/m", signing="/s"),
        priv=Priv(
            domain="priv.test",
            principal=SVC,
            keytab=str(folder / "svc.keytab"),
            controllers=["127.0.0.1"],
            users_container="U",
            groups_container="G",
        ),
        corp=Corp(domain="corp.test", controllers=["127.0.0.1"]),
        http=Http(keytab=str(folder / "http.keytab"), priv_host="b.priv.test", corp_host="b.corp.test"),
        rights=Rights(administrators=["A"], auditors=[], approvers=[]),
        passwords=Passwords(
            openpgp=[],
            keytab=str(folder / "pcns.keytab"),
            vault=f"sqlite:///{folder}/vault.db",
            source_domains=[SourceDomain(domain="Sales.test", controllers=["127.0.0.1"])],
        ),
    )


def found(config: Config) -> dict[str, Finding]:
    """Every port answers, as far as anybody knocks; no KDC is near."""
    world = looking_at(config)
    return by_key([*kerberos.keytabs(world), *kerberos.tickets(world)])


def test_config_check_says_which_names_are_missing(tmp_path: Path) -> None:
    keytab(tmp_path / "svc.keytab", OTHER)
    keytab(tmp_path / "http.keytab", "HTTP/b.priv.test@PRIV.TEST", "HTTP/b.priv.test@CORP.TEST")
    keytab(tmp_path / "pcns.keytab", "PCNSCLNT/b.corp.test@CORP.TEST", SVC)
    checks = found(settings(tmp_path))
    assert checks[f"{SVC}: ticket"].text.endswith(f"has {OTHER}, not {SVC}")
    assert checks["http: HTTP/"].text.endswith("not HTTP/b.corp.test@CORP.TEST")
    assert checks["passwords: PCNSCLNT/"].text.endswith("not PCNSCLNT/*@SALES.TEST")
    for name in ("http: HTTP/", "passwords: PCNSCLNT/"):
        assert checks[name].remedy


def test_names_that_are_all_there_are_ok(tmp_path: Path) -> None:
    keytab(tmp_path / "svc.keytab", SVC)
    keytab(tmp_path / "http.keytab", "HTTP/b.priv.test@PRIV.TEST", "HTTP/b.corp.test@CORP.TEST")
    keytab(tmp_path / "pcns.keytab", "PCNSCLNT/b.corp.test@CORP.TEST", "PCNSCLNT/x@SALES.TEST")
    checks = found(settings(tmp_path))
    assert checks["http: HTTP/"].ok
    assert checks["passwords: PCNSCLNT/"].ok
    alone = msgspec.structs.replace(settings(tmp_path), corp=None)
    assert found(alone)["http: HTTP/"].text == "HTTP/b.priv.test@PRIV.TEST"


# ------------------------------------------------------------------------------------------------------- management agents


def refused(file: str) -> TargetDenied:
    given = ActiveDirectorySettings(
        domain="corp.test", controllers=("127.0.0.1",), principal=SVC, keytab=file
    )
    opening = Opening(
        name="corp", secret="", now=lambda: datetime(2026, 1, 5, tzinfo=UTC), monotonic=lambda: 0.0
    )
    with pytest.raises(TargetDenied) as error:
        open_session(given, opening)
    return error.value


def test_an_agent_s_keytab_without_its_name_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    """As `ma import` does first."""
    assert refused(str(keytab(tmp_path / "k", OTHER))).message.endswith(f"has {OTHER}, not {SVC}")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_an_agent_s_keytab_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    error = refused(str(keytab(tmp_path / "k", SVC, mode=mode)))
    assert error.message == f"others may read the keytab {tmp_path}/k (mode {mode:o})"
    assert error.remedy.startswith(f"chmod 600 {tmp_path}/k")


def test_a_credential_may_have_group_bits_but_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    keytab(tmp_path / "k", OTHER, mode=0o440)
    assert refused("credential:k").message.endswith(f"not {SVC}")
    (tmp_path / "k").chmod(0o444)
    assert "others may read" in refused("credential:k").message


def test_a_keytab_that_does_not_fit_is_refused_when_the_settings_are_set(tmp_path: Path) -> None:
    """`ma add` and `ma edit`. One that is not there yet may come later."""
    registry = Registry(lambda: datetime(2026, 1, 5, tzinfo=UTC), lambda: 0.0)

    def given(file: str) -> None:
        registry.check("active-directory", {"domain": "corp.test", "principal": SVC, "keytab": file})

    given(str(tmp_path / "later"))
    given("credential:later")
    given(str(keytab(tmp_path / "good", OTHER, SVC)))
    for path, said in (
        (keytab(tmp_path / "other", OTHER), f"has {OTHER}, not {SVC}"),
        (keytab(tmp_path / "open", SVC, mode=0o644), "others may read"),
    ):
        with pytest.raises(InvalidInput) as refused:
            given(str(path))
        assert refused.value.field == "settings.keytab"
        assert said in refused.value.message
        assert refused.value.remedy
