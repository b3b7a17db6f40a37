"""A keytab that an agent's settings name is found as one of bastide.toml is: by path, or as a systemd credential."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bastide.config import ConfigError, secret_path
from bastide.domain.errors import TargetDenied
from bastide.targets.ad_connection import ActiveDirectorySettings, open_session
from bastide.targets.kinds import Opening

OPENING = Opening(
    name="corp", secret="", now=lambda: datetime(2026, 1, 5, 9, tzinfo=UTC), monotonic=lambda: 0.0
)


def open_with(keytab: str) -> TargetDenied:
    """Nothing is at the path, so the refusal names it."""
    settings = ActiveDirectorySettings(
        domain="corp.test", controllers=("127.0.0.1",), principal="svc@CORP.TEST", keytab=keytab
    )
    with pytest.raises(TargetDenied) as refused:
        open_session(settings, OPENING)
    return refused.value


def test_a_keytab_is_a_path_or_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "first"))
    assert str(tmp_path / "first" / "corp.keytab") in open_with("credential:corp.keytab").message
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "second"))
    assert str(tmp_path / "second" / "corp.keytab") in open_with("credential:corp.keytab").message
    assert f"keytab {tmp_path}/x " in open_with(f"{tmp_path}/x").message


def test_without_credentials_of_the_unit_the_remedy_says_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "LoadCredential=" in open_with("credential:corp.keytab").remedy


@pytest.mark.parametrize("name", ["", ".", "..", "../shadow", "a/b"])
def test_a_credential_is_a_plain_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match="plain name"):
        secret_path(f"credential:{name}")
    assert "plain name" in open_with(f"credential:{name}").message
