"""What still keeps passwords from flowing, after `bastide ma enable`: each with the command that ends it. Pure."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bastide.domain.management_agents import Operation

Agent = Mapping[str, Any]
#: What is missing, and the command for it.
Missing = tuple[str, str]
#: A source, and a target that it names.
_Way = tuple[Agent, Agent]


def missing(
    agent: Agent, agents: Sequence[Agent], status: Mapping[str, Any] | None, *, target: bool, source: bool
) -> list[Missing]:
    """For an agent that is enabled as a target, as a source, or both; `status` is that of all synchronization, None if the server has none. In the order of the
    way. What is missing on one way says nothing of the others: `now`.
    """
    found = list(_not_imported(agent))
    if source and not targets_of(agent):
        name = str(agent.get("name"))
        found.append((f"{name} has no targets: its passwords go nowhere", _edit(name, ["NAME"])))
    if target and not _senders(agent, agents):
        found += _without_source(agent, agents)
    for way in _ways(agent, agents, target=target, source=source):
        found += [one for one in _in_the_way(*way) if one not in found]
    if status is not None and not status.get("enabled"):
        found.append(
            (
                "synchronization is off as a whole: nothing is taken in and nothing delivered",
                "bastide passwords enable",
            )
        )
    return found


def now(
    agent: Agent, agents: Sequence[Agent], status: Mapping[str, Any] | None, *, target: bool, source: bool
) -> list[str]:
    """What happens to a change, on each way where nothing is missing."""
    if not (status or {}).get("enabled"):
        return []
    goes: dict[str, list[str]] = {}
    for sender, receiver in _ways(agent, agents, target=target, source=source):
        if not list(_in_the_way(sender, receiver)):
            goes.setdefault(_domain(sender), []).append(str(receiver.get("name")))
    return [
        f"a password that is changed in {domain} goes to {', '.join(names)} from now on"
        for domain, names in goes.items()
    ]


def stopped(agent: Agent, status: Mapping[str, Any] | None, *, target: bool, source: bool) -> list[str]:
    """What happens to a change, once an agent is disabled. While all synchronization is off, controllers keep what they have."""
    said = []
    if status is not None and not status.get("enabled"):
        said.append("synchronization is off as a whole: changes wait on their controllers until it is on")
    first = "then" if said else "now"
    if source:
        said.append(
            f"a password that is changed in {_domain(agent)} {first} goes nowhere, and is not kept for later"
        )
    if target:
        said.append(f"no password is set in {agent.get('name')} {first}, and none is kept for later")
    return said


def targets_of(agent: Agent) -> list[str]:
    """Names."""
    return [str(name) for name in (agent.get("source") or {}).get("targets") or []]


def _ways(agent: Agent, agents: Sequence[Agent], *, target: bool, source: bool) -> list[_Way]:
    ways = [(agent, one) for one in agents if source and one.get("name") in targets_of(agent)]
    return ways + [(one, agent) for one in _senders(agent, agents) if target]


def _in_the_way(sender: Agent, receiver: Agent) -> Iterator[Missing]:
    """Of a change from one to the other."""
    for one in (sender, receiver):
        yield from _not_imported(one)
    come, go = str(sender.get("name")), str(receiver.get("name"))
    if not (sender.get("source") or {}).get("enabled"):
        yield f"the source {come} is disabled", f"bastide ma enable {shlex.quote(come)} --source"
    passwords = receiver.get("passwords") or {}
    if not passwords.get("enabled"):
        yield f"the target {go} is disabled", f"bastide ma enable {shlex.quote(go)} --target"
    if passwords.get("operation") == Operation.CHANGE:
        yield (
            f"the target {go} may change passwords, not set them",
            f"bastide ma edit {shlex.quote(go)} --set passwords.operation={Operation.SET.value}",
        )
    if passwords.get("shadow"):
        yield (
            f"the target {go} is in shadow mode: everything is done but the write",
            f"bastide ma edit {shlex.quote(go)} --set passwords.shadow=false",
        )


def _not_imported(agent: Agent) -> Iterator[Missing]:
    if not agent.get("imported_at"):
        name = str(agent.get("name"))
        yield (
            f"nothing was imported from {name} yet: nobody is known there",
            f"bastide ma import {shlex.quote(name)}",
        )


def _without_source(agent: Agent, agents: Sequence[Agent]) -> Iterator[Missing]:
    name = str(agent.get("name"))
    sources = [one for one in agents if one.get("source") and one.get("name") != name]
    if not sources:
        yield "there is no source: no other agent has a [source]", "bastide ma add SOURCE.toml"
    for one in sources:
        yield f"{one['name']} does not send to {name}", _edit(str(one["name"]), [*targets_of(one), name])


def _senders(agent: Agent, agents: Sequence[Agent]) -> list[Agent]:
    return [one for one in agents if str(agent.get("name")) in targets_of(one)]


def _edit(source: str, targets: Sequence[str]) -> str:
    """A list of strings in JSON is one in TOML, which `--set` takes."""
    return f"bastide ma edit {shlex.quote(source)} --set {shlex.quote(f'source.targets={json.dumps(targets, ensure_ascii=False)}')}"


def _domain(agent: Agent) -> str:
    return str((agent.get("source") or {}).get("domain"))
