"""All routes of /api/v1, by subject. Each names exactly one right in its options (door.py), or that it is open."""

from litestar import Router

from bastide.api.native import (
    access_graph,
    accounts,
    agents,
    alerts,
    audit,
    directory,
    emergency,
    help_desk,
    intake,
    logs,
    metrics,
    monitoring,
    nodes,
    notifications,
    operations,
    passwords,
    people,
    reports,
    requests,
    resets,
    reviews,
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
        reports,
        reviews,
        access_graph,
        directory,
        emergency,
        nodes,
        logs,
        operations,
        metrics,
        agents,
        spaces,
        passwords,
        help_desk,
        resets,
        notifications,
        alerts,
        intake,
        monitoring,
    )
    return Router(PREFIX, route_handlers=[handler for subject in subjects for handler in subject.HANDLERS])
