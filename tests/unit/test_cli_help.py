"""Every command explains itself, with an example, and the help is light."""

import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from bastide.cli.main import app
from tests.support.commands import help_of, tree

HEAVY = ("httpx", "sqlalchemy", "litestar", "granian", "gssapi", "ldap", "cryptography", "segno", "alembic")


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path
        return
    for name, child in children.items():
        yield from _walk(child, (*path, name))


COMMANDS = sorted(_walk(tree(), ()))
GROUPS = sorted({path[:length] for path in COMMANDS for length in range(1, len(path))})


def test_the_commands_that_were_promised_are_there() -> None:
    wanted = """
        whoami | offers | kill | init | backup | restore | serve | worker | demo | work list | token
        session list | session end | session end-others
        request new | request list | request show | request prove | request extend | request close
        approval list | approval gives | approval approve | approval reject
        mfa enrol | mfa confirm | mfa status | mfa remove | mfa invite | mfa reset
        pam user add | pam user list | pam user show | pam user password | pam user disable | pam user enable | pam user remove
        pam group add | pam group list | pam group show | pam group remove
        role add | role list | role show | role edit | role remove | role proposals | role approve | role reject
        ma add | ma list | ma show | ma edit | ma secret | ma enable | ma disable | ma import | ma remove
        cs search | cs show | cs project | mv search | mv show | join explain | join set | join remove
        passwords status | passwords enable | passwords disable | passwords explain | passwords coverage | passwords show
        helpdesk find | helpdesk show | helpdesk verify | helpdesk set | helpdesk change | helpdesk unlock | helpdesk history
        passwords queue list | passwords queue clear | passwords history list | passwords history clear
        pcns extend-schema | pcns list | pcns service
        pcns target add | pcns target edit | pcns target enable | pcns target disable | pcns target remove
        access graph |
            review create | review list | review show | review decide | review close | review cancel | review export
            report eligible | report activations | report unused | report standing | report privileged-changes | report approvals
            baseline check | baseline fix
            audit tail | audit show | audit verify | audit status | audit activity | audit export | audit who
        node list | node show | node drain | node resume | node adopt | node remove
        notify list | notify test
        reset status | reset unlock | reset registrations | reset unregister | reset policy | reset breached check
        alert list | alert show | alert acknowledge | alert rules | alert test
        monitor status | monitor drift | monitor accept | monitor pause | monitor resume | monitor resync
        cluster log | trace on | trace off | trace show
        cluster create | cluster join | cluster leave | cluster status | cluster rotate
        break-glass seal | break-glass open | break-glass list | break-glass show | break-glass drill | break-glass reconcile | break-glass remove
        storage test | validate | diagnose | trust test | domain test | config check | keys generate | db upgrade | db check | db reconcile | delegation script
    """
    names = {tuple(name.split()) for line in wanted.splitlines() for name in line.split("|") if name.strip()}
    assert set(COMMANDS) == names


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_of_that_command(path: tuple[str, ...]) -> None:
    flat = " ".join(help_of(path).split())
    assert f"Example: bastide {' '.join(path)}" in flat
    assert "<bool>" not in flat, "nobody can type a type beside a flag"
    assert re.search(r"--json +Print the answer as JSON", flat)


@pytest.mark.parametrize("path", [(), *GROUPS], ids=" ".join)
def test_a_group_shows_flags_as_they_are_typed(path: tuple[str, ...]) -> None:
    shown = help_of(path)
    assert re.search(r"--help +Show this message", shown)
    assert "<bool>" not in shown


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_json_can_be_asked_for_everywhere(path: tuple[str, ...]) -> None:
    assert "--json" in help_of(path)


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in COMMANDS
        if p[:1] in {("pam",), ("role",)} and p[-1] in {"add", "edit", "remove", "password"}
    ],
)
def test_every_preparing_command_can_be_tried_dry(path: tuple[str, ...]) -> None:
    assert "--dry-run" in help_of(path)


# ----------------------------------------------------------------------------------------------------------- begin here

BEGIN = ("keys", "ma", "cs", "mv", "join", "passwords", "helpdesk", "pcns", "pam", "role", "mfa", "request")


@pytest.mark.parametrize("width", ["40", "200"])
@pytest.mark.parametrize("name", BEGIN)
def test_a_group_says_where_to_begin(name: str, width: str) -> None:
    """As it is typed, however narrow the terminal is; and the first use is at the end, where people look."""
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": width, "TERM": "dumb"})
    assert result.exit_code == 0
    said = result.output.partition("Begin here:\n")[2].rstrip("\n")
    assert said == _epilog(name).partition("Begin here:\n")[2]
    commands = [line for line in said.splitlines() if line.startswith("       ")]
    assert 3 <= len(commands) <= 5


def test_nothing_typed_says_the_same() -> None:
    assert "Begin here:" in CliRunner().invoke(app, ["pcns"]).output


@pytest.mark.parametrize("name", BEGIN)
def test_each_step_is_a_command_that_there_is(name: str) -> None:
    """With arguments and options that it takes."""
    steps = [line.strip() for line in _epilog(name).splitlines() if line.startswith("       ")]
    for step in steps:
        program, *words = shlex.split(step)
        if program != "bastide":
            assert program == "kinit"
            continue
        command: Any = tree()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if words == ["--help"]:
            assert command.help
        else:
            assert not hasattr(command, "commands"), step
            command.make_context("it", words)


def test_the_help_says_both_halves_of_the_product() -> None:
    told = help_of(()).partition("╭")[0]
    assert "temporary administrative power" in told
    assert "one password everywhere" in told


def _epilog(name: str) -> str:
    return str(tree().commands[name].epilog)


#: What no help of Typer can do without.
BARE = "import typer, rich.console, rich.table, rich.markdown"


def test_the_help_loads_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys; from bastide.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    spent, bare = [], []
    for _ in range(3):
        before = _children()
        subprocess.run([sys.executable, "-c", BARE], capture_output=True, check=True)
        bare.append(_children() - before)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        spent.append(_children() - before - bare[-1])
        assert "LOADED []" in done.stdout
    assert min(spent) < 4 * min(bare)


def _children() -> float:
    """Seconds of processor time of ended children. On a busy machine all take more of it, so they are compared with each other."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_no_option_takes_a_secret() -> None:
    """Arguments can be read by every user of the machine."""
    for path in COMMANDS:
        output = help_of(path)
        assert not [
            word for word in ("--password", "--code", "--token", "--secret") if f"{word} " in output
        ], path
