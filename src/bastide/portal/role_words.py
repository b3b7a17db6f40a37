"""The rules of a role in words, for its page and for what changes. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bastide.domain.ids import GroupId
from bastide.domain.people import Demand
from bastide.domain.policy import describe_window
from bastide.domain.roles import Enforcer, Role, Stage, Ttl, length
from bastide.portal.pages import span

Names = Mapping[GroupId, str]
_FLOORS: Mapping[Enforcer, str] = {
    Enforcer.LINK_TTL: "the directory, by a time-limited membership (link-ttl)",
    Enforcer.DORMANT_ACCOUNT: "the directory, by the account's expiry (dormant-account)",
    Enforcer.REMOVAL: "Bastide alone, which takes the member away (removal)",
}
_DEMANDS: Mapping[Demand, str] = {Demand.ANY: "any second factor", Demand.WEBAUTHN: "a security key"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as people call it, in one line or several."""

    called: str
    lines: Callable[[Role, Names], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a comparison: `sign` is `-` for what goes, `+` for what comes, empty for what stays."""

    sign: str
    text: str


def _one(words: Callable[[Role], str]) -> Callable[[Role, Names], tuple[str, ...]]:
    return lambda role, _: (words(role),)


def _yes(said: bool) -> str:
    return "yes" if said else "no"


def stage_words(stage: Stage) -> str:
    """Who must agree in a stage."""
    return f"{stage.name}: {stage.needed} of {', '.join(subject.name for subject in stage.approvers)}"


def _ttl(ttl: Ttl) -> str:
    return f"{span(ttl.default)}, from {span(ttl.minimum)} to {span(ttl.maximum)}"


#: Every rule there is, in the order of a page. The keys are the fields of a role.
RULES: Mapping[str, Rule] = {
    "name": Rule("Name", _one(lambda role: role.name)),
    "description": Rule("What it is for", _one(lambda role: role.description or "nothing is said")),
    "enabled": Rule("May be used", _one(lambda role: _yes(role.enabled))),
    "privileges": Rule("Gives", lambda role, names: tuple(names.get(g, g) for g in role.privileges)),
    "candidates": Rule("Who may ask", lambda role, _: tuple(one.name for one in role.candidates)),
    "stages": Rule(
        "Who must agree", lambda role, _: tuple(map(stage_words, role.stages)) or ("nobody has to agree",)
    ),
    "approval_factor": Rule("Approved with", _one(lambda role: _DEMANDS[role.approval_factor])),
    "owner_auto_approval": Rule(
        "Own requests of approvers",
        _one(lambda role: "count as one approval" if role.owner_auto_approval else "another must agree"),
    ),
    "pending_life": Rule("Waits for an answer", _one(lambda role: span(role.pending_life))),
    "ttl": Rule("How long", _one(lambda role: _ttl(role.ttl))),
    "extension": Rule("May be extended", _one(lambda role: _yes(role.extension))),
    "window": Rule("When it may start", _one(lambda role: describe_window(role) or "at any time")),
    "mfa": Rule("Second factor", _one(lambda role: _yes(role.mfa))),
    "factor": Rule("Which second factor", _one(lambda role: _DEMANDS[role.factor])),
    "justification": Rule("Justification", _one(lambda role: _yes(role.justification))),
    "ticket_pattern": Rule(
        "A ticket looks like", _one(lambda role: role.ticket_pattern or "no ticket is needed")
    ),
    "floor": Rule("Who ends it, at the least", _one(lambda role: _FLOORS[role.floor])),
}


def facts(role: Role, names: Names) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """All rules of a role."""
    return tuple((rule.called, rule.lines(role, names)) for rule in RULES.values())


def compared(
    before: Role | None, after: Role | None, names: Names
) -> tuple[tuple[str, tuple[Line, ...]], ...]:
    """The rules that differ, with what goes and what comes; of a role that is new, or goes, all of them."""
    found = []
    for rule in RULES.values():
        old = rule.lines(before, names) if before is not None else ()
        new = rule.lines(after, names) if after is not None else ()
        if old != new:
            found.append((rule.called, (*_gone(old, new), *_come(old, new))))
    return tuple(found)


def _gone(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[Line, ...]:
    """What goes. A list that only has another order goes as a whole."""
    whole = sorted(old) == sorted(new)
    return tuple(Line("-", text) for text in old if whole or text not in new)


def _come(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[Line, ...]:
    """What stays and what comes."""
    whole = sorted(old) == sorted(new)
    return tuple(Line("" if text in old and not whole else "+", text) for text in new)


def lengths(role: Role) -> Mapping[str, str]:
    """The lengths of a role, as its form takes them."""
    return {
        "ttl_minimum": length(role.ttl.minimum),
        "ttl_default": length(role.ttl.default),
        "ttl_maximum": length(role.ttl.maximum),
        "pending_life": length(role.pending_life),
    }
