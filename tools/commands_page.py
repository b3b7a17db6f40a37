"""Writes docs/reference/commands.md anew: texts, options and examples of each command as the program has them.

By hand there are the headings, the text before the first command, and the lines that begin with `Right`: a new command gets its heading
`### `bastide ...`` first, and `make docs` fills it. tests/unit/test_docs.py compares.
"""

import enum
import re
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import Any

import typer

from bastide.cli.main import app

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "commands.md"
#: What every command of a kind has: described once, at the top of the page.
SHARED = frozenset({"--server", "--ca", "--account", "--json", "--help"})
_HEADING = re.compile(r"^### `(bastide [^`]+)`\n", re.MULTILINE)
_NEXT = re.compile(r"^#{1,2} ", re.MULTILINE)


def commands() -> dict[str, Any]:
    """`bastide role add` and its click command."""
    return dict(_walk(typer.main.get_command(app), ("bastide",)))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command
        return
    for name, one in inner.items():
        yield from _walk(one, (*path, name))


def page(text: str) -> str:
    """The page with every command's section written anew. Raises LookupError where heading and command do not match."""
    known, parts = commands(), _HEADING.split(text)
    named = parts[1::2]
    if sorted(named) != sorted(known):
        raise LookupError(
            f"headings without a command, or the other way round: {sorted(set(named) ^ set(known))}"
        )
    written = [parts[0]]
    for name, old in zip(named, parts[2::2], strict=True):
        heading = _NEXT.search(old)
        rest = old[heading.start() :] if heading else ""
        rights = [line for line in old[: len(old) - len(rest)].splitlines() if line.startswith("Right")]
        written.append(f"### `{name}`\n\n{section(known[name], rights)}\n" + (f"\n{rest}" if rest else ""))
    return _apart("".join(written))


def _apart(text: str) -> str:
    """An empty line before each heading of a command."""
    return re.sub(r"\n+(?=### `)", "\n\n", text)


def section(command: Any, rights: list[str]) -> str:
    """What stands below the heading of one command."""
    rows = [_row(parameter) for parameter in command.params if not _shared(parameter)]
    table = "\n".join(["| argument, option | meaning |", "|---|---|", *rows]) if rows else ""
    example = command.epilog.removeprefix("Example:").strip()
    paragraphs = [command.help.strip(), *rights, table, f"```\n{example}\n```"]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _shared(parameter: Any) -> bool:
    return bool(SHARED & set(parameter.opts))


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{_value(parameter)}` | {_meaning(parameter)} |"
    short_first = ", ".join(sorted(parameter.opts, key=len))
    if parameter.is_flag:
        names = [f"`{short_first}`", *(f"`{other}`" for other in parameter.secondary_opts)]
        return f"| {', '.join(names)} | {_meaning(parameter)} |"
    return f"| `{short_first} {_value(parameter)}` | {_meaning(parameter)} |"


def _value(parameter: Any) -> str:
    """What stands for the value; the parser's own idea of its type has another name in every release of it."""
    if parameter.metavar:
        return str(parameter.metavar)
    return {int: "N", PosixPath: "FILE"}.get(type(parameter.default), "TEXT")


def _meaning(parameter: Any) -> str:
    said = [" ".join(str(parameter.help).split()).replace("|", "\\|")]
    default = parameter.default
    if parameter.param_type_name == "option" and parameter.required:
        said.append("Required.")
    elif (
        isinstance(default, str | int | Path)
        and default not in ("", False, True)
        and "Default:" not in said[0]
    ):
        said.append(f"Default: `{default.value if isinstance(default, enum.Enum) else default}`.")
    return " ".join(said)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
