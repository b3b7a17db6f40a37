"""Exit codes of `bastide`: programs rely on them, so they never change their meaning.

0 done · 1 refused, or a check found a problem · 2 wrong usage · 3 server, directory or database out of reach · 4 not signed in.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from types import MappingProxyType

from bastide.config import ConfigError
from bastide.domain.errors import (
    BastideError,
    DirectoryUnavailable,
    NotAuthenticated,
    StoreBusy,
    StoreUnavailable,
)
from bastide.extras import install, missing_extra


class Exit(IntEnum):
    OK = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3
    NOT_SIGNED_IN = 4


#: What a command says of itself; the codes of docs/reference/errors.md say more where there is one.
_CODES = MappingProxyType(
    {
        Exit.OK: "refused",
        Exit.REFUSED: "refused",
        Exit.USAGE: "usage",
        Exit.UNAVAILABLE: "unavailable",
        Exit.NOT_SIGNED_IN: "not-authenticated",
    }
)


class Stop(Exception):
    """Ends the command: one sentence in red, the remedy below it, and an exit code."""

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        status: Exit = Exit.REFUSED,
        code: str = "",
        raw: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.status = status
        self.code = code or _CODES[status]
        #: The server's own words (problem+json), for --json.
        self.raw = raw


@contextmanager
def by_option(options: Mapping[str, str]) -> Iterator[None]:
    """What the server says of a field is said of the option that gave it. Raises Stop."""
    try:
        yield
    except Stop as stop:
        field, colon, said = stop.message.partition(": ")
        if stop.code != "invalid-input" or not colon or field not in options:
            raise
        raise Stop(
            f"{options[field]}: {said}", remedy=stop.remedy, status=stop.status, code=stop.code, raw=stop.raw
        ) from None


def with_remedy(stop: Stop, remedy: str) -> Stop:
    """The same end with another remedy, in the server's own words too."""
    raw = json.dumps({**json.loads(stop.raw), "remedy": remedy}, ensure_ascii=False) if stop.raw else ""
    return Stop(stop.message, remedy=remedy, status=stop.status, code=stop.code, raw=raw)


def as_stop(error: BaseException | None) -> Stop | None:
    """What a command may end with, as a Stop."""
    if isinstance(error, Stop):
        return error
    if isinstance(error, ConfigError):
        from bastide.cli.config_file import remedy_for  # noqa: PLC0415  # only where it is needed

        return Stop(str(error), remedy=remedy_for(str(error)))
    if isinstance(error, ModuleNotFoundError) and (extra := missing_extra(error)):
        return Stop(
            f"this needs the Python package {error.name}, which is not installed",
            remedy=f"`{install(extra)}`",
            status=Exit.USAGE,
        )
    if isinstance(error, BastideError):
        return Stop(error.message, remedy=error.remedy, status=_status(error), code=error.code)
    return None


def _status(error: BastideError) -> Exit:
    if isinstance(error, NotAuthenticated):
        return Exit.NOT_SIGNED_IN
    gone = isinstance(error, DirectoryUnavailable | StoreBusy | StoreUnavailable)
    return Exit.UNAVAILABLE if gone else Exit.REFUSED


def problem(error: Stop) -> str:
    """RFC 9457 without a status: there was no HTTP."""
    fields = {
        "type": f"urn:bastide:problem:{error.code}",
        "title": error.code.replace("-", " "),
        "code": error.code,
        "detail": error.message,
        "remedy": error.remedy,
    }
    return json.dumps({name: text for name, text in fields.items() if text}, ensure_ascii=False)


def described(stop: Stop, *, as_json: bool) -> str:
    """For a process that has no screen."""
    if as_json:
        return (stop.raw or problem(stop)) + "\n"
    return stop.message + "\n" + (f"  -> {stop.remedy}\n" if stop.remedy else "")
