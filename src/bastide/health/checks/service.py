"""Whether Bastide itself answers on this node."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from bastide.domain.health import Category, Finding, Severity
from bastide.domain.nodes import Node
from bastide.health.check import Check, Need
from bastide.health.look import bad, good
from bastide.health.world import World

#: Where to knock for an address that means all of them.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # it is looked for, not bound

_START = "systemctl start bastide.service on a node of it; if all are lost for good, `bastide node adopt {} --into OTHER`"


def near(address: str) -> str:
    """Where this machine reaches what listens at an address of its settings."""
    return _ANY.get(address, address)


def listening(world: World) -> Iterator[Finding]:
    """The ports of the settings, on this machine."""
    wanted = [("API and portal", world.config.server.address, world.config.server.port)]
    if world.config.passwords is not None:
        wanted.append(
            ("the receiver of passwords", world.config.passwords.address, world.config.passwords.port)
        )
    if world.config.intake is not None:
        wanted.append(("the door for events", world.config.intake.address, world.config.intake.port))
    for what, address, port in wanted:
        if why := world.network.knock(near(address), port):
            yield bad(
                what,
                f"{what}: port {port} does not answer on this node: {why}",
                "systemctl status bastide.service; `journalctl -u bastide.service -n 50` says why it ended",
                severity=Severity.WARNING,
            )
        else:
            yield good(what, f"{what}: port {port} answers")


def nodes(world: World) -> Iterator[Finding]:
    """Every node on this database, as it last said."""
    with world.store().read() as uow:
        now, found = uow.nodes.time(world.clock.now()), uow.nodes.all()
        planned = {name: work.rows for name, work in uow.work.planned(now).items() if work.rows}
    for node in found:
        yield judge(node, now)
    yield from served(found, planned, now)
    yield from alike(found)


def judge(node: Node, now: datetime) -> Finding:
    """One node."""
    about = f"node {node.name}"
    heard = f"partition {node.partition}, version {node.version}, heartbeat {node.heartbeat:%Y-%m-%d %H:%M:%S} UTC"
    if node.left_at is not None:
        return good(about, f"{about} was stopped at {node.left_at:%Y-%m-%d %H:%M} UTC", heard)
    if not node.alive(now):
        return bad(
            about,
            f"{about} is not heard any more",
            f"`bastide diagnose {node.name}`; if it is lost for good, `bastide node remove {node.name}`",
            heard,
        )
    if node.draining:
        text = f"{about} is drained, and takes no work"
        return bad(about, text, f"`bastide node resume {node.name}`, when the maintenance is over", heard, severity=Severity.WARNING)  # fmt: skip
    return good(about, f"{about} serves", heard)


def served(nodes: Sequence[Node], planned: Mapping[str, int], now: datetime) -> Iterator[Finding]:
    """Whether each partition that has nodes or work has one that does the work. `planned`: partition to pieces of work."""
    for name in sorted({node.partition for node in nodes} | planned.keys()):
        about = f"partition {name}"
        mine = [node for node in nodes if node.partition == name]
        working = sorted(node.name for node in mine if node.takes_work(now))
        evidence = (
            f"{planned.get(name, 0)} pieces of work; nodes: {', '.join(node.name for node in mine) or 'none'}"
        )
        if working:
            yield good(about, f"{about} is served by {', '.join(working)}", evidence)
        elif drained := [node.name for node in mine if node.alive(now)]:
            text = f"every living node of {about} is drained: access is neither given nor taken there"
            yield bad(about, text, f"`bastide node resume {drained[0]}`", evidence)
        else:
            text = f"no node of {about} is alive: access is neither given nor taken there"
            yield bad(about, text, _START.format(name), evidence)


def alike(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Whether those that run have one version. During a rolling upgrade they do not, for a while."""
    running = [node for node in nodes if node.left_at is None]
    versions = sorted({node.version for node in running})
    if len(running) > 1:
        evidence = "; ".join(f"{node.name} {node.version}" for node in running)
        if len(versions) > 1:
            text = f"the nodes run different versions: {', '.join(versions)}"
            yield bad("versions", text, "upgrade the older ones", evidence, severity=Severity.WARNING)
        else:
            yield good("versions", "the nodes run one version", evidence)


CHECKS = (
    Check(
        id="service.listening",
        category=Category.SERVICE,
        subject="the service on this node",
        why="A node that does not run serves nobody; where there are others, they do its work.",
        run=listening,
    ),
    Check(
        id="service.nodes",
        category=Category.SERVICE,
        subject="every node on this database",
        why="Work of a partition whose nodes are all lost waits until somebody adopts it.",
        run=nodes,
        needs=(Need.DATABASE,),
    ),
)
