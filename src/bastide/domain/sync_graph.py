"""The static proof that no password can come back to where it was changed.

Nodes are connected systems, edges lead from a source to its targets. Several agents may stand for one system: a domain that one agent reads
and another one writes to is one node. Two agents are one system if they have the same id, or name the same DNS domain: as source, or in the
`domain` of their settings; or if their systems said the same of themselves (`ManagementAgent.system`), whatever host names led there. One with
two names ties both together. What is switched off counts too: the proof is about the configuration, not about today's state of it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from bastide.domain.errors import Conflict
from bastide.domain.management_agents import MaId, ManagementAgent

_DOMAIN = "domain"
#: How a label for a DNS domain begins.
DOMAIN_LABEL = "domain "
#: Labels that a refusal shows of one system.
_SHOWN = 4


def refuse_cycles(agents: Collection[ManagementAgent]) -> None:
    """Raise Conflict, naming the way round, if a password could come back to its source. Call it with all agents, the changed one among them."""
    if way := cycle(agents):
        raise Conflict(
            f"passwords would go round: {' -> '.join(way)}",
            remedy="take one of these targets out; to reach several systems, name all of them as targets of the first source. "
            "Agents whose directory is the same count as one, whatever host they name",
        )


def cycle(agents: Collection[ManagementAgent]) -> tuple[str, ...]:
    """The way round, the first agent again at the end; empty: there is none. Each is named as the target that is reached, and with what makes it one
    with others.
    """
    systems = _systems(agents)
    inside: dict[str, list[ManagementAgent]] = {}
    edges: dict[str, set[str]] = {}
    for agent in sorted(agents, key=lambda one: one.name):
        node = systems[agent.id]
        inside.setdefault(node, []).append(agent)
        if agent.source is not None:
            reached = {systems.get(target, str(target)) for target in agent.source.targets}
            edges.setdefault(node, set()).update(reached)
    ring = _find(edges)
    if not ring:
        return ()
    doors = [
        _entered(inside[before], inside[node])
        for before, node in zip((ring[-2], *ring), ring[:-1], strict=False)
    ]
    ways = [_as_one(door, inside[node]) for door, node in zip(doors, ring, strict=False)]
    return (*ways, doors[0].name)


def _entered(before: Sequence[ManagementAgent], node: Sequence[ManagementAgent]) -> ManagementAgent:
    """The agent of a node that one of the node before has as its target."""
    targets = {target for one in before if one.source is not None for target in one.source.targets}
    return next(one for one in node if one.id in targets)


def _as_one(door: ManagementAgent, node: Sequence[ManagementAgent]) -> str:
    others = [one.name for one in node if one.id != door.id]
    if not others:
        return door.name
    count = Counter(name for one in node for name in set(_names(one)))
    shared = sorted(name for name, times in count.items() if times > 1)[:_SHOWN]
    return f"{door.name} (the same system as {', '.join(others)}: {', '.join(shared)})"


def _systems(agents: Collection[ManagementAgent]) -> dict[MaId, str]:
    """Agent to its node. All names that some agent has in common are one node, which goes by the first of them."""
    node: dict[str, str] = {}

    def root(name: str) -> str:
        while node.setdefault(name, name) != name:
            name = node[name]
        return name

    labels = {agent.id: sorted(_names(agent)) or [_alone(agent.id)] for agent in agents}
    for first, *others in labels.values():
        for other in others:
            low, high = sorted((root(first), root(other)))
            node[high] = low
    return {agent: root(first) for agent, (first, *_) in labels.items()}


def domains_of(agent: ManagementAgent) -> frozenset[str]:
    """The DNS domains that an agent names: as its source, and in its settings. In lower case, without a dot at the end."""
    named = (agent.source.domain if agent.source is not None else None, agent.settings.get(_DOMAIN))
    return frozenset(one.strip(".").casefold() for one in named if isinstance(one, str) and one.strip("."))


def domain_label(name: str) -> str:
    """What stands for a DNS domain, in a proof and in what a directory says of itself."""
    return f"{DOMAIN_LABEL}{name.strip('.').casefold()}"


def _names(agent: ManagementAgent) -> Iterator[str]:
    yield from map(domain_label, domains_of(agent))
    yield from agent.system


def _alone(agent: MaId) -> str:
    return f"agent {agent}"


def _find(edges: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Depth first, without recursion: a chain of agents may be as long as people make it."""
    done: set[str] = set()
    for start in sorted(edges):
        path: list[str] = []
        todo: list[tuple[str, bool]] = [(start, False)]
        while todo:
            node, leaving = todo.pop()
            if leaving:
                done.add(path.pop())
            elif node in path:
                return (*path[path.index(node) :], node)
            elif node not in done:
                path.append(node)
                todo.append((node, True))
                todo.extend((after, False) for after in sorted(edges.get(node, ())))
    return ()
