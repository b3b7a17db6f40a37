"""All checks, in the order in which a person would look. docs/reference/checks.md lists them; a test compares."""

from collections.abc import Collection, Sequence

from bastide.domain.health import Category
from bastide.health.check import Check
from bastide.health.checks import (
    agents,
    alerts,
    approvers,
    audit,
    baseline,
    break_glass,
    certificates,
    configuration,
    database,
    directory,
    events,
    inventory,
    kerberos,
    logs,
    monitoring,
    names,
    ports,
    recovery,
    service,
    storage,
    targets,
    time,
    work,
)
from bastide.health.runner import SETTINGS

_MODULES = (
    inventory, configuration, names, ports, time, kerberos, baseline, directory, database, storage, logs, certificates, service, monitoring, events,
    agents, targets, approvers, audit, alerts, break_glass, recovery, work,
)  # fmt: skip
CHECKS: tuple[Check, ...] = tuple(check for module in _MODULES for check in module.CHECKS)
#: What `bastide config check` looks at: everything that the settings name.
OF_SETTINGS = frozenset(
    {
        Category.CONFIGURATION,
        Category.DNS,
        Category.PORTS,
        Category.TIME,
        Category.KERBEROS,
        Category.DIRECTORY,
        Category.CERTIFICATES,
    }
)
#: And the one about the database's schema.
_SCHEMA = "database.schema"
#: Before anything is prepared these have nothing to look at.
_LATER = frozenset({"directory.capabilities", "directory.rights", "directory.baseline"})


def chosen(categories: Collection[Category] = ()) -> tuple[Check, ...]:
    """Those of the categories; none named: all."""
    return tuple(check for check in CHECKS if not categories or check.category in categories)


def with_settings(checks: Sequence[Check]) -> tuple[Check, ...]:
    """And the one that says whether the settings can be used: where they cannot, it is the only one that found something, whatever was asked for."""
    known = {one.id for one in checks}
    return (*(one for one in CHECKS if one.id == SETTINGS and one.id not in known), *checks)


def of_settings() -> tuple[Check, ...]:
    """What `bastide config check` runs."""
    return tuple(
        check
        for check in CHECKS
        if (check.category in OF_SETTINGS and check.id not in _LATER) or check.id == _SCHEMA
    )


def of_surroundings() -> tuple[Check, ...]:
    """The same without what `bastide init` has just made, or nobody has made yet: keys and database."""
    return tuple(
        check
        for check in of_settings()
        if check.category is not Category.CONFIGURATION and check.id != _SCHEMA
    )
