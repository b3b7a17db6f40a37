"""A management agent as the API takes it, out of a TOML or JSON file, `--set`, and what the agent is now.

The files may say rules shortly: a join rule as "employeeNumber = employeeNumber, sn = last", a flow as "mail -> mail" or "mail -> mail 50", a
filter as "userAccountControl bit-on 2, title absent".
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bastide.cli.exits import Exit, Stop
from bastide.cli.files import document_of
from bastide.cli.text import seconds
from bastide.domain.ids import typed
from bastide.domain.management_agents import Test

Document = dict[str, Any]
_FIELDS = {
    "name", "connector", "settings", "filters", "joins", "project", "flows", "passwords", "source", "imports", "version",
}  # fmt: skip
_WRITE_ONE = (
    'write it: name = "ldap", connector = "ldap", and below [settings] what that kind of system needs; '
    "docs/how-to/synchronize-passwords.md has two to begin with"
)
#: Tables of which a change says only what is to change.
_MERGED = ("passwords", "source", "imports")
_SPANS = (("passwords", "retry_interval"), ("imports", "every"))
_FLOW = re.compile(r"\s*(\S+)\s*->\s*(\S+)(?:\s+([0-9]+))?\s*")
_CONDITION = re.compile(rf"\s*(\S+)\s+({'|'.join(one.value for one in Test)})(?:\s+(.*\S))?\s*")


def from_file(path: Path) -> Document:
    """Read a file; `.json` is JSON, everything else TOML. Raises Stop."""
    return _normal(document_of(path, remedy=_WRITE_ONE), str(path))


def from_settings(pairs: list[str]) -> Document:
    """`passwords.verify=true`, `imports.every=1h`, `settings.port=636`: the value as TOML, or else as text. Raises Stop."""
    document: Document = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Stop(
                f"{typed(pair)} is no setting", remedy="write passwords.verify=true", status=Exit.USAGE
            )
        *tables, last = name.strip().split(".")
        inner = document
        for table in tables:
            inner = inner.setdefault(table, {})
            if not isinstance(inner, dict):
                raise Stop(f"{typed(pair)} does not fit the one before it", status=Exit.USAGE)
        inner[last] = _value(value.strip())
    return _normal(document, "--set")


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _normal(document: Document, where: str) -> Document:
    """Short forms made long, lengths of time in seconds. Raises Stop."""
    if unknown := document.keys() - _FIELDS:
        raise Stop(
            f"{where}: unknown: {', '.join(sorted(unknown))}",
            remedy=f"an agent has {', '.join(sorted(_FIELDS - {'version'}))}",
            status=Exit.USAGE,
        )
    made = dict(document)
    readers: tuple[tuple[str, Callable[[str], Document]], ...] = (
        ("joins", _join),
        ("flows", _flow),
        ("filters", _filter),
    )
    for name, read in readers:
        if isinstance(made.get(name), list):
            made[name] = [read(one) if isinstance(one, str) else one for one in made[name]]
    for table, name in _SPANS:
        inner = made.get(table)
        if isinstance(inner, dict) and isinstance(inner.get(name), str):
            made[table] = {**inner, name: seconds(inner[name])}
    return made


def _join(text: str) -> Document:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(cs.strip() and equals and mv.strip() for cs, equals, mv in pairs):
        raise Stop(
            f"{typed(text)} is no join rule",
            remedy="write employeeNumber = employeeNumber",
            status=Exit.USAGE,
        )
    return {"pairs": [{"cs": cs.strip(), "mv": mv.strip()} for cs, _, mv in pairs]}


def _flow(text: str) -> Document:
    match = _FLOW.fullmatch(text)
    if match is None:
        raise Stop(
            f"{typed(text)} is no flow", remedy="write mail -> mail, or mail -> mail 50", status=Exit.USAGE
        )
    rank = {} if match[3] is None else {"rank": int(match[3])}
    return {"source": match[1], "target": match[2], **rank}


def _filter(text: str) -> Document:
    """A comma parts conditions; a value that holds one needs the long form."""
    conditions = []
    for part in text.split(","):
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise Stop(
                f"{typed(part.strip())} is no condition",
                remedy="write userAccountControl bit-on 2, or title absent",
                status=Exit.USAGE,
            )
        conditions.append({"attribute": match[1], "test": match[2], "value": match[3] or ""})
    return {"conditions": conditions}


def as_draft(agent: Mapping[str, Any]) -> Document:
    """An agent as the server shows it, made into what the server takes."""
    return {name: value for name, value in agent.items() if name in _FIELDS}


def overlay(base: Document, change: Document, *, whole_settings: bool = True) -> Document:
    """The agent with a change on top. `whole_settings`: the change's settings replace all; else only those it names."""
    merged = {**base, **change}
    names = _MERGED if whole_settings else (*_MERGED, "settings")
    for name in names:
        if isinstance(base.get(name), Mapping) and isinstance(change.get(name), Mapping):
            merged[name] = {**base[name], **change[name]}
    return merged


def difference(before: Document, after: Document) -> list[tuple[str, object, object]]:
    """Name, old, new, for what differs; tables that are merged name by name."""
    found: list[tuple[str, object, object]] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if name in (*_MERGED, "settings") and isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = sorted(old.keys() | new.keys())
            found += [(f"{name}.{n}", old.get(n), new.get(n)) for n in inner if old.get(n) != new.get(n)]
        elif old != new:
            found.append((name, old, new))
    return found
