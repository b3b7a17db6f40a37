"""Tables of the settings that have a file of their own (config.py has the others), and what cannot be in them."""

import re
from collections.abc import Collection
from typing import Literal

import msgspec

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
#: Alerts leave for another machine over TLS, or stay on this one.
_RECEIVER = re.compile(r"tls://[^\s/@?#]+|unix:/\S+")
#: From a second to a minute.
_INTERVALS = range(1, 61)
#: As domain/drift.py says; a test compares.
_REPAIRABLE = frozenset({"stranger", "missing-member", "open-account", "closed-account"})
_LATE = range(1, 1441)
_SUBJECT = re.compile(
    r"(?=.{1,253})(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,62}", re.ASCII
)
_LEARNED = range(1, 366)
_MINUTES = range(10_081)
_THRESHOLD = range(100_001)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As Section of config.py."""


class NotificationChannel(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A way out for messages."""

    name: str
    #: A file or `credential:NAME` that holds an address as apprise takes it: it has a password or a token in it.
    url: str
    #: Each person's own mail address takes the place of the recipients.
    people: bool = False
    #: What it is told; empty: everything.
    events: list[
        Literal[
            "asked",
            "approved",
            "rejected",
            "unanswered",
            "ending",
            "ended",
            "failed",
            "cancelled",
            "kill-switch",
            "break-glass",
            "recovery",
            "review",
        ]
    ] = []
    #: Of these roles only; empty: of all.
    roles: list[str] = []


class Notifications(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Messages to people. Without this table there are none."""

    language: Literal["en", "de"] = "en"
    #: How long before its end a person is told.
    ending_minutes: int = 15
    #: Authorities that mail servers and services are believed by; empty: the system's.
    ca: str = ""
    channels: list[NotificationChannel]


class AlertDestination(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is told of alerts: people by `url`, or a program by `syslog`."""

    name: str
    #: A file or `credential:NAME` that holds an address as apprise takes it.
    url: str = ""
    #: tls://host:6514 or unix:/dev/log
    syslog: str = ""
    syslog_ca: str = ""
    #: What a program is told in.
    format: Literal["cef", "ocsf"] = "ocsf"


class AlertRule(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule. What is empty or 0 is as the rule of that name in the catalogue has it."""

    name: str
    signal: Literal[
        "",
        "drift",
        "break-glass",
        "kill-switch",
        "failing-gates",
        "agent-silent",
        "coverage",
        "chain-broken",
        "approvers",
        "unusual-hour",
        "unusual-host",
        "many-activations",
        "unexplained-change",
        "event-gap",
        "not-monitored",
        "reset-stopped",
    ] = ""
    severity: Literal["", "low", "medium", "high", "critical"] = ""
    enabled: bool = True
    #: Names of destinations; empty: all.
    to: list[str] = []
    per: Literal["", "person", "role", "all"] = ""
    threshold: int = 0
    window_minutes: int = 0
    #: Nobody acknowledged it for so long: `escalate_to` is told. 0: never.
    escalate_minutes: int = 0
    escalate_to: list[str] = []


class Alerts(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Alerts. Without this table there are none."""

    #: HH:MM, UTC; both or none. Messages to people of low and medium severity wait.
    quiet_from: str = ""
    quiet_until: str = ""
    #: What people did in so many days is usual.
    learn_days: int = 30
    #: Authorities that mail servers and services are believed by; empty: the system's.
    ca: str = ""
    destinations: list[AlertDestination]
    rules: list[AlertRule] = []


class MonitoringRule(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is done about one kind of drift, and whose it is."""

    rule: Literal[
        "stranger",
        "other-member",
        "missing-member",
        "group-changed",
        "account-changed",
        "open-account",
        "closed-account",
        "used-outside",
        "rights-changed",
        "trust-changed",
        "missed-change",
        "unreadable",
        "momentary-member",
        "unseen-member",
        "nested-member",
    ]
    #: Empty: as it is without this table.
    action: Literal["", "report", "repair", "repair and alert"] = ""
    owner: str = ""


class Monitoring(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Monitoring of the directories. Without this table there is none."""

    #: Between two questions to a domain in which nothing happens.
    interval_seconds: int = 1
    #: Whose a drift is, if its rule does not say.
    owner: str = "administrators of Bastide"
    rules: list[MonitoringRule] = []


def wrong_monitoring(table: Monitoring | None) -> str:
    """What cannot be in the table of monitoring; empty: nothing."""
    if table is None:
        return ""
    if (given := table.interval_seconds) not in _INTERVALS:
        return f"monitoring.interval_seconds is {_INTERVALS.start} to {_INTERVALS.stop - 1}, not {given}"
    if not table.owner.strip():
        return "monitoring.owner is empty: a drift must be somebody's"
    names = [one.rule for one in table.rules]
    for one in table.rules:
        if names.count(one.rule) > 1:
            return f"monitoring.rules.rule: {one.rule} is there twice"
        if one.action.startswith("repair") and one.rule not in _REPAIRABLE:
            return (
                f"monitoring.rules: {one.rule} is reported only: no right to mend it is delegated to Bastide"
            )
    return ""


class HelpDesk(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Operators who help people with their passwords. Without this table there are none."""

    #: Groups of either forest (`CORP\\name`, `PRIV\\name`; no prefix: PRIV): who may find a person's accounts.
    browse: list[str] = []
    #: Who may also set, change and unlock them.
    set: list[str]
    #: Whose members nobody may help, beside those that are out of reach anyway.
    protected: list[str] = []
    #: A password may be set for a caller who was not verified, with a reason.
    unverified: bool = False
    #: Names of channels of [notifications] with `people` that may carry a caller's code, in order.
    code_channels: list[str] = []


def wrong_help_desk(table: HelpDesk | None, channels: Collection[str], *, passwords: bool) -> str:
    """What cannot be in the table of the help desk; empty: nothing. `channels`: those to people."""
    if table is None:
        return ""
    if not table.set:
        return "help_desk.set names no group; leave the table [help_desk] out for no help desk"
    if not passwords:
        return "help_desk needs the table [passwords]: what is set is delivered as any other change"
    unknown = next((one for one in table.code_channels if one not in channels), "")
    return f"help_desk.code_channels: there is no channel {unknown!r} with people = true" if unknown else ""


class EventSource(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who tells of events of domain controllers."""

    name: str
    format: Literal["samba", "windows"]
    #: The DNS name in its certificate.
    subject: str
    #: Of Windows: whose events it may bring; empty: anybody's.
    computers: list[str] = []
    #: Of Windows: it brings every record of the Security log.
    complete: bool = False
    #: Longer is a gap; 0: it may be silent.
    silence_minutes: int = 0


class Intake(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Events of domain controllers. Without this table none is taken in."""

    address: str = "0.0.0.0"  # noqa: S104  # a service for other machines; certificates of both sides guard it
    port: int = 6515
    #: The authority that signed the certificates of those who tell.
    ca: str
    #: How long what explains a change may come after it.
    late_minutes: int = 5
    sources: list[EventSource]


def wrong_intake(table: Intake | None, certificate: str) -> str:
    """What cannot be in the table of events; empty: nothing. `certificate`: the server's."""
    if table is None:
        return ""
    if not certificate:
        return "[intake] needs server.certificate and server.key: events come over TLS alone"
    if (given := table.late_minutes) not in _LATE:
        return f"intake.late_minutes is {_LATE.start} to {_LATE.stop - 1}, not {given}"
    subjects = [one.subject.lower() for one in table.sources]
    return wrong_names("intake.sources", [one.name for one in table.sources]) or next(
        filter(None, (_wrong_event_source(one, subjects) for one in table.sources)), ""
    )


def _wrong_event_source(one: EventSource, subjects: list[str]) -> str:
    if not _SUBJECT.fullmatch(one.subject):
        return f"intake.sources.subject: {one.name}: {one.subject!r} is no DNS name of a machine"
    if subjects.count(one.subject.lower()) > 1:
        return f"intake.sources.subject: {one.subject} is there twice"
    if (given := one.silence_minutes) not in _MINUTES:
        return f"intake.sources.silence_minutes: {one.name}: is 0 to {_MINUTES.stop - 1}, not {given}"
    if one.format == "samba" and (one.computers or one.complete):
        return f"intake.sources: {one.name}: computers and complete are for windows: Samba's lines name no computer and have no number"
    return ""


def wrong_alerts(table: Alerts | None) -> str:
    """What cannot be in the table of alerts; empty: nothing."""
    if table is None:
        return ""
    quiet = (table.quiet_from, table.quiet_until)
    if any(quiet) and not all(map(_CLOCK.fullmatch, quiet)):
        return "alerts.quiet_from and alerts.quiet_until are both HH:MM, or both empty"
    if (given := table.learn_days) not in _LEARNED:
        return f"alerts.learn_days is {_LEARNED.start} to {_LEARNED.stop - 1}, not {given}"
    names = [one.name for one in table.destinations]
    return (
        wrong_names("alerts.destinations", names)
        or next(filter(None, map(_wrong_destination, table.destinations)), "")
        or _wrong_rules(table.rules, frozenset(names))
    )


def wrong_names(at: str, names: list[str]) -> str:
    """What cannot be among the names of the tables of a list that must not be empty."""
    if not names:
        return f"{at} names no {at.rpartition('.')[2].removesuffix('s')}; leave the table [{at.partition('.')[0]}] out for none"
    for name in names:
        if not _NAME.fullmatch(name):
            return f"{at}.name: {name!r} is no name; it has a to z, 0 to 9 and hyphens, at most 32"
        if names.count(name) > 1:
            return f"{at}.name: {name} is there twice"
    return ""


def _wrong_destination(one: AlertDestination) -> str:
    at = "alerts.destinations"
    if bool(one.url) == bool(one.syslog):
        return f"{at}: {one.name}: set either url (people) or syslog (a program)"
    if one.syslog and not _RECEIVER.fullmatch(one.syslog):
        return f"{at}.syslog: {one.name}: write tls://host:6514, or unix:/dev/log on this machine"
    return ""


def _wrong_rules(rules: list[AlertRule], destinations: frozenset[str]) -> str:
    at, names = "alerts.rules", [rule.name for rule in rules]
    if rules and (wrong := wrong_names(at, names)):
        return wrong
    for rule in rules:
        unknown = sorted({*rule.to, *rule.escalate_to} - destinations)
        if unknown:
            return f"{at}: {rule.name}: there is no destination {unknown[0]!r}"
        if bool(rule.escalate_minutes) != bool(rule.escalate_to):
            return f"{at}: {rule.name}: escalate_minutes and escalate_to go together"
        for name, allowed in (
            ("threshold", _THRESHOLD),
            ("window_minutes", _MINUTES),
            ("escalate_minutes", _MINUTES),
        ):
            if (given := getattr(rule, name)) not in allowed:
                return f"{at}.{name}: {rule.name}: is {allowed.start} to {allowed.stop - 1}, not {given}"
    return ""


class ResetRule(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which gates, in which order."""

    gates: list[Literal["questions", "mail", "sms", "totp", "key"]]
    #: Names of groups of the domain, nested members too; empty: everybody. The first rule that fits counts.
    groups: list[str] = []
    #: So long after the gates a new password can be set; meanwhile the person can stop it.
    cooling_hours: int = 0


class Reset(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Self-service reset of forgotten passwords. Without this table there is none."""

    #: A channel of [notifications] with people = true: codes and notices leave by it.
    mail: str
    #: A program that sends short messages; empty: none are sent.
    text_program: str = ""
    rules: list[ResetRule]
    #: Groups whose members never reset a password here, beside the privileged ones.
    excluded: list[str] = []
    questions: list[str] = []
    questions_registered: int = 4
    questions_asked: int = 2
    #: A regular expression that an answer fits as a whole.
    answer_pattern: str = ""
    #: After so many lockouts only an administrator unlocks; 0: never, because then an outsider could lock a person out.
    permanent_after: int = 0
    mails_per_day: int = 1000
    texts_per_day: int = 200
    #: A file with a word in each line that no password holds.
    banned_words: str = ""
    #: A folder of range files, or one sorted file: passwords that others lost.
    breached: str = ""


_COOLING = range(721)
_PER_DAY = range(1, 1_000_001)
_PERMANENT = range(1001)


def wrong_reset(table: Reset | None, url: str, people_channels: list[str]) -> str:
    """What cannot be in the table of self-service reset; empty: nothing. `people_channels`: of [notifications], those that send to each person."""
    if table is None:
        return ""
    if not url.startswith("https://"):
        return "server.url must be the https:// address that people use: messages of [reset] name it"
    if table.mail not in people_channels:
        return f"reset.mail: {table.mail!r} is no channel of [notifications] with people = true"
    for name, allowed in (
        ("permanent_after", _PERMANENT),
        ("mails_per_day", _PER_DAY),
        ("texts_per_day", _PER_DAY),
    ):
        if (given := getattr(table, name)) not in allowed:
            return f"reset.{name} is {allowed.start} to {allowed.stop - 1}, not {given}"
    for name in ("text_program", "banned_words", "breached"):
        if (given := getattr(table, name)) and not given.startswith("/"):
            return f"reset.{name}: {given!r} depends on the working directory; write a path from / on"
    return _wrong_reset_rules(table) or _wrong_questions(table)


def _wrong_reset_rules(table: Reset) -> str:
    at = "reset.rules"
    if not table.rules:
        return f"{at} is empty; leave the table [reset] out for no self-service"
    for place, rule in enumerate(table.rules, 1):
        if wrong := _wrong_rule(rule, table, last=place == len(table.rules)):
            return f"{at}: rule {place}: {wrong}"
    return ""


def _wrong_rule(rule: ResetRule, table: Reset, *, last: bool) -> str:
    if not rule.gates or len(set(rule.gates)) != len(rule.gates):
        return "gates names each gate once, and at least one"
    if rule.gates == ["questions"]:
        return "questions alone prove nothing; put mail, sms, totp or key beside them"
    if not rule.groups and not last:
        return "it is for everybody, so the rules after it never count; put it last"
    if rule.cooling_hours not in _COOLING:
        return f"cooling_hours is {_COOLING.start} to {_COOLING.stop - 1}"
    if "sms" in rule.gates and not table.text_program:
        return "sms needs reset.text_program"
    return ""


def _wrong_questions(table: Reset) -> str:
    try:
        re.compile(table.answer_pattern)
    except re.error:
        return "reset.answer_pattern is no regular expression"
    if not any("questions" in rule.gates for rule in table.rules):
        return ""
    if not 1 <= table.questions_asked <= table.questions_registered <= len(set(table.questions)):
        return "reset.questions has at least questions_registered different ones, and that is at least questions_asked, which is at least 1"
    return ""
