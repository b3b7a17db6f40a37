"""What `bastide validate` says of emergency accounts."""

from collections.abc import Callable, Iterator

import msgspec
import pytest

from bastide.config import Policy
from bastide.domain.health import Finding, Severity
from bastide.health.checks import break_glass
from bastide.health.world import World
from tests.support.break_glass import NAME, EmergencyNode
from tests.support.health import MINIMAL, by_key, looking_at

ABOUT = f"{NAME}@PRIV.BASTIDE.TEST"


@pytest.fixture
def node() -> Iterator[EmergencyNode]:
    with EmergencyNode() as made:
        yield made


def seen(node: EmergencyNode, check: Callable[[World], Iterator[Finding]]) -> dict[str, Finding]:
    """With the settings as they are by default."""
    world = looking_at(clock=node.clock, store=node.store, emergency=node.readers)
    return by_key(check(world))


def test_none_is_a_warning_and_says_how(node: EmergencyNode) -> None:
    (found,) = seen(node, break_glass.envelopes).values()
    assert (found.severity, "docs/how-to/break-glass.md" in found.remedy) == (Severity.WARNING, True)
    (skipped,) = seen(node, break_glass.accounts).values()
    assert skipped.severity is Severity.SKIPPED


def test_sealed_and_unused_it_is_right(node: EmergencyNode) -> None:
    node.seal()
    found = seen(node, break_glass.envelopes)
    assert set(found) == {f"{ABOUT} {what}" for what in ("envelope", "custodians", "drill")}
    assert {one.severity for one in found.values()} == {Severity.OK}
    accounts = seen(node, break_glass.accounts)
    assert set(accounts) == {f"{ABOUT} {what}" for what in ("account", "sign-in")}
    assert {one.severity for one in accounts.values()} == {Severity.OK}


def test_used_it_is_an_error_until_it_is_sealed_anew(node: EmergencyNode) -> None:
    node.sign_in(node.password(node.seal()))
    node.look()
    assert seen(node, break_glass.envelopes)[f"{ABOUT} envelope"].severity is Severity.ERROR
    assert seen(node, break_glass.accounts)[f"{ABOUT} sign-in"].severity is Severity.ERROR
    node.seal()
    assert seen(node, break_glass.envelopes)[f"{ABOUT} envelope"].severity is Severity.OK
    assert seen(node, break_glass.accounts)[f"{ABOUT} sign-in"].severity is Severity.OK


def test_a_sign_in_is_seen_also_while_no_worker_runs(node: EmergencyNode) -> None:
    node.sign_in(node.password(node.seal()))
    assert seen(node, break_glass.accounts)[f"{ABOUT} sign-in"].severity is Severity.ERROR


def test_an_old_drill_and_all_custodians_are_warnings(node: EmergencyNode) -> None:
    node.sealing.record(node.prepare(("Ann", "Ben"), 2))
    node.clock.move(days=180)
    found = seen(node, break_glass.envelopes)
    assert found[f"{ABOUT} custodians"].severity is Severity.WARNING
    assert found[f"{ABOUT} drill"].severity is Severity.OK
    node.clock.move(seconds=1)
    assert seen(node, break_glass.envelopes)[f"{ABOUT} drill"].severity is Severity.WARNING


@pytest.mark.parametrize("said", ["enabled", "password_expires", "smartcard", "locked"])
def test_an_account_that_nobody_could_use_is_an_error(node: EmergencyNode, said: str) -> None:
    node.seal()
    node.domain.change(node.account, **{said: said != "enabled"})
    assert seen(node, break_glass.accounts)[f"{ABOUT} account"].severity is Severity.ERROR


def test_what_cannot_be_seen_is_said(node: EmergencyNode) -> None:
    node.seal()
    node.domain.silent = {"dc2": "cut off"}
    assert seen(node, break_glass.accounts)[f"{ABOUT} controllers"].severity is Severity.WARNING
    node.domain.remove(node.account)
    assert seen(node, break_glass.accounts)[f"{ABOUT} watch"].severity is Severity.ERROR
    node.readers.clear()
    gone = seen(node, break_glass.accounts)[f"{ABOUT} watch"]
    assert "the settings name no domain" in gone.text


def test_sign_ins_that_are_kept_from_the_service_account_are_no_silence() -> None:
    with EmergencyNode(sees=False) as node:
        node.seal()
        found = seen(node, break_glass.accounts)[f"{ABOUT} watch"]
        assert found.severity is Severity.ERROR
        assert "Read All Properties" in found.remedy


def test_the_age_of_a_drill_is_a_setting(node: EmergencyNode) -> None:
    node.seal()
    node.clock.move(days=2)
    config = msgspec.structs.replace(MINIMAL, policy=Policy(drill_days=1))
    world = looking_at(config, clock=node.clock, store=node.store, emergency=node.readers)
    found = by_key(break_glass.envelopes(world))
    assert found[f"{ABOUT} drill"].severity is Severity.WARNING
