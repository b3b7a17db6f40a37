"""Who is told of changed passwords: the PCNS configuration of a domain, changed by an administrator of that domain.

Every refusal comes before anything is written. Answers carry warnings: what is allowed and probably not meant.
"""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from bastide import wire
from bastide.domain.contacts import SILENCE_MINUTES
from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.ids import parse_name
from bastide.pcns import (
    MOST_TARGETS,
    RETRY_INTERVAL,
    Configuration,
    ServiceSettings,
    Target,
    address,
    is_host,
    principal,
)
from bastide.services.passwords.ports import NotificationDirectory, Settings
from bastide.services.ports import Random

_U32 = range(1 << 32)
_RETRIES = range(1001)
#: The interval in seconds; a controller that is silent for longer looks dead.
_KEEP_ALIVE = range(1, 86_401)
#: Seconds. What is longer, or never, is silence to a server with the usual settings.
_HEARD = SILENCE_MINUTES * 60
_FORMATS = range(1, 13)

#: Option of Microsoft's tool, field, range: what ServiceChange and TargetChange may say in numbers.
SERVICE_NUMBERS = (
    ("L", "max_queue_length", _U32),
    ("A", "max_queue_age", _U32),
    ("R", "max_notification_retries", _RETRIES),
    ("I", "retry_interval", RETRY_INTERVAL),
)
TARGET_NUMBERS = (
    ("F", "user_name_format", _FORMATS),
    ("I", "keep_alive", _KEEP_ALIVE),
    ("WL", "warning_level", _U32),
    ("WI", "warning_interval", _U32),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """What to change for all targets; None: leave it."""

    max_queue_length: int | None = None
    max_queue_age: int | None = None
    max_notification_retries: int | None = None
    retry_interval: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChange:
    """What to change for one target; None: leave it. Groups are names or SIDs; an empty exclusion takes it away."""

    server: str | None = None
    spn: str | None = None
    inclusion: str | None = None
    exclusion: str | None = None
    user_name_format: int | None = None
    keep_alive: int | None = None
    disabled: bool | None = None
    warning_level: int | None = None
    warning_interval: int | None = None
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The target as it is now, and what is worth a second look."""

    target: Target
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """The configuration with group names instead of SIDs where there are any."""

    configuration: Configuration
    groups: dict[str, str]


class NotificationSettings:
    """Reads and changes the configuration."""

    def __init__(self, *, directory: NotificationDirectory, random: Random) -> None:
        self._directory = directory
        self._random = random

    def extend_schema(self) -> tuple[str, ...]:
        """DNs that were added to the schema; none if it was there. Raises DirectoryDenied, Conflict."""
        return self._directory.extend_schema()

    def schema_ldif(self) -> str:
        return self._directory.schema_ldif()

    def show(self) -> Shown:
        """Raises NotFound if nothing is configured."""
        found = self._directory.read().configuration
        sids = {sid for target in found.targets for sid in (target.inclusion, target.exclusion) if sid}
        return Shown(found, {sid: self._directory.group_name(sid) for sid in sorted(sids)})

    def change_service(self, change: ServiceChange) -> ServiceSettings:
        """Made with the defaults if there is none. Raises InvalidInput."""
        check_service(change)
        after = replace(self._read().configuration.service, **_said(change, SERVICE_NUMBERS))
        self._directory.save_service(after)
        return after

    def add(self, name: str, change: TargetChange) -> Done:
        """A new target. It needs a server, an SPN and an inclusion group. Raises InvalidInput, Conflict, NotFound."""
        name = check_target(name, change, new=True)
        settings = self._read()
        if name.lower() in settings.dns:
            raise Conflict(f"there is a target {name} already", remedy="modify it, or choose another name")
        if len(settings.configuration.targets) >= MOST_TARGETS:
            raise Conflict(f"there are {MOST_TARGETS} targets, and no more are supported")
        guid = UUID(self._random.uuid())
        done = self._changed(Target(name=name, guid=guid, server="", spn="", inclusion=""), change)
        if not settings.dns:
            self._directory.save_service(settings.configuration.service)
        self._directory.add_target(done.target)
        return done

    def modify(self, name: str, change: TargetChange) -> Done:
        """Raises NotFound, InvalidInput."""
        check_target(name, change, new=False)
        settings, before = self._find(name)
        done = self._changed(before, change)
        self._directory.save_target(settings.dns[before.name.lower()], done.target)
        return done

    def remove(self, name: str) -> Target:
        """Agents forget what waits for it. Raises NotFound."""
        settings, target = self._find(name)
        self._directory.remove_target(settings.dns[target.name.lower()])
        return target

    def _find(self, name: str) -> tuple[Settings, Target]:
        settings = self._read()
        for target in settings.configuration.targets:
            if target.name.lower() == name.strip().lower():
                return settings, target
        raise NotFound(f"there is no target {name[:80]!r}", remedy="`bastide pcns list` shows them")

    def _read(self) -> Settings:
        try:
            return self._directory.read()
        except NotFound as error:
            if "schema" in error.remedy:
                raise
            return Settings(Configuration(ServiceSettings(), ()), {})

    def _changed(self, before: Target, change: TargetChange) -> Done:
        after = replace(
            before,
            server=before.server if change.server is None else change.server.strip(),
            spn=before.spn if change.spn is None else change.spn.strip(),
            inclusion=self._group("FI", change.inclusion, before.inclusion),
            exclusion=self._group("FE", change.exclusion, before.exclusion),
            disabled=before.disabled if change.disabled is None else change.disabled,
            certificate=before.certificate if change.certificate is None else change.certificate,
            **_said(change, TARGET_NUMBERS),
        )
        if after.inclusion == after.exclusion:
            raise _nobody_left()
        return Done(after, (*self._warnings_of_spn(after), *_warnings(before, after)))

    def _group(self, field: str, wanted: str | None, before: str) -> str:
        if wanted is None:
            return before
        return self._directory.group_sid(parse_name(field, wanted)) if wanted.strip() else ""

    def _warnings_of_spn(self, target: Target) -> tuple[str, ...]:
        holders = self._directory.holders_of(target.spn)
        if len(holders) == 1:
            return ()
        if not holders:
            return (f"no account of this domain holds {target.spn}: Kerberos will fail until one does",)
        return (f"several accounts hold {target.spn}, so Kerberos fails: {'; '.join(holders)}",)


def _warnings(before: Target, after: Target) -> tuple[str, ...]:
    found = []
    if before.exclusion and not after.exclusion:
        found.append("the exclusion group was taken away: passwords of its members are sent now too")
    if not after.exclusion:
        found.append("there is no exclusion group: passwords of administrators are sent as well")
    if after.disabled and not before.disabled:
        found.append("the target is disabled: nothing is queued for it, and what waits is discarded")
    if not 0 < after.keep_alive <= _HEARD:
        found.append(
            f"a keep-alive interval of {after.keep_alive} s: controllers with nothing to say will be reported as silent,"
            " unless passwords.silence_minutes of the server is longer"
        )
    return tuple(found)


def check_service(change: ServiceChange) -> None:
    """What needs no directory. Raises InvalidInput, whose field is the option of Microsoft's tool."""
    _check_numbers(change, SERVICE_NUMBERS)


def check_target(name: str, change: TargetChange, *, new: bool) -> str:
    """What needs no directory; the name without what surrounds it. Raises InvalidInput, whose field is the option of Microsoft's tool."""
    name = parse_name("N", name)
    for field, value in (("A", change.server), ("S", change.spn), ("FI", change.inclusion)):
        if new and not value:
            raise InvalidInput(field, "is needed for a new target")
    if change.inclusion is not None and not change.inclusion.strip():
        raise InvalidInput("FI", "an inclusion group is required", remedy="disable the target instead")
    if change.server is not None:
        _check_host(parse_name("A", change.server))
    if change.spn is not None:
        _check_spn(parse_name("S", change.spn))
    groups = [
        parse_name(f, g) for f, g in (("FI", change.inclusion), ("FE", change.exclusion)) if g and g.strip()
    ]
    if len({group.casefold() for group in groups}) < len(groups):
        raise _nobody_left()
    _check_numbers(change, TARGET_NUMBERS)
    return name


_Numbers = tuple[tuple[str, str, range], ...]


def _check_numbers(change: ServiceChange | TargetChange, numbers: _Numbers) -> None:
    for field, name, allowed in numbers:
        wanted = getattr(change, name)
        if wanted is not None and wanted not in allowed:
            raise InvalidInput(field, f"must be from {allowed.start} to {allowed.stop - 1}, not {wanted}")


def _said(change: ServiceChange | TargetChange, numbers: _Numbers) -> dict[str, Any]:
    """The numbers that are to change."""
    return {name: wanted for _, name, _ in numbers if (wanted := getattr(change, name)) is not None}


def _nobody_left() -> InvalidInput:
    return InvalidInput("FE", "is the inclusion group: nobody would be left")


def _check_host(server: str) -> None:
    """HOST or HOST:PORT, as agents read it."""
    try:
        address(server, wire.PORT)
    except ValueError:
        raise InvalidInput(
            "A",
            f"{server[:80]!r} is no host name or address",
            remedy="write bastide.corp.example.com, or bastide.corp.example.com:8446",
        ) from None


def _check_spn(spn: str) -> None:
    """As agents read it, and with the full name: Kerberos knows no other."""
    try:
        _, host, _ = principal(spn, wire.SERVICE)
    except ValueError:
        host = ""
    if not is_host(host) or "." not in host or "@" in spn:
        raise InvalidInput(
            "S", f"{spn[:80]!r} is no SPN", remedy="write PCNSCLNT/host.domain, with the full name"
        )
