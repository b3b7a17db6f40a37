"""Whose tickets a thread uses. With real GSS-API, and no KDC."""

import threading
from pathlib import Path

import gssapi
import pytest

from bastide.directory.kerberos import chosen
from tests.support.ccache import cache

_NEVER = 2**31 - 1


def _holder() -> str:
    return str(gssapi.Credentials(usage="initiate").name)


def _tickets(directory: Path, person: str) -> str:
    (directory / person).write_bytes(cache(f"{person}@PRIV.TEST", ends=_NEVER))
    return f"FILE:{directory / person}"


def test_within_a_choice_the_tickets_are_those_and_choices_nest(tmp_path: Path) -> None:
    with chosen(_tickets(tmp_path, "alice")):
        with chosen(_tickets(tmp_path, "bob")):
            assert _holder() == "bob@PRIV.TEST"
        assert _holder() == "alice@PRIV.TEST"


def test_after_a_choice_the_environment_decides_again_and_goes_on_deciding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set again by its name, what the environment said first stayed for as long as the thread."""
    monkeypatch.setenv("KRB5CCNAME", _tickets(tmp_path, "first"))
    with chosen(_tickets(tmp_path, "alice")):
        pass
    assert _holder() == "first@PRIV.TEST"
    monkeypatch.setenv("KRB5CCNAME", _tickets(tmp_path, "second"))
    assert _holder() == "second@PRIV.TEST"


def test_an_error_within_ends_the_choice_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5CCNAME", _tickets(tmp_path, "own"))
    with pytest.raises(ZeroDivisionError), chosen(_tickets(tmp_path, "alice")):
        _ = 1 / 0
    assert _holder() == "own@PRIV.TEST"


def test_the_choice_of_one_thread_is_none_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5CCNAME", _tickets(tmp_path, "own"))
    seen: list[str] = []
    with chosen(_tickets(tmp_path, "alice")):
        other = threading.Thread(target=lambda: seen.append(_holder()))
        other.start()
        other.join()
    assert seen == ["own@PRIV.TEST"]
