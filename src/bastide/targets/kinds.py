"""What a kind of connected system is made of: its settings, and how its connector and its target are opened."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from bastide.domain.errors import InvalidInput
from bastide.services.passwords.ports import Connector, PasswordTarget


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of a kind's settings. They hold no secret. What cannot be right raises ValueError or InvalidInput in `__post_init__`."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a kind gets beside its settings. `monotonic`: seconds of a clock that never goes back. `require_secure` False: the agent's audited
    waiver, without which no secret may go where the settings turn the protection off.
    """

    name: str
    secret: str = field(repr=False)
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    require_secure: bool = True


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `target` None: it is read only. Both factories open nothing yet, and may raise NotConfigured. `note`: what a person must
    know before relying on it.
    """

    settings: type[Any]
    connector: Callable[[Any, Opening], Connector]
    target: Callable[[Any, Opening], PasswordTarget] | None
    #: More than the struct can say. Raises InvalidInput.
    check: Callable[[Any], None] = lambda _: None
    note: str = ""
    #: Whether what the settings name on this host fits them, where it is there: asked when they are set. Raises InvalidInput.
    check_host: Callable[[Any], None] = lambda _: None
    #: What the system says it is (ConnectedSystems.identity). Raises TargetUnavailable, TargetDenied.
    identity: Callable[[Any, Opening], tuple[str, ...]] = lambda _settings, _opening: ()


_S = TypeVar("_S")
_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_NAMED = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>[^`]*)`")


def read_settings(kind: type[_S], settings: Mapping[str, object]) -> _S:
    """The settings as their struct. Raises InvalidInput, whose field is `settings.NAME`."""
    try:
        return msgspec.convert(settings, kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind) from None


def _invalid(said: str, kind: type) -> InvalidInput:
    match = _AT.fullmatch(said)
    what, path = (match["what"], match["path"] or "") if match else (said, "")
    named = _NAMED.match(what)
    if named is None:
        return InvalidInput(_field(path), what)
    known = named["what"] == "missing required"
    inner = f"{path}.{named['name']}" if path else named["name"]
    if known:
        return InvalidInput(_field(inner), "is missing")
    return InvalidInput(
        _field(inner),
        "is no setting of this kind of system",
        remedy="" if path else _there_are(named["name"], kind),
    )


def _there_are(name: str, kind: type) -> str:
    names = sorted(one.encode_name for one in msgspec.structs.fields(kind))
    nearest = difflib.get_close_matches(name, names, 1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{meant}There are {', '.join(names)}"


def _field(path: str) -> str:
    return f"settings.{path}" if path else "settings"
