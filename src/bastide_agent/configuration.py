"""What to do, as it stands in Active Directory (bastide.pcns): read over the same ldapi connection, again whenever the directory changed.

One value that cannot be used does not silence all targets: it is left out and said (6035). Where leaving it out would tell a target more than was meant, the target is left out.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bastide import pcns
from bastide.pcns import Configuration, Entry, PcnsError, ServiceSettings, Target
from bastide_agent.events import Value
from bastide_agent.failures import NoAccount
from bastide_agent.ldapi import Root

#: Event number and fields.
Said = tuple[int, dict[str, Value]]
_CLASSES = (pcns.TARGET_CLASS, pcns.SERVICE_CLASS)
#: Without them an object is no target; without a readable exclusion group too many would be told.
_VITAL = ("objectclass", "exclusionsid", "inclusionsid", "targetguid")


class Source(Protocol):
    """What is asked of the directory."""

    def below(self, dn: str, names: Sequence[str]) -> list[Entry]: ...
    def any_of(
        self, dn: str, attribute: str, values: Collection[str], names: Sequence[str]
    ) -> list[Entry]: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """The configuration, and what was wrong with it. `problems` are sentences for 6035."""

    configuration: Configuration
    problems: tuple[str, ...] = ()


class Reader:
    """Reads it. Microsoft's names are used where the schema has them; else the names that the schema gives to Microsoft's OIDs."""

    def __init__(self, source: Source, root: Root) -> None:
        self._source = source
        self._root = root
        self._names: dict[str, str] = {}

    def read(self) -> Reading | None:
        """None: there is no container. Raises DirectoryGone."""
        try:
            entries = self._source.below(f"{pcns.CONTAINER},{self._root.base}", ["*"])
        except NoAccount:
            return None
        if not self._names:
            self._names = self._resolve()
        return understand([(dn, pcns.by_default_names(held, self._names)) for dn, held in entries])

    def _resolve(self) -> dict[str, str]:
        """OID to lDAPDisplayName, as the schema has them."""
        attributes, classes = list(pcns.ATTRIBUTES.values()), [oid for _, oid in _CLASSES]
        found: dict[str, str] = {}
        for kind, oids in (("attributeID", attributes), ("governsID", classes)):
            for _, one in self._source.any_of(self._root.schema, kind, oids, [kind, "lDAPDisplayName"]):
                found[one[kind][0].decode()] = one["lDAPDisplayName"][0].decode()
        return found


def understand(entries: Sequence[Entry]) -> Reading:
    """Pure: what can be used of these objects."""
    service, targets, problems = ServiceSettings(), list[Target](), list[str]()
    for entry in entries:
        found, wrong = _lenient(entry)
        problems += wrong
        targets += found.targets
        service = found.service if found.service != ServiceSettings() else service
    return Reading(
        Configuration(service, tuple(sorted(targets, key=lambda one: one.name.lower()))), tuple(problems)
    )


def _lenient(entry: Entry) -> tuple[Configuration, list[str]]:
    """One object. Attributes are left out one by one until it can be read; if that does not help, it is left out as a whole."""
    dn, attributes = entry
    problems: list[str] = []
    left = dict(attributes)
    while True:
        try:
            return pcns.parse([(dn, left)]), problems
        except PcnsError as error:
            guilty = _guilty(dn, left, str(error))
            if not guilty:
                return Configuration(ServiceSettings(), ()), [*problems, f"{error}: this target is not used"]
            problems.append(f"{error}: its default is used")
            del left[guilty]


def _guilty(dn: str, attributes: Mapping[str, Sequence[bytes]], error: str) -> str:
    """The attribute without which the error is another one; empty: none that may be left out."""
    for name in attributes:
        if name.lower().endswith(_VITAL):
            continue
        try:
            pcns.parse([(dn, {other: value for other, value in attributes.items() if other != name})])
        except PcnsError as after:
            if str(after) == error:
                continue
        return name
    return ""


# ----------------------------------------------------------------------------------------------------------- differences


def active(configuration: Configuration) -> tuple[Target, ...]:
    """Targets that get something."""
    return tuple(target for target in configuration.targets if not target.disabled)


def differences(old: Configuration, new: Configuration) -> Iterator[Said]:
    """What changed, as events."""
    if new.service != old.service:
        yield 2106, _service(new.service)
    before = {target.guid: target for target in old.targets}
    after = {target.guid: target for target in new.targets}
    for guid, target in before.items():
        if guid not in after:
            yield 2103, {"target": target.name}
    for guid, target in after.items():
        yield from _target(before.get(guid), target)
    if not active(new) and new != old:
        yield 4002, {}


def _service(settings: ServiceSettings) -> dict[str, Value]:
    return {
        "maximum_queue_length": settings.max_queue_length,
        "maximum_queue_age": settings.max_queue_age,
        "maximum_notification_retries": settings.max_notification_retries,
        "retry_interval": settings.retry_interval,
    }


def _target(old: Target | None, new: Target) -> Iterator[Said]:
    if old is None or old.disabled != new.disabled:
        yield 2101 if new.disabled else 2102, {"target": new.name}
    if old is not None and connection(old) != connection(new):
        service = str(new.authentication_service)
        yield (
            2107,
            {
                "target": new.name,
                "server": new.server,
                "service_principal_name": new.spn,
                "authentication_service": service,
            },
        )


def connection(target: Target) -> Target:
    """All that a connection depends on, and nothing else: equal ones need no new thread."""
    return Target(
        name="",
        guid=target.guid,
        server=target.server,
        spn=target.spn,
        inclusion="",
        authentication_service=target.authentication_service,
    )
