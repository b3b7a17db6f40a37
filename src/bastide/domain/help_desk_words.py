"""What messages of the help desk say, in each language: the caller's code, and the word of what was done. Plain text; what comes from others is made harmless first."""

from collections.abc import Sequence
from datetime import UTC, datetime

from bastide.domain.help_desk_told import Deed, Word
from bastide.domain.neutral import neutral
from bastide.domain.wording import Language

_NAME = 80
_SUBJECT = {
    Language.ENGLISH: "Bastide: your code for the help desk",
    Language.GERMAN: "Bastide: Ihr Code für den Helpdesk",
}
_BODY = {
    Language.ENGLISH: (
        "{operator} of the help desk asks for this code before a password of yours is set:\n\n"
        "    {code}\n\n"
        "Read it out only if it was you who called. It is good for {minutes} minutes, once, and for nothing else.\n"
        "If you did not call, tell nobody the code, and report it.\n"
    ),
    Language.GERMAN: (
        "{operator} vom Helpdesk fragt nach diesem Code, bevor eines Ihrer Passwörter gesetzt wird:\n\n"
        "    {code}\n\n"
        "Lesen Sie ihn nur vor, wenn Sie selbst angerufen haben. Er gilt {minutes} Minuten, einmal, und für nichts anderes.\n"
        "Haben Sie nicht angerufen, so sagen Sie den Code niemandem und melden Sie es.\n"
    ),
}


def say_code(operator: str, code: str, minutes: int, language: Language) -> tuple[str, str]:
    """Subject and body."""
    body = _BODY[language].format(operator=neutral(operator, _NAME), code=code, minutes=minutes)
    return _SUBJECT[language], body


_DEEDS = {
    Language.ENGLISH: {
        Deed.SET: "set a new password for {person}",
        Deed.CHANGE: "changed the password of {person}, with the old one",
        Deed.UNLOCK: "unlocked {person}, with the old password",
    },
    Language.GERMAN: {
        Deed.SET: "ein neues Passwort für {person} gesetzt",
        Deed.CHANGE: "das Passwort von {person} mit dem alten geändert",
        Deed.UNLOCK: "{person} mit dem alten Passwort entsperrt",
    },
}
_DEED_SUBJECT = {
    Language.ENGLISH: "Bastide: the help desk did something for {person}",
    Language.GERMAN: "Bastide: Der Helpdesk hat etwas für {person} getan",
}
_DONE = {
    Language.ENGLISH: "{operator} of the help desk {deed}.\nWhen: {at}\nIn: {systems}\n",
    Language.GERMAN: "{operator} vom Helpdesk hat {deed}.\nWann: {at}\nIn: {systems}\n",
}
_WAITING = {
    Language.ENGLISH: "It is still being tried in: {waiting}\n",
    Language.GERMAN: "Noch versucht wird es in: {waiting}\n",
}
_UNKNOWN = {
    Language.ENGLISH: "{operator} of the help desk {deed}, or tried to: no system has said what became of it.\nWhen: {at}\n",
    Language.GERMAN: "{operator} vom Helpdesk hat {deed} oder es versucht: Kein System hat gesagt, was daraus wurde.\nWann: {at}\n",
}
_NOT_YOU = {
    Language.ENGLISH: (
        "\nIf you did not ask for this, tell your help desk at once, and your security team: not {operator} alone.\n"
    ),
    Language.GERMAN: (
        "\nHaben Sie nicht darum gebeten, so sagen Sie es sofort Ihrem Helpdesk und Ihren Verantwortlichen für Sicherheit: nicht nur {operator}.\n"
    ),
}
_ELSEWHERE_SUBJECT = {
    Language.ENGLISH: "Bastide: a code for {person} goes to another address",
    Language.GERMAN: "Bastide: Ein Code für {person} geht an eine andere Adresse",
}
_ELSEWHERE = {
    Language.ENGLISH: (
        "{operator} of the help desk asked for a code for {person}, before a password is set. It is sent to another address or number than the last one, which came here.\n"
        "When: {at}\n"
    ),
    Language.GERMAN: (
        "{operator} vom Helpdesk hat nach einem Code für {person} gefragt, bevor ein Passwort gesetzt wird. Er wird an eine andere Adresse oder Nummer gesandt als der letzte, "
        "der hierher kam.\nWann: {at}\n"
    ),
}


def say_done(deed: Deed, word: Word, operator: str, person: str, language: Language) -> tuple[str, str]:
    """Subject and body of what was done for a person. The body can do without the subject: telephones show none."""
    who, whom = neutral(operator, _NAME), neutral(person, _NAME)
    said = {
        "operator": who,
        "deed": _DEEDS[language][deed].format(person=whom),
        "at": _moment(word.at),
        "systems": _names(word.systems),
        "waiting": _names(word.waiting),
    }
    parts = [_DONE[language] if word.parts else _UNKNOWN[language], _NOT_YOU[language]]
    if word.waiting:
        parts.insert(1, _WAITING[language])
    return _DEED_SUBJECT[language].format(person=whom), "".join(parts).format(**said)


def say_elsewhere(operator: str, person: str, at: datetime, language: Language) -> tuple[str, str]:
    """Subject and body, to where the code before went."""
    who, whom = neutral(operator, _NAME), neutral(person, _NAME)
    body = (_ELSEWHERE[language] + _NOT_YOU[language]).format(operator=who, person=whom, at=_moment(at))
    return _ELSEWHERE_SUBJECT[language].format(person=whom), body


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _names(systems: Sequence[str]) -> str:
    return ", ".join(neutral(one, _NAME) for one in systems)
