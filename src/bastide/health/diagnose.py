"""From a symptom to the first cause. The order is that of a run-book for nodes that cannot be reached: the name, the service, a question, the firewall, stale state,
performance. Who is asked is a domain controller, a connected system or a Bastide node; request.py does the same for one activation.

A step that finds an error ends the walk: what comes after it would only be its consequence. A warning does not, and is the cause only if nothing worse is found.
"""

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from bastide.config import ConfigError
from bastide.domain.errors import BastideError, DirectoryError, NotFound
from bastide.domain.health import Finding, Severity
from bastide.domain.ids import typed
from bastide.domain.management_agents import ManagementAgent
from bastide.domain.nodes import Node, node_of
from bastide.health.checks import certificates, names, work
from bastide.health.look import Problem, bad, good, refusal, unasked
from bastide.health.world import Domain, World
from bastide.services.passwords.lookup import secret_of
from bastide.wiring.process import node_name

#: A question that takes longer makes people wait; a grant asks several.
_SLOW = timedelta(seconds=2)
_HTTPS = 443
_LOOK = "kerberos.tickets of `bastide validate` says whether the account's keytab is good; the controller's own log says the rest"
#: Of a kind of system, where its settings say none.
_PORTS = {
    "ldap:ldaps": 636,
    "ldap:starttls": 389,
    "postgresql": 5432,
    "mariadb": 3306,
    "mssql": 1433,
    "oracle": 1521,
    "db2": 50_000,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One look. It raises BastideError, ConfigError, Problem or OSError, or says what it found."""

    title: str
    look: Callable[[], Finding]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step found."""

    title: str
    finding: Finding


def walk(steps: Iterable[Step]) -> Iterator[Seen]:
    """Each step, up to the first that finds an error."""
    for step in steps:
        try:
            found = step.look()
        except (BastideError, ConfigError, Problem, ImportError, OSError) as error:
            found = refusal(step.title, error)
        yield Seen(step.title, found)
        if found.severity.is_error:
            return


def steps_for(world: World, name: str) -> tuple[str, tuple[Step, ...]]:
    """What the name is, and where to look for it; this server's own host name is its node. Raises NotFound with the names that there are."""
    wanted = name.lower().rstrip(".")
    known: list[str] = []
    for domain in world.domains().values():
        for controller in _controllers(domain):
            known.append(controller)
            if wanted in {controller.lower(), controller.lower().partition(".")[0]}:
                return f"domain controller {controller}", _of_controller(world, domain, controller)
    with world.store().read() as uow:
        nodes, agents = uow.nodes.all(), uow.agents.all()
    own = node_name(world.config)
    for node in nodes:
        known.append(node.name)
        if node.name.lower() == wanted or (node.name == own and _is_host(wanted)):
            return f"node {node.name}", _of_node(world, node, nodes)
    for agent in agents:
        known.append(agent.name)
        if agent.name.lower() == wanted:
            return f"target {agent.name}", _of_target(world, agent)
    raise NotFound(
        f"{typed(name)} is no domain controller, node or target of this Bastide",
        remedy=f"there are {', '.join(dict.fromkeys(known)) or 'none'}",
    )


def _is_host(wanted: str) -> bool:
    """Whether this machine is called so."""
    host = socket.gethostname().lower()
    return wanted in {host, host.partition(".")[0]} or wanted == socket.getfqdn().lower()


def _controllers(domain: Domain) -> Sequence[str]:
    """Of a domain that cannot be found there are none: its other controllers can still be looked at."""
    try:
        return domain.controllers()
    except DirectoryError:
        return ()


# ------------------------------------------------------------------------------------------------------ domain controllers


def _of_controller(world: World, domain: Domain, name: str) -> tuple[Step, ...]:
    from bastide.directory.domain_probe import DOORS, clocks, sign_in  # noqa: PLC0415  # needs the extra `ad`

    others = [one for one in domain.controllers() if one != name]

    def question() -> Finding:
        answers = domain.asked()
        (found,) = sign_in({name: answers[name]})
        if not found.severity.is_error:
            return found
        also = all(not isinstance(answers[one], timedelta) for one in others) and others
        where = (
            "the other controllers refuse as well: look at this node" if also else "look at that controller"
        )
        return bad(found.about, f"{found.text} ({where})", found.remedy or _LOOK, found.evidence)

    def clock() -> Finding:
        (found,) = clocks({name: domain.asked()[name]})
        return found

    return (
        Step("name", lambda: names.asked(world.network, name, [name])),
        Step("service", lambda: _service_of(world, name)),
        Step("question", question),
        Step("clock", clock),
        Step("firewall", lambda: next(one for one in domain.ports() if one.about == name)),
        Step("stale state", lambda: _in_dns(domain, name)),
        Step(
            "performance",
            lambda: _timed(world, f"a connection to {name}", lambda: world.network.knock(name, DOORS[-1])),
        ),
    )


def _service_of(world: World, name: str) -> Finding:
    """Refused: the host is there, and its service is not. Silent on some ports: a firewall. Silent on all: the host, or the way to it."""
    from bastide.directory.domain_probe import DOORS, PORTS  # noqa: PLC0415  # needs the extra `ad`

    with ThreadPoolExecutor(len(PORTS)) as threads:  # each waits for its own time-out
        found = threads.map(world.network.knock, [name] * len(PORTS), PORTS)
        answers = dict(zip(PORTS, found, strict=True))
    shut = {port: why for port, why in answers.items() if why}
    evidence = "; ".join(f"{port} {why}" for port, why in shut.items())
    doors = {port: answers[port] for port in DOORS if answers[port]}
    if not doors:
        return good(name, f"{name} serves Kerberos and LDAP", evidence)
    if any(why.startswith("refused") for why in doors.values()):
        ports = ", ".join(str(port) for port, why in doors.items() if why.startswith("refused"))
        remedy = f"on {name}: systemctl start samba-ad-dc (Windows: Start-Service NTDS, Kdc); its own log says why it ended"
        return bad(name, f"{name} is up, and its service is not: port {ports} refused", remedy, evidence)
    if len(shut) < len(PORTS):
        ports = ", ".join(map(str, doors))
        remedy = f"open TCP {ports} from here to {name} in the firewalls between, and on {name} itself"
        return bad(name, f"{name} is up, and port {ports} is silent: a firewall drops it", remedy, evidence)
    remedy = (
        f"start {name}; if it runs, follow the way from here to it: `ip route get` and every firewall between"
    )
    return bad(name, f"{name} does not answer at all: it is down, or cut off", remedy, evidence)


def _in_dns(domain: Domain, name: str) -> Finding:
    """A controller that DNS does not name any more was taken away, or could not register."""
    found = list(domain.name_service())
    for one in found:
        if one.ok and name.lower() not in one.evidence.lower().split(", "):
            return bad(
                name, f"DNS does not name {name} among the controllers any more ({one.about})",
                "if it was taken away, take it out of the settings; else on it: samba_dnsupdate (Windows: nltest /dsregdns)",
                one.evidence, severity=Severity.WARNING,
            )  # fmt: skip
    return next((one for one in found if not one.ok), good(name, f"DNS names {name}"))


def _timed(world: World, what: str, ask: Callable[[], object]) -> Finding:
    began = world.clock.monotonic()
    ask()
    took = timedelta(seconds=world.clock.monotonic() - began)
    text = f"{what} took {took.total_seconds():.2f} s"
    if took > _SLOW:
        return bad(
            what, text, "look at the load of that host and at the network between; a name server that does not answer is the usual cause",
            severity=Severity.WARNING,
        )  # fmt: skip
    return good(what, text)


# ------------------------------------------------------------------------------------------------------------------- nodes


def _of_node(world: World, node: Node, nodes: Sequence[Node]) -> tuple[Step, ...]:
    host, port = _address(node)
    beating = Step("service", lambda: _beating(world, node))
    stale = Step("stale state", lambda: _stale(world, node, nodes))
    sharing = sorted(one.name for one in nodes if one.name != node.name and _address(one) == _address(node))
    if sharing:  # whoever answers there may be another node
        return (beating, Step("address", lambda: _common(node, host, sharing)), stale)
    return (
        beating,
        stale,
        Step("name", lambda: names.asked(world.network, host, [host])),
        Step("question", lambda: _served(world, host, port)),
        Step("firewall", lambda: _knocked(world, node.name, host, port)),
        Step(
            "performance",
            lambda: _timed(world, f"a connection to {host}", lambda: world.network.knock(host, port)),
        ),
    )


def _address(node: Node) -> tuple[str, int]:
    parts = urlsplit(node.url)
    return (parts.hostname or node.name).lower(), parts.port or _HTTPS


def _common(node: Node, host: str, sharing: Sequence[str]) -> Finding:
    """The settings know no address of the node alone: nothing that is seen at the common one is about it."""
    return Finding(
        node.name,
        Severity.SKIPPED,
        f"{host} is the common address of {node.name}, {', '.join(sharing)}: whether {node.name} itself can be reached was not looked at",
        remedy=f"on {node.name}: `bastide validate --only service`; from here, its own name and port, past the common address",
    )


def _beating(world: World, node: Node) -> Finding:
    """What the node itself last said to the database: that needs no network between it and us."""
    now = world.clock.now()
    heard = f"last heartbeat {node.heartbeat:%Y-%m-%d %H:%M:%S} UTC"
    start = f"on {node.name}: systemctl start bastide.service; `journalctl -u bastide.service -n 50` says why it ended"
    if node.left_at is not None:
        return bad(node.name, f"{node.name} was stopped at {node.left_at:%Y-%m-%d %H:%M} UTC", start, heard)
    if not node.alive(now):
        text = f"{node.name} does not write to the database any more: it is down, hangs, or cannot reach the database"
        return bad(node.name, text, start, heard)
    return good(node.name, f"{node.name} runs", heard)


def _served(world: World, host: str, port: int) -> Finding:
    """The certificate that it shows, as a browser meets it."""
    from cryptography import x509  # noqa: PLC0415  # heavy, and only here

    if why := world.network.knock(host, port):
        return unasked(host, f"port {port}: {why}")  # the next step says what that means
    try:
        shown = x509.load_pem_x509_certificate(world.network.certificate(host, port).encode())
    except OSError as error:
        remedy = f"on {host}: look at server.certificate and server.key, and at the log of bastide.service"
        return bad(host, f"{host} port {port} listens, and speaks no TLS: {error}", remedy)
    found = certificates.life(host, shown, world.clock.now(), "renew it there, and restart bastide.service")
    return found if not found.ok else certificates.names(shown, [host.lower()])


def _knocked(world: World, node: str, host: str, port: int) -> Finding:
    """It runs, as its heartbeat says: so what does not answer is its listener or a firewall."""
    why = world.network.knock(host, port)
    if not why:
        return good(host, f"port {port} answers")
    if why.startswith("refused"):
        remedy = f"on {node}: it runs without the API (`bastide worker`), or server.address and server.port name another place"
        return bad(host, f"{node} runs, and refuses port {port}", remedy, why)
    remedy = f"open TCP {port} from here to {host} in the firewalls between, and on {node} itself"
    return bad(host, f"{node} runs, and port {port} is silent: a firewall drops it", remedy, why)


def _stale(world: World, node: Node, nodes: Sequence[Node]) -> Finding:
    """Leases that are over, a node that was drained and forgotten, another version than the others."""
    rows = [row for row in work.rows_of(world) if row.owner and node_of(row.owner) == node.name]
    leases = work.judge_leases(rows, world.clock.now())
    if not leases.ok:
        return leases
    if node.draining:
        remedy = f"`bastide node resume {node.name}`, when the maintenance is over"
        return bad(node.name, f"{node.name} is drained, and takes no work", remedy, severity=Severity.WARNING)
    versions = {one.version for one in nodes if one.left_at is None}
    if len(versions) > 1:
        remedy = "upgrade the older ones"
        text = f"the nodes run different versions: {', '.join(sorted(versions))}"
        return bad(node.name, text, remedy, severity=Severity.WARNING)
    return good(node.name, f"{node.name} holds nothing that is over, and runs the version of the others")


# ----------------------------------------------------------------------------------------------------------------- targets


def place_of(agent: ManagementAgent) -> tuple[str, int] | None:
    """Where the system listens, as far as its settings say it; None: it is a file, a program, a socket, or a domain whose controllers DNS names."""
    host, given = agent.settings.get("host"), agent.settings.get("port")
    kind = f"{agent.connector}:{agent.settings.get('tls', '')}"
    port = (given if isinstance(given, int) else 0) or _PORTS.get(kind) or _PORTS.get(agent.connector, 0)
    if not isinstance(host, str) or not host or host.startswith("/") or not port:
        return None
    return host, port


def _of_target(world: World, agent: ManagementAgent) -> tuple[Step, ...]:
    place = place_of(agent)
    ways: tuple[Step, ...] = ()
    if place is not None:
        host, port = place
        ways = (
            Step("name", lambda: names.asked(world.network, host, [host])),
            Step("service and firewall", lambda: _reached(world, agent.name, host, port)),
        )
    return (
        *ways,
        Step("question", lambda: _answered(world, agent)),
        Step("stale state", lambda: _waiting(world, agent)),
        Step(
            "performance",
            lambda: _timed(world, f"a question to {agent.name}", lambda: _identity(world, agent)),
        ),
    )


def _reached(world: World, name: str, host: str, port: int) -> Finding:
    why = world.network.knock(host, port)
    if not why:
        return good(name, f"{host} port {port} answers")
    if why.startswith("refused"):
        return bad(name, f"{host} is up, and {name} is not: port {port} refused", f"start it on {host}, or mend the port in `bastide ma edit`", why)  # fmt: skip
    remedy = f"start {host}, or open TCP {port} from here to it in the firewalls between"
    return bad(name, f"{host} port {port} is silent: a firewall drops it, or the host is down", remedy, why)


def _identity(world: World, agent: ManagementAgent) -> object:
    with world.store().read() as uow:
        secret = secret_of(uow, world.sealer(), agent.id)
    return world.systems().identity(agent, secret)


def _answered(world: World, agent: ManagementAgent) -> Finding:
    _identity(world, agent)
    return good(agent.name, f"{agent.name} lets its management agent in")


def _waiting(world: World, agent: ManagementAgent) -> Finding:
    """Passwords that wait for it, and an import that is due for long."""
    with world.store().read() as uow:
        waiting = uow.changes.queue_length(agent.id)
    every, at = agent.imports.every, agent.imported_at
    if every is not None and (at is None or world.clock.now() - at > 2 * every):
        when = "never" if at is None else f"at {at:%Y-%m-%d %H:%M} UTC"
        remedy = f"`bastide ma import {agent.name}`; work.failing of `bastide validate` says what stops it"
        return bad(agent.name, f"{agent.name} was last imported {when}", remedy, severity=Severity.WARNING)
    if waiting:
        remedy = "`bastide passwords queue` shows them, with what each was answered"
        return bad(
            agent.name, f"{waiting} passwords wait for {agent.name}", remedy, severity=Severity.WARNING
        )
    return good(agent.name, "nothing waits for it")
