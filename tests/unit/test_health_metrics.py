"""The check of the token that monitoring shows: what is wrong with its file is said, and what it holds is not."""

from pathlib import Path

import msgspec
import pytest

from bastide.config import Metrics
from bastide.domain.health import Finding, Severity
from bastide.health.checks import configuration
from tests.support.health import MINIMAL, looking_at

TOKEN = "0c9f2c9f7d3a4f1e8b6a5d4c3b2a1908"


def look(file: Path) -> Finding:
    (found,) = configuration.metrics(
        looking_at(msgspec.structs.replace(MINIMAL, metrics=Metrics(token=str(file))))
    )
    assert TOKEN[:12] not in repr(found)
    return found


def test_without_monitoring_there_is_nothing_to_say() -> None:
    assert list(configuration.metrics(looking_at())) == []


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (TOKEN, 0o644, "others may read"),
        (TOKEN[:12], 0o600, "fewer than 32"),
        ("", 0o600, "is empty"),
        (None, 0, "there is no file"),
    ],
)
def test_what_is_wrong(content: str | None, mode: int, said: str, tmp_path: Path) -> None:
    file = tmp_path / "metrics.token"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    found = look(file)
    assert found.severity is Severity.ERROR
    assert said in found.text
    assert found.remedy


def test_a_good_one(tmp_path: Path) -> None:
    file = tmp_path / "metrics.token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    assert look(file).severity is Severity.OK
