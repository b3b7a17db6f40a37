"""What every AliasDirectory, KeyFile and TicketProof does, in memory and on Samba."""

from collections.abc import Iterator

import pytest

from bastide.domain import cluster
from bastide.domain.cluster import Alias
from bastide.domain.errors import BastideError, DirectoryDenied, NoSuchObject, ObjectExists
from bastide.services.cluster.ports import KeyFile
from tests.support.alias_world import (
    MAKER,
    NOBODY,
    AliasWorld,
    MemoryAliasWorld,
    SambaAliasWorld,
    soon,
)

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
PASSWORD = "Aa1" + "p" * 117


@pytest.fixture(scope="module", params=["memory", pytest.param("samba", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> Iterator[AliasWorld]:
    if request.param == "memory":
        yield MemoryAliasWorld()
    else:
        yield SambaAliasWorld(request.getfixturevalue("directory_lab"))


def made(world: AliasWorld) -> tuple[Alias, str]:
    alias = world.new_alias()
    return alias, world.directory().create(alias, world.ou)


def test_who_calls_and_where(world: AliasWorld) -> None:
    assert world.directory().domain == "priv.bastide.test"
    assert world.directory().caller().name == "Administrator"
    assert world.directory().caller().sid.startswith("S-1-5-21-")
    assert MAKER in world.directory(MAKER).caller().name


def test_an_account_is_born_disabled_with_aes_and_both_names(world: AliasWorld) -> None:
    alias, dn = made(world)
    found = world.directory().find(alias)
    assert found is not None
    assert (found.dn.lower(), found.computer, found.enabled, found.delegates) == (
        dn.lower(),
        True,
        False,
        False,
    )
    assert set(found.spns) == set(alias.spns)
    assert (found.encryption, found.changed, found.by_quota) == (0x18, None, False)
    assert found.owner_trusted
    assert "useraccountcontrol" in found.writable


def test_what_cannot_be_made_is_refused(world: AliasWorld) -> None:
    alias, _ = made(world)
    with pytest.raises(ObjectExists):
        world.directory().create(alias, world.ou)
    with pytest.raises(DirectoryDenied):
        world.directory(NOBODY).create(world.new_alias(), world.ou)
    with pytest.raises(NoSuchObject):
        world.directory().create(world.new_alias(), f"OU=Nowhere,{world.ou}")


def test_a_place_says_what_the_caller_may(world: AliasWorld) -> None:
    for who, may in (("Administrator", True), (MAKER, True), (NOBODY, False)):
        place = world.directory(who).place(world.ou)
        assert (place.found, place.readable, place.creates) == (True, True, may), who
    nowhere = world.directory().place(f"OU=Nowhere,{world.ou}")
    assert (nowhere.found, nowhere.creates, nowhere.deepest.lower()) == (False, False, world.ou.lower())


def test_the_quota_counts_what_was_made_on_it(world: AliasWorld) -> None:
    quota = world.directory(NOBODY).quota()
    assert quota.limit == 10
    assert quota.used == 0


def test_who_holds_a_name(world: AliasWorld) -> None:
    alias, dn = made(world)
    for spn in alias.spns:
        found = world.directory().holders(spn)
        assert [one.lower() for one in found.dns] == [dn.lower()]
        assert found.whole
    assert world.directory().holders("HTTP/nobody.priv.bastide.test").dns == ()
    assert world.directory().holders("HTTP/*").dns == ()
    other = world.new_alias()
    holder = world.other_holds(other.spns[0])
    assert world.directory().holders(other.spns[0]).dns == (holder,)


def test_a_password_is_a_new_version(world: AliasWorld) -> None:
    alias, dn = made(world)
    directory = world.directory()
    first = _version(world, alias)
    directory.set_password(dn, PASSWORD)
    directory.set_password(dn, PASSWORD + "x")
    found = directory.find(alias)
    assert found is not None
    assert found.version == first + 2
    assert found.changed is not None
    assert found.version in directory.versions(dn).values()


def test_enabled_disabled_adopted_and_gone(world: AliasWorld) -> None:
    alias, dn = made(world)
    directory = world.directory()
    for enabled in (True, True, False):
        directory.set_enabled(dn, enabled=enabled)
        found = directory.find(alias)
        assert found is not None
        assert found.enabled is enabled
    directory.adopt(dn, alias)
    directory.delete(dn)
    directory.delete(dn)
    assert directory.find(alias) is None
    with pytest.raises(NoSuchObject):
        directory.set_password(dn, PASSWORD)


def test_a_ticket_opens_with_the_key_of_its_version_only(world: AliasWorld) -> None:
    """The salt is the directory's too: a key of a wrong one opens nothing."""
    alias, dn = made(world)
    directory, keys, old = world.directory(), world.key_file(), world.key_file()
    with pytest.raises(BastideError):
        world.proof().accepted(alias, keys)
    directory.set_password(dn, PASSWORD)
    directory.set_enabled(dn, enabled=True)
    keys.add(alias, PASSWORD, _version(world, alias))
    old.take(keys, alias)
    soon(lambda: _opens(world, alias, keys))
    directory.set_password(dn, PASSWORD + "x")
    keys.add(alias, PASSWORD + "x", _version(world, alias))
    soon(lambda: _opens(world, alias, keys))
    soon(lambda: not _opens(world, alias, old))
    keys.drop(alias, [_version(world, alias)])
    with pytest.raises(BastideError):
        world.proof().accepted(alias, keys)


def test_a_key_file_keeps_versions_apart(world: AliasWorld) -> None:
    alias, other, keys, node = world.new_alias(), world.new_alias(), world.key_file(), world.key_file()
    assert keys.read() == ()
    keys.check_place()
    keys.add(alias, PASSWORD, 2)
    keys.add(alias, PASSWORD, 3)
    keys.add(alias, PASSWORD + "x", 3)
    assert cluster.versions(keys.read()) == (2, 3)
    assert len(keys.read()) == 8
    assert cluster.missing(keys.read(), alias, 3) == ()
    assert cluster.weak(keys.read()) == ()
    node.add(other, PASSWORD, 7)
    node.add(alias, PASSWORD, 1)
    node.take(keys, alias)
    assert cluster.versions(cluster.of_alias(node.read(), alias)) == (2, 3)
    assert cluster.versions(cluster.of_alias(node.read(), other)) == (7,)
    keys.drop(alias, [2])
    assert cluster.versions(keys.read()) == (3,)
    keys.drop(alias, [3])
    assert keys.read() == ()
    keys.drop(alias, [3])


def _version(world: AliasWorld, alias: Alias) -> int:
    found = world.directory().find(alias)
    assert found is not None
    return found.version


def _opens(world: AliasWorld, alias: Alias, keys: KeyFile) -> bool:
    try:
        world.proof().accepted(alias, keys)
    except BastideError:
        return False
    return True
