"""The budget of the house: short functions, short files, nothing put off, one reader of the clock."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
TESTS = SOURCE.parent / "tests"
FUNCTION_LINES = 60
FILE_LINES = 500
#: Written by a tool, or nothing but a table.
EXEMPT = ("migrations/versions/",)
#: Wall clocks and monotonic ones: whoever reads them cannot be tested at a given moment.
CLOCKS = frozenset(
    {
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "date.today",
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.monotonic_ns",
        "time.perf_counter",
        "time.localtime",
        "time.gmtime",
    }
)


def _files(*below: str) -> list[Path]:
    roots = [SOURCE / name for name in below] or [SOURCE]
    found = [path for root in roots for path in sorted(root.rglob("*.py"))]
    return [path for path in found if not any(part in path.as_posix() for part in EXEMPT)]


def _name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _dotted(node: ast.expr) -> str:
    """`datetime.now` of `datetime.now` and of `dt.datetime.now`: the last two names."""
    if isinstance(node, ast.Attribute):
        owner = node.value
        name = (
            owner.attr
            if isinstance(owner, ast.Attribute)
            else owner.id
            if isinstance(owner, ast.Name)
            else ""
        )
        return f"{name}.{node.attr}"
    return ""


@pytest.mark.parametrize("path", _files(), ids=_name)
def test_a_file_is_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{lines} lines; the budget is {FILE_LINES}: split it by subject"


def test_files_of_tests_are_short_too() -> None:
    lines = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in TESTS.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


@pytest.mark.parametrize("path", _files(), ids=_name)
def test_a_function_is_short(path: Path) -> None:
    long = {
        node.name: length
        for node in _functions(_parse(path))
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }
    assert not long, f"the budget is {FUNCTION_LINES} lines"


@pytest.mark.parametrize("path", _files(), ids=_name)
def test_nothing_is_put_off(path: Path) -> None:
    put_off = re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b.*", path.read_text(encoding="utf-8"))
    assert not put_off, "do it, or write an issue"


@pytest.mark.parametrize("path", [p for p in _files("bastide") if _name(p) != "bastide/clock.py"], ids=_name)
def test_only_the_clock_module_reads_the_clock(path: Path) -> None:
    tree = _parse(path)
    used = {_dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & CLOCKS
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } & CLOCKS
    assert not used | imported, "take `now` as an argument, or a Clock"


def test_the_clock_module_is_the_one_that_would_be_caught() -> None:
    """The check above sees what it looks for."""
    tree = _parse(SOURCE / "bastide" / "clock.py")
    assert {_dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} >= {
        "datetime.now",
        "time.monotonic",
    }


def test_every_name_of_active_directory_is_used() -> None:
    """A constant that nothing uses was measured by nothing."""
    constants = SOURCE / "bastide" / "directory" / "constants.py"
    named = {
        name.id
        for node in _parse(constants).body
        if isinstance(node, ast.Assign)
        for name in node.targets
        if isinstance(name, ast.Name)
    }
    others = [path for path in _files("bastide") if path != constants]
    used = {
        alias.name
        for path in others
        for node in ast.walk(_parse(path))
        if isinstance(node, ast.ImportFrom) and node.module == "bastide.directory.constants"
        for alias in node.names
    }
    assert named
    assert not named - used
