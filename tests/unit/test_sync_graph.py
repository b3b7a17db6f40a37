"""A configured graph in which a password could come back to its source is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.domain.errors import Conflict
from bastide.domain.management_agents import MaId, ManagementAgent, PasswordSource
from bastide.domain.sync_graph import cycle, domain_label, refuse_cycles


def agent(
    name: str, *targets: str, domain: str = "", settings: dict[str, object] | None = None
) -> ManagementAgent:
    source = (
        PasswordSource(domain=domain or f"{name}.test", targets=tuple(map(MaId, targets)))
        if targets
        else None
    )
    return ManagementAgent(
        id=MaId(name), name=name.upper(), connector="memory", settings=settings or {}, source=source
    )


def test_a_tree_and_a_chain_are_fine() -> None:
    refuse_cycles([])
    refuse_cycles([agent("a", "b", "c"), agent("b", "d"), agent("c", "d"), agent("d")])
    refuse_cycles([agent("a", "gone")])


@pytest.mark.parametrize(
    ("agents", "way"),
    [
        ([agent("a", "a")], ("A", "A")),
        ([agent("a", "b"), agent("b", "a")], ("A", "B", "A")),
        ([agent("x", "a"), agent("a", "b"), agent("b", "c"), agent("c", "a")], ("A", "B", "C", "A")),
    ],
)
def test_a_ring_is_refused_and_named(agents: list[ManagementAgent], way: tuple[str, ...]) -> None:
    assert cycle(agents) == way
    with pytest.raises(Conflict, match=" -> ".join(way)):
        refuse_cycles(agents)


def test_what_is_switched_off_counts_too() -> None:
    off = agent("b", "a")
    assert off.source is not None
    assert not off.source.enabled
    assert cycle([agent("a", "b"), off])


def test_what_their_systems_say_makes_agents_one_too() -> None:
    """The writer names another host, and no domain."""
    ring = [agent("corp", "lab", domain="corp.test"), agent("lab", "alias"), agent("alias")]
    assert not cycle(ring)
    said = replace(ring[2], system=("directory 77f3", domain_label("CORP.test.")))
    assert cycle([*ring[:2], said]) == ("ALIAS (the same system as CORP: domain corp.test)", "LAB", "ALIAS")
    by_id = [
        replace(ring[0], system=("directory 77f3",)),
        ring[1],
        replace(ring[2], system=("directory 77f3",)),
    ]
    assert cycle(by_id)
    other = [by_id[0], ring[1], replace(ring[2], system=("directory 0000",))]
    assert not cycle(other)


def test_a_refusal_names_all_agents_of_a_system_and_what_makes_them_one() -> None:
    """The way round leads into a system by one agent and out of it by another: without both, nobody could find it."""
    said = ("directory 77",)
    agents = [
        agent("corp", "writer"),
        replace(agent("lab", "corp"), system=("alone", *said)),
        replace(agent("writer"), system=said),
        replace(agent("other"), system=said),
    ]
    way = "passwords would go round: WRITER (the same system as LAB, OTHER: directory 77) -> CORP -> WRITER"
    with pytest.raises(Conflict) as refused:
        refuse_cycles(agents)
    assert refused.value.message == way
    itself = [agent("corp", "writer", domain="corp.test"), agent("writer", settings={"domain": "corp.test"})]
    assert cycle(itself) == ("WRITER (the same system as CORP: domain corp.test)", "WRITER")


def test_a_refusal_stays_short_however_much_systems_have_in_common() -> None:
    said = tuple(f"directory {number:02}" for number in range(32))
    agents = [agent("corp", "lab"), replace(agent("lab", "one"), system=said), agent("one", "corp")]
    agents[2] = replace(agents[2], system=said)
    (shown, *_) = [step for step in cycle(agents) if "same system" in step]
    assert shown.endswith(": directory 00, directory 01, directory 02, directory 03)")


def test_two_agents_of_one_domain_are_one_system() -> None:
    """One reads CORP, another one writes to it."""
    ring = [
        agent("corp", "lab-writer", domain="corp.test"),
        agent("lab", "corp-writer", domain="lab.test"),
        agent("corp-writer", settings={"domain": "CORP.test."}),
        agent("lab-writer", settings={"domain": "lab.test"}),
    ]
    assert cycle(ring)
    assert not cycle(ring[:1] + ring[2:])


def test_an_agent_that_names_two_domains_is_both() -> None:
    """As a source it says OTHER, but what it writes to is CORP."""
    liar = replace(agent("x", settings={"domain": "corp.test"}), source=PasswordSource(domain="other.test"))
    source = agent("corp", "x", domain="corp.test")
    assert cycle([liar, source])
    honest = replace(liar, settings={"domain": "other.test"})
    assert not cycle([honest, source])
    third = agent("third", settings={"domain": "OTHER.test."})
    assert cycle([liar, agent("corp", "third", domain="corp.test"), third]), "names are tied through others"


def test_a_very_long_chain() -> None:
    chain = [agent(f"n{number:05}", f"n{number + 1:05}") for number in range(5000)]
    assert not cycle(chain)
    assert cycle([*chain, agent("n05000", "n00000")])


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
def test_it_says_the_same_as_taking_away_sinks(edges: set[tuple[int, int]]) -> None:
    agents = [agent(str(n), *(str(b) for a, b in sorted(edges) if a == n)) for n in range(7)]
    left = set(edges)
    while sinks := {b for _, b in left} - {a for a, _ in left}:
        left = {(a, b) for a, b in left if b not in sinks}
    assert bool(cycle(agents)) is bool(left)
