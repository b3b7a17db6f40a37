"""The walk from a symptom to its first cause: of a controller, a node, a connected system."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bastide.domain.errors import (
    DirectoryDenied,
    DirectoryError,
    DirectoryUnavailable,
    NotFound,
    TargetUnavailable,
)
from bastide.domain.health import Finding, Severity, first_cause
from bastide.domain.nodes import Node
from bastide.health import diagnose
from bastide.health.diagnose import Seen, Step, steps_for, walk
from bastide.health.look import bad, good
from bastide.health.world import World
from tests.support.certificates import issue
from tests.support.health import ToldDomain, ToldNetwork, looking_at
from tests.support.sync_world import SyncWorld
from tests.support.world import START, TestClock

DC, OTHER, ADDRESS = "dc1.priv.test", "dc2.priv.test", "192.0.2.10"
SRV = "_ldap._tcp.dc._msdcs.priv.test"
REFUSED, SILENT = "refused: nothing listens there", "timed out: a firewall drops it, or the host is down"
PORTS = (88, 389, 445, 464, 636, 3268)


def shut(*numbers: int, why: str, host: str = DC) -> dict[tuple[str, int], str]:
    return {(host, port): why for port in numbers}


class Controllers(ToldDomain):
    """A domain whose ports are those of the network, and that DNS names."""

    def __init__(self, network: ToldNetwork, answers: dict[str, timedelta | DirectoryError | str]) -> None:
        super().__init__(answers, [])
        self.network = network

    def ports(self) -> Iterator[Finding]:
        from bastide.directory.domain_probe import ports

        return ports(self.controllers(), self.network)

    def name_service(self) -> Iterator[Finding]:
        from bastide.directory.domain_probe import name_service

        return name_service("priv.test", self.network)


def network(**changes: Any) -> ToldNetwork:
    fine: dict[str, Any] = {
        "hosts": {name: frozenset({ADDRESS}) for name in (DC, "dc1")},
        "names": {ADDRESS: DC},
        "srv": {SRV: [DC, OTHER], "_kerberos._tcp.priv.test": [DC, OTHER]},
    }
    return ToldNetwork(**(fine | changes))


def walked(
    net: ToldNetwork, answer: timedelta | DirectoryError | str = timedelta(0), other: Any = timedelta(0)
) -> list[Seen]:
    domain = Controllers(net, {DC: answer, OTHER: other})
    title, steps = steps_for(looking_at(network=net, domains={"priv.test": domain}), "dc1")
    assert title == f"domain controller {DC}"
    return list(walk(steps))


def cause(seen: list[Seen]) -> tuple[str, str]:
    """The step it was found at, and the cause."""
    found = first_cause([one.finding for one in seen])
    return next(((one.title, one.finding.text) for one in seen if one.finding is found), ("", ""))


def test_a_controller_that_is_well_has_no_cause_and_all_steps_are_walked() -> None:
    seen = walked(network())
    assert [one.title for one in seen] == [
        "name", "service", "question", "clock", "firewall", "stale state", "performance",
    ]  # fmt: skip
    assert cause(seen) == ("", "")


@pytest.mark.parametrize(
    ("changes", "answer", "step", "said"),
    [
        ({"hosts": {}}, timedelta(0), "name", "has no address"),
        ({"shut": shut(*PORTS, why=REFUSED)}, "port 88: refused", "service", "is up, and its service is not: port 88, 389 refused"),
        ({"shut": shut(389, why=SILENT)}, "port 389: timed out", "service", "port 389 is silent: a firewall drops it"),
        ({"shut": shut(*PORTS, why=SILENT)}, "port 88: timed out", "service", "does not answer at all"),
        ({}, DirectoryDenied("no"), "question", "look at that controller"),
        ({}, timedelta(minutes=6), "clock", "differs by 360 s"),
        ({"shut": shut(445, why=SILENT)}, timedelta(0), "firewall", "cannot be reached on all ports"),
        ({"srv": {SRV: [OTHER], "_kerberos._tcp.priv.test": [OTHER]}}, timedelta(0), "stale state", "does not name dc1"),
        ({"names": {}}, timedelta(0), "name", "reverse record"),
    ],
)  # fmt: skip
def test_the_first_cause_of_a_controller(
    changes: dict[str, Any], answer: timedelta | DirectoryError | str, step: str, said: str
) -> None:
    seen = walked(network(**changes), answer)
    at, text = cause(seen)
    assert (at, said in text) == (step, True), text
    assert first_cause([one.finding for one in seen]).remedy  # type: ignore[union-attr]
    if seen[-1].finding.severity.is_error:
        assert seen[-1].title == step, "nothing is looked at after it"


def test_what_all_controllers_refuse_is_this_node_s_fault() -> None:
    (*_, last) = walked(network(), DirectoryDenied("no"), DirectoryDenied("no"))
    assert "look at this node" in last.finding.text


def test_a_name_that_nobody_has_lists_those_there_are(world: SyncWorld) -> None:
    world.add_target("ldap-hr")
    with pytest.raises(NotFound) as refused:
        steps_for(looking_at(store=world.store, domains={"a": ToldDomain({DC: ""})}), "nobody")
    assert DC in refused.value.remedy
    assert "ldap-hr" in refused.value.remedy


def test_a_step_that_raises_is_its_finding_and_ends_the_walk() -> None:
    def broken() -> Finding:
        raise DirectoryUnavailable("gone", remedy="look")

    seen = list(walk([Step("a", broken), Step("b", lambda: good("b", "fine"))]))
    assert [(one.title, one.finding.text, one.finding.remedy) for one in seen] == [("a", "gone", "look")]


def test_an_error_counts_more_than_an_earlier_warning() -> None:
    warning = bad("a", "w", "", severity=Severity.WARNING)
    error = bad("b", "e", "")
    fine = good("c", "f")
    assert first_cause([warning, error]) is error
    assert first_cause([warning, fine]) is warning
    assert first_cause([fine]) is None
    assert first_cause([]) is None


def test_a_slow_answer_is_a_warning() -> None:
    clock = TestClock()
    found = diagnose._timed(looking_at(clock=clock), "a question", lambda: clock.move(seconds=3))
    assert (found.severity, found.text) == (Severity.WARNING, "a question took 3.00 s")


# ------------------------------------------------------------------------------------------------------------------- nodes

NODE = Node(
    name="node-2", url="https://node-2.priv.test:8443", partition="default", version="1", schema="1", process="p",
    rhythm=timedelta(seconds=10), started_at=START, heartbeat=START,
)  # fmt: skip


@pytest.fixture
def world() -> Iterator[SyncWorld]:
    made = SyncWorld()
    yield made
    made.close()


def node_world(world: SyncWorld, node: Node, folder: Path, *others: Node, **changes: Any) -> World:
    host = "node-2.priv.test"
    pair = issue(folder, "node", host)
    fine: dict[str, Any] = {
        "hosts": {host: frozenset({ADDRESS})},
        "names": {ADDRESS: host},
        "certificates": {(host, 8443): pair.certificate.read_text()},
    }
    with world.store.write() as uow:
        for one in (node, *others):
            uow.nodes.put(one)
        uow.commit()
    return looking_at(
        store=world.store, domains={}, network=ToldNetwork(**(fine | changes)), clock=Frozen(node.started_at)
    )


class Frozen(TestClock):
    """At that moment."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        return self.at


@pytest.mark.parametrize(
    ("changes", "network_changes", "step", "said"),
    [
        ({}, {"hosts": {}}, "name", "has no address"),
        ({"left_at": START}, {}, "service", "was stopped"),
        ({"heartbeat": START - timedelta(hours=1)}, {}, "service", "does not write to the database any more"),
        ({}, {"certificates": {}}, "question", "speaks no TLS"),
        ({}, {"shut": {("node-2.priv.test", 8443): REFUSED}}, "firewall", "refuses port 8443"),
        ({}, {"shut": {("node-2.priv.test", 8443): SILENT}}, "firewall", "is silent: a firewall drops it"),
        ({"draining": True}, {}, "stale state", "is drained"),
    ],
)  # fmt: skip
def test_the_first_cause_of_a_node(
    world: SyncWorld,
    tmp_path: Path,
    changes: dict[str, Any],
    network_changes: dict[str, Any],
    step: str,
    said: str,
) -> None:
    now = datetime.now(UTC) - timedelta(days=5)
    moved = {
        name: value + (now - START) if isinstance(value, datetime) else value
        for name, value in changes.items()
    }
    node = replace(NODE, **({"started_at": now, "heartbeat": now} | moved))
    _, steps = steps_for(node_world(world, node, tmp_path, **network_changes), "node-2")
    at, text = cause(list(walk(steps)))
    assert (at, said in text) == (step, True), text


def test_nodes_of_two_versions_are_stale(world: SyncWorld, tmp_path: Path) -> None:
    now = datetime.now(UTC) - timedelta(days=5)
    node = replace(NODE, started_at=now, heartbeat=now)
    other = replace(node, name="node-3", version="2")
    _, steps = steps_for(node_world(world, node, tmp_path, other), "NODE-2")
    assert cause(list(walk(steps))) == ("stale state", "the nodes run different versions: 1, 2")


def test_a_common_address_says_nothing_about_the_node(world: SyncWorld, tmp_path: Path) -> None:
    now = datetime.now(UTC) - timedelta(days=5)
    node = replace(NODE, started_at=now, heartbeat=now, url="https://bastide.priv.test:8443")
    other = replace(node, name="node-3", url="https://Bastide.priv.test:8443/")
    _, steps = steps_for(node_world(world, node, tmp_path, other), "node-2")
    seen = list(walk(steps))
    assert [one.title for one in seen] == ["service", "address", "stale state"]
    assert seen[1].finding.severity is Severity.SKIPPED
    assert "common address of node-2, node-3" in seen[1].finding.text
    assert "on node-2" in seen[1].finding.remedy


def test_a_drained_node_outranks_a_reverse_record(world: SyncWorld, tmp_path: Path) -> None:
    now = datetime.now(UTC) - timedelta(days=5)
    node = replace(NODE, started_at=now, heartbeat=now, draining=True)
    _, steps = steps_for(node_world(world, node, tmp_path, names={}), "node-2")
    seen = list(walk(steps))
    assert any("reverse record" in one.finding.text for one in seen)
    assert cause(seen) == ("stale state", "node-2 is drained, and takes no work")


@pytest.mark.parametrize("name", ["srv1", "SRV1.priv.test", "node-2"])
def test_this_server_s_own_host_name_is_its_node(
    world: SyncWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "srv1")
    monkeypatch.setattr("socket.getfqdn", lambda: "srv1.priv.test")
    looking = node_world(world, NODE, tmp_path, replace(NODE, name="node-3"))
    config = msgspec.structs.replace(
        looking.config, server=msgspec.structs.replace(looking.config.server, node="node-2")
    )
    title, _ = steps_for(replace(looking, config=config), name)
    assert title == "node node-2"
    with pytest.raises(NotFound):
        steps_for(looking, "srv2")


# ----------------------------------------------------------------------------------------------------------------- targets


class Answering:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def identity(self, _agent: Any, _secret: str) -> tuple[str, ...]:
        if self.error is not None:
            raise self.error
        return ("itself",)


def test_a_target_that_answers_has_no_cause(world: SyncWorld) -> None:
    world.add_target("hr")
    looking = looking_at(store=world.store, domains={}, sealer=None, systems=Answering(), clock=world.clock)
    title, steps = steps_for(looking, "HR")
    assert title == "target hr"
    assert cause(list(walk(steps))) == ("", "")


def test_a_target_that_does_not_answer(world: SyncWorld) -> None:
    world.add_target("hr")
    down = Answering(TargetUnavailable("no answer", remedy="start it"))
    looking = looking_at(store=world.store, domains={}, sealer=None, systems=down, clock=world.clock)
    assert cause(list(walk(steps_for(looking, "hr")[1]))) == ("question", "no answer")


@pytest.mark.parametrize(
    ("connector", "settings", "place"),
    [
        ("ldap", {"host": "l.test", "tls": "starttls"}, ("l.test", 389)),
        ("ldap", {"host": "l.test", "tls": "ldaps"}, ("l.test", 636)),
        ("postgresql", {"host": "p.test", "port": 0}, ("p.test", 5432)),
        ("postgresql", {"host": "p.test", "port": 6432}, ("p.test", 6432)),
        ("postgresql", {"host": "/run/postgresql"}, None),
        ("delimited", {"path": "/x"}, None),
    ],
)
def test_where_a_target_listens(
    world: SyncWorld, connector: str, settings: dict[str, Any], place: tuple[str, int] | None
) -> None:
    agent = replace(world.add_target("hr"), connector=connector, settings=settings)
    assert diagnose.place_of(agent) == place


@pytest.mark.parametrize(
    ("why", "said"), [(REFUSED, "port 5432 refused"), (SILENT, "port 5432 is silent: a firewall drops it")]
)
def test_a_target_s_port_is_told_apart(world: SyncWorld, why: str, said: str) -> None:
    looking = looking_at(network=ToldNetwork(shut={("p.test", 5432): why}))
    assert said in diagnose._reached(looking, "hr", "p.test", 5432).text
