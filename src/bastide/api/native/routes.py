"""All routes of /api/v1, by subject. Each names exactly one right in its options (door.py), or that it is open."""

from litestar import Router

from bastide.api.native import (
    accounts,
    agents,
    audit,
    directory,
    emergency,
    logs,
    metrics,
    nodes,
    notifications,
    operations,
    passwords,
    people,
    requests,
    roles,
    security_keys,
    sessions,
    spaces,
)

PREFIX = "/api/v1"


def router() -> Router:
    """The native dialect."""
    subjects = (
        people,
        security_keys,
        sessions,
        requests,
        roles,
        accounts,
        audit,
        directory,
        emergency,
        nodes,
        logs,
        operations,
        metrics,
        agents,
        spaces,
        passwords,
        notifications,
    )
    return Router(PREFIX, route_handlers=[handler for subject in subjects for handler in subject.HANDLERS])
