"""The documents say what the code does: settings, commands, audit events, error codes, links. Each is compared both ways."""

import ast
import re
import runpy
import string
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import click
import msgspec
import pytest
import typer

from bastide.cli.client import _status as exit_code
from bastide.config import Config
from bastide.domain.errors import BastideError
from bastide.domain.requests import Decision, State
from bastide.http import problems

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
SOURCE = ROOT / "src" / "bastide"
#: `[text](target)` and `![text](target)`; a target in angle brackets or with a title is not used here.
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`[^`\n]*`")
#: First cell of a table row, in code: what the row is about.
ROW = re.compile(r"^\| `([^`]+)` \|(.*)$", re.MULTILINE)
#: People's calls put a request there; the worker never does, so it never announces it.
NOT_BY_WORKER = {State.PENDING_MFA, State.PENDING_APPROVAL, State.SCHEDULED}
#: What every command of a kind has: described once, at the top of the page.
SHARED_OPTIONS = {"--server", "--ca", "--account", "--json", "--help"}
EMITTERS = {"by_worker", "by_actor", "on_request", "Event"}


def _markdown() -> list[Path]:
    found = [*ROOT.glob("*.md")]
    for room in ("docs", "src", "tests", "tools", "benchmarks", "deploy", "powershell"):
        found.extend((ROOT / room).rglob("*.md"))
    return sorted(found)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _rows(page: str) -> dict[str, str]:
    """What stands first in the rows of all tables of a reference page, with the rest of the row."""
    return {found[1]: found[2] for found in ROW.finditer(_read(REFERENCE / page))}


# ---------------------------------------------------------------------------------------------------------------- links


def _anchors(path: Path) -> set[str]:
    """Headings as the usual renderers name them: lower case, no punctuation but hyphens, spaces as hyphens."""
    names = set()
    for line in FENCE.sub("", _read(path)).splitlines():
        if match := re.fullmatch(r"#{1,6} (.+)", line):
            kept = [c for c in match[1].lower() if c not in string.punctuation or c in "-_ "]
            names.add("".join(kept).strip().replace(" ", "-"))
    return names


def _links(path: Path) -> list[str]:
    return [str(target) for target in LINK.findall(SPAN.sub("", FENCE.sub("", _read(path))))]


@pytest.mark.parametrize("path", _markdown(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(path: Path) -> None:
    wrong = []
    for target in _links(path):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in _anchors(there)):
            wrong.append(target)
    assert not wrong


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = [target.partition("#")[0] for target in _links(page) if not re.match(r"[a-z]+:", target)]
        todo.extend((page.parent / target).resolve() for target in targets if target)
    lost = {page.relative_to(ROOT).as_posix() for page in DOCS.rglob("*.md")} - {
        page.relative_to(ROOT).as_posix() for page in seen
    }
    assert not lost


@pytest.mark.parametrize("path", _markdown(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_named_in_pages_exist(path: Path) -> None:
    """`src/bastide/clock.py`, `tests/unit/test_docs.py::test_x`, `deploy/systemd`."""
    named = re.findall(r"`((?:src|tests|docs|tools|deploy|benchmarks)/[\w./-]+)(?:::(\w+))?`", _read(path))
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or (test and f"def {test}(" not in _read(ROOT / file))
    ]
    assert not missing


def test_readme_names_the_commands() -> None:
    text = _read(ROOT / "README.md")
    for command in ("make demo", "make test", "make demo-embedded"):
        assert f"`{command}`" in text
    for command in ("make demo", "make demo-embedded", "make test"):
        assert f"<!-- output: {command} -->" in text


# ------------------------------------------------------------------------------------------------------------- settings


def _plain_default(value: object) -> str:
    """A default as TOML and as the page shows it."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return "[]" if value == [] else str(value)


def _section_of(kind: object) -> type[msgspec.Struct] | None:
    """The table behind a field, also where it may be left out."""
    found = [kind, *getattr(kind, "__args__", ())]
    return next((k for k in found if isinstance(k, type) and issubclass(k, msgspec.Struct)), None)


def _settings(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`server.port` and its default as the page must show it; `required` where there is none."""
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}{field.name}"
        section = _section_of(field.type)
        if section is not None:
            yield from _settings(section, f"{name}.")
        elif field.default_factory is not msgspec.NODEFAULT:
            yield name, _plain_default(field.default_factory())
        else:
            yield name, "required" if field.required else f"`{_plain_default(field.default)}`"


def test_settings_are_described() -> None:
    code = {name: default.strip("`") for name, default in _settings(Config)}
    page = {name: rest.split("|")[0].strip().strip("`") for name, rest in _rows("settings.md").items()}
    assert page == code


# ------------------------------------------------------------------------------------------------------------- commands


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    group = getattr(command, "commands", None)
    if group is None:
        yield " ".join(path), command
        return
    for name, inner in group.items():
        yield from _walk(inner, (*path, name))


def _commands() -> dict[str, click.Command]:
    from bastide.cli.main import app

    return dict(_walk(cast("click.Command", typer.main.get_command(app)), ("bastide",)))


def _options(command: click.Command) -> set[str]:
    """Long names only."""
    return {
        name
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
        for name in [*parameter.opts, *parameter.secondary_opts]
        if name.startswith("--") and name not in SHARED_OPTIONS
    }


def _sections() -> dict[str, str]:
    """`bastide role add` and the text below its heading."""
    parts = re.split(r"^### `(bastide [^`]+)`$", _read(REFERENCE / "commands.md"), flags=re.MULTILINE)
    return {
        name: re.split(r"^#{1,3} ", text, flags=re.MULTILINE)[0]
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_commands_are_described() -> None:
    assert set(_sections()) == set(_commands())


def test_the_page_of_commands_is_as_it_is_written_by_the_program() -> None:
    """Texts, values, defaults, examples: `make docs` writes them."""
    page = runpy.run_path(str(ROOT / "tools" / "commands_page.py"))["page"]
    text = _read(REFERENCE / "commands.md")
    assert page(text) == text


def test_a_command_without_a_heading_is_not_left_out() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "commands_page.py"))["page"]
    text = _read(REFERENCE / "commands.md")
    with pytest.raises(LookupError, match="bastide whoami"):
        page(text.replace("### `bastide whoami`", "### Oneself"))
    changed = page(text.replace("Roles you may ask for, and why not now", "Something else"))
    assert changed == text


def test_options_are_described() -> None:
    from bastide.cli.main import app

    top = _read(REFERENCE / "commands.md").partition("### ")[0]
    root = {name for one in typer.main.get_command(app).params for name in one.opts if name.startswith("--")}
    assert root == {"--version"}
    assert set(re.findall(r"--[a-z]+", top)) == SHARED_OPTIONS | root
    sections, wrong = _sections(), {}
    for name, command in _commands().items():
        said = set(re.findall(r"^\| `(?:-\w, )?(--[a-z0-9-]+)", sections.get(name, ""), flags=re.MULTILINE))
        said |= set(
            re.findall(r"^\| `--[a-z0-9-]+`, `(--[a-z0-9-]+)`", sections.get(name, ""), flags=re.MULTILINE)
        )
        if said != _options(command):
            wrong[name] = said ^ _options(command)
    assert not wrong


def test_commands_named_in_pages_exist() -> None:
    """`bastide pam user add CORP\\alice` in a page or in an error's remedy is a command that there is."""
    known = set(_commands())
    groups = {" ".join(name.split()[:n]) for name in known for n in (1, 2, 3)}
    wrong = {}
    texts = {path: _read(path) for path in _markdown()}
    texts |= {path: _read(path) for path in SOURCE.rglob("*.py")}
    for path, text in texts.items():
        for said in re.findall(r"`(?:sudo )?(bastide(?: [a-z][a-z-]*)+)", text):
            words = said.split()
            longest = max((n for n in range(1, 5) if " ".join(words[:n]) in known | groups), default=0)
            if " ".join(words[:longest]) not in known | {said}:
                wrong[path.relative_to(ROOT).as_posix()] = said
    assert not wrong


# --------------------------------------------------------------------------------------------------------- audit events


def _kinds_of(node: ast.expr, scope: ast.AST) -> set[str]:
    """All texts that the first argument can be. A name is followed to its assignments in the same function."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=body, orelse=other):
            return _kinds_of(body, scope) | _kinds_of(other, scope)
        case ast.JoinedStr():
            return _family(node)
        case ast.Name(id=name):
            found: set[str] = set()
            for inner in ast.walk(scope):
                if isinstance(inner, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == name for target in inner.targets
                ):
                    found |= _kinds_of(inner.value, scope)
            return found
        case _:
            raise AssertionError(f"line {node.lineno}: an event kind that cannot be read")


def _family(node: ast.JoinedStr) -> set[str]:
    """`request.{after.state...}` and `request.vote.{decision...}`: one kind per value."""
    head, value = ast.literal_eval(node.values[0]), ast.unparse(node.values[1])
    if "state" in value:
        return {f"{head}{state.value.lower()}" for state in set(State) - NOT_BY_WORKER}
    assert "decision" in value, value
    return {f"{head}{decision.value}" for decision in Decision}


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _calls(tree: ast.AST) -> Iterator[tuple[ast.FunctionDef, ast.Call]]:
    """Every call with an argument, and each function that it stands in."""
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef):
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and node.args:
                    yield scope, node


def _is_parameter(scope: ast.FunctionDef, node: ast.expr) -> bool:
    names = {argument.arg for argument in [*scope.args.args, *scope.args.kwonlyargs]}
    return isinstance(node, ast.Name) and node.id in names


def _emitted() -> set[str]:
    """Over all of src. A function that hands its own first argument on as the kind is an emitter too."""
    calls = [
        (scope, _called(node), node.args[0])
        for path in SOURCE.rglob("*.py")
        for scope, node in _calls(ast.parse(_read(path), filename=str(path)))
    ]
    emitters, before = set(EMITTERS), 0
    while len(emitters) > before:
        before = len(emitters)
        emitters |= {
            scope.name for scope, called, kind in calls if called in emitters and _is_parameter(scope, kind)
        }
    found = [
        (scope, kind)
        for scope, called, kind in calls
        if called in emitters and not _is_parameter(scope, kind)
    ]
    return {text for scope, kind in found for text in _kinds_of(kind, scope)}


def test_audit_events_are_described() -> None:
    assert set(_rows("events.md")) == _emitted()


# --------------------------------------------------------------------------------------------------------------- errors


def _tree(kind: type[BastideError]) -> Iterator[type[BastideError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _classes() -> list[type[BastideError]]:
    """Of the domain and of the API. A class of an adapter's own leaves with the code of its parent."""
    rooms = {BastideError.__module__, problems.__name__}
    return [kind for kind in _tree(BastideError) if kind.__module__ in rooms]


def _answers() -> dict[str, int]:
    """Code to HTTP status, as the API answers: what is not in its table is a defect to it."""
    statuses = {
        kind.code: next((problems.STATUS[k] for k in kind.__mro__ if k in problems.STATUS), 500)
        for kind in _classes()
    }
    by_framework = {code: status for status, code in problems._HTTP_CODES.items()}
    return {"internal": 500, **by_framework, **statuses}


def test_error_codes_are_described() -> None:
    assert set(_rows("errors.md")) == set(_answers())


def test_statuses_and_exit_codes_are_those_of_the_code() -> None:
    said = {code: [int(cell) for cell in rest.split("|")[1:3]] for code, rest in _rows("errors.md").items()}
    known = {kind.code for kind in problems.STATUS} - {"error"}
    seen = {
        code: code if code in known or code in problems._HTTP_CODES.values() else "internal" for code in said
    }
    real = {code: [status, int(exit_code(status, seen[code]))] for code, status in _answers().items()}
    assert said == real


def test_error_codes_are_told_apart() -> None:
    assert len({kind.code for kind in _classes()}) == len(_classes())


# --------------------------------------------------------------------------------------------------------------- routes


def _routes() -> dict[str, str]:
    """`GET /api/v1/roles` and the right that it asks for."""
    from bastide.api.native.routes import router

    found = {}
    for route in router().routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods - {"OPTIONS"}:
                rights = [right.value for name in ("right", "also") if (right := handler.opt.get(name))]
                found[f"{method} {route.path_format}"] = " or ".join(rights) or "open"
    return found


def _nameless(route: str) -> str:
    """What stands in braces is a name for people."""
    return re.sub(r"\{[^}]*\}", "{}", route)


def test_routes_and_their_rights_are_described() -> None:
    page = {name: rest.split("|")[0].strip() for name, rest in _rows("api.md").items() if " /" in name}
    code = {_nameless(name): right for name, right in _routes().items()}
    assert {_nameless(name): right for name, right in page.items()} == code


# --------------------------------------------------------------------------------------------------------------- states


def test_states_are_described() -> None:
    assert set(_rows("states.md")) >= {state.value for state in State}
