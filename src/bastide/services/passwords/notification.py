"""Who is told of changed passwords: the PCNS configuration of a domain, changed by an administrator of that domain.

Every refusal comes before anything is written. Answers carry warnings: what is allowed and probably not meant.
"""

from dataclasses import dataclass, replace
from uuid import UUID

from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.ids import parse_name
from bastide.pcns import MOST_TARGETS, RETRY_INTERVAL, Configuration, ServiceSettings, Target
from bastide.services.passwords.ports import NotificationDirectory, Settings
from bastide.services.ports import Random

_U32 = range(1 << 32)
_RETRIES = range(1001)
#: The interval in seconds; a controller that is silent for longer looks dead.
_KEEP_ALIVE = range(1, 86_401)
_FORMATS = range(1, 13)


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
        """DNs that were added to the schema; none if it was there. Raises DirectoryDenied."""
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
        before = self._read().configuration.service
        after = replace(
            before,
            max_queue_length=_within("L", change.max_queue_length, before.max_queue_length, _U32),
            max_queue_age=_within("A", change.max_queue_age, before.max_queue_age, _U32),
            max_notification_retries=_within(
                "R", change.max_notification_retries, before.max_notification_retries, _RETRIES
            ),
            retry_interval=_within("I", change.retry_interval, before.retry_interval, RETRY_INTERVAL),
        )
        self._directory.save_service(after)
        return after

    def add(self, name: str, change: TargetChange) -> Done:
        """A new target. It needs a server, an SPN and an inclusion group. Raises InvalidInput, Conflict, NotFound."""
        name = parse_name("N", name)
        settings = self._read()
        if name.lower() in settings.dns:
            raise Conflict(f"there is a target {name} already", remedy="modify it, or choose another name")
        if len(settings.configuration.targets) >= MOST_TARGETS:
            raise Conflict(f"there are {MOST_TARGETS} targets, and no more are supported")
        for field, value in (("A", change.server), ("S", change.spn), ("FI", change.inclusion)):
            if not value:
                raise InvalidInput(field, "is needed for a new target")
        guid = UUID(self._random.uuid())
        done = self._changed(Target(name=name, guid=guid, server="", spn="", inclusion=""), change)
        if not settings.dns:
            self._directory.save_service(settings.configuration.service)
        self._directory.add_target(done.target)
        return done

    def modify(self, name: str, change: TargetChange) -> Done:
        """Raises NotFound, InvalidInput."""
        settings, before = self._find(name)
        if change.inclusion == "":
            raise InvalidInput("FI", "an inclusion group is required", remedy="disable the target instead")
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
            server=_host(change.server, before.server),
            spn=_spn(change.spn, before.spn),
            inclusion=self._group("FI", change.inclusion, before.inclusion),
            exclusion=self._group("FE", change.exclusion, before.exclusion),
            user_name_format=_within("F", change.user_name_format, before.user_name_format, _FORMATS),
            keep_alive=_within("I", change.keep_alive, before.keep_alive, _KEEP_ALIVE),
            disabled=before.disabled if change.disabled is None else change.disabled,
            warning_level=_within("WL", change.warning_level, before.warning_level, _U32),
            warning_interval=_within("WI", change.warning_interval, before.warning_interval, _U32),
            certificate=before.certificate if change.certificate is None else change.certificate,
        )
        if after.inclusion == after.exclusion:
            raise InvalidInput("FE", "is the inclusion group: nobody would be left")
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
    return tuple(found)


def _within(field: str, wanted: int | None, before: int, allowed: range) -> int:
    if wanted is None:
        return before
    if wanted not in allowed:
        raise InvalidInput(field, f"must be from {allowed.start} to {allowed.stop - 1}, not {wanted}")
    return wanted


def _host(wanted: str | None, before: str) -> str:
    if wanted is None:
        return before
    host = parse_name("A", wanted)
    if any(character.isspace() or character in "/\\@" for character in host):
        raise InvalidInput("A", f"{host[:80]!r} is no host name or address")
    return host


def _spn(wanted: str | None, before: str) -> str:
    if wanted is None:
        return before
    spn = parse_name("S", wanted)
    service, slash, host = spn.partition("/")
    if not slash or not service or "." not in host or "@" in spn:
        raise InvalidInput(
            "S", f"{spn[:80]!r} is no SPN", remedy="write PCNSCLNT/host.domain, with the full name"
        )
    return spn
