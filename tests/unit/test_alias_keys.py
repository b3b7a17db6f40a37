"""The keytab of the cluster alias on disk: mode, what is kept, what a killed writer leaves, what an error says."""

import os
import stat
import subprocess
from pathlib import Path

import krb5
import pytest

from bastide.directory.alias_keys import KeytabFile
from bastide.domain import cluster
from bastide.domain.cluster import Alias
from bastide.domain.errors import DirectoryDenied, StoreUnavailable
from tests.support.keytabs import keytab

ALIAS = Alias.parse("bastide", "priv.bastide.test")
PASSWORD = "Canary-Aa1-" + "p" * 60


@pytest.fixture
def file(tmp_path: Path) -> KeytabFile:
    return KeytabFile(tmp_path / "alias.keytab")


def mode(file: KeytabFile) -> int:
    return stat.S_IMODE(Path(file.path).stat().st_mode)


def test_nobody_else_may_read_it_at_any_time(file: KeytabFile) -> None:
    before = os.umask(0)
    try:
        file.add(ALIAS, PASSWORD, 2)
        Path(file.path).chmod(0o644)
        file.add(ALIAS, PASSWORD, 3)
    finally:
        os.umask(before)
    assert mode(file) == 0o600
    assert [path.name for path in Path(file.path).parent.iterdir()] == ["alias.keytab"]


def test_mit_kerberos_reads_it(file: KeytabFile) -> None:
    file.add(ALIAS, PASSWORD, 2)
    shown = subprocess.run(["klist", "-kte", file.path], capture_output=True, text=True, check=True).stdout
    for name in ALIAS.principals:
        for kind in ("aes128-cts-hmac-sha1-96", "aes256-cts-hmac-sha1-96"):
            assert any(name in line and kind in line for line in shown.splitlines())


def test_keys_are_derived_as_rfc_3962_has_it(file: KeytabFile) -> None:
    """RFC 3962, B: password "password", salt "ATHENA.MIT.EDUraeburn", 4096 iterations is the default; here by the salt of a computer account."""
    file.add(ALIAS, PASSWORD, 2)
    context = krb5.init_context()
    who = krb5.parse_name_flags(context, ALIAS.principals[0].encode())
    held = krb5.kt_get_entry(context, krb5.kt_resolve(context, f"FILE:{file.path}".encode()), who, 2, 18)
    salt = b"PRIV.BASTIDE.TESThostbastide.priv.bastide.test"
    assert held.key.data == krb5.c_string_to_key(context, 18, PASSWORD.encode(), salt).data
    assert (
        held.key.data
        != krb5.c_string_to_key(context, 18, PASSWORD.encode(), b"PRIV.BASTIDE.TESTbastide$").data
    )


def test_what_else_is_there_stays_key_for_key(tmp_path: Path) -> None:
    path = keytab(tmp_path / "http.keytab", "HTTP/node1.priv.bastide.test@PRIV.BASTIDE.TEST", "a@B")
    file, shared = KeytabFile(path), KeytabFile(tmp_path / "alias.keytab")
    before = file.read()
    shared.add(ALIAS, PASSWORD, 2)
    file.take(shared, ALIAS)
    assert set(before) < set(file.read())
    file.drop(ALIAS, cluster.versions(file.read()))
    assert file.read() == before
    context = krb5.init_context()
    assert {entry.key.data for entry in krb5.kt_resolve(context, f"FILE:{path}".encode())} == {
        bytes(range(32))
    }


def test_the_owner_stays(file: KeytabFile) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    file.add(ALIAS, PASSWORD, 2)
    os.chown(file.path, 12345, 12345)
    file.add(ALIAS, PASSWORD, 3)
    assert (Path(file.path).stat().st_uid, mode(file)) == (12345, 0o600)


def test_what_a_killed_writer_left_is_in_nobodys_way(file: KeytabFile) -> None:
    left = Path(file.path).with_name(".alias.keytab.new")
    left.write_bytes(b"half")
    file.add(ALIAS, PASSWORD, 2)
    assert not left.exists()
    assert cluster.versions(file.read()) == (2,)


def test_a_write_that_fails_leaves_the_old_file(file: KeytabFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.add(ALIAS, PASSWORD, 2)
    before = Path(file.path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bastide.directory.alias_keys.os.fsync", full)
    with pytest.raises(StoreUnavailable, match="no space left") as refused:
        file.add(ALIAS, PASSWORD, 3)
    assert Path(file.path).read_bytes() == before
    assert [path.name for path in Path(file.path).parent.iterdir()] == ["alias.keytab"]
    assert "Canary" not in repr((file, refused.value, refused.value.__cause__))


@pytest.mark.parametrize("content", [b"", b"no keytab", b"\x05\x01rest", b"\x05\x02\x00\x00\x00\x20short"])
def test_what_is_no_keytab_is_said_and_left_alone(file: KeytabFile, content: bytes) -> None:
    """A copy of a damaged file would lose what comes after the damage, and libkrb5 says nothing."""
    Path(file.path).write_bytes(content)
    with pytest.raises(DirectoryDenied, match="no keytab"):
        file.read()
    with pytest.raises(DirectoryDenied):
        file.add(ALIAS, PASSWORD, 2)
    with pytest.raises(DirectoryDenied):
        file.drop(ALIAS, [2])
    assert Path(file.path).read_bytes() == content


def test_not_where_anybody_may_write(tmp_path: Path) -> None:
    """Whoever puts a keytab there first would own the new one, for the owner stays."""
    folder = tmp_path / "everybodys"
    folder.mkdir()
    folder.chmod(0o1777)
    planted = keytab(folder / "alias.keytab", "a@B")
    if os.geteuid() == 0:
        os.chown(planted, 12345, 12345)
    before = planted.read_bytes()
    with pytest.raises(StoreUnavailable, match="anybody may write") as refused:
        KeytabFile(planted).add(ALIAS, PASSWORD, 2)
    assert "chmod" in refused.value.remedy
    assert planted.read_bytes() == before


def test_places_that_do_not_do(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("elsewhere")
    for path in (tmp_path / "no" / "alias.keytab", tmp_path, link, Path("/proc/alias.keytab")):
        with pytest.raises(StoreUnavailable) as refused:
            KeytabFile(path).add(ALIAS, PASSWORD, 2)
        assert refused.value.remedy
