"""What becomes of an imported object: filter, join, projection, attribute flow; and what becomes of it when it goes. Pure decisions.

In this order, and none of it guesses:

  (1) Credentials are taken out before anything looks at the object.
  (2) A connector filter keeps the object out. One that was joined is disconnected; a join by hand stays.
      So does what a person keeps apart.
  (3) What is joined stays joined (a rule that would decide otherwise today does not undo it), unless its MV object is gone.
  (4) The first join rule that fits any MV object decides. It fits exactly one: joined. It fits several: a conflict that lists them.
  (5) An MV object that has an object of the same agent already is a conflict, too.
  (6) What no rule fits is projected, where the agent may; otherwise it waits.
  (7) Each MV attribute comes from the connector with the lowest rank that has a value; at equal rank by the agent's name.
  (8) An MV object goes with its last connector.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bastide.domain.credentials import denied
from bastide.domain.management_agents import (
    Attributes,
    Condition,
    CsObject,
    Filter,
    Flow,
    ImportRules,
    JoinRule,
    Link,
    MaId,
    ManagementAgent,
    MvId,
    MvObject,
    Test,
)

CONNECTED = frozenset({Link.JOINED, Link.PROJECTED, Link.MANUAL})
#: What a later import or another agent may still join.
LOOSE = frozenset({Link.NONE, Link.CONFLICT})
_LISTED = 10


class Known(Protocol):
    """What the rules may look up; answers come from memory or from an index."""

    def matching(self, attribute: str, values: Collection[str]) -> Mapping[str, Collection[MvId]]:
        """Casefolded value to the MV objects that have it; the attribute's case does not matter."""

    def connector(self, mv: MvId, ma: MaId) -> CsObject | None:
        """The object of that agent which is connected with the MV object."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One join rule tried on one object. `looked_for`: MV attribute and casefolded values; `missing`: CS attributes without a value."""

    rule: int
    looked_for: tuple[tuple[str, tuple[str, ...]], ...]
    missing: tuple[str, ...]
    found: tuple[MvId, ...]

    @property
    def outcome(self) -> str:
        """Why it fits, or not, in words."""
        if self.missing:
            return f"does not apply: the object has no {', '.join(self.missing)}"
        if not self.found:
            return "fits nothing in the metaverse"
        if len(self.found) > 1:
            return f"fits {len(self.found)} objects of the metaverse: a conflict"
        return "fits exactly one object of the metaverse"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of an object, and why. `mv` is set for a join; a projection makes a new one."""

    link: Link
    because: str
    mv: MvId | None = None


def clean(attributes: Attributes) -> dict[str, tuple[str, ...]]:
    """Without credentials and empty values: (1). What is no Unicode text is replaced."""
    kept = ((name, values) for name, values in attributes.items() if not denied(name))
    texts = {name: tuple(_text(value) for value in values if value) for name, values in kept}
    return {name: values for name, values in texts.items() if values}


def _text(value: str) -> str:
    """Half a surrogate pair cannot be stored."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def filter_of(filters: Sequence[Filter], attributes: Attributes) -> int | None:
    """The number (from 1) of the filter that keeps the object out."""
    folded = {name.casefold(): values for name, values in attributes.items()}
    for number, one in enumerate(filters, start=1):
        if all(_holds(condition, folded) for condition in one.conditions):
            return number
    return None


def _holds(condition: Condition, folded: Attributes) -> bool:
    values = folded.get(condition.attribute.casefold(), ())
    if condition.test is Test.PRESENT:
        return bool(values)
    if condition.test is Test.ABSENT:
        return not values
    if condition.test is Test.BIT:
        return any(_bit_on(value, int(condition.value)) for value in values)
    wanted = condition.value.casefold()
    return any(_fits(condition.test, value.casefold(), wanted) for value in values)


def _fits(test: Test, value: str, wanted: str) -> bool:
    if test is Test.EQUALS:
        return value == wanted
    if test is Test.STARTS:
        return value.startswith(wanted)
    if test is Test.ENDS:
        return value.endswith(wanted)
    return wanted in value


def _bit_on(value: str, bits: int) -> bool:
    """LDAP_MATCHING_RULE_BIT_AND ([MS-ADTS] 3.1.1.3.4.4.1): all bits are on. A value that is no number has none."""
    try:
        return bits != 0 and int(value) & bits == bits
    except ValueError:
        return False


def values_for(
    rule: JoinRule, attributes: Attributes
) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], tuple[str, ...]]:
    """What a rule looks for: MV attributes with casefolded values, and the CS attributes that have none."""
    folded = {name.casefold(): values for name, values in attributes.items()}
    wanted = []
    missing = []
    for source, target in rule.pairs:
        values = folded.get(source.casefold(), ())
        if values:
            wanted.append((target, tuple(dict.fromkeys(value.casefold() for value in values))))
        else:
            missing.append(source)
    return tuple(wanted), tuple(missing)


def try_rule(number: int, rule: JoinRule, attributes: Attributes, known: Known) -> Trial:
    """Which MV objects a rule fits: those that have a value in common in every pair."""
    wanted, missing = values_for(rule, attributes)
    if missing:
        return Trial(number, wanted, missing, ())
    sets = [_union(known.matching(target, values).values()) for target, values in wanted]
    found = frozenset.intersection(*sets) if sets else frozenset()
    return Trial(number, wanted, (), tuple(sorted(found)))


def _union(sets: Iterable[Collection[MvId]]) -> frozenset[MvId]:
    return frozenset(mv for one in sets for mv in one)


def try_rules(rules: Sequence[JoinRule], attributes: Attributes, known: Known) -> tuple[Trial, ...]:
    """Up to and with the rule that decides: (4)."""
    trials: list[Trial] = []
    for number, rule in enumerate(rules, start=1):
        trials.append(try_rule(number, rule, attributes, known))
        if trials[-1].found:
            break
    return tuple(trials)


def decide(cs: CsObject, rules: ImportRules, known: Known, *, mv_exists: bool) -> Decision:
    """What is to become of the object. `mv_exists`: the MV object it is connected with is still there."""
    connected = cs.link in CONNECTED and mv_exists
    if cs.link is Link.APART or (connected and cs.link is Link.MANUAL):
        return Decision(cs.link, cs.because, cs.mv)  # (2) a person said so
    number = filter_of(rules.filters, cs.attributes)
    if number is not None:
        return Decision(Link.FILTERED, f"kept out by filter {number}")  # (2)
    if connected:
        return Decision(cs.link, cs.because, cs.mv)  # (3)
    trials = try_rules(rules.joins, cs.attributes, known)
    if trials and trials[-1].found:
        return joined(cs, trials[-1], known)
    if rules.project:
        return Decision(Link.PROJECTED, "no join rule fits; projected")  # (6)
    return Decision(Link.NONE, "no join rule fits")  # (6)


def joined(cs: CsObject, trial: Trial, known: Known) -> Decision:
    """What a rule that fits something comes to: (4), (5)."""
    if len(trial.found) > 1:
        return Decision(Link.CONFLICT, f"join rule {trial.rule} fits several: {_listed(trial.found)}")
    mv = trial.found[0]
    other = known.connector(mv, cs.ma)
    if other is not None and other.id != cs.id:
        return Decision(
            Link.CONFLICT, f"join rule {trial.rule} fits {mv}, which has {other.dn} of this agent already"
        )
    return Decision(Link.JOINED, f"join rule {trial.rule}", mv)


def _listed(ids: Sequence[MvId]) -> str:
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return ", ".join(ids[:_LISTED]) + more


def flow(
    mv: MvObject, connectors: Collection[CsObject], agents: Mapping[MaId, ManagementAgent]
) -> MvObject | None:
    """The MV object with the attributes its connectors give it (7); None: it has none left (8)."""
    if not connectors:
        return None
    attributes: dict[str, tuple[str, ...]] = {}
    origins: dict[str, MaId] = {}
    taken: set[str] = set()
    for one, cs in _by_precedence(connectors, agents):
        values = next((v for n, v in cs.attributes.items() if n.casefold() == one.source.casefold()), ())
        if values and one.target.casefold() not in taken:
            taken.add(one.target.casefold())
            attributes[one.target] = tuple(values)
            origins[one.target] = cs.ma
    return replace(mv, attributes=attributes, origins=origins)


def _by_precedence(
    connectors: Collection[CsObject], agents: Mapping[MaId, ManagementAgent]
) -> list[tuple[Flow, CsObject]]:
    """The order of CS ids settles what rank and name leave open, so that the same objects always give the same result."""
    pairs = [(one, cs) for cs in connectors if cs.ma in agents for one in agents[cs.ma].rules.flows]
    return sorted(pairs, key=lambda pair: (pair[0].rank, agents[pair[1].ma].name.casefold(), pair[1].id))


def order(agents: Collection[ManagementAgent]) -> tuple[ManagementAgent, ...]:
    """Who projects first, then who needs what others give: an agent whose join rules read an MV attribute comes after those that fill it."""
    left = sorted(agents, key=lambda a: (not a.rules.project, a.name.casefold()))
    done: list[ManagementAgent] = []
    while left:
        ready = next((a for a in left if not _waits_for(a, left)), left[0])
        left.remove(ready)
        done.append(ready)
    return tuple(done)


def _waits_for(agent: ManagementAgent, others: Sequence[ManagementAgent]) -> bool:
    """A ring of agents that need each other has no first one; `order` then takes those that project, by name."""
    needed = {target for rule in agent.rules.joins for _, target in rule.pairs}
    return any(one.target in needed for other in others if other.id != agent.id for one in other.rules.flows)
