"""Questions and their answers. Off unless the settings name questions: an answer is weaker than any other gate, because others can find it out.

An answer is compared without case, accents, punctuation and spaces: people do not write it twice alike. What is stored is its Argon2id hash.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise

from bastide.domain.errors import InvalidInput

LEAST = 3
LONGEST = 256
#: What people type who want to be done with it.
_TRIVIAL = frozenset(
    {
        "abc", "abcd", "answer", "antwort", "asdf", "idk", "ka", "kein", "keine", "keiner", "na", "nein", "nichts", "niemand", "no", "nobody",
        "none", "nothing", "null", "password", "passwort", "qwerty", "qwertz", "secret", "test", "unknown", "unbekannt", "weissnicht", "yes", "ja",
    }
)  # fmt: skip


def normal(answer: str) -> str:
    """What is hashed and compared."""
    apart = unicodedata.normalize("NFKD", answer.casefold())
    return "".join(c for c in apart if unicodedata.category(c)[0] in "LN").casefold()


def check_answers(
    questions: Sequence[str], answers: Mapping[int, str], *, wanted: int, pattern: str, name: str
) -> dict[int, str]:
    """The answers as they are to be hashed, by the number of their question. `pattern`: what each must fit as a whole; empty: anything. `name`: of the account.

    Raises InvalidInput: too few, too short, trivial, the same twice, words of the question, the person's own name. No message repeats an answer.
    """
    if len(answers) < wanted:
        raise InvalidInput("answers", f"{wanted} questions are to be answered, and {len(answers)} are")
    kept: dict[int, str] = {}
    for number, answer in sorted(answers.items()):
        if not 0 <= number < len(questions):
            raise InvalidInput("question", "there is no such question")
        plain = normal(answer)
        why = _unfit(answer, plain, questions[number], pattern, name)
        if not why and plain in kept.values():
            why = "is the same as another one"
        if why:
            raise InvalidInput(
                f"answer {number + 1}", why, remedy="nobody else should be able to find it out"
            )
        kept[number] = plain
    return kept


def _unfit(answer: str, plain: str, question: str, pattern: str, name: str) -> str:
    """What is wrong with an answer; empty: nothing."""
    if len(plain) < LEAST or len(answer) > LONGEST:
        return f"has {LEAST} to {LONGEST} letters or digits"
    if len(set(plain)) == 1 or plain in _TRIVIAL or _is_run(plain):
        return "is what everybody would try first"
    if plain in normal(question) or plain == normal(name):
        return "is in the question, or is your name"
    if pattern and not re.fullmatch(pattern, answer.strip()):
        return "has not the form that the administrator asks for"
    return ""


def _is_run(text: str) -> bool:
    """`12345`, `fedcba`."""
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    return steps in ({1}, {-1})


def asked(registered: Sequence[str], number: int, order: Sequence[str]) -> tuple[str, ...]:
    """Which of the registered questions are asked: the first so many in an order that is made of the name, so that asking again shows no other ones."""
    return tuple([one for one in order if one in registered][:number])
