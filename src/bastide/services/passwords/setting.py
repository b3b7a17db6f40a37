"""One call of a target, and what of its words may be kept."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from bastide.domain.errors import (
    BastideError,
    CapabilityMissing,
    InvalidInput,
    NotConfigured,
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.passwords import Code
from bastide.domain.spelling import spellings, spells, told
from bastide.services.passwords.ports import NewPassword, PasswordTarget, Result

_log = logging.getLogger(__name__)
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


def spoken(result: Result, passwords: Sequence[str]) -> Result:
    """What a target said of one account, without a word that holds one of these passwords."""
    return (
        replace(result, detail=_silent(result.detail, lambda: spellings(passwords)))
        if result.detail
        else result
    )


def failure(error: Exception, agent: str, secret: str) -> Result:
    """What an error of a connection means for the accounts that wait for it; without a word that holds the agent's secret."""
    if not isinstance(
        error, BastideError
    ):  # a connector of a third party: its message may hold anything, so only its kind is told
        _log.error("%s: the connector failed with %s", agent, type(error).__name__)
        return Result(Code.FAILED, f"the connector failed with {type(error).__name__}")
    code = Code.FAILED
    if isinstance(error, TargetUnavailable):
        code = Code.UNAVAILABLE
    elif isinstance(error, TargetDenied):
        code = Code.CREDENTIALS
    elif isinstance(error, NotConfigured | CapabilityMissing | InvalidInput):
        code = Code.NOT_CONFIGURED
    return Result(code, told(error.message, [secret]))


def _silent(said: str, forms: _Forms) -> str:
    """What a target said goes into the audit: one that repeats a password of the part, whoever's (a driver that quotes its batch), is not repeated. Of
    a hundred passwords some have a word of ours in them, so only a whole one counts here.
    """
    held = said and spells(said, forms())
    return "the target's words are withheld: they held a password" if held else said
