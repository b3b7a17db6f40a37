"""What the message says that carries a caller's code, in each language. Plain text; what comes from others is made harmless first."""

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
