"""Alerts: what a rule says of an audit record, and how long one alert stands for what goes on. Nothing is asked here but what is given.

(1) An alert comes of a record of the audit, or of a state that was measured; of each it says why.
(2) What a rule finds again within its window counts on in the alert that is there, and nobody is told anew. Only what is the same: another kind of thing, or another
    account that it was done to, is an alert of its own. And of what happens, and is no state, an alert stands for nothing after somebody has acknowledged it.
(3) What is right again settles its alert. An alert that was acknowledged or settled is not escalated.
    What comes back soon after its first time (HOLD) opens the same alert again: what comes and goes rings once, and once more if it stands in the end.
(4) In the quiet hours messages to people wait if their severity is low or medium; high and critical never wait.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from bastide.domain import alike
from bastide.domain.audit import Record
from bastide.domain.errors import Conflict

#: An alert that reached nobody for so long is given up by its destination; the list of alerts keeps it.
GIVE_UP = timedelta(hours=24)
#: An alert that is over is opened again within its window, and so long after it was first seen at most.
HOLD = timedelta(hours=1)
#: An alert that is over goes after this long; the audit keeps its records.
KEPT = timedelta(days=180)
NOTE_LIMIT = 500
_KEY, _TEXT, _NAME = 180, 600, 256


class Severity(StrEnum):
    """As people are woken: low and medium are not, in quiet hours."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def wakes(self) -> bool:
        """(4)."""
        return self in {Severity.HIGH, Severity.CRITICAL}

    @property
    def weight(self) -> int:
        """1 to 4: the worse, the more."""
        return list(Severity).index(self) + 1


class Signal(StrEnum):
    """What a rule watches."""

    DRIFT = "drift"
    BREAK_GLASS = "break-glass"
    KILL_SWITCH = "kill-switch"
    FAILING_GATES = "failing-gates"
    AGENT_SILENT = "agent-silent"
    COVERAGE = "coverage"
    CHAIN_BROKEN = "chain-broken"
    APPROVERS = "approvers"
    UNUSUAL_HOUR = "unusual-hour"
    UNUSUAL_HOST = "unusual-host"
    MANY_ACTIVATIONS = "many-activations"
    UNEXPLAINED = "unexplained-change"
    EVENT_GAP = "event-gap"
    NOT_MONITORED = "not-monitored"
    RESET_STOPPED = "reset-stopped"


#: Found by measuring, every so often; each names what it measures with `threshold` where it has one.
MEASURED: Mapping[Signal, timedelta] = {
    Signal.CHAIN_BROKEN: timedelta(hours=6),
    Signal.COVERAGE: timedelta(hours=1),
    Signal.APPROVERS: timedelta(hours=1),
}


#: Of these each finding is something that happened, and not a state that goes on: who has one in hand knows nothing of the next.
HAPPENINGS = frozenset({Signal.BREAK_GLASS, Signal.KILL_SWITCH, Signal.UNEXPLAINED, Signal.EVENT_GAP, Signal.RESET_STOPPED})  # fmt: skip


class Per(StrEnum):
    """What is counted together."""

    PERSON = "person"
    ROLE = "role"
    ALL = "all"


class State(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    #: It is right again.
    OVER = "over"


class Stage(StrEnum):
    """Why a destination is told."""

    RAISED = "raised"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`to`: names of destinations; empty: all. `threshold`: how many within `window` where it counts; how many earlier ones are enough to know what is usual;
    or per cent of coverage. `window`: also how long one alert stands for all that is like it. `escalate_after` zero: never; then `escalate_to` is told.
    """

    name: str
    signal: Signal
    severity: Severity
    enabled: bool = True
    to: frozenset[str] = frozenset()
    per: Per = Per.PERSON
    threshold: int = 1
    window: timedelta = timedelta(hours=1)
    escalate_after: timedelta = timedelta(0)
    escalate_to: frozenset[str] = frozenset()


#: What counts where the settings say nothing else. A rule of the settings that has the name of one of these takes its place.
CATALOGUE: tuple[Rule, ...] = (
    Rule(name="drift", signal=Signal.DRIFT, severity=Severity.HIGH),
    Rule(name="break-glass", signal=Signal.BREAK_GLASS, severity=Severity.CRITICAL),
    Rule(name="kill-switch", signal=Signal.KILL_SWITCH, severity=Severity.HIGH),
    Rule(
        name="failing-gates-of-one", signal=Signal.FAILING_GATES, severity=Severity.MEDIUM, per=Per.PERSON, threshold=5,
        window=timedelta(minutes=15),
    ),
    Rule(
        name="failing-gates-of-many", signal=Signal.FAILING_GATES, severity=Severity.HIGH, per=Per.ALL, threshold=25,
        window=timedelta(minutes=15),
    ),
    Rule(name="agent-silent", signal=Signal.AGENT_SILENT, severity=Severity.MEDIUM),
    Rule(name="coverage", signal=Signal.COVERAGE, severity=Severity.MEDIUM, threshold=100, window=timedelta(hours=24)),
    Rule(name="chain-broken", signal=Signal.CHAIN_BROKEN, severity=Severity.CRITICAL, window=timedelta(hours=24)),
    Rule(name="approvers", signal=Signal.APPROVERS, severity=Severity.MEDIUM, window=timedelta(hours=24)),
    Rule(name="unusual-hour", signal=Signal.UNUSUAL_HOUR, severity=Severity.LOW, threshold=10, window=timedelta(hours=12)),
    Rule(name="unusual-host", signal=Signal.UNUSUAL_HOST, severity=Severity.LOW, threshold=10, window=timedelta(hours=12)),
    Rule(name="many-activations-of-one", signal=Signal.MANY_ACTIVATIONS, severity=Severity.MEDIUM, per=Per.PERSON, threshold=10),
    Rule(name="many-activations-of-a-role", signal=Signal.MANY_ACTIVATIONS, severity=Severity.MEDIUM, per=Per.ROLE, threshold=20),
    Rule(name="many-activations", signal=Signal.MANY_ACTIVATIONS, severity=Severity.MEDIUM, per=Per.ALL, threshold=50),
    Rule(name="unexplained-change", signal=Signal.UNEXPLAINED, severity=Severity.HIGH),
    Rule(name="event-gap", signal=Signal.EVENT_GAP, severity=Severity.MEDIUM),
    Rule(name="not-monitored", signal=Signal.NOT_MONITORED, severity=Severity.HIGH),
    Rule(name="reset-stopped", signal=Signal.RESET_STOPPED, severity=Severity.HIGH),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a rule found. `key`: what is like it has the same. `record`: the number of the audit record; 0: it was measured. `times`: how many it stands for."""

    key: str
    title: str
    text: str
    at: datetime
    subject: str = ""
    subject_name: str = ""
    record: int = 0
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """`count`: how often it was found since `first_at`. `over_because`: what made it right again."""

    id: str
    rule: str
    signal: Signal
    severity: Severity
    key: str
    title: str
    text: str
    subject: str
    subject_name: str
    first_at: datetime
    last_at: datetime
    #: When somebody could be told first: after the worker was down it is later than what it is about.
    raised_at: datetime
    count: int
    record: int
    state: State = State.OPEN
    escalated_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    note: str = ""
    over_at: datetime | None = None
    over_because: str = ""
    #: How often it was opened again.
    returns: int = 0

    def takes(self, sighting: Sighting, window: timedelta) -> bool:
        """(2): whether it stands for that as well."""
        if self.state is State.OVER or sighting.at >= self.first_at + window:
            return False
        seen = self.acknowledged_at if self.signal in HAPPENINGS else None
        return seen is None or sighting.at <= seen

    def comes_back(self, sighting: Sighting, window: timedelta) -> bool:
        """(3): whether it is over, and opens again for that."""
        return self.state is State.OVER and sighting.at < self.held_until(window)

    def held_until(self, window: timedelta) -> datetime:
        """(3)."""
        return self.first_at + min(window, HOLD)

    def reopened(self, sighting: Sighting) -> "Alert":
        """(3): it was right, and is not any more. Who acknowledged it has it in hand again; what nobody did escalates anew."""
        state = State.OPEN if self.acknowledged_at is None else State.ACKNOWLEDGED
        return replace(
            self.again(sighting), state=state, escalated_at=None, over_at=None, over_because="", returns=self.returns + 1
        )  # fmt: skip

    def again(self, sighting: Sighting) -> "Alert":
        """Found once more: counted, with the words of now."""
        return replace(
            self,
            count=self.count + sighting.times,
            last_at=max(self.last_at, sighting.at),
            text=sighting.text[:_TEXT],
        )

    def acknowledged(self, by: str, note: str, now: datetime) -> "Alert":
        """Somebody has seen it. Raises Conflict."""
        if self.state is State.ACKNOWLEDGED:
            raise Conflict(
                f"{self.acknowledged_by} acknowledged it already",
                remedy="`bastide alert show` says when, and why",
            )
        if self.state is State.OVER:
            raise Conflict("it is over already: there is nothing to acknowledge")
        return replace(self, state=State.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=by, note=note)

    def over(self, because: str, now: datetime) -> "Alert":
        """(3): it is right again."""
        return replace(self, state=State.OVER, over_at=now, over_because=because[:_TEXT])

    def escalates(self) -> bool:
        """(3): whether nobody has taken it in hand."""
        return self.state is State.OPEN and self.escalated_at is None

    def wanted(self, stage: Stage) -> bool:
        """Whether a message to people still says something they can act on."""
        if stage is Stage.RAISED:
            return self.state is not State.OVER
        return stage is not Stage.ESCALATED or self.state is State.OPEN


def made(rule: Rule, sighting: Sighting, id_: str, now: datetime) -> Alert:
    """A new alert."""
    return Alert(
        id=id_,
        rule=rule.name,
        signal=rule.signal,
        severity=rule.severity,
        key=key_of(rule, sighting),
        title=sighting.title[:_TEXT],
        text=sighting.text[:_TEXT],
        subject=sighting.subject[:_NAME],
        subject_name=sighting.subject_name[:_NAME],
        first_at=sighting.at,
        last_at=sighting.at,
        raised_at=now,
        count=sighting.times,
        record=sighting.record,
    )


def key_of(rule: Rule, sighting: Sighting) -> str:
    """By which an alert is found again."""
    return sighting.key[:_KEY] or rule.signal.value


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of the day, UTC, in which only what wakes is told to people. `begin` equal to `end`: there are none."""

    begin: time = time(0)
    end: time = time(0)

    def tells(self, severity: Severity, now: datetime) -> datetime:
        """(4): when to tell it, `now` or the end of the quiet hours."""
        moment = now.astimezone(UTC)
        if severity.wakes or not self._holds(moment.time()):
            return now
        end = datetime.combine(moment.date(), self.end, UTC)
        return end if end > moment else end + timedelta(days=1)

    def _holds(self, at: time) -> bool:
        if self.begin <= self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end


# -------------------------------------------------------------------------------------------------- out of audit records

#: Kind of audit record to what it signals and what it says, where each is an alert by itself.
_PLAIN: Mapping[str, tuple[Signal, str]] = {
    "drift.found": (Signal.DRIFT, "Drift: {what} differs from what Bastide knows"),
    "break-glass.used": (Signal.BREAK_GLASS, "The emergency account {what} signed in"),
    "break-glass.changed": (Signal.BREAK_GLASS, "The emergency account {what} was changed"),
    "break-glass.opened": (Signal.BREAK_GLASS, "The envelope of the emergency account {what} was opened"),
    "break-glass.wrong-password": (Signal.BREAK_GLASS, "A wrong password for the emergency account {what}"),
    "kill-switch": (Signal.KILL_SWITCH, "The kill switch was used by {actor}"),
    "mfa.counter-back": (Signal.FAILING_GATES, "There may be a copy of the security key of {what}"),
    "reset.key-copied": (Signal.FAILING_GATES, "There may be a copy of the security key of {what}"),
    "reset.stopped": (Signal.RESET_STOPPED, "Somebody else was resetting the password of {what}"),
    "monitor.blind": (Signal.NOT_MONITORED, "{what} cannot be read: nobody sees what happens there"),
    "monitor.paused": (Signal.NOT_MONITORED, "Monitoring was paused by {actor}"),
    "passwords.controller-silent": (Signal.AGENT_SILENT, "The agent on {what} is silent"),
    "intake.unexplained": (Signal.UNEXPLAINED, "No grant explains a privileged change of {what}"),
    "intake.gap": (Signal.EVENT_GAP, "Events of the source {what} are missing"),
}
#: What makes right again what was signalled of the same subject.
_SETTLES: Mapping[str, tuple[Signal, str]] = {
    "drift.repaired": (Signal.DRIFT, "it was repaired"),
    "drift.gone": (Signal.DRIFT, "it is gone"),
    "drift.changed": (Signal.DRIFT, "something else is found of it now"),
    "drift.accepted": (Signal.DRIFT, "it was accepted"),
    "passwords.controller-heard": (Signal.AGENT_SILENT, "it was heard again"),
    "passwords.controller-forgotten": (Signal.AGENT_SILENT, "nobody waits for it any more"),
    "intake.heard": (Signal.EVENT_GAP, "it was heard again"),
    "monitor.seen": (Signal.NOT_MONITORED, "it is read again"),
    "monitor.resumed": (Signal.NOT_MONITORED, "it was resumed"),
}
#: What is counted for a signal.
COUNTED: Mapping[Signal, frozenset[str]] = {
    Signal.FAILING_GATES: frozenset(
        {
            "mfa.refused",
            "mfa.invitation-refused",
            "session.refused",
            "reset.gate-refused",
            "help-desk.verification-refused",
        }
    ),
    Signal.MANY_ACTIVATIONS: frozenset({"request.active"}),
}
#: What is compared with the same person's earlier ones.
COMPARED: Mapping[Signal, str] = {
    Signal.UNUSUAL_HOUR: "request.submitted",
    Signal.UNUSUAL_HOST: "session.opened",
}
#: All kinds of audit records that can give rise to an alert, or settle one.
KINDS = (
    frozenset(_PLAIN)
    | frozenset(_SETTLES)
    | frozenset(COMPARED.values())
    | frozenset.union(*COUNTED.values())
)
_DETAILS = (
    "text",
    "what",
    "reason",
    "remedy",
    "cause",
    "problem",
    "group",
    "host",
    "last_contact",
    "message",
)
#: The action of drift that is put right without a word (domain/drift.py).
_QUIETLY = "repair"


def plain(record: Record) -> tuple[Signal, Sighting] | None:
    """What a record signals by itself; None: nothing."""
    found = _PLAIN.get(record.kind)
    if found is None or alike.said_by(record).get("action") == _QUIETLY:
        return None
    signal, sentence = found
    what = record.subject_name or record.subject or "an object"
    title = sentence.format(what=what, actor=record.actor_name)
    return signal, Sighting(
        key=alike.key_of(record),
        title=title,
        text=_details(record) or title,
        at=record.at,
        subject=record.subject,
        subject_name=record.subject_name,
        record=record.seq,
    )


def settled(record: Record) -> tuple[Signal, str, str] | None:
    """The signal that a record makes right again, the key of its alerts, and why; None: none."""
    found = _SETTLES.get(record.kind)
    return None if found is None else (found[0], alike.about(record)[:_KEY], found[1])


def _details(record: Record) -> str:
    """What the record itself says, in the order of _DETAILS."""
    data = alike.said_by(record)
    said = [f"{name}: {data[name]}" for name in _DETAILS if data.get(name) not in {None, ""}]
    return "; ".join([*said, f"audit record {record.seq} ({record.kind})"])


def counted(rule: Rule, records: Sequence[Record], after: int) -> Iterator[Sighting]:
    """Who or what reaches the rule's threshold within its window, with a record newer than number `after`. `records`: in order, from a window before the
    first of those on.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_group(rule.per, record), []).append(record)
    what = "failed sign-ins and codes" if rule.signal is Signal.FAILING_GATES else "activations"
    for key, some in groups.items():
        within = [
            [one for one in some if new.at - rule.window < one.at and one.seq <= new.seq]
            for new in some
            if new.seq > after
        ]
        full = [one for one in within if len(one) >= rule.threshold]
        if not full:
            continue
        last = full[-1]
        whom = {Per.PERSON: f" of {key}", Per.ROLE: f" of the role {key}", Per.ALL: ""}[rule.per]
        people = len({who(one) for one in last})
        yield Sighting(
            key=key,
            title=f"Many {what}{whom}",
            text=f"{len(last)} {what} within {_span(rule.window)}; from {rule.threshold} on is an alert; people: {people}; audit record {last[-1].seq}",
            at=last[-1].at,
            subject=last[-1].subject if rule.per is Per.PERSON else "",
            subject_name=key if rule.per is not Per.ALL else "",
            record=last[-1].seq,
            times=len(full),
        )


def _group(per: Per, record: Record) -> str:
    if per is Per.ALL:
        return Per.ALL.value
    if per is Per.ROLE:
        return str(alike.said_by(record).get("role", ""))
    return who(record)


def who(record: Record) -> str:
    """The person that a record is about, as people are shown it."""
    return record.subject_name or record.subject or record.actor_name or record.actor


def _span(window: timedelta) -> str:
    minutes = int(window.total_seconds() // 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h" if hours and not left else f"{minutes} min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All that the settings say of alerts besides their destinations. `learned`: days that say what is usual of a person."""

    rules: tuple[Rule, ...] = CATALOGUE
    quiet: Quiet = field(default_factory=Quiet)
    learned: int = 30

    def of(self, signal: Signal) -> tuple[Rule, ...]:
        """The rules that watch it and are on."""
        return tuple(rule for rule in self.rules if rule.enabled and rule.signal is signal)

    def alone(self, signal: Signal) -> tuple[Rule, ...]:
        """Those that a single record is enough for. Of what is counted, the rules of persons."""
        return tuple(rule for rule in self.of(signal) if signal not in COUNTED or rule.per is Per.PERSON)

    def named(self, name: str) -> Rule | None:
        """None: there is none of that name now."""
        return next((rule for rule in self.rules if rule.name == name), None)


def in_force(given: Sequence[Rule]) -> tuple[Rule, ...]:
    """The catalogue with the rules of the settings: those of a name that it has take its place."""
    named = {rule.name: rule for rule in (*CATALOGUE, *given)}
    return tuple(named.values())
