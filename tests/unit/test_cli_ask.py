"""What a person types at a terminal."""

import pytest

from bastide.cli import ask
from bastide.cli.exits import Stop


def test_an_empty_answer_is_asked_for_again_and_the_end_of_input_is_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["", " ", "corp.example"])
    asked: list[str] = []

    def typed(shown: str) -> str:
        asked.append(shown)
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert ask.line("DNS name of the CORP forest") == "corp.example"
    assert len(asked) == 3
    with pytest.raises(Stop, match="no answer"):
        ask.line("DNS name of the CORP forest")
