"""A node and its cluster alias on the twins: a test per number of services/cluster/node.py."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bastide.directory.memory_alias import (
    MemoryKeyFile,
)
from bastide.domain import cluster
from bastide.domain.cluster import Alias
from bastide.domain.errors import (
    NotAuthenticated,
    NotFound,
)
from bastide.domain.health import Severity
from bastide.services.cluster.looks import AliasRefused
from bastide.services.cluster.ports import Certificate
from tests.support.alias_account_world import ALIAS, DOMAIN, NOW, World, errors_in, spoil


@pytest.fixture
def world() -> World:
    return World()


def test_join_1_only_with_the_current_key(world: World) -> None:
    world.create()
    old = MemoryKeyFile()
    old.take(world.keys, ALIAS)
    world.account().rotate(ALIAS)
    for file in (old, MemoryKeyFile()):
        with pytest.raises(AliasRefused) as refused:
            world.node().join(ALIAS, file)
        assert errors_in(refused) == {"cluster.keytab"}
    assert world.own.read() == ()


def test_join_2_only_with_a_key_that_opens_a_ticket(world: World) -> None:
    world.create()
    wrong = MemoryKeyFile()
    wrong.add(ALIAS, "another password", 2)
    with pytest.raises(NotAuthenticated):
        world.node().join(ALIAS, wrong)
    assert world.own.read() == ()


@pytest.mark.parametrize("what", ["no account", "disabled", "delegates", "another's name"])
def test_join_3_only_an_account_that_is_sound(world: World, what: str) -> None:
    world.create()
    spoil(world, what)
    with pytest.raises(AliasRefused):
        world.node().join(ALIAS, world.keys)
    assert world.own.read() == ()


def _no_certificate(world: World) -> None:
    world.shown = Certificate(frozenset({"node1.priv.bastide.test"}), NOW + timedelta(days=90))


def _expired(world: World) -> None:
    world.shown = Certificate(frozenset({ALIAS.fqdn}), NOW)


def _no_address(world: World) -> None:
    del world.names.hosts[ALIAS.fqdn]


@pytest.mark.parametrize(
    ("arrange", "key"),
    [
        (_no_certificate, "cluster.certificate"),
        (_expired, "cluster.certificate"),
        (_no_address, "cluster.dns"),
    ],
)
def test_join_4_only_where_name_and_certificate_fit(
    world: World, arrange: Callable[[World], None], key: str
) -> None:
    world.create()
    arrange(world)
    with pytest.raises(AliasRefused) as refused:
        world.node().join(ALIAS, world.keys)
    assert errors_in(refused) == {key}
    assert world.own.read() == ()


def test_join_5_the_keys_go_beside_what_is_there(world: World) -> None:
    world.create()
    node1 = Alias.parse("node1", DOMAIN)
    world.own.add(node1, "its own", 4)
    done = world.node().join(ALIAS, world.keys)
    assert cluster.versions(cluster.of_alias(world.own.read(), node1)) == (4,)
    assert cluster.versions(cluster.of_alias(world.own.read(), ALIAS)) == (2,) == (done.version,)
    assert world.records.kinds == ["cluster.joined"]  # (7)


def test_join_5_a_dry_run_takes_nothing(world: World) -> None:
    world.create()
    assert not world.node().join(ALIAS, world.keys, dry=True).recorded
    assert (world.own.read(), world.records.kinds) == ((), [])


def test_join_6_what_was_written_is_read_back(world: World) -> None:
    world.create()
    world.own.take = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(AliasRefused):
        world.node().join(ALIAS, world.keys)
    assert world.records.kinds == []


def test_a_node_leaves(world: World) -> None:
    world.create()
    node1 = Alias.parse("node1", DOMAIN)
    world.own.add(node1, "its own", 4)
    world.node().join(ALIAS, world.keys)
    assert world.node().leave(ALIAS).pruned == (2,)
    assert cluster.of_alias(world.own.read(), ALIAS) == ()
    assert cluster.of_alias(world.own.read(), node1) != ()
    assert world.records.kinds == ["cluster.joined", "cluster.left"]
    with pytest.raises(NotFound):
        world.node().leave(ALIAS)


def test_the_status_of_what_is_right_has_no_problem(world: World) -> None:
    world.create()
    found = world.node().status(ALIAS, [world.keys])
    assert {one.severity for one in found} == {Severity.OK}
    assert {one.key for one in found} >= {
        "cluster.account", "cluster.spn", "cluster.key-age", "cluster.controllers", "cluster.keytab", "cluster.dns", "cluster.certificate",
    }  # fmt: skip
