"""The kinds of connected systems by name, as the port ConnectedSystems. Built in, or brought by an entry point of the group `bastide.targets`.

A kind is imported when an agent uses it: a server that has no LDAP agent needs no LDAP library.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bastide.domain.errors import InvalidInput, NotConfigured
from bastide.domain.management_agents import ManagementAgent
from bastide.extras import install
from bastide.services.passwords.ports import Connector, PasswordTarget
from bastide.targets.kinds import Kind, Opening, read_settings
from bastide.targets.plugins import GROUP, kind_of

#: Kind to the module that has it as KIND, and the extra of the distribution that brings its libraries (empty: none).
BUILT_IN: Mapping[str, tuple[str, str]] = {
    "active-directory": ("bastide.targets.active_directory", "ad"),
    "ldap": ("bastide.targets.ldap", "ad"),
    "process": ("bastide.targets.process", ""),
    "postgresql": ("bastide.targets.sql_postgres", "postgres"),
    "mariadb": ("bastide.targets.sql_mariadb", "mariadb"),
    "mssql": ("bastide.targets.sql_mssql", "mssql"),
    "oracle": ("bastide.targets.sql_oracle", "oracle"),
    "db2": ("bastide.targets.sql_db2", "db2"),
    "attribute-value-pairs": ("bastide.targets.files.avp", ""),
    "delimited": ("bastide.targets.files.delimited", ""),
    "fixed-width": ("bastide.targets.files.fixed_width", ""),
    "ldif": ("bastide.targets.files.ldif", "ad"),
    "dsml": ("bastide.targets.files.dsml", ""),
}


class Registry:
    """ConnectedSystems over the kinds that are installed. `monotonic`: seconds of a clock that never goes back."""

    def __init__(self, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._now = now
        self._monotonic = monotonic

    def check(self, connector: str, settings: Mapping[str, object]) -> None:
        """Raises InvalidInput naming the field."""
        found = kind(connector)
        found.check_host(_settings(found, settings))

    def note(self, connector: str) -> str:
        """That of the kind; where there is no such kind any more, or a library of it is missing, that."""
        try:
            return kind(connector).note
        except InvalidInput as error:
            return f"it cannot be used: {error.message}"

    def connector(self, agent: ManagementAgent, secret: str) -> Connector:
        """Raises InvalidInput, NotConfigured."""
        found = kind(agent.connector)
        return found.connector(_settings(found, agent.settings), self._opening(agent, secret))

    def identity(self, agent: ManagementAgent, secret: str) -> tuple[str, ...]:
        """Raises InvalidInput, TargetUnavailable, TargetDenied."""
        found = kind(agent.connector)
        return found.identity(_settings(found, agent.settings), self._opening(agent, secret))

    def target(self, agent: ManagementAgent, secret: str) -> PasswordTarget:
        """Raises InvalidInput, NotConfigured."""
        found = kind(agent.connector)
        settings = _settings(found, agent.settings)
        if found.target is None:
            raise NotConfigured(f"{agent.connector} has no way to set passwords")
        return found.target(settings, self._opening(agent, secret))

    def _opening(self, agent: ManagementAgent, secret: str) -> Opening:
        return Opening(
            name=agent.name,
            secret=secret,
            now=self._now,
            monotonic=self._monotonic,
            require_secure=agent.passwords.require_secure,
        )


@cache
def kind(name: str) -> Kind:
    """The kind of that name. Raises InvalidInput if there is none, or if its libraries are not installed."""
    if name in BUILT_IN:
        return _built_in(name)
    for point in _plugged_in():
        if point.name == name:
            return kind_of(point)
    raise InvalidInput(
        "connector",
        f"there is no kind of system {name[:80]!r}",
        remedy=f"the kinds are: {', '.join(kinds())}",
    )


def _settings(of: Kind, settings: Mapping[str, object]) -> Any:
    found = read_settings(of.settings, settings)
    of.check(found)
    return found


def kinds() -> tuple[str, ...]:
    """The names of all kinds. An entry point cannot take the name of a built-in one."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in _plugged_in())}))


def _plugged_in() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _built_in(name: str) -> Kind:
    module, extra = BUILT_IN[name]
    try:
        found = import_module(module).KIND
    except ImportError as error:
        raise InvalidInput(
            "connector",
            f"{name} needs a library that is not installed: {error.name}",
            remedy=f"`{install(extra)}`",
        ) from error
    if not isinstance(found, Kind):
        raise TypeError(f"{module}.KIND is no Kind")
    return found
