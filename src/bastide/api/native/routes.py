"""All routes of /api/v1, by subject. Each names exactly one right in its options (door.py), or that it is open."""

from litestar import Router

from bastide.api.native import accounts, audit, directory, operations, people, requests, roles

PREFIX = "/api/v1"


def router() -> Router:
    """The native dialect."""
    subjects = (people, requests, roles, accounts, audit, directory, operations)
    return Router(PREFIX, route_handlers=[handler for subject in subjects for handler in subject.HANDLERS])
