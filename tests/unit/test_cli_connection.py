"""Where the server is, on a machine whose client.toml this person cannot read; and files that no reader takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bastide.cli import connection, ma_document
from bastide.cli.exits import Exit, Stop
from bastide.cli.files import document_of

SERVER = "https://bastide.priv.test:8443"
NOBODY = 65534


@contextmanager
def somebody() -> Iterator[None]:
    """Root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(params=["directory", "file"])
def closed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("BASTIDE_SERVER", raising=False)
    file = tmp_path / "my etc" / "client.toml"
    file.parent.mkdir()
    file.write_text(f'server = "{SERVER}"\n')
    shut = file if request.param == "file" else file.parent
    shut.chmod(0)
    yield file
    shut.chmod(0o700)


def test_a_file_that_cannot_be_read_is_not_said_to_be_absent(closed: Path) -> None:
    with somebody(), pytest.raises(Stop) as refused:
        connection.resolve("", "", "", file=closed)
    assert refused.value.message == f"no server is named, and {closed} cannot be read by this user"
    assert "give --server or BASTIDE_SERVER" in refused.value.remedy
    assert f"`chmod a+rx '{closed.parent}'` and `chmod a+r '{closed}'`" in refused.value.remedy
    assert refused.value.status is Exit.USAGE


def test_who_names_the_server_does_without_the_file(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with somebody():
        assert connection.resolve(SERVER, "", "", file=closed).server == SERVER
    monkeypatch.setenv("BASTIDE_SERVER", SERVER)
    with somebody():
        assert connection.resolve("", "", "", file=closed).server == SERVER


def test_no_file_and_a_link_to_nothing_are_two_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BASTIDE_SERVER", raising=False)
    file = tmp_path / "client.toml"
    with pytest.raises(Stop, match="no server is named") as refused:
        connection.resolve("", "", "", file=file)
    assert f"`server = ...` in {file}" in refused.value.remedy
    file.symlink_to(tmp_path / "nowhere")
    with pytest.raises(Stop, match="there is no file") as refused:
        connection.resolve(SERVER, "", "", file=file)
    assert refused.value.remedy == "mend the link, or remove it"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "a = " + "[" * 5000 + "]" * 5000, "is not TOML: nested too deep"),
        ("a.json", "[" * 100_000 + "]" * 100_000, "is not JSON: nested too deep"),
        ("b.toml", "a = " + "9" * 5000, "is not TOML: "),
        ("b.json", '{"a": ' + "9" * 5000 + "}", "is not JSON: "),
    ],
)
def test_a_file_that_python_takes_for_an_attack_is_one_sentence(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(Stop) as refused:
        document_of(file, remedy="none")
    assert said in refused.value.message
    assert refused.value.remedy.startswith("mend it there")


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "9" * 5000])
def test_a_value_that_is_not_read_as_toml_is_text(text: str) -> None:
    assert ma_document.from_settings([f"settings.x={text}"]) == {"settings": {"x": text}}
