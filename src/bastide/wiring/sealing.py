"""The domain of an emergency account with the ticket of the administrator who seals it. Needs the extra `ad`."""

from collections.abc import Iterator
from contextlib import contextmanager

from bastide.directory.emergency import AdEmergencyDirectory, KdcProof
from bastide.services.break_glass.ports import EmergencyDirectory, PasswordProof
from bastide.wiring.caller import as_caller


@contextmanager
def sealing_tools(domain: str, controller: str) -> Iterator[tuple[EmergencyDirectory, PasswordProof]]:
    """Of the domain (empty: the ticket's), working on one controller. Raises DirectoryError, NotAuthenticated."""
    with as_caller(domain, controller) as here:
        yield AdEmergencyDirectory(here.controllers, here.main), KdcProof()
