"""Gates, and which of them a person goes through: data, any combination, by group."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from bastide.domain.ids import Sid


class Gate(StrEnum):
    """One proof of who is there."""

    QUESTIONS = "questions"
    MAIL = "mail"
    SMS = "sms"
    TOTP = "totp"
    KEY = "key"


#: Gates that a code is sent for.
SENT = frozenset({Gate.MAIL, Gate.SMS})


@dataclass(frozen=True, slots=True)
class Rule:
    """`groups`: who it is for, nested members too; empty: everybody. `cooling`: how long after the gates a password can be set; meanwhile the person can say
    that it was somebody else.
    """

    gates: tuple[Gate, ...]
    groups: frozenset[Sid] = frozenset()
    cooling: timedelta = timedelta(0)


def rule_for(rules: Sequence[Rule], groups: Collection[Sid]) -> Rule | None:
    """The first that fits. None: the person may not reset here."""
    return next((rule for rule in rules if not rule.groups or not rule.groups.isdisjoint(groups)), None)


def rule_of_nobody(rules: Sequence[Rule], chance: int) -> Rule:
    """What somebody goes through who does not exist. `chance`: made of the name, so that a name always gets the same. `rules` is not empty."""
    return rules[chance % len(rules)]
