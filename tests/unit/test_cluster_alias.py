"""The account of a cluster alias and its keys on the twins: a test per number of services/cluster/account.py and node.py."""

from datetime import timedelta

import pytest

from bastide.directory.memory_alias import (
    MemoryProof,
)
from bastide.domain import cluster
from bastide.domain.cluster import Alias
from bastide.domain.errors import (
    Conflict,
    DirectoryDenied,
    DirectoryError,
    DirectoryUnavailable,
    InvalidInput,
    NotAuthenticated,
    StoreUnavailable,
)
from bastide.domain.health import Severity
from bastide.services.cluster.looks import AliasRefused
from tests.support.alias_account_world import ALIAS, DOMAIN, OU, World, errors_in, spoil


@pytest.fixture
def world() -> World:
    return World()


# ------------------------------------------------------------------------------------------------------------ creating


def test_create_1_all_names_follow_from_the_alias() -> None:
    assert Alias.parse("Bastide.PRIV.bastide.test.", "PRIV.BASTIDE.TEST") == ALIAS
    assert ALIAS.account == "BASTIDE$"
    assert ALIAS.spns == ("HTTP/bastide", "HTTP/bastide.priv.bastide.test")
    assert ALIAS.principals[1] == "HTTP/bastide.priv.bastide.test@PRIV.BASTIDE.TEST"
    assert ALIAS.salt == "PRIV.BASTIDE.TESThostbastide.priv.bastide.test"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 16,
        "12345",
        "-a",
        "a-",
        "a_b",
        "a b",
        "ä",
        "a/b",
        "a,b",
        "bastide.corp.bastide.test",
        "a\nb",
        "x.y.priv.bastide.test",
    ],
)
def test_create_1_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Alias.parse(text, DOMAIN)


def test_create_2_nothing_is_written_while_something_is_in_the_way(world: World) -> None:
    world.directory.others[ALIAS.spns[0]] = ("CN=other",)
    world.directory.places[OU] = (True, False)
    world.keys.broken = "read-only file system"
    with pytest.raises(AliasRefused) as refused:
        world.account().create(ALIAS, OU)
    assert errors_in(refused) == {"cluster.spn", "cluster.ou-create", "cluster.keytab-place"}
    assert (world.directory.steps, world.records.kinds, world.held) == ([], [], ())


def test_create_2_a_dry_run_says_what_would_be_done_and_does_nothing(world: World) -> None:
    plan = world.account().plan(ALIAS, OU)
    assert (plan.dn, plan.version, plan.taken_over, plan.recorded) == (f"CN=bastide,{OU}", 1, False, False)
    assert (world.directory.steps, world.records.kinds, world.held) == ([], [], ())
    world.directory.places.clear()
    with pytest.raises(AliasRefused) as refused:
        world.account().plan(ALIAS, OU)
    assert errors_in(refused) == {"cluster.ou"}


def test_create_2_a_file_that_has_keys_of_the_alias_is_left_alone(world: World) -> None:
    world.keys.add(ALIAS, "earlier", 7)
    with pytest.raises(AliasRefused) as refused:
        world.account().create(ALIAS, OU)
    assert errors_in(refused) == {"cluster.keytab-place"}
    assert world.held == (7,)


def test_create_3_what_cannot_be_recorded_is_not_done(world: World) -> None:
    world.records.down = True
    with pytest.raises(StoreUnavailable):
        world.account().create(ALIAS, OU)
    assert (world.directory.steps, world.held) == ([], ())


def test_create_3_without_an_audit_it_is_said_that_nothing_was_recorded(world: World) -> None:
    assert not world.account(recorded=False).create(ALIAS, OU).recorded
    assert world.records.kinds == []


def test_create_4_to_9_in_this_order(world: World) -> None:
    done = world.account().create(ALIAS, OU)
    # The keys are in the file before the password is set, and the account is enabled last.
    assert world.directory.steps == [("create", ()), ("password", (2,)), ("enable", (2,))]
    assert world.records.kinds == ["cluster.asked", "cluster.created"]
    assert (done.version, done.taken_over, done.recorded, world.held) == (2, False, True, (2,))
    found = world.directory.accounts[ALIAS.account]
    assert (found.enabled, found.encryption, found.delegates) == (True, 0x18, False)
    assert cluster.missing(world.keys.read(), ALIAS, 2) == ()


def test_create_4_a_disabled_account_is_taken_over(world: World) -> None:
    world.directory.create(ALIAS, OU)
    world.change(spns=("HOST/old",), encryption=4, delegates=True, version=5)
    world.directory.steps.clear()
    plan, done = world.account().plan(ALIAS, OU), world.account().create(ALIAS, OU)
    assert plan.taken_over
    assert done.taken_over
    assert [step for step, _ in world.directory.steps] == ["adopt", "password", "enable"]
    assert (done.version, world.held) == (6, (6,))
    found = world.directory.accounts[ALIAS.account]
    assert (found.spns, found.encryption, found.delegates) == (ALIAS.spns, 0x18, False)


def test_create_6_the_password_is_random_and_in_no_record_and_no_finding(world: World) -> None:
    done = world.account().create(ALIAS, OU)
    (password,) = world.directory.passwords[done.dn].values()
    assert len(password) == cluster.PASSWORD_LENGTH
    assert password not in repr((done, world.records.events))


def test_create_7_the_file_follows_the_version_that_the_directory_gave(world: World) -> None:
    before = world.directory.set_password

    def jumps(dn: str, password: str) -> None:
        world.change(version=world.directory.accounts[ALIAS.account].version + 3)
        before(dn, password)

    world.directory.set_password = jumps  # type: ignore[method-assign]
    assert world.account().create(ALIAS, OU).version == 5
    assert world.held == (5,)


def test_create_8_what_the_directory_made_of_it_is_looked_at(world: World) -> None:
    before = world.directory.set_enabled

    def weakens(dn: str, *, enabled: bool) -> None:
        before(dn, enabled=enabled)
        world.change(encryption=0x1C)

    world.directory.set_enabled = weakens  # type: ignore[method-assign]
    with pytest.raises(AliasRefused, match="other keys than AES"):
        world.account().create(ALIAS, OU)
    assert ALIAS.account not in world.directory.accounts


def test_create_9_without_a_ticket_that_opens_it_is_not_done(world: World) -> None:
    before = world.directory.set_password
    world.directory.set_password = lambda dn, password: before(dn, password + "!")  # type: ignore[method-assign]
    with pytest.raises(NotAuthenticated):
        world.account().create(ALIAS, OU)
    assert world.waited == [5.0] * 11  # another controller may be late by a minute
    assert (world.held, ALIAS.account in world.directory.accounts) == ((), False)
    assert world.records.kinds == ["cluster.asked", "cluster.failed"]


@pytest.mark.parametrize("step", ["password", "enable"])
def test_create_10_what_was_made_goes_away_again(world: World, step: str) -> None:
    world.directory.fail[step] = DirectoryDenied("no")
    with pytest.raises(DirectoryDenied):
        world.account().create(ALIAS, OU)
    assert (world.held, world.directory.accounts) == ((), {})
    assert world.records.kinds == ["cluster.asked", "cluster.failed"]
    assert world.records.events[-1].data == {
        "action": "create",
        "error": "directory-denied",
        "via": "kerberos",
    }


def test_create_10_what_was_taken_over_is_disabled_again(world: World) -> None:
    world.directory.create(ALIAS, OU)
    world.directory.fail["enable"] = DirectoryUnavailable("cut")
    with pytest.raises(DirectoryUnavailable):
        world.account().create(ALIAS, OU)
    assert world.directory.steps[-1][0] == "disable"
    assert (world.held, world.directory.accounts[ALIAS.account].enabled) == ((), False)


def test_create_10_what_is_left_is_said(world: World) -> None:
    world.directory.fail = {"enable": DirectoryDenied("no"), "delete": DirectoryUnavailable("cut")}
    with pytest.raises(DirectoryError, match="is left behind") as said:
        world.account().create(ALIAS, OU)
    assert f"CN=bastide,{OU}" in said.value.remedy


@pytest.mark.parametrize("action", ["create", "rotate"])
def test_a_database_that_goes_away_meanwhile_does_not_hide_what_was_done(world: World, action: str) -> None:
    if action == "rotate":
        world.create()
    before = world.directory.set_password

    def then_down(dn: str, password: str) -> None:
        before(dn, password)
        world.records.down = True

    world.directory.set_password = then_down  # type: ignore[method-assign]
    account = world.account()
    with pytest.raises(StoreUnavailable, match="it was done"):
        account.create(ALIAS, OU) if action == "create" else account.rotate(ALIAS)
    MemoryProof(world.directory).accepted(ALIAS, world.keys)


def test_a_database_that_goes_away_meanwhile_does_not_hide_why_it_failed(world: World) -> None:
    def denied(dn: str, password: str) -> None:
        world.records.down = True
        raise DirectoryDenied("no right to set it")

    world.directory.set_password = denied  # type: ignore[method-assign]
    with pytest.raises(DirectoryDenied, match="no right"):
        world.account().create(ALIAS, OU)
    assert world.held == ()


# ------------------------------------------------------------------------------------------------------------ rotating


@pytest.mark.parametrize(
    "what",
    ["no account", "disabled", "delegates", "another's name", "a file of something else", "an old file"],
)
def test_rotate_1_only_what_serves_is_rotated(world: World, what: str) -> None:
    world.create()
    spoil(world, what)
    held = world.held
    for attempt in (world.account().plan_rotation, world.account().rotate):
        with pytest.raises(AliasRefused):
            attempt(ALIAS)
    assert (world.directory.steps, world.records.kinds, world.held) == ([], [], held)


def test_rotate_2_what_cannot_be_recorded_is_not_done(world: World) -> None:
    world.create()
    world.records.down = True
    with pytest.raises(StoreUnavailable):
        world.account().rotate(ALIAS)
    assert (world.directory.steps, world.held) == ([], (2,))


def test_rotate_3_to_6_the_old_key_stays_beside_the_new_one(world: World) -> None:
    world.create()
    done = world.account().rotate(ALIAS)
    assert world.directory.steps == [("password", (2, 3))]
    assert (done.version, world.held) == (3, (2, 3))
    assert world.records.kinds == ["cluster.asked", "cluster.rotated"]
    assert world.account().rotate(ALIAS).version == 4


def test_rotate_6_a_ticket_that_does_not_open_is_told(world: World) -> None:
    world.create()
    before = world.directory.set_password
    world.directory.set_password = lambda dn, password: before(dn, password + "!")  # type: ignore[method-assign]
    with pytest.raises(NotAuthenticated):
        world.account().rotate(ALIAS)
    assert world.records.kinds == ["cluster.asked", "cluster.failed"]


def test_rotate_7_a_refused_password_leaves_the_file_as_it_was(world: World) -> None:
    world.create()
    world.directory.fail["password"] = DirectoryDenied("no")
    with pytest.raises(DirectoryDenied):
        world.account().rotate(ALIAS)
    assert world.held == (2,)


def test_rotate_7_a_key_of_which_nobody_knows_stays_and_the_next_rotation_mends_it(world: World) -> None:
    world.create()
    world.directory.fail["password"] = DirectoryUnavailable("cut")
    with pytest.raises(DirectoryUnavailable, match="nobody knows") as said:
        world.account().rotate(ALIAS)
    assert "bastide cluster status" in said.value.remedy
    assert world.held == (2, 3)
    (ahead,) = [one for one in world.node().status(ALIAS, [world.keys]) if one.key == "cluster.keytab"]
    assert (ahead.severity, "not finished" in ahead.remedy) == (Severity.WARNING, True)
    world.directory.fail.clear()
    assert world.account().rotate(ALIAS).version == 3
    MemoryProof(world.directory).accepted(ALIAS, world.keys)


# ------------------------------------------------------------------------------------------------------------- pruning


@pytest.mark.parametrize("said", [1, "did not answer"])
def test_prune_1_not_while_a_controller_may_sell_tickets_for_the_old_key(
    world: World, said: int | str
) -> None:
    world.create()
    world.account().rotate(ALIAS)
    world.now += timedelta(days=9)
    world.directory.strange["dc2"] = said
    with pytest.raises(AliasRefused):
        world.account().prune(ALIAS, cluster.TICKET_LIFE)
    assert world.held == (2, 3)


def test_prune_2_not_before_the_longest_ticket_is_over(world: World) -> None:
    world.create()
    world.account().rotate(ALIAS)
    world.now += timedelta(hours=10, minutes=10) - timedelta(seconds=1)
    with pytest.raises(Conflict, match="may still be open") as refused:
        world.account().prune(ALIAS, cluster.TICKET_LIFE)
    assert "2026-03-01 at 19:10 UTC" in refused.value.remedy
    assert world.held == (2, 3)


def test_prune_2_after_a_theft_it_is_done_at_once(world: World) -> None:
    world.create()
    world.account().rotate(ALIAS)
    assert world.account().prune(ALIAS, timedelta(0)).pruned == (2,)


def test_prune_3_then_the_older_keys_go(world: World) -> None:
    world.create()
    world.account().rotate(ALIAS)
    world.records.events.clear()
    world.now += timedelta(hours=10, minutes=10)
    assert world.account().prune(ALIAS, cluster.TICKET_LIFE).pruned == (2,)
    assert (world.held, world.records.kinds) == ((3,), ["cluster.pruned"])
    assert world.account().prune(ALIAS, cluster.TICKET_LIFE).pruned == ()
    assert world.records.kinds == ["cluster.pruned"]  # nothing changed, nothing is recorded
    MemoryProof(world.directory).accepted(ALIAS, world.keys)
