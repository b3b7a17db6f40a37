"""The database's URL, with the password that is kept apart from it."""

from pathlib import Path

import pytest
from psycopg import conninfo

from bastide.config import Config, ConfigError, Database, Keys, Priv, Rights
from bastide.wiring.database import database_url, shown

PASSWORD = "p@ss:/word?%ö&=1"
HOSTS = "db1.test:5432,db2.test:5433,[2001:db8::1]"


def config(url: str, password: str = "") -> Config:
    return Config(
        database=Database(url=url, password=password),
        keys=Keys(master="m", signing="s"),
        priv=Priv(
            domain="priv.test", principal="p", keytab="k", users_container="OU=U", groups_container="OU=G"
        ),
        rights=Rights(administrators=[], auditors=[], approvers=[]),
    )


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return str(file)


@pytest.mark.parametrize(
    ("url", "host", "port", "user"),
    [
        ("postgresql://bastide@db.test/pam", "db.test", None, "bastide"),
        ("postgresql://bastide@db.test:5433/pam", "db.test", "5433", "bastide"),
        (f"postgresql://bastide@{HOSTS}/pam", "db1.test,db2.test,2001:db8::1", "5432,5433,", "bastide"),
        ("postgresql://bas%40tide:old@db1.test,db2.test/pam", "db1.test,db2.test", ",", "bas@tide"),
        ("postgresql://db.test/pam", "db.test", None, None),
        ("postgresql://bastide@/pam?host=/run/postgresql", "/run/postgresql", None, "bastide"),
    ],
)
def test_a_password_kept_apart_goes_into_the_url_as_libpq_reads_it(
    url: str, host: str, port: str | None, user: str | None, secret: str
) -> None:
    made = conninfo.conninfo_to_dict(database_url(config(url, secret)))
    assert made["password"] == PASSWORD
    assert (made["host"], made.get("port"), made.get("user"), made["dbname"]) == (host, port, user, "pam")


def test_the_options_stay_as_they_are(secret: str) -> None:
    options = "target_session_attrs=read-write&connect_timeout=2&sslmode=verify-full"
    made = conninfo.conninfo_to_dict(database_url(config(f"postgresql://u@{HOSTS}/pam?{options}", secret)))
    assert made["target_session_attrs"] == "read-write"
    assert made["connect_timeout"] == "2"
    assert made["sslmode"] == "verify-full"


def test_without_a_password_the_url_is_the_settings(tmp_path: Path) -> None:
    url = f"postgresql://bastide@{HOSTS}/pam"
    assert database_url(config(url)) == url
    assert database_url(config(f"sqlite:///{tmp_path}/b.db")) == f"sqlite:///{tmp_path}/b.db"


@pytest.mark.parametrize("url", ["sqlite:////var/lib/b.db", "db.test"])
def test_a_password_for_what_takes_none_is_refused(url: str, secret: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.url: a password goes with a URL of PostgreSQL"):
        database_url(config(url, secret))


def test_a_password_file_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the password for database\.url cannot be read"):
        database_url(config("postgresql://u@db.test/pam", str(tmp_path / "none")))


def test_people_see_no_user_and_no_option() -> None:
    url = f"postgresql://bastide:x@{HOSTS}/pam?sslpassword=y"
    assert shown(config(url)) == f"postgresql://{HOSTS}/pam"
