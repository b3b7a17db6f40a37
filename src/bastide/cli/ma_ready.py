"""What still keeps passwords from flowing, after `bastide ma enable`: each with the command that ends it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Agent = Mapping[str, Any]
#: What is missing, and the command for it.
Missing = tuple[str, str]


def missing(
    agent: Agent, agents: Sequence[Agent], status: Mapping[str, Any], *, target: bool, source: bool
) -> list[Missing]:
    """For an agent that is enabled as a target, as a source, or both; `status` is that of all synchronization. In the order of the way."""
    found = list(_imported(agent))
    if source:
        found += _of_source(agent, agents)
    if target:
        found += _of_target(agent, agents)
    if not status.get("enabled"):
        found.append(
            (
                "synchronization is off as a whole: nothing is taken in and nothing delivered",
                "bastide passwords enable",
            )
        )
    return found


def now(agent: Agent, agents: Sequence[Agent], *, target: bool, source: bool) -> list[str]:
    """What happens to a change, where nothing is missing."""
    name, said = str(agent.get("name")), []
    if source:
        sent = ", ".join(targets_of(agent))
        said.append(f"a password that is changed in {_domain(agent)} goes to {sent} from now on")
    if target:
        domains = ", ".join(_domain(one) for one in _senders(name, agents))
        said.append(f"a password that is changed in {domains} goes to {name} from now on")
    return said


def stopped(agent: Agent, *, target: bool, source: bool) -> list[str]:
    """What happens to a change, once an agent is disabled."""
    said = []
    if source:
        said.append(
            f"a password that is changed in {_domain(agent)} now goes nowhere, and is not kept for later"
        )
    if target:
        said.append(f"no password is set in {agent.get('name')} now, and none is kept for later")
    return said


def targets_of(agent: Agent) -> list[str]:
    """Names."""
    return [str(name) for name in (agent.get("source") or {}).get("targets") or []]


def _imported(agent: Agent) -> Iterator[Missing]:
    if not agent.get("imported_at"):
        name = agent.get("name")
        yield f"nothing was imported from {name} yet: nobody is known there", f"bastide ma import {name}"


def _of_source(agent: Agent, agents: Sequence[Agent]) -> Iterator[Missing]:
    name, targets = str(agent.get("name")), targets_of(agent)
    if not targets:
        yield f"{name} has no targets: its passwords go nowhere", _edit(name, ["NAME"])
    for one in agents:
        if one.get("name") in targets and not (one.get("passwords") or {}).get("enabled"):
            yield f"its target {one['name']} is disabled", f"bastide ma enable {one['name']} --target"


def _of_target(agent: Agent, agents: Sequence[Agent]) -> Iterator[Missing]:
    name = str(agent.get("name"))
    senders = _senders(name, agents)
    for one in senders:
        if not (one.get("source") or {}).get("enabled"):
            yield f"its source {one['name']} is disabled", f"bastide ma enable {one['name']} --source"
    if senders:
        return
    sources = [one for one in agents if one.get("source") and one.get("name") != name]
    if not sources:
        yield "there is no source: no agent has a [source]", "bastide ma add SOURCE.toml"
    for one in sources:
        yield (
            f"{one['name']} does not send to {name}",
            _edit(str(one["name"]), [*targets_of(one), name]),
        )


def _senders(name: str, agents: Sequence[Agent]) -> list[Agent]:
    return [one for one in agents if name in targets_of(one)]


def _edit(source: str, targets: Sequence[str]) -> str:
    named = ", ".join(f"'{name}'" for name in targets)
    return f'bastide ma edit {source} --set "source.targets=[{named}]"'


def _domain(agent: Agent) -> str:
    return str((agent.get("source") or {}).get("domain"))
