"""Passwords into files: what is written, who may read it, and what is there after a crash."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import pytest
from passlib.hash import sha512_crypt

from bastide.domain.errors import InvalidInput, TargetUnavailable
from bastide.domain.management_agents import CsId, CsObject, MaId
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import NewPassword, PasswordTarget, Security
from bastide.targets.files import storage
from bastide.targets.hashing import Scheme, Unhashable, salted_hash
from tests.support.callers import make_anothers
from tests.support.target_files import Kinds, agent, registry
from tests.support.target_files import ssha512_fits as fits

SCHEME = {"scheme": "ssha512"}  # quick


def person(anchor: str, **attributes: str | tuple[str, ...]) -> CsObject:
    values = {name: (value,) if isinstance(value, str) else value for name, value in attributes.items()}
    return CsObject(
        id=CsId(anchor), ma=MaId("ma"), anchor=anchor, dn=f"uid={anchor}", type="user", attributes=values
    )


def target(kind: Kinds, path: Path, export: dict[str, Any] | None = None, **settings: Any) -> PasswordTarget:
    given = {"path": str(path / "in"), "anchor": "id", **kind.settings, **settings}
    given["export"] = {
        "path": str(path / "out"),
        **SCHEME,
        "attributes": ["name"],
        **kind.export,
        **(export or {}),
    }
    return registry().target(agent(kind.kind, given), "")


def written(kind: Kinds, path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """What an import of the export shows, by anchor; the hash under the name `hash`."""
    raw = (path / "out").read_bytes().replace(b"export_password", b"hash")
    (path / "copy").write_bytes(raw)
    given: dict[str, Any] = {"path": str(path / "copy"), "anchor": "id"}
    if kind is Kinds.FIXED_WIDTH:
        given |= kind.settings | {
            "columns": [
                {**one, "name": one["name"].replace("export_password", "hash")}
                for one in kind.export["columns"]
            ]
        }
    connector = registry().connector(agent(kind.kind, given), "")
    return {one.anchor: dict(one.attributes) for page in connector.read(b"") for one in page.objects}


HOSTILE = {
    "quotes": "a'b\"c`",
    "line-ends": "one\r\ntwo\n",
    "nul": "a\0b",
    "dash": "-rf",
    "emoji": "\U0001f510é",
    "long": "x" * 256,
}


@pytest.mark.parametrize("kind", Kinds)
@pytest.mark.parametrize("password", HOSTILE.values(), ids=HOSTILE)
def test_a_file_holds_the_hash_and_never_the_clear_text(kind: Kinds, password: str, tmp_path: Path) -> None:
    with target(kind, tmp_path) as opened:
        results = opened.set([NewPassword(person("1", name="Zoë; <b>"), password)])
    assert [one.code for one in results] == [Code.SUCCESS]
    found = written(kind, tmp_path)["1"]
    assert fits(found["hash"][0], password)
    assert found["name"] == ("Zoë; <b>",)
    assert password.encode() not in (tmp_path / "out").read_bytes().replace(b"\r\n", b"")
    assert {path.name for path in tmp_path.iterdir()} == {"out", ".out.lock", "copy"}


@pytest.mark.parametrize("kind", Kinds)
def test_one_record_for_each_and_others_stay(kind: Kinds, tmp_path: Path) -> None:
    for anchor, password in (("1", "a"), ("2", "b"), ("1", "c")):
        with target(kind, tmp_path) as opened:
            opened.set([NewPassword(person(anchor, name="N"), password)])
    found = written(kind, tmp_path)
    assert set(found) == {"1", "2"}
    assert fits(found["1"]["hash"][0], "c")
    assert fits(found["2"]["hash"][0], "b")


@pytest.mark.parametrize("kind", Kinds)
def test_one_that_cannot_be_written_keeps_no_other_out(kind: Kinds, tmp_path: Path) -> None:
    with target(kind, tmp_path) as opened:
        results = opened.set(
            [
                NewPassword(person("1"), "a"),
                NewPassword(person("2"), ""),
                NewPassword(person("3"), "half \ud83d"),
                NewPassword(person("4"), "b", must_change=True),
                NewPassword(person("5"), "c"),
            ]
        )
    assert [one.code for one in results] == [
        Code.SUCCESS, Code.POLICY, Code.POLICY, Code.SET_UNSUPPORTED, Code.SUCCESS,
    ]  # fmt: skip
    assert set(written(kind, tmp_path)) == {"1", "5"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kinds.AVP, "two\nlines"),
        (Kinds.AVP, " blank"),
        (Kinds.DELIMITED, ("a", "b")),
        (Kinds.FIXED_WIDTH, "x" * 61),
        (Kinds.FIXED_WIDTH, "two\nlines"),
        (Kinds.FIXED_WIDTH, ("a", "b")),
    ],
)
def test_what_a_format_cannot_hold_is_not_cut(
    kind: Kinds, name: str | tuple[str, ...], tmp_path: Path
) -> None:
    with target(kind, tmp_path) as opened:
        (result,) = opened.set([NewPassword(person("1", name=name), "a")])
    assert result.code is Code.FAILED
    assert "name" in result.detail
    assert not (tmp_path / "out").exists()


def test_delimited_exports_as_it_imports(tmp_path: Path) -> None:
    with target(Kinds.DELIMITED, tmp_path, multi_valued=["name"], separator="|", delimiter="\t") as opened:
        results = opened.set(
            [NewPassword(person("1", name=("a", "b\t")), "a"), NewPassword(person("2", name=("a|b",)), "a")]
        )
    assert [one.code for one in results] == [Code.SUCCESS, Code.FAILED]
    assert (tmp_path / "out").read_text().startswith('id\tname\texport_password\n1\t"a|b\t"\t{SSHA512}')
    with target(
        Kinds.DELIMITED, tmp_path, {"path": str(tmp_path / "bare")}, quote="", header=False, columns=["id"]
    ) as opened:
        results = opened.set(
            [NewPassword(person("1", name="a,b"), "a"), NewPassword(person("2", name="a\n"), "a")]
        )
    assert [one.code for one in results] == [Code.FAILED, Code.FAILED]


def test_ldif_and_dsml_hold_anything(tmp_path: Path) -> None:
    value = " \0\r\n:<>&\u202e\x1b "
    for kind in (Kinds.LDIF, Kinds.DSML):
        folder = tmp_path / kind.kind
        folder.mkdir()
        with target(kind, folder) as opened:
            opened.set([NewPassword(person("1", name=value), "a")])
        assert written(kind, folder)["1"]["name"] == (value,)


def test_ldif_by_its_dn(tmp_path: Path) -> None:
    with target(Kinds.LDIF, tmp_path, anchor="dn") as opened:
        for password in ("a", "b"):
            opened.set([NewPassword(person("x"), password)])
    text = (tmp_path / "out").read_text()
    assert text.count("dn: uid=x\n") == 1
    assert "export_password: {SSHA512}" in text


@pytest.mark.parametrize("scheme", Scheme)
def test_schemes(scheme: Scheme) -> None:
    password = "Zoë-Kennwort"  # so long that no hash spells it by chance
    first, second = salted_hash(scheme, password), salted_hash(scheme, password)
    assert first != second
    assert "Kennwort" not in first
    assert first.isascii()
    match scheme:
        case Scheme.ARGON2ID:
            assert argon2.PasswordHasher().verify(first, password)
            assert not argon2.PasswordHasher().check_needs_rehash(first)
        case Scheme.BCRYPT:
            assert bcrypt.checkpw(password.encode(), first.encode())
        case Scheme.SHA512_CRYPT:
            assert sha512_crypt.verify(password, first)
        case Scheme.SSHA512:
            assert fits(first, password)
            assert not fits(first, "Zoe-Kennwort")


@pytest.mark.parametrize(
    ("scheme", "password"),
    [(Scheme.BCRYPT, "x" * 73), (Scheme.BCRYPT, "a\0b"), (Scheme.SHA512_CRYPT, "a\0b"), (Scheme.SSHA512, "")],
)
def test_a_scheme_that_would_keep_something_else_refuses(scheme: Scheme, password: str) -> None:
    with pytest.raises(Unhashable):
        salted_hash(scheme, password)


def test_a_file_changes_and_proves_nothing(tmp_path: Path) -> None:
    with target(Kinds.AVP, tmp_path) as opened:
        assert opened.change(person("1"), "a", "b").code is Code.SET_UNSUPPORTED
        assert opened.verify(person("1"), "a") is Proof.NOT_TRIED


def test_settings_of_an_export(tmp_path: Path) -> None:
    for export, said in (
        ({"path": str(tmp_path / "in")}, "the file that is read"),
        ({"attributes": ["ID"]}, "one twice"),
        ({"path": "out"}, "path"),
        ({"scheme": "md5"}, "scheme"),
    ):
        with pytest.raises(InvalidInput, match=said):
            target(Kinds.AVP, tmp_path, export)
    with pytest.raises(InvalidInput, match="has no export_password"):
        target(
            Kinds.FIXED_WIDTH,
            tmp_path,
            {"columns": [{"name": "id", "width": 9}, {"name": "name", "width": 9}]},
        )


# ------------------------------------------------------------------------------------------------------ the file system


def test_only_we_can_read_the_file(tmp_path: Path) -> None:
    with target(Kinds.AVP, tmp_path) as opened:
        assert opened.security() is Security.SECURE
        opened.set([NewPassword(person("1"), "a")])
        assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
        assert opened.security() is Security.SECURE
        for mode in (0o640, 0o604, 0o620):
            (tmp_path / "out").chmod(mode)
            assert opened.security() is Security.NOT_SECURE
        opened.set([NewPassword(person("1"), "a")])  # a new file, with the mode of a new file
        assert opened.security() is Security.SECURE
        tmp_path.chmod(0o770)
        assert opened.security() is Security.NOT_SECURE
        tmp_path.chmod(0o700)
        tmp_path.parent.chmod(0o777)
        assert opened.security() is Security.NOT_SECURE
        tmp_path.parent.chmod(0o700)
        (tmp_path / "out").unlink()
        (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
        assert opened.security() is Security.NOT_SECURE


def test_what_belongs_to_somebody_else_is_not_secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with target(Kinds.AVP, tmp_path) as opened:
        opened.set([NewPassword(person("1"), "a")])
        assert opened.security() is Security.SECURE
        make_anothers(tmp_path / "out", monkeypatch)
        assert opened.security() is Security.NOT_SECURE


def test_a_file_system_of_another_machine_is_not_known_to_be_secure() -> None:
    assert storage.security(Path("/proc/out")) is Security.UNKNOWN


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable, match="no folder"), target(Kinds.AVP, tmp_path / "none"):
        pass
    with pytest.raises(TargetUnavailable, match="not open"):
        target(Kinds.AVP, tmp_path).set([])


def test_an_export_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("geheim\n")
    with target(Kinds.AVP, tmp_path) as opened, pytest.raises(TargetUnavailable, match="line 1") as caught:
        opened.set([NewPassword(person("1"), "a")])
    assert "geheim" not in caught.value.message
    assert (tmp_path / "out").read_text() == "geheim\n"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with target(Kinds.AVP, tmp_path) as opened:
        opened.set([NewPassword(person("1"), "a")])
        before = (tmp_path / "out").read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(TargetUnavailable, match="No space"):
                opened.set([NewPassword(person("2"), "b")])
    assert (tmp_path / "out").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))


def _write_many(folder: str, first: int) -> None:
    with target(Kinds.DELIMITED, Path(folder)) as opened:
        for number in range(first, first + 20):
            opened.set([NewPassword(person(str(number)), "a")])


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """Two processes, and two threads in this one."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(str(tmp_path), first)) for first in (100, 200)]
    threads = [threading.Thread(target=_write_many, args=(str(tmp_path), first)) for first in (300, 400)]
    for worker in workers:
        worker.start()
    for thread in threads:
        thread.start()
    for worker in workers:
        worker.join(60)
    for thread in threads:
        thread.join(60)
    assert [one.exitcode for one in workers] == [0, 0]
    assert set(written(Kinds.DELIMITED, tmp_path)) == {
        str(n + k) for n in (100, 200, 300, 400) for k in range(20)
    }


def test_a_writer_that_holds_on_too_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_LOCK_TRIES", 2)
    with (
        target(Kinds.AVP, tmp_path) as opened,
        storage.locked(tmp_path / "out"),
        pytest.raises(TargetUnavailable, match="somebody else"),
    ):
        opened.set([NewPassword(person("1"), "a")])


_KILLED = """
import sys
from pathlib import Path
from tests.unit.test_targets_files_export import Kinds, NewPassword, person, target

folder = Path(sys.argv[1])
with target(Kinds.DELIMITED, folder) as opened:
    print("ready", flush=True)
    for turn in range(10**9):
        opened.set([NewPassword(person(str(number), name=str(turn) * 20), "a") for number in range(200)])
"""


def test_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    for turn in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdout is not None
        child.stdout.readline()
        until = time.monotonic() + 10
        while not (tmp_path / "out").exists() and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.013 * turn)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        found = written(Kinds.DELIMITED, tmp_path)
        assert set(found) == {str(number) for number in range(200)}
        assert len({one["name"] for one in found.values()}) == 1  # all of one turn
    with target(Kinds.DELIMITED, tmp_path) as opened:  # and the next writer goes on
        assert [one.code for one in opened.set([NewPassword(person("new"), "a")])] == [Code.SUCCESS]
    assert {path.name for path in tmp_path.iterdir()} == {"out", ".out.lock", "copy"}
