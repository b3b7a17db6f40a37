"""The tree of all commands, made once in a process: typer makes it anew for each call, which costs ten times what most commands do."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import typer
from typer.testing import CliRunner

from bastide.cli.main import app


@cache
def tree(of: typer.Typer = app) -> Any:
    """The commands of an app, for who only asks and calls them."""
    return typer.main.get_command(of)


def share_tree() -> None:
    """From now on each `CliRunner` of this process runs commands of one tree: what runs is the same, and no command keeps anything of a call."""
    typer.testing._get_command = tree  # type: ignore[attr-defined]  # there is no public way


@cache
def help_of(path: Sequence[str]) -> str:
    """What `--help` after these words prints, on a wide terminal without colours. It does not depend on what ran before."""
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 0, done.output
    return done.output


def run_here(*words: str) -> None:
    """Run a command that has to end well, as a part of what a test begins with: a process of its own would take a second of the processor."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
