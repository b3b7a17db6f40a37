"""The rules of a role as the API takes them, out of options, a TOML file and what the role says now."""

import re
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Any

from bastide.cli.exits import Exit, Stop
from bastide.cli.files import document_of
from bastide.cli.text import seconds, span
from bastide.domain.ids import typed
from bastide.domain.people import Demand
from bastide.domain.roles import Enforcer

Rules = dict[str, Any]
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(\S+)\s+(\d\d:\d\d)-(\d\d:\d\d)\s+(\S+)")
_LENGTHS = ("pending_life",)
#: Shown by the server, not taken by it.
_SHOWN_ONLY = {"id", "created_at"}
_FACTORS = [one.value for one in Demand]
#: Rule to what it is called, and the words there are.
_WORDS = {
    "floor": ("enforcement", [one.value for one in Enforcer]),
    "factor": ("second factor", _FACTORS),
    "approval_factor": ("second factor", _FACTORS),
}
_RULES = {
    "name", "description", "privileges", "candidates", "stages", "ttl", "mfa", "factor", "approval_factor",
    "justification", "ticket_pattern", "window", "pending_life", "owner_auto_approval", "floor", "extension", "enabled", "version",
}  # fmt: skip


def from_file(path: Path) -> Rules:
    """A role.toml: the names of the API, with lengths as `30m` too and a window as `mon-fri 08:00-18:00 Europe/Zurich`. Raises Stop."""
    rules: Rules = document_of(
        path, remedy="write it, or give the rules as options: `bastide role add --help`"
    )
    if unknown := rules.keys() - _RULES:
        raise Stop(
            f"{path}: unknown rules: {', '.join(sorted(unknown))}",
            remedy=f"a role has {', '.join(sorted(_RULES - {'version'}))}",
            status=Exit.USAGE,
        )
    for name in _LENGTHS:
        if isinstance(rules.get(name), str):
            rules[name] = seconds(rules[name])
    ttl = rules.get("ttl")
    if isinstance(ttl, dict):
        rules["ttl"] = {
            key: seconds(value) if isinstance(value, str) else value for key, value in ttl.items()
        }
    if isinstance(rules.get("window"), str):
        rules["window"] = window(rules["window"])
    _check_words(path, rules)
    return rules


def _check_words(path: Path, rules: Rules) -> None:
    """Before anybody is asked for a password. Raises Stop."""
    for rule, (called, known) in _WORDS.items():
        if rules.get(rule, known[0]) not in known:
            raise Stop(
                f"{path}: {rules[rule]!r} is no {called}",
                remedy=f"write {', '.join(known)}",
                status=Exit.USAGE,
            )


def from_options(given: Mapping[str, Any]) -> Rules:
    """Only what was said: None means that an option was not given, and an empty list that a repeatable one was not. Raises Stop."""
    rules: Rules = {
        name: value
        for name, value in given.items()
        if name in _RULES
        and name not in {"window", "pending_life", "stages"}
        and value is not None
        and value != []
    }
    ttl = {
        key: seconds(given[option])
        for key, option in (
            ("default", "ttl_default"),
            ("minimum", "ttl_minimum"),
            ("maximum", "ttl_maximum"),
        )
        if given.get(option)
    }
    if ttl:
        rules["ttl"] = ttl
    if given.get("pending_life"):
        rules["pending_life"] = seconds(given["pending_life"])
    if given.get("window") is not None:
        rules["window"] = window(given["window"])
    if stages := _stages(given):
        rules["stages"] = stages
    elif given.get("no_approval"):
        rules["stages"] = []
    return rules


def _stages(given: Mapping[str, Any]) -> list[Rules]:
    stages = [_stage(text) for text in given.get("stages") or []]
    if given.get("approvers"):
        stages.append(
            {"name": "approval", "approvers": list(given["approvers"]), "needed": given.get("needed") or 1}
        )
    return stages


def _stage(text: str) -> Rules:
    """`NAME:NEEDED:WHO,WHO`. Raises Stop."""
    name, _, rest = text.partition(":")
    needed, _, who = rest.partition(":")
    if not name or not needed.isdigit() or not who:
        raise Stop(
            f"{typed(text)} is not a stage",
            remedy="write NAME:NEEDED:FOREST\\who,FOREST\\who",
            status=Exit.USAGE,
        )
    return {
        "name": name,
        "approvers": [w.strip() for w in who.split(",") if w.strip()],
        "needed": int(needed),
    }


def window(text: str) -> Rules | None:
    """`mon-fri 08:00-18:00 Europe/Zurich` or `sat,sun 00:00-12:00 UTC`; empty takes the window away. Raises Stop."""
    if not text.strip():
        return None
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise Stop(
            f"{typed(text)} is not a window",
            remedy="write mon-fri 08:00-18:00 Europe/Zurich",
            status=Exit.USAGE,
        )
    return {"days": _days(match[1]), "opens": _hour(match[2]), "closes": _hour(match[3]), "zone": match[4]}


def _hour(text: str) -> str:
    try:
        time.fromisoformat(text)
    except ValueError:
        raise Stop(f"{typed(text)} is no time of day", remedy="write 08:00", status=Exit.USAGE) from None
    return text


def _days(text: str) -> list[int]:
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise Stop(
                f"{typed(part)} is no day of the week", remedy="write mon, tue, ... sun", status=Exit.USAGE
            )
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        days |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
    return sorted(days)


def overlay(base: Mapping[str, Any], change: Mapping[str, Any]) -> Rules:
    """The rules with a change on top; a change of one length of `ttl` keeps the other two."""
    merged = {**base, **change}
    if isinstance(base.get("ttl"), Mapping) and isinstance(change.get("ttl"), Mapping):
        merged["ttl"] = {**base["ttl"], **change["ttl"]}
    return merged


def as_draft(role: Mapping[str, Any]) -> Rules:
    """A role as the server shows it, made into what the server takes: subjects and groups by name."""
    draft = {name: value for name, value in role.items() if name in _RULES and name not in _SHOWN_ONLY}
    draft["privileges"] = [_name(one) for one in role.get("privileges") or []]
    draft["candidates"] = [_name(one) for one in role.get("candidates") or []]
    draft["stages"] = [
        {**stage, "approvers": [_name(one) for one in stage.get("approvers") or []]}
        for stage in role.get("stages") or []
    ]
    return draft


def _name(one: object) -> object:
    return one.get("name") if isinstance(one, Mapping) else one


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, object, object]]:
    """Rule, old, new, for those that differ."""
    names = sorted(before.keys() | after.keys())
    return [(n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)]


def shown(rule: str, value: object) -> str:
    """A rule's value in the words of the options."""
    if value in (None, "", []):
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if rule in _LENGTHS:
        return span(value)
    if isinstance(value, Mapping):
        return ttl_words(value) if rule == "ttl" else _window_words(value)
    if isinstance(value, list):
        return ", ".join(stage_words(one) if isinstance(one, Mapping) else str(one) for one in value)
    return str(value)


def ttl_words(ttl: Mapping[str, Any]) -> str:
    """The usual length, and between which it may be."""
    return f"{span(ttl.get('default'))} ({span(ttl.get('minimum'))} to {span(ttl.get('maximum'))})"


def stage_words(stage: Mapping[str, Any]) -> str:
    """Who must agree."""
    return (
        f"{stage.get('name')}: {stage.get('needed')} of {', '.join(map(str, stage.get('approvers') or []))}"
    )


def _window_words(value: Mapping[str, Any]) -> str:
    """As `--window` takes it."""
    days = ",".join(_DAYS[day] for day in value.get("days") or [])
    opens, closes = str(value.get("opens"))[:5], str(value.get("closes"))[:5]
    return f"{days} {opens}-{closes} {value.get('zone')}"
