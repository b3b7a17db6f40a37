"""What this node is and has. Nothing here can be wrong: it is what the other results are read with."""

import platform
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import version

from bastide.domain.health import Category, Finding
from bastide.health.check import Check, Need
from bastide.health.look import good
from bastide.health.world import World


def node(world: World) -> Iterator[Finding]:
    """The machine and the program."""
    from bastide.wiring.database import shown  # noqa: PLC0415  # SQLAlchemy takes its time

    server = world.config.server
    yield good(
        "node", f"{server.node or socket.gethostname()}, partition {server.partition}", socket.getfqdn()
    )
    yield good(
        "program",
        f"bastide {version('bastide')}",
        f"Python {platform.python_version()} at {sys.prefix}, {platform.system()} {platform.release()}",
    )
    yield good("database", shown(world.config))
    yield good("forests", ", ".join(sorted(_domains(world))))


def _domains(world: World) -> Iterator[str]:
    yield f"PRIV {world.config.priv.domain}"
    if world.config.corp is not None:
        yield f"CORP {world.config.corp.domain}"


def objects(world: World) -> Iterator[Finding]:
    """How much there is of everything."""
    with world.store().read() as uow:
        counts = {
            "PAM users": len(uow.users.all()),
            "PAM groups": len(uow.groups.all()),
            "PAM roles": len(uow.roles.all()),
            "management agents": len(uow.agents.all()),
            "audit records": uow.audit.head()[0],
        }
    yield good("objects", ", ".join(f"{number} {name}" for name, number in counts.items()))


CHECKS = (
    Check(
        id="inventory.node",
        category=Category.INVENTORY,
        subject="this node",
        why="A report is read later, by somebody else, beside that of another node.",
        run=node,
    ),
    Check(
        id="inventory.objects",
        category=Category.INVENTORY,
        subject="users, groups, roles, agents, records",
        why="An empty database in the place of a full one shows here first.",
        run=objects,
        needs=(Need.DATABASE,),
    ),
)
