"""The clocks of the controllers beside ours."""

from collections.abc import Iterator

from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Category, Finding
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import unfound
from bastide.health.world import World


def controllers(world: World) -> Iterator[Finding]:
    """Of every domain."""
    from bastide.directory.domain_probe import clocks  # noqa: PLC0415  # needs the extra `ad`

    for name, domain in world.domains().items():
        try:
            yield from clocks(domain.asked())
        except DirectoryUnavailable:
            yield unfound(name)


CHECKS = (
    Check(
        id="time.controllers",
        category=Category.TIME,
        subject="the clock of each controller beside ours",
        why="Grants end by the controller's clock; from five minutes on Kerberos refuses, and Bastide uses no such connection.",
        run=controllers,
        needs=(Need.NETWORK,),
        timeout=PATIENT,
    ),
)
