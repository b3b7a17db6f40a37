"""The accounts of a domain with the ticket of the administrator who mends them. Needs the extra `ad`."""

from collections.abc import Iterator
from contextlib import contextmanager

from bastide.directory.census import AdHardener
from bastide.services.baseline.ports import Hardener
from bastide.wiring.caller import as_caller


@contextmanager
def mending_tools(domain: str, controller: str) -> Iterator[Hardener]:
    """Of the domain (empty: the ticket's), working on one controller. Raises DirectoryError, NotAuthenticated."""
    with as_caller(domain, controller) as here:
        yield AdHardener(here.controllers, here.main)
