"""Who writes a secret where its file belongs is told so, and the secret is in no message."""

from pathlib import Path

import pytest

from bastide.config import ConfigError, load

SECRET = "0c9f2c9f7d3a4f1e8b6a5d4c3b2a1908"
SETTINGS = """
[server]
url = "https://bastide.priv.invalid:8443"
[keys]
master = "/m"
signing = "/s"
[priv]
domain = "priv.invalid"
principal = "svc@PRIV.INVALID"
keytab = "/k"
users_container = "OU=U"
groups_container = "OU=G"
[rights]
administrators = []
auditors = []
approvers = []
"""


@pytest.mark.parametrize(
    ("where", "table"),
    [
        ("telemetry.token", f'[telemetry]\nendpoint = "https://o.invalid"\ntoken = "{SECRET}"'),
        ("metrics.token", f'[metrics]\ntoken = "{SECRET}"'),
        (
            "notifications.channels.url",
            f'[[notifications.channels]]\nname = "mail"\nurl = "mailtos://bastide:{SECRET}@mail.invalid"',
        ),
        (
            "passwords.vault_password",
            f'[passwords]\nopenpgp = ["/o"]\nkeytab = "/p"\nvault_password = "{SECRET}"',
        ),
        ("database.password", f'[database]\nurl = "postgresql://b@h/b"\npassword = "{SECRET}"'),
    ],
)
def test_a_secret_itself_is_no_file(where: str, table: str, tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text(f"{SETTINGS}{table}\n")
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert where in str(refused.value)
    assert "is the path of a file" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("place", ["/etc/bastide/secret", "credential:secret"])
def test_a_file_or_a_credential_is(place: str, tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text(
        f'{SETTINGS}[metrics]\ntoken = "{place}"\n[[notifications.channels]]\nname = "mail"\nurl = "{place}"\n'
    )
    settings = load(file)
    assert settings.metrics is not None
    assert settings.metrics.token == place
