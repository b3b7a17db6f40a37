"""One reset, step by step: gates in their order, a time to cool off if the rule has one, a choice, the end. The server alone knows where it is.

(1) Every step names the gate or the choice that it is for; one that is not next is refused, and nothing changes.
(2) A reset is over a quarter of an hour after it began, or after it may go on.
(3) After eight wrong answers it has come to nothing.
(4) A reset of nobody, begun for a name that is unknown, disabled, excluded or not registered, has the same steps and passes no gate.
(5) With a time to cool off the choice comes after it, and not if the person said meanwhile that it was somebody else. It begins when the first message about it was taken:
    who is told of nothing can say nothing.
(6) It ends once: with the choice it is used up, whatever comes of it.
(7) It is dead if the password was changed by anybody else since.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.errors import Conflict
from bastide.domain.reset.gates import Gate

LIFE = timedelta(minutes=15)
#: After the time to cool off.
PICK_UP = timedelta(hours=24)
WRONG = 8
_AGAIN = "begin a new reset"


class Stage(StrEnum):
    """Where a reset is."""

    GATES = "gates"
    COOLING = "cooling"
    CHOOSE = "choose"
    USED = "used"
    STOPPED = "stopped"


class Choice(StrEnum):
    """What a person may do behind the gates."""

    UNLOCK = "unlock"
    SET = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """`token_hash`: of the browser's cookie. `key`: what a name counts as (lockout.py). `person`, `account`: SID and name; empty: nobody's. `sealed_code`: the code that was
    sent for the gate that is open, or what a security key is asked there, sealed to this row. `known`: begun at an address that the person registered from, `near`: at one that somebody did. `stop_hash`: of what is typed to say "this wasn't me".
    `reference`: of the change that came of it, `done_at`: when it was ordered. `warned`: a message about the time to cool off was taken; until then `ready_at` is the earliest.
    """

    id: str
    token_hash: str
    key: str
    person: str
    account: str
    gates: tuple[Gate, ...]
    started_at: datetime
    expires_at: datetime
    cooling: timedelta = timedelta(0)
    passed: int = 0
    wrong: int = 0
    stage: Stage = Stage.GATES
    address: str = ""
    known: bool = False
    near: bool = False
    ready_at: datetime | None = None
    warned: bool = False
    done_at: datetime | None = None
    sealed_code: bytes = b""
    stop_hash: str = ""
    choice: str = ""
    reference: str = ""
    #: Of an unlock: system, words, and whether it went well.
    said: tuple[tuple[str, str, bool], ...] = ()

    @property
    def gate(self) -> Gate | None:
        """The one that is next; None: all are passed."""
        return self.gates[self.passed] if self.stage is Stage.GATES else None

    def __repr__(self) -> str:
        return f"Reset({self.id!r}, {self.stage.value}, passed={self.passed})"


def require_open(reset: Reset, now: datetime) -> None:
    """(2), (3), (6). Raises Conflict."""
    if reset.stage in {Stage.USED, Stage.STOPPED} or now >= reset.expires_at:
        raise Conflict("this reset is over", remedy=_AGAIN)


def require_gate(reset: Reset, gate: Gate, now: datetime) -> None:
    """(1) Raises Conflict unless that gate is next."""
    require_open(reset, now)
    if reset.gate is not gate:
        raise Conflict("that is not the next step of this reset", remedy="go on from the page that is open")


def passed(reset: Reset, gate: Gate, now: datetime) -> Reset:
    """One gate further; after the last one the choice, or (5). Raises Conflict; (4) for a reset of nobody as well."""
    require_gate(reset, gate, now)
    if not reset.person:
        raise Conflict("nobody passes a gate here", remedy=_AGAIN)
    further = replace(reset, passed=reset.passed + 1, sealed_code=b"")
    if further.passed < len(further.gates):
        return further
    if not reset.cooling:
        return replace(further, stage=Stage.CHOOSE, expires_at=now + LIFE)
    return _cooling(replace(further, stage=Stage.COOLING), now)


def warned(reset: Reset, now: datetime) -> Reset:
    """(5) A message was taken: the time to cool off begins, once."""
    if reset.stage is not Stage.COOLING or reset.warned:
        return reset
    return _cooling(replace(reset, warned=True), now)


def _cooling(reset: Reset, began: datetime) -> Reset:
    ready = began + reset.cooling
    return replace(reset, ready_at=ready, expires_at=ready + PICK_UP)


def failed(reset: Reset, gate: Gate, now: datetime) -> Reset:
    """One wrong answer more; (3). Raises Conflict."""
    require_gate(reset, gate, now)
    wrong = reset.wrong + 1
    if wrong >= WRONG:
        return replace(reset, wrong=wrong, stage=Stage.STOPPED, sealed_code=b"")
    return replace(reset, wrong=wrong)


def at(reset: Reset, now: datetime) -> Reset:
    """As it is now: (5), the time to cool off may be over."""
    over = reset.warned and reset.ready_at is not None and now >= reset.ready_at
    if reset.stage is Stage.COOLING and over:
        return replace(reset, stage=Stage.CHOOSE)
    return reset


def chosen(reset: Reset, choice: Choice, reference: str, now: datetime) -> Reset:
    """(6) Used up. Raises Conflict."""
    require_open(reset, now)
    if at(reset, now).stage is not Stage.CHOOSE:
        raise Conflict("that is not the next step of this reset", remedy="go on from the page that is open")
    return replace(
        reset, stage=Stage.USED, choice=choice.value, reference=reference, done_at=now, stop_hash=""
    )


def require_current(reset: Reset, password_set: datetime | None) -> None:
    """(7) `password_set`: when it was last changed, as far as anybody knows. Raises Conflict."""
    if password_set is not None and password_set > reset.started_at:
        raise Conflict("the password was changed after this reset began", remedy=_AGAIN)


def stopped(reset: Reset) -> Reset:
    """The person, or an administrator, put an end to it."""
    return replace(reset, stage=Stage.STOPPED, sealed_code=b"", stop_hash="")
