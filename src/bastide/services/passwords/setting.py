"""One call of a target, and what of its words may be kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from bastide.domain.errors import BastideError
from bastide.domain.spelling import spellings, spells
from bastide.services.passwords.ports import NewPassword, PasswordTarget, Result

_Forms = Callable[[], frozenset[str]]


def set_all(target: PasswordTarget, several: Sequence[NewPassword]) -> list[Result]:
    """Set them, without a word that holds one of these passwords. Raises what the target raises."""
    # Most targets say nothing where all went well, so what is looked for in their words is worked out when there are any.
    forms: _Forms = cache(lambda: spellings(one.password for one in several))
    try:
        answers = target.set(several)
    except BastideError as error:
        error.message = _silent(error.message, forms)
        raise error from None
    return [replace(one, detail=_silent(one.detail, forms)) if one.detail else one for one in answers]


def _silent(said: str, forms: _Forms) -> str:
    """What a target said goes into the audit: one that repeats a password of the part, whoever's (a driver that quotes its batch), is not repeated. Of
    a hundred passwords some have a word of ours in them, so only a whole one counts here.
    """
    held = said and spells(said, forms())
    return "the target's words are withheld: they held a password" if held else said
