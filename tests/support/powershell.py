"""The PowerShell module as a grammar reads it: functions with parameters, help, calls of the API. No PowerShell is to be had on the machine
that Bastide is built on, so what can be known of the files without running them is taken from their parse tree, and from nothing else.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "powershell" / "Bastide.PAM"
_LANGUAGE = Language(tree_sitter_powershell.language())
_HELP = re.compile(r"^\s*\.([A-Z]+)(?:[ \t]+(\w+))?[ \t]*$", re.MULTILINE)


def parse(source: bytes) -> Node:
    """The root of the tree."""
    return Parser(_LANGUAGE).parse(source).root_node


def text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode("ascii")


def within(node: Node) -> Iterator[Node]:
    """The node and all below it, in their order. A generator in a generator would hand each on as often as it lies deep."""
    waiting = [node]
    while waiting:
        yield (one := waiting.pop())
        waiting += reversed(one.children)


def of_type(node: Node, *kinds: str) -> list[Node]:
    return [one for one in within(node) if one.type in kinds]


def above(node: Node) -> Iterator[Node]:
    """The nodes around it, inmost first."""
    while node.parent is not None:
        node = node.parent
        yield node


def errors(node: Node) -> list[str]:
    """Where the grammar does not fit."""
    return [f"line {one.start_point.row + 1}" for one in within(node) if one.is_error or one.is_missing]


def literal(node: Node) -> str:
    """The text of a string without an expression in it; of anything else, itself."""
    said = text(node).strip()
    quoted = re.fullmatch(r"'([^']*)'|\"([^\"$]*)\"", said)
    return said if quoted is None else quoted[1] or quoted[2] or ""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a script, with the nodes of its arguments by parameter; a switch has None."""

    node: Node
    name: str
    arguments: Mapping[str, Node | None]
    positional: tuple[Node, ...]


def commands(node: Node) -> list[Command]:
    return [_command(one) for one in of_type(node, "command")]


def _command(node: Node) -> Command:
    named: dict[str, Node | None] = {}
    loose: list[Node] = []
    waiting = ""
    for element in node.children:
        if element.type == "command_elements":
            for part in element.children:
                if part.type == "command_parameter":
                    waiting = text(part).lstrip("-").rstrip(":")
                    named[waiting] = None
                elif part.type == "command_argument_sep":
                    continue
                elif waiting:
                    named[waiting], waiting = part, ""
                else:
                    loose.append(part)
    name = next((text(one) for one in node.children if one.type == "command_name"), "")
    return Command(node, name, named, tuple(loose))


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `attributes`: name to arguments, by name or, for one without, by place."""

    name: str
    type: str
    attributes: Mapping[str, Mapping[str, str]]

    def said(self, argument: str) -> str:
        """An argument of [Parameter()]; empty: it is not there."""
        return self.attributes.get("Parameter", {}).get(argument, "")

    @property
    def mandatory(self) -> bool:
        return self.said("Mandatory") == "$true"

    @property
    def pipeline(self) -> bool:
        return self.said("ValueFromPipeline") == "$true"


@dataclass(frozen=True, eq=False)
class Function:
    """One function of the module."""

    name: str
    file: Path
    node: Node
    parameters: Mapping[str, Parameter]
    binding: Mapping[str, str]
    help: Mapping[str, tuple[str, ...]]

    @cached_property
    def commands(self) -> list[Command]:
        return commands(self.node)

    @property
    def exported(self) -> bool:
        return self.file.parent.name == "Public"


def scripts() -> list[Path]:
    return sorted(one for one in MODULE.rglob("*") if one.suffix in {".ps1", ".psm1", ".psd1"})


@cache
def functions() -> Mapping[str, Function]:
    """All functions of the module, by name."""
    found: dict[str, Function] = {}
    for path in scripts():
        for node in of_type(parse(path.read_bytes()), "function_statement"):
            one = _function(path, node)
            assert one.name not in found, one.name
            found[one.name] = one
    return found


def cmdlets() -> list[Function]:
    """What the module is there for."""
    return [one for one in functions().values() if one.exported]


def _function(path: Path, node: Node) -> Function:
    name = text(_first(node, "function_name"))
    block = next((one for one in of_type(node, "param_block")), None)
    attributes = {} if block is None else _attributes(block)
    parameters = {}
    for one in [] if block is None else of_type(block, "script_parameter"):
        read = _parameter(one)
        parameters[read.name] = read
    return Function(name, path, node, parameters, attributes.get("CmdletBinding", {}), _help(node))


def _first(node: Node, kind: str) -> Node:
    return next(one for one in node.children if one.type == kind)


def _attributes(node: Node) -> dict[str, dict[str, str]]:
    """Of a parameter or a param block: those directly at it. A type has no arguments, and is not among them."""
    lists = [one for one in node.children if one.type == "attribute_list"]
    found: dict[str, dict[str, str]] = {}
    for attribute in (a for one in lists for a in one.children if a.type == "attribute"):
        names = [one for one in attribute.children if one.type == "attribute_name"]
        if not names:
            continue
        said = found.setdefault(text(names[0]), {})
        for place, argument in enumerate(of_type(attribute, "attribute_argument")):
            key, _, value = text(argument).partition("=")
            if any(one.type == "simple_name" for one in argument.children):
                said[key.strip()] = value.strip().strip("'") or "$true"
            else:
                said[str(place)] = key.strip().strip("'")
    return found


def _parameter(node: Node) -> Parameter:
    name = text(_first(node, "variable")).lstrip("$")
    types = [text(one).strip("[]") for one in of_type(_first(node, "attribute_list"), "type_literal")]
    array = text(_first(node, "attribute_list")).rstrip().endswith("[]]")
    return Parameter(name, types[-1] + ("[]" if array else ""), _attributes(node))


def _help(node: Node) -> dict[str, tuple[str, ...]]:
    """The sections of comment-based help. PARAMETER: their names; else: their texts."""
    comments = [text(one) for one in node.children if one.type == "comment" and text(one).startswith("<#")]
    if not comments:
        return {}
    body = comments[0].removeprefix("<#").removesuffix("#>")
    marks = list(_HELP.finditer(body))
    found: dict[str, tuple[str, ...]] = {}
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        said = body[mark.end() : len(body) if after is None else after.start()].strip()
        assert said, mark[0]
        found[mark[1]] = (*found.get(mark[1], ()), mark[2] or said)
    return found


# ------------------------------------------------------------------------------------------------------------------ calls


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API, as far as the tree tells. `body`: the fields that may be sent; None: there is no body."""

    function: Function
    node: Node
    method: str
    path: str
    key: bool
    query: frozenset[str]
    body: frozenset[str] | None

    @property
    def changes(self) -> bool:
        return self.method != "GET" and "dry_run" not in self.query


@cache
def calls() -> tuple[Call, ...]:
    """Every call in the module whose path is written there; pages are GETs with limit and before."""
    found = []
    for function in functions().values():
        for command in function.commands:
            path = command.arguments.get("Path")
            if command.name not in {"Invoke-BastideApi", "Get-BastidePage"} or path is None:
                continue
            if not text(path).strip().startswith("$"):
                found.append(_call(function, command, literal(path)))
    return tuple(found)


def _call(function: Function, command: Command, path: str) -> Call:
    method, query = command.arguments.get("Method"), command.arguments.get("Query")
    named = frozenset() if query is None else hash_keys(query)
    if command.name == "Get-BastidePage":
        named = frozenset({"limit", "before"} | ({"user"} if "User" in command.arguments else set()))
    body = command.arguments.get("Body")
    return Call(
        function=function,
        node=command.node,
        method="GET" if method is None else literal(method),
        path=path,
        key=command.arguments.get("Key") is not None,
        query=named,
        body=None if body is None else hash_keys(body) or _body(function, text(body).strip()),
    )


def _body(function: Function, variable: str) -> frozenset[str]:
    """What is put into a variable: the keys of its hash literal, and its members that are assigned."""
    keys: set[str] = set()
    for assignment in of_type(function.node, "assignment_expression"):
        target, _, _ = text(assignment).partition("=")
        if target.strip() == variable:
            keys |= hash_keys(assignment)
        elif member := re.fullmatch(rf"{re.escape(variable)}\.(\w+)", target.strip()):
            keys.add(member[1])
    return frozenset(keys)


def hash_keys(node: Node) -> frozenset[str]:
    """The keys of the outermost hash literal in a node."""
    literals = of_type(node, "hash_literal_expression")
    if not literals:
        return frozenset()
    outer = literals[0]
    return frozenset(
        literal(of_type(entry, "key_expression")[0])
        for entry in of_type(outer, "hash_entry")
        if next(one for one in above(entry) if one.type == "hash_literal_expression") == outer
    )
