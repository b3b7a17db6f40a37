"""The examples in the documents work: every command that a page shows is one the program takes, every agent and every table of settings too."""

import re
import shlex
import textwrap
import tomllib
from pathlib import Path
from typing import Any, cast

import click
import msgspec
import pytest

from bastide.api.native.sync_inputs import AgentIn
from bastide.cli import ma_document, pcnscfg
from bastide.config import Passwords
from bastide.domain.management_agents import check
from bastide.targets.registry import BUILT_IN, Registry
from tests.support.commands import tree
from tests.unit.test_config import read

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_REGISTRY = Registry(lambda: pytest.fail("nothing is opened"), lambda: 0.0)


def _blocks(path: Path, language: str) -> list[str]:
    return [text for found, text in _FENCE.findall(path.read_text(encoding="utf-8")) if found == language]


def _lines(path: Path, program: str) -> list[str]:
    """Shell lines that begin with the program, without redirections and what `#` says."""
    lines = "".join(_blocks(path, "")).replace("\\\n", "").splitlines()
    return [re.split(r"\s+[>|#]", line)[0] for line in lines if line.startswith(f"{program} ")]


def _tables(path: Path) -> list[dict[str, Any]]:
    return [tomllib.loads(text) for text in _blocks(path, "toml")]


def _objection(line: str) -> str:
    """Why the program would not take it; empty: it would."""
    command, words = cast("click.Command", tree()), shlex.split(line)[1:]
    while (inner := getattr(command, "commands", {}).get(words[0] if words else "")) is not None:
        command, words = inner, words[1:]
    if words == ["--version"]:
        return ""
    if hasattr(command, "commands"):
        return "there is no such command"
    try:
        command.make_context("bastide", words)
    except Exception as error:  # noqa: BLE001  # whatever the parser of this release raises
        return str(error) or type(error).__name__
    return ""


@pytest.mark.parametrize("path", _PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_that_pages_show_are_taken(path: Path) -> None:
    """Words, options and values are read as by the program; nothing is run."""
    wrong = {line: said for line in _lines(path, "bastide") if (said := _objection(line))}
    assert not wrong


@pytest.mark.parametrize(
    "line",
    [
        "bastide ma frobnicate",
        "bastide ma",
        "bastide ma show",
        "bastide ma show a --frob",
        "bastide offers x",
    ],
)
def test_what_the_program_does_not_take_is_found(line: str) -> None:
    assert _objection(line)


def test_lines_of_pcnscfg_are_taken() -> None:
    shown = [line for path in _PAGES for line in _lines(path, "pcnscfg")]
    assert shown
    for line in shown:
        _, name, *options = shlex.split(line)
        _, allowed = pcnscfg._command(name)
        assert pcnscfg.parse(options, allowed | pcnscfg._COMMON).keys() >= (
            {"N"} if "N" in allowed else set()
        )


@pytest.mark.parametrize(
    "path", [p for p in _PAGES if any("connector" in t for t in _tables(p))], ids=lambda p: p.stem
)
def test_management_agents_that_pages_show_are_taken(path: Path) -> None:
    """As `bastide ma add` and the server read them. Names of other agents stay names."""
    for table in (t for t in _tables(path) if t.get("connector") in BUILT_IN):
        document = ma_document._normal({"name": "example", "settings": {}, **table}, path.name)
        check(msgspec.convert(document, AgentIn).draft().agent)
        if table.get("settings"):
            _REGISTRY.check(table["connector"], table["settings"])


def test_the_settings_of_password_synchronization_are_taken() -> None:
    tables = [
        t["passwords"] for t in _tables(ROOT / "docs/how-to/synchronize-passwords.md") if "openpgp" in str(t)
    ]
    assert [msgspec.convert(table, Passwords).vault for table in tables] == [
        "sqlite:////var/lib/bastide/vault.db"
    ]


# ------------------------------------------------------------------------------------------------------------- settings

#: Tables of the settings that a page shows whole.
_WHOLE = frozenset(
    {"alerts", "help_desk", "intake", "metrics", "monitoring", "notifications", "reset", "telemetry"}
)
#: What the pages presuppose.
_AROUND = {
    "server": '[server]\nurl = "https://bastide.priv.test:8443"\ncertificate = "/c"\nkey = "/k"\n',
    "passwords": '[passwords]\nopenpgp = ["/o"]\nkeytab = "/p"\n',
    "notifications": '[notifications]\n[[notifications.channels]]\nname = "mail"\nurl = "credential:mail"\npeople = true\n',
}
_INDENTED = re.compile(r"^( *)```toml\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def _shown() -> list[tuple[str, str]]:
    """Page and text of each block that holds such tables alone."""
    found = []
    for path in _PAGES:
        for _, text in _INDENTED.findall(path.read_text(encoding="utf-8")):
            block = textwrap.dedent(text)
            if set(tomllib.loads(block)) <= _WHOLE:
                found.append((path.relative_to(ROOT).as_posix(), block))
    return found


def test_every_such_table_is_shown_somewhere() -> None:
    assert {name for _, text in _shown() for name in tomllib.loads(text)} == _WHOLE


@pytest.mark.parametrize(("page", "text"), _shown())
def test_settings_that_pages_show_are_taken(page: str, text: str, tmp_path: Path) -> None:
    """As the service reads them, with what the page presupposes."""
    around = "".join(table for name, table in _AROUND.items() if name not in tomllib.loads(text))
    config = read(tmp_path, around + text)
    assert all(getattr(config, name) is not None for name in tomllib.loads(text)), page
