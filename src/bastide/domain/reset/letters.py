"""What messages of a reset say, in each language. No link leads into a reset: codes are typed by hand, on the page whose address people know."""

from datetime import UTC, datetime
from enum import StrEnum

from bastide.domain.neutral import neutral
from bastide.domain.wording import Language

_NAME = 80
#: What became of a reset, beside the values of Choice.
NOTHING, UNKNOWN = "nothing", "unknown"


class Letter(StrEnum):
    """What a message is about. The value is in the key of its work row."""

    CODE = "code"
    DRAFT = "draft"
    ADDED = "added"
    REMOVED = "removed"
    COOLING = "cooling"
    STOPPED = "stopped"
    DONE = "done"


_ENGLISH = {
    Letter.CODE: (
        "Your code to reset a password",
        (
            "Somebody, we hope you, resets the password of $person.\n\nThe code is $code. It counts for a quarter of an hour, on the page that is open, and nowhere else.\n\n"
            "Nobody of us will ever ask you for it. If this wasn't you, do nothing: without the code nothing happens."
        ),
    ),
    Letter.DRAFT: (
        "Your code to confirm this address",
        "The code is $code. Type it on the page that is open: then this address is registered to reset the password of $person.",
    ),
    Letter.ADDED: (
        "A new way to reset the password of $person",
        (
            "Somebody who knows the password of $person registered a new way to reset it: another address or number, an authenticator, a security key or answers.\n\n"
            "If this wasn't you, tell your help desk at once."
        ),
    ),
    Letter.REMOVED: (
        "A way to reset the password of $person was taken away",
        (
            "What was registered to reset the password of $person was taken away, all of it or a security key: by somebody who knows the password, or by an administrator.\n\n"
            "If this wasn't you, tell your help desk at once."
        ),
    ),
    Letter.COOLING: (
        "The password of $person can soon be reset",
        (
            "Somebody who passed all gates resets the password of $person. From $ready on a new one can be set.\n\n"
            "If this wasn't you: open $page and type $code there. That ends it. Then tell your help desk."
        ),
    ),
    Letter.STOPPED: (
        "The reset for $person was stopped",
        "Somebody said that the reset of the password of $person is not theirs. It is over, and nothing was changed.",
    ),
    Letter.DONE: (
        "A reset of the password of $person",
        "By self-service, $at: $what.\n\nIf this wasn't you, tell your help desk at once.",
    ),
}
_GERMAN = {
    Letter.CODE: (
        "Ihr Code, um ein Passwort zurückzusetzen",
        (
            "Jemand, hoffentlich Sie, setzt das Passwort von $person zurück.\n\nDer Code ist $code. Er gilt eine Viertelstunde, auf der Seite, die offen ist, und sonst nirgends.\n\n"
            "Niemand von uns wird Sie je danach fragen. Waren Sie das nicht, tun Sie nichts: Ohne den Code geschieht nichts."
        ),
    ),
    Letter.DRAFT: (
        "Ihr Code, um diese Adresse zu bestätigen",
        "Der Code ist $code. Geben Sie ihn auf der Seite ein, die offen ist: Dann ist diese Adresse eingetragen, um das Passwort von $person zurückzusetzen.",
    ),
    Letter.ADDED: (
        "Ein neuer Weg, um das Passwort von $person zurückzusetzen",
        (
            "Jemand, der das Passwort von $person kennt, hat einen neuen Weg eingetragen, um es zurückzusetzen: eine andere Adresse oder Nummer, eine Authenticator-App, einen "
            "Sicherheitsschlüssel oder Antworten.\n\nWaren Sie das nicht, sagen Sie es sofort Ihrem Helpdesk."
        ),
    ),
    Letter.REMOVED: (
        "Ein Weg, um das Passwort von $person zurückzusetzen, wurde entfernt",
        (
            "Was eingetragen war, um das Passwort von $person zurückzusetzen, wurde entfernt, alles oder ein Sicherheitsschlüssel: von jemandem, der das Passwort kennt, oder von "
            "einem Administrator.\n\nWaren Sie das nicht, sagen Sie es sofort Ihrem Helpdesk."
        ),
    ),
    Letter.COOLING: (
        "Das Passwort von $person kann bald zurückgesetzt werden",
        (
            "Jemand hat alle Prüfungen bestanden und setzt das Passwort von $person zurück. Ab $ready kann ein neues gesetzt werden.\n\n"
            "Waren Sie das nicht: Öffnen Sie $page und geben Sie dort $code ein. Das beendet es. Sagen Sie es dann Ihrem Helpdesk."
        ),
    ),
    Letter.STOPPED: (
        "Das Zurücksetzen für $person wurde gestoppt",
        "Jemand hat gesagt, dass das Zurücksetzen des Passworts von $person nicht von ihm kommt. Es ist vorbei, und nichts wurde geändert.",
    ),
    Letter.DONE: (
        "Das Zurücksetzen des Passworts von $person",
        "Durch Selbstbedienung, $at: $what.\n\nWaren Sie das nicht, sagen Sie es sofort Ihrem Helpdesk.",
    ),
}
_WHAT = {
    Language.ENGLISH: {
        "unlock": "the account was unlocked, with its old password",
        "set": "a new password was set",
        NOTHING: "nothing was changed, because no system took it",
        UNKNOWN: "no system has said yet what became of it",
    },
    Language.GERMAN: {
        "unlock": "das Konto wurde entsperrt, mit seinem alten Passwort",
        "set": "ein neues Passwort wurde gesetzt",
        NOTHING: "nichts wurde geändert, weil kein System es annahm",
        UNKNOWN: "noch kein System hat gesagt, was daraus wurde",
    },
}


def write(
    letter: Letter,
    language: Language,
    person: str,
    *,
    code: str = "",
    page: str = "",
    what: str = "",
    at: datetime | None = None,
) -> tuple[str, str]:
    """Subject and body. `what`: became of a reset. `at`: when it was done, or from when on it can be."""
    subject, body = (_GERMAN if language is Language.GERMAN else _ENGLISH)[letter]
    moment = f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at is not None else ""
    said = {
        "$person": neutral(person, _NAME),
        "$code": code,
        "$page": page,
        "$ready": moment,
        "$at": moment,
        "$what": _WHAT[language].get(what, ""),
    }
    for name, value in said.items():
        subject, body = subject.replace(name, value), body.replace(name, value)
    return subject, body
