"""Lengths as people type them, and what a screen does with markup."""

import pytest

from bastide.cli import text
from bastide.cli.console import Screen
from bastide.cli.exits import Stop


@pytest.mark.parametrize(
    ("typed", "wanted"), [("1800", 1800), ("30m", 1800), ("1h30m", 5400), ("2d", 172800), ("1H 5s", 3605)]
)
def test_lengths(typed: str, wanted: int) -> None:
    assert text.seconds(typed) == wanted


@pytest.mark.parametrize("typed", ["", "soon", "30", "1h and", "-5m", "5 m x"])
def test_what_is_no_length(typed: str) -> None:
    if typed == "30":
        assert text.seconds(typed) == 30
        return
    with pytest.raises(Stop):
        text.seconds(typed)


def test_screen_says_nothing_in_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().line("[bold]not bold[/bold]")
    assert capsys.readouterr().out == "[bold]not bold[/bold]\n"
