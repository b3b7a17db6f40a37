"""What can stop the making of a cluster alias, tried for real on Samba with accounts that lack one thing each. Each check is right if the directory
itself refuses what it says would be refused, and takes what it says would be taken.
"""

import time
from datetime import timedelta
from pathlib import Path

import gssapi
import pytest

from bastide.directory.alias_names import AliasNames
from bastide.directory.constants import AccountControl
from bastide.directory.session import REPLACE
from bastide.directory.signin import SpnegoAcceptor
from bastide.domain import cluster
from bastide.domain.cluster import Alias
from bastide.domain.errors import BastideError, DirectoryDenied, NotAuthenticated
from bastide.domain.health import Finding, Severity
from bastide.domain.people import Forest
from bastide.services.cluster import looks
from bastide.services.cluster.account import AliasAccount, Done
from bastide.services.cluster.looks import AliasRefused
from bastide.services.cluster.node import AliasNode
from bastide.services.cluster.ports import Certificate, Holding, KeyFile
from bastide.store.keys import SystemRandom
from tests.support.alias_world import ADMINISTRATOR, MAKER, NOBODY, SambaAliasWorld, soon

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]


@pytest.fixture(scope="module", params=[pytest.param("samba", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> SambaAliasWorld:
    return SambaAliasWorld(request.getfixturevalue("directory_lab"))


def account(world: SambaAliasWorld, keys: KeyFile, who: str = ADMINISTRATOR) -> AliasAccount:
    return AliasAccount(
        directory=world.directory(who),
        keys=keys,
        proof=world.proof(who),
        random=SystemRandom(),
        recorder=None,
        now=world.forests.now,
        wait=time.sleep,
    )


def refused(
    world: SambaAliasWorld, alias: Alias, who: str = ADMINISTRATOR, ou: str = ""
) -> dict[str, Finding]:
    """What is in the way, by key; nothing may have been written."""
    keys = world.key_file()
    before = world.directory().find(alias)
    with pytest.raises(AliasRefused) as error:
        account(world, keys, who).create(alias, ou or world.ou)
    assert keys.read() == ()
    assert world.directory().find(alias) == before
    found = {one.key: one for one in error.value.findings if one.severity.is_error}
    assert all(one.remedy for one in found.values())
    return found


def created(
    world: SambaAliasWorld, alias: Alias, who: str = ADMINISTRATOR, ou: str = ""
) -> tuple[Done, Holding]:
    keys = world.key_file()
    done = account(world, keys, who).create(alias, ou or world.ou)
    found = world.directory().find(alias)
    assert found is not None
    assert found.enabled
    assert (found.encryption, found.delegates, set(found.spns)) == (0x18, False, set(alias.spns))
    assert cluster.versions(keys.read()) == (found.version,) == (done.version,)
    return done, found


def test_with_the_right_to_make_computers_and_no_other(world: SambaAliasWorld) -> None:
    done, found = created(world, world.new_alias(), MAKER)
    assert not done.taken_over
    assert found.owner == world.people[MAKER]
    assert not found.owner_trusted  # to the administrator: its maker may set the password


def test_the_name_is_an_enabled_account(world: SambaAliasWorld) -> None:
    alias = world.new_alias()
    dn = world.pre_stage(alias, enabled=True)
    said = refused(world, alias)["cluster.name"]
    assert dn in said.text
    assert "since 20" in said.text
    assert "Domain Admins" in said.text  # whose
    assert "disable" in said.remedy


def test_the_name_is_a_domain_controller(world: SambaAliasWorld) -> None:
    assert (
        "never taken over" in refused(world, Alias.parse("privdc2", "priv.bastide.test"))["cluster.name"].text
    )


def test_a_disabled_account_of_an_administrator_is_taken_over(world: SambaAliasWorld) -> None:
    alias = world.new_alias()
    dn = world.pre_stage(alias)
    world.forests.admin_modify(
        Forest.PRIV,
        dn,
        [
            (REPLACE, "msDS-AllowedToDelegateTo", [b"HTTP/privdc.priv.bastide.test"]),
            (
                REPLACE,
                "userAccountControl",
                [str(int(4098 | AccountControl.TRUSTED_TO_AUTH_FOR_DELEGATION)).encode()],
            ),
        ],
    )
    done, found = created(world, alias)
    assert done.taken_over
    assert found.dn == dn


def test_a_disabled_account_is_taken_over_by_who_was_given_it(world: SambaAliasWorld) -> None:
    """As the guide to pre-staging has it: an administrator makes it, and gives Full Control to who makes the cluster."""
    alias = world.new_alias()
    dn = world.pre_stage(alias)
    lacking = refused(world, alias, NOBODY)["cluster.account-write"]
    assert "useraccountcontrol" in lacking.text
    with pytest.raises(DirectoryDenied):
        world.directory(NOBODY).adopt(dn, alias)
    world.allow(dn, f"(A;;GA;;;{world.sids[NOBODY]})")
    done, found = created(world, alias, NOBODY)
    assert done.taken_over
    assert found.masters == (world.people[NOBODY],)


def test_a_disabled_account_of_somebody_else_is_not(world: SambaAliasWorld) -> None:
    """Whoever owns it can set its password afterwards, and so sign tickets for the alias."""
    alias = world.new_alias()
    world.pre_stage(alias, by=MAKER)
    said = refused(world, alias)["cluster.account-owner"]
    assert world.people[MAKER] in said.text


def test_no_right_to_make_computers(world: SambaAliasWorld) -> None:
    alias = world.new_alias()
    said = refused(world, alias, NOBODY)["cluster.ou-create"]
    assert world.people[NOBODY] in said.text
    assert "CC;computer" in said.remedy
    with pytest.raises(DirectoryDenied):
        world.directory(NOBODY).create(alias, world.ou)
    elsewhere = world.new_ou()
    said = refused(world, alias, MAKER, elsewhere)["cluster.ou-create"]
    with pytest.raises(DirectoryDenied):
        world.directory(MAKER).create(alias, elsewhere)
    world.do(said.remedy)  # the remedy, word for word
    created(world, alias, MAKER, elsewhere)


def test_no_read_all_properties(world: SambaAliasWorld) -> None:
    """With the right to make objects, and the properties of the OU closed: the number one failure that document 1 tells of."""
    closed = world.new_ou()
    me = world.sids[MAKER]
    world.allow(closed, f"(OA;CI;CC;bf967a86-0de6-11d0-a285-00aa003049e2;;{me})")
    world.close(closed)
    alias = world.new_alias()
    said = refused(world, alias, MAKER, closed)["cluster.ou-read"]
    assert world.people[MAKER] in said.text
    assert "Read All Properties" in said.remedy
    world.do(said.remedy)
    created(world, alias, MAKER, closed)
    denied = world.new_ou()
    world.allow(denied, f"(D;;RP;;;{me})")
    assert "cluster.ou-read" in refused(world, world.new_alias(), MAKER, denied)


def test_the_ou_is_not_there(world: SambaAliasWorld) -> None:
    said = refused(world, world.new_alias(), ou=f"OU=Nowhere,{world.ou}")["cluster.ou"]
    assert f"OU=Nowhere,{world.ou}" in said.text
    assert world.ou in said.evidence
    with pytest.raises(BastideError, match="no distinguished name"):
        world.directory().place("Clusters")


def test_the_quota_is_used_up(world: SambaAliasWorld) -> None:
    """Samba shows a quota and gives nobody anything for it: neither over LDAP nor over SAMR. So what Windows would have made on it is made here by the
    administrator, with the attribute that says whose it is.
    """
    assert "access denied" in world.make_on_quota(NOBODY, world.new_alias().account).lower()
    world.set_quota(1)
    try:
        quota = world.directory(NOBODY).quota()
        assert (quota.limit, quota.used) == (1, 0)
        first = world.new_alias()
        world.pre_stage(first, creator=world.sids[NOBODY])
        quota = world.directory(NOBODY).quota()
        assert (quota.limit, quota.used) == (1, 1)
        said = refused(world, world.new_alias(), NOBODY)
        assert "1 of 1" in said["cluster.quota"].text
        assert "cluster.ou-create" in said
        assert "on the quota" in refused(world, first)["cluster.account-owner"].text
    finally:
        world.set_quota(10)


def test_another_account_holds_the_name(world: SambaAliasWorld) -> None:
    alias = world.new_alias()
    holder = world.other_holds(alias.spns[1])
    said = refused(world, alias)["cluster.spn"]
    assert holder in said.text
    assert "setspn -D" in said.remedy


def test_a_key_that_was_rotated(world: SambaAliasWorld) -> None:
    """A node that has not the new file yet goes on to accept what was bought before, and refuses the rest."""
    alias, shared, node = world.new_alias(), world.key_file(), world.key_file()
    mine = account(world, shared)
    first = mine.create(alias, world.ou).version
    node.take(shared, alias)
    second = mine.rotate(alias)
    assert second.version == first + 1
    assert cluster.versions(shared.read()) == (first, second.version)
    world.proof().accepted(alias, shared)

    def stale() -> bool:
        try:
            world.proof().accepted(alias, node)
        except BastideError:
            return True
        return False

    soon(stale)
    node.take(shared, alias)
    world.proof().accepted(alias, node)
    soon(lambda: set(world.directory().versions(second.dn).values()) == {second.version})
    with pytest.raises(BastideError, match="may still be open"):
        mine.prune(alias, cluster.TICKET_LIFE)
    assert cluster.versions(shared.read()) == (first, second.version)
    assert all(one.severity is not Severity.ERROR for one in second.findings)


def test_a_node_joins_and_answers_under_the_alias(world: SambaAliasWorld) -> None:
    """With DNS as the lab's domain has it, and the door of the service itself: SpnegoAcceptor on the node's keytab."""
    alias, shared, own = world.new_alias(), world.key_file(), world.key_file()
    account(world, shared).create(alias, world.ou)
    own.add(Alias.parse("node1", alias.domain), "its own key", 4)
    ends = world.forests.now() + timedelta(days=90)
    node = AliasNode(
        directory=world.directory(),
        own=own,
        proof=world.proof(),
        names=AliasNames(),
        shown=Certificate(frozenset({alias.fqdn}), ends),
        recorder=None,
        now=world.forests.now,
    )
    with pytest.raises(AliasRefused, match="has no address"):
        node.join(alias, shared)
    assert len(own.read()) == 4
    world.publish(alias)
    soon(lambda: not any(one.severity.is_error for one in node.status(alias, [shared])))
    assert node.join(alias, shared).version == cluster.newest(shared.read())
    identity = world.forests.identity(ADMINISTRATOR, "priv")
    with identity.used():
        target = gssapi.Name(alias.principals[1], gssapi.NameType.kerberos_principal)
        token = gssapi.SecurityContext(name=target, usage="initiate", mech=gssapi.MechType.kerberos).step()
    accepted = SpnegoAcceptor(Path(own.path)).accept(token)
    assert accepted.principal == f"Administrator@{alias.realm}"
    node.leave(alias)
    with pytest.raises(NotAuthenticated):
        SpnegoAcceptor(Path(own.path)).accept(token)
    assert len(own.read()) == 4


def test_a_cname_is_told_from_an_address(world: SambaAliasWorld) -> None:
    """A client that follows it asks for a ticket for the name behind it, with the key of another account."""
    alias, behind = world.new_alias(), world.new_alias()
    world.publish(behind)
    world.publish(alias, cname=behind.fqdn)
    soon(lambda: AliasNames().canonical(alias.fqdn) == behind.fqdn)
    assert AliasNames().canonical(behind.fqdn) == behind.fqdn
    names = AliasNames()
    found = {one.key: one.severity for one in looks.of_node(alias, names, None, world.forests.now())}
    assert found["cluster.dns"] is Severity.WARNING


def test_the_command_itself(world: SambaAliasWorld) -> None:
    """From the shell, with a person's ticket: created, rotated, refused to somebody else, and the keys away again."""
    alias, keys = world.new_alias(), world.key_file()
    file = ("--keytab", keys.path)
    world.run_command(MAKER, "create", alias.name, "--ou", world.ou, *file, "--dry-run", wanted=0)
    assert keys.read() == ()
    world.run_command(MAKER, "create", alias.fqdn, "--ou", world.ou, *file, "--yes", wanted=0)
    first = cluster.newest(keys.read())
    denied = world.run_command(NOBODY, "rotate", alias.name, *file, "--yes", wanted=1)
    assert f"you came with the ticket of {world.people[NOBODY]}@" in denied
    assert cluster.versions(keys.read()) == (first,)
    world.run_command(MAKER, "rotate", alias.name, *file, "--yes", wanted=0)
    assert cluster.versions(keys.read()) == (first, first + 1)
    assert "has the current key" in world.run_command(MAKER, "status", alias.name, *file, wanted=1)  # no DNS
    world.run_command(MAKER, "leave", alias.name, *file, "--yes", wanted=0)
    assert keys.read() == ()
    assert world.run_command("", "status", alias.name, *file, wanted=4)  # no ticket
