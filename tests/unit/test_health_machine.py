"""Checks of disks and certificates."""

import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from bastide.config import AuditSettings, Config, Database, Http, Server
from bastide.domain.health import Severity
from bastide.health.checks import certificates, storage
from bastide.health.checks.storage import Mount
from tests.support.certificates import issue
from tests.support.health import MINIMAL, by_key, looking_at


def severities(found: Any) -> dict[str, Severity]:
    return {name: one.severity for name, one in by_key(found).items()}


# -------------------------------------------------------------------------------------------------------------- storage


@pytest.mark.parametrize(
    ("free", "total", "severity"),
    [(50, 10_000, Severity.ERROR), (200, 10_000, Severity.WARNING), (200, 1_000, Severity.OK), (5_000, 10_000, Severity.OK)],
)  # fmt: skip
def test_room(free: int, total: int, severity: Severity) -> None:
    assert storage.judge_space("/x", free << 20, total << 20).severity is severity


def test_a_folder_that_is_missing_says_what_makes_it(tmp_path: Path) -> None:
    config = msgspec.structs.replace(MINIMAL, database=Database(url=f"sqlite:///{tmp_path}/no/x.db"))
    (found,) = storage.space(looking_at(config))
    assert found.severity is Severity.ERROR
    assert f"install -d -m 0700 {tmp_path}/no" in found.remedy


@pytest.mark.parametrize(("mode", "ok"), [(0o600, True), (0o644, False), (0o660, False)])
def test_who_may_read_the_database(tmp_path: Path, mode: int, ok: bool) -> None:
    file, settings = tmp_path / "x.db", tmp_path / "bastide.toml"
    for one in (file, settings):
        one.touch(0o600)
    file.chmod(mode)
    settings.chmod(0o644)
    config = msgspec.structs.replace(MINIMAL, database=Database(url=f"sqlite:///{file}"))
    found = by_key(storage.modes(looking_at(config, file=settings)))
    assert (found[str(file)].ok, found[str(settings)].ok) == (ok, True)
    settings.chmod(0o664)
    assert storage.look_at(settings, stat.S_IWGRP, "write").remedy == f"chmod 0644 {settings}"


@pytest.mark.parametrize(
    ("kind", "options", "severity"),
    [
        ("ext4", {"rw"}, Severity.OK),
        ("nfs4", {"rw"}, Severity.ERROR),
        ("ext4", {"ro"}, Severity.ERROR),
        ("tmpfs", {"rw"}, Severity.WARNING),
    ],
)
def test_what_a_database_lies_on(kind: str, options: set[str], severity: Severity) -> None:
    assert storage.judge_mount("/x/y", Mount("/x", kind, frozenset(options))).severity is severity


def test_the_deepest_mount_counts_and_of_equal_ones_the_last() -> None:
    lines = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
        "23 22 0:20 / /srv/my\\040data rw - nfs4 host:/x rw",
        "24 22 0:21 / /srv/my\\040data ro - xfs /dev/sdb rw",
    )
    known = storage.read_mounts("\n".join(lines))
    assert storage.mount_of(Path("/srv/my data/x.db"), known) == Mount(
        "/srv/my data", "xfs", frozenset({"ro", "rw"})
    )
    assert storage.mount_of(Path("/srv/other/x.db"), known).kind == "ext4"


# --------------------------------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize(
    ("days", "severity"),
    [(0, Severity.OK), (5, Severity.WARNING), (25, Severity.ERROR), (31, Severity.CRITICAL), (-31, Severity.ERROR)],
)  # fmt: skip
def test_days_left(tmp_path: Path, days: int, severity: Severity) -> None:
    """Made for thirty days from now on, and for thirty before."""
    made = x509.load_pem_x509_certificate(issue(tmp_path, "a", "a.test").certificate.read_bytes())
    at = made.not_valid_after_utc - timedelta(days=30 if days > 0 else 31) + timedelta(days=days, minutes=1)
    if days < 0:
        at = made.not_valid_before_utc - timedelta(days=1)
    assert certificates.life("x", made, at, "renew").severity is severity


def served(folder: Path, host: str, *, name: str = "a.test") -> Config:
    pair = issue(folder, "server", name)
    server = Server(certificate=str(pair.certificate), key=str(pair.key), url=f"https://{host}:8443")
    return msgspec.structs.replace(MINIMAL, server=server, http=Http(priv_host=host))


def test_a_good_certificate(tmp_path: Path) -> None:
    found = severities(certificates.server(looking_at(served(tmp_path, "a.test"))))
    assert found.pop("server: certificate") in {Severity.OK, Severity.WARNING}
    assert set(found.values()) == {Severity.OK}


def test_a_name_that_is_missing(tmp_path: Path) -> None:
    found = by_key(certificates.server(looking_at(served(tmp_path, "b.test"))))
    assert found["server: names"].text == "the certificate does not name b.test"
    wild = by_key(certificates.server(looking_at(served(tmp_path, "b.a.test", name="*.a.test"))))
    assert wild["server: names"].ok


def test_a_chain_in_the_wrong_order(tmp_path: Path) -> None:
    authority = issue(tmp_path, "ca", "Authority")
    leaf = issue(tmp_path, "leaf", "a.test", ca=authority.certificate, ca_key=authority.key)
    right = leaf.certificate.read_bytes() + authority.certificate.read_bytes()
    wrong = authority.certificate.read_bytes() + leaf.certificate.read_bytes()
    assert certificates.links(x509.load_pem_x509_certificates(right)).ok
    assert certificates.links(x509.load_pem_x509_certificates(wrong)).severity is Severity.ERROR


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_a_file_that_holds_none(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "x.crt"
    if content is not None:
        file.write_bytes(content)
    config = msgspec.structs.replace(MINIMAL, server=Server(certificate=str(file), key="/none"))
    found = by_key(certificates.server(looking_at(config)))
    assert found["server: certificate"].severity is Severity.ERROR
    authority = msgspec.structs.replace(MINIMAL, audit=AuditSettings(syslog_ca=str(file)))
    assert not by_key(certificates.authorities(looking_at(authority)))["audit.syslog_ca"].ok
