"""What messages say, in each language. Plain text: values come in through `neutral`, and what we write ourselves has no markup either.

A subject is one line. A body ends with the message's id, by which who gets it twice knows it for the same.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from string import Template
from types import MappingProxyType

from bastide.domain.neutral import neutral
from bastide.domain.notifications import Occasion

SUBJECT_LIMIT = 150
_NAME = 80
_REASON = 400


class Language(StrEnum):
    ENGLISH = "en"
    GERMAN = "de"


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of one language. `short`: an occasion in a list."""

    subjects: Mapping[Occasion, str]
    bodies: Mapping[Occasion, str]
    short: Mapping[Occasion, str]
    several: tuple[str, str]
    test: tuple[str, str]
    foot: str
    no_extension: str
    extension: str
    at_once: str


_ENGLISH = Wording(
    subjects={
        Occasion.ASKED: "Approval needed: $person asks for $role",
        Occasion.APPROVED: "Approved: $role for $person",
        Occasion.REJECTED: "Rejected: $role for $person",
        Occasion.UNANSWERED: "Nobody answered: $role for $person",
        Occasion.ENDING: "Ends soon: $role for $person",
        Occasion.ENDED: "Ended: $role for $person",
        Occasion.FAILED: "Failed: $role for $person",
        Occasion.CANCELLED: "Cancelled: $role for $person",
        Occasion.KILL_SWITCH: "Kill switch used: $what",
        Occasion.BREAK_GLASS: "Emergency account $person: $what",
        Occasion.RECOVERY: "Database of an earlier time: $what",
        Occasion.REVIEW: "Access review $what: lines that wait for you: $count",
    },
    bodies={
        Occasion.ASKED: (
            "$person asks for the role $role.\n\n"
            "Why: $justification\nTicket: $ticket\nFor: $length\nFrom: $start\nAnswer until: $until\n\n"
            "Sign in, look at it, and decide there:\n$link\n\n"
            "This message decides nothing, and its link only opens a page."
        ),
        Occasion.APPROVED: (
            "The request of $person for the role $role was approved by $by.\n\nFor: $length\nFrom: $start\n\nThe request:\n$link"
        ),
        Occasion.REJECTED: (
            "The request of $person for the role $role was not granted.\n\nWhy: $reason\n\nThe request:\n$link"
        ),
        Occasion.UNANSWERED: (
            "Nobody answered the request of $person for the role $role in time, so it is over. Nothing was given.\n\nThe request:\n$link"
        ),
        Occasion.ENDING: "The access of $person by the role $role ends at $end.\n\n$extension",
        Occasion.ENDED: (
            "The access of $person by the role $role is over.\n\nWhy: $reason\n"
            "The last ticket bought with it lives until $true_end at the latest.\n\nThe request:\n$link"
        ),
        Occasion.FAILED: (
            "The role $role was not activated for $person.\n\nWhy: $reason\n\nThe request:\n$link"
        ),
        Occasion.CANCELLED: (
            "The request of $person for the role $role was cancelled before its access began. Nothing was given.\n\nWhy: $reason\n\nThe request:\n$link"
        ),
        Occasion.KILL_SWITCH: (
            "$by used the kill switch ($what): open requests that end: $count.\n\nWhy: $reason\n\nOne's own requests:\n$link"
        ),
        Occasion.BREAK_GLASS: (
            "The emergency account $person: $what.\n\nWhy: $reason\n\n"
            "If nobody of you opened its envelope, treat it as an attack. Afterwards: bastide break-glass reconcile, then seal it anew.\n\n$link"
        ),
        Occasion.RECOVERY: (
            "The database of Bastide came back from an earlier time ($what). While it is compared with the directory nobody gets access; "
            "ending access works.\n\nWhy: $reason\n\nIf nobody of you restored it, treat it as an attack.\n\n$link"
        ),
        Occasion.REVIEW: (
            "The access review $what asks you who may go on asking for which role. Lines that wait for you: $count. It ends at $until; what nobody decides by then "
            "goes as the page says.\n\nSign in, look at it, and decide there:\n$link\n\nThis message decides nothing, and its link only opens a page."
        ),
    },
    short={
        Occasion.ASKED: "approvals needed",
        Occasion.APPROVED: "approved",
        Occasion.REJECTED: "rejected",
        Occasion.UNANSWERED: "not answered",
        Occasion.ENDING: "end soon",
        Occasion.ENDED: "ended",
        Occasion.FAILED: "failed",
        Occasion.CANCELLED: "cancelled",
        Occasion.KILL_SWITCH: "kill switch",
        Occasion.BREAK_GLASS: "emergency account",
        Occasion.RECOVERY: "database of an earlier time",
        Occasion.REVIEW: "access reviews",
    },
    several=(
        "$count messages",
        "So much happened at once that this is one message for $count.\n\n$list\n\nEach by itself:\n$link",
    ),
    test=(
        "Test",
        "This is a test: the channel $channel works. Nothing happened, and nothing is to be done.\n\n$link",
    ),
    foot="Bastide, message $id",
    no_extension="The role does not let it be prolonged. Whoever needs it for longer asks for the role again:\n$home",
    extension="Whoever needs it for longer prolongs it here, after signing in:\n$link",
    at_once="at once",
)

_GERMAN = Wording(
    subjects={
        Occasion.ASKED: "Freigabe nötig: $person beantragt $role",
        Occasion.APPROVED: "Freigegeben: $role für $person",
        Occasion.REJECTED: "Abgelehnt: $role für $person",
        Occasion.UNANSWERED: "Nicht beantwortet: $role für $person",
        Occasion.ENDING: "Endet bald: $role für $person",
        Occasion.ENDED: "Beendet: $role für $person",
        Occasion.FAILED: "Fehlgeschlagen: $role für $person",
        Occasion.CANCELLED: "Abgebrochen: $role für $person",
        Occasion.KILL_SWITCH: "Notabschaltung: $what",
        Occasion.BREAK_GLASS: "Notfallkonto $person: $what",
        Occasion.RECOVERY: "Datenbank von früher: $what",
        Occasion.REVIEW: "Überprüfung $what: Zeilen, die auf Sie warten: $count",
    },
    bodies={
        Occasion.ASKED: (
            "$person beantragt die Rolle $role.\n\n"
            "Grund: $justification\nTicket: $ticket\nDauer: $length\nAb: $start\nAntwort bis: $until\n\n"
            "Anmelden, ansehen und dort entscheiden:\n$link\n\n"
            "Diese Nachricht entscheidet nichts, und ihr Link öffnet nur eine Seite."
        ),
        Occasion.APPROVED: (
            "Der Antrag von $person auf die Rolle $role wurde freigegeben von $by.\n\nDauer: $length\nAb: $start\n\nDer Antrag:\n$link"
        ),
        Occasion.REJECTED: (
            "Der Antrag von $person auf die Rolle $role wurde nicht bewilligt.\n\nGrund: $reason\n\nDer Antrag:\n$link"
        ),
        Occasion.UNANSWERED: (
            "Den Antrag von $person auf die Rolle $role hat niemand rechtzeitig beantwortet; er ist erledigt. Es wurde nichts vergeben."
            "\n\nDer Antrag:\n$link"
        ),
        Occasion.ENDING: "Der Zugang von $person durch die Rolle $role endet um $end.\n\n$extension",
        Occasion.ENDED: (
            "Der Zugang von $person durch die Rolle $role ist beendet.\n\nGrund: $reason\n"
            "Das letzte damit bezogene Ticket gilt längstens bis $true_end.\n\nDer Antrag:\n$link"
        ),
        Occasion.FAILED: (
            "Die Rolle $role wurde für $person nicht aktiviert.\n\nGrund: $reason\n\nDer Antrag:\n$link"
        ),
        Occasion.CANCELLED: (
            "Der Antrag von $person auf die Rolle $role wurde abgebrochen, bevor der Zugang begann. Es wurde nichts vergeben."
            "\n\nGrund: $reason\n\nDer Antrag:\n$link"
        ),
        Occasion.KILL_SWITCH: (
            "$by hat die Notabschaltung benutzt ($what): offene Anträge, die enden: $count.\n\nGrund: $reason\n\nDie eigenen Anträge:\n$link"
        ),
        Occasion.BREAK_GLASS: (
            "Das Notfallkonto $person: $what.\n\nGrund: $reason\n\n"
            "Wenn niemand von Ihnen den Umschlag geöffnet hat, ist es ein Angriff. Danach: bastide break-glass reconcile, dann neu versiegeln."
            "\n\n$link"
        ),
        Occasion.RECOVERY: (
            "Die Datenbank von Bastide ist auf einem früheren Stand ($what). Solange sie mit dem Verzeichnis verglichen wird, bekommt niemand Zugang; "
            "Zugang zu beenden geht.\n\nGrund: $reason\n\nWenn niemand von Ihnen sie zurückgeholt hat, ist es ein Angriff.\n\n$link"
        ),
        Occasion.REVIEW: (
            "Die Überprüfung $what fragt Sie, wer welche Rolle weiter beantragen darf. Zeilen, die auf Sie warten: $count. Sie endet um $until; was bis dahin niemand "
            "entscheidet, geht so, wie es auf der Seite steht.\n\nAnmelden, ansehen und dort entscheiden:\n$link\n\nDiese Nachricht entscheidet nichts, und ihr Link öffnet nur eine Seite."
        ),
    },
    short={
        Occasion.ASKED: "Freigaben nötig",
        Occasion.APPROVED: "freigegeben",
        Occasion.REJECTED: "abgelehnt",
        Occasion.UNANSWERED: "nicht beantwortet",
        Occasion.ENDING: "enden bald",
        Occasion.ENDED: "beendet",
        Occasion.FAILED: "fehlgeschlagen",
        Occasion.CANCELLED: "abgebrochen",
        Occasion.KILL_SWITCH: "Notabschaltung",
        Occasion.BREAK_GLASS: "Notfallkonto",
        Occasion.RECOVERY: "Datenbank von früher",
        Occasion.REVIEW: "Überprüfungen",
    },
    several=(
        "$count Nachrichten",
        "Es ist so viel auf einmal geschehen, dass dies eine Nachricht für $count ist.\n\n$list\n\nEinzeln:\n$link",
    ),
    test=(
        "Test",
        "Dies ist ein Test: Der Kanal $channel funktioniert. Es ist nichts geschehen, und es ist nichts zu tun.\n\n$link",
    ),
    foot="Bastide, Nachricht $id",
    no_extension="Die Rolle lässt keine Verlängerung zu. Wer sie länger braucht, beantragt sie noch einmal:\n$home",
    extension="Wer ihn länger braucht, verlängert ihn hier, nach der Anmeldung:\n$link",
    at_once="sofort",
)

WORDINGS: Mapping[Language, Wording] = MappingProxyType(
    {Language.ENGLISH: _ENGLISH, Language.GERMAN: _GERMAN}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a text may speak of. Everything but the addresses of our own pages is taken as somebody else's words."""

    link: str
    home: str
    person: str = ""
    role: str = ""
    justification: str = ""
    ticket: str = ""
    length: str = ""
    by: str = ""
    what: str = ""
    count: str = ""
    reason: str = ""
    start: datetime | None = None
    until: datetime | None = None
    end: datetime | None = None
    true_end: datetime | None = None
    extensible: bool = False


_LIMITS = {"justification": _REASON, "reason": _REASON}
_WORDS = ("person", "role", "justification", "ticket", "length", "by", "what", "count", "reason")
_MOMENTS = ("start", "until", "end", "true_end")


def say(occasion: Occasion, facts: Facts, language: Language, id_: str) -> tuple[str, str]:
    """Subject and body."""
    texts = WORDINGS[language]
    values = {name: neutral(getattr(facts, name), _LIMITS.get(name, _NAME)) or "-" for name in _WORDS}
    values |= {name: _moment(getattr(facts, name)) for name in _MOMENTS}
    values |= {"link": facts.link, "home": facts.home}
    if facts.start is None:
        values["start"] = texts.at_once
    extension = texts.extension if facts.extensible else texts.no_extension
    values["extension"] = Template(extension).substitute(values)
    return _finished(texts, texts.subjects[occasion], texts.bodies[occasion], values, id_)


def say_several(occasions: Sequence[Occasion], link: str, language: Language, id_: str) -> tuple[str, str]:
    """One message for many."""
    texts, counted = WORDINGS[language], Counter(occasions)
    lines = [f"{counted[one]} {texts.short[one]}" for one in Occasion if one in counted]
    values = {"count": str(len(occasions)), "list": "\n".join(lines), "link": link}
    return _finished(texts, *texts.several, values, id_)


def say_test(channel: str, link: str, language: Language, id_: str) -> tuple[str, str]:
    """That a channel works."""
    texts = WORDINGS[language]
    return _finished(texts, *texts.test, {"channel": neutral(channel, _NAME), "link": link}, id_)


def _finished(
    texts: Wording, subject: str, body: str, values: Mapping[str, str], id_: str
) -> tuple[str, str]:
    line = " ".join(Template(subject).substitute(values).split())
    if len(line) > SUBJECT_LIMIT:
        line = line[: SUBJECT_LIMIT - 1] + "\u2026"
    foot = Template(texts.foot).substitute(id=id_)
    return f"Bastide: {line}", f"{Template(body).substitute(values)}\n\n{foot}\n"


def _moment(at: datetime | None) -> str:
    return "-" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
