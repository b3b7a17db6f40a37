"""The baseline of privileged accounts: a test for each rule, what counts as privileged, and what is mended, read back and recorded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bastide.cli import baseline as commands
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.directory.memory_census import MemoryCensus, MemoryHardener
from bastide.domain.baseline import Account, Change, Privileged, Standing, Weakness, weaknesses
from bastide.domain.errors import Conflict
from bastide.domain.health import Severity
from bastide.domain.ids import Sid
from bastide.health.checks import baseline as checks
from bastide.services.baseline.look import Baseline, Mended, Seen
from bastide.services.ports import AuditQuery
from bastide.wiring import mending
from bastide.wiring.oversight import OversightAdapters
from tests.support.census_world import hide
from tests.support.health import by_key, looking_at
from tests.support.world import World

SET = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = "bastide-ticket-cap"
GOOD = Account(
    sid=Sid("S-1-5-21-1-2-3-1101"),
    name="prv.ann",
    domain="priv.bastide.test",
    guarded=True,
    encryption=0x18,
    password_set=SET,
    aes_since=SET - timedelta(days=900),
    cap=timedelta(minutes=15),
    not_delegated=True,
)


def rules(account: Account, *standings: Standing, smart_cards: bool = False) -> dict[str, Weakness]:
    who = Privileged(account, frozenset(standings or {Standing.PAM_USER}), ("for a test",))
    return {one.rule: one for one in weaknesses(who, smart_cards=smart_cards)}


def test_a_good_account_lacks_nothing_and_a_disabled_one_is_left_alone() -> None:
    assert rules(GOOD) == {}
    assert rules(replace(GOOD, enabled=False, guarded=False, preauth_off=True)) == {}


def test_what_is_not_shown_is_said_and_not_taken_for_good() -> None:
    found = rules(replace(GOOD, shown=False, guarded=False))
    assert {rule: one.severity for rule, one in found.items()} == {"shown": Severity.SKIPPED}


@pytest.mark.parametrize(
    ("standing", "guarded", "severity", "change"),
    [
        (Standing.PAM_USER, False, Severity.ERROR, Change.PROTECT),
        (Standing.MEMBER, False, Severity.ERROR, Change.PROTECT),
        (Standing.EMERGENCY, False, Severity.OK, None),
        (Standing.SERVICE, False, Severity.OK, None),
        (Standing.EMERGENCY, True, Severity.WARNING, None),
    ],
)
def test_1_protected_users_and_its_exceptions(
    standing: Standing, guarded: bool, severity: Severity, change: Change | None
) -> None:
    found = rules(replace(GOOD, guarded=guarded), standing)["protected-users"]
    assert (found.severity, found.change) == (severity, change)


def test_2_no_aes_keys_is_for_a_person_to_mend_and_nothing_else_is_said_of_keys() -> None:
    """Limiting such an account to AES would lock it out, so `fix` must not."""
    old = replace(GOOD, guarded=False, encryption=None, password_set=SET - timedelta(days=901))
    found = rules(old)
    assert (found["aes-keys"].change, "aes-only" in found) == (None, False)
    assert rules(replace(GOOD, password_set=None))["aes-keys"].severity is Severity.ERROR


@pytest.mark.parametrize("encryption", [None, 0, 0x4, 0x1C, 0x1F])
def test_2_anything_weaker_than_aes_is_found(encryption: int | None) -> None:
    found = rules(replace(GOOD, guarded=False, encryption=encryption))["aes-only"]
    assert found.change is Change.AES_ONLY
    assert "aes-only" not in rules(replace(GOOD, guarded=True, encryption=encryption)), "that group ends RC4"
    assert rules(replace(GOOD, des_only=True))["aes-only"].change is Change.AES_ONLY


def test_3_a_ticket_is_capped() -> None:
    found = rules(replace(GOOD, cap=None))["ticket-cap"]
    assert (found.severity, found.change) == (Severity.WARNING, Change.TICKET_CAP)
    assert "ticket-cap" not in rules(replace(GOOD, cap=None), Standing.EMERGENCY)


def test_4_nobody_acts_on_with_it_and_it_acts_for_nobody() -> None:
    found = rules(replace(GOOD, not_delegated=False, guarded=False))["not-delegated"]
    assert found.change is Change.NOT_DELEGATED
    assert "not-delegated" not in rules(replace(GOOD, not_delegated=False))
    trusted = rules(replace(GOOD, trusted_to_delegate=True))["trusted-to-delegate"]
    assert (trusted.severity, trusted.change) == (Severity.CRITICAL, None)


def test_5_a_person_has_no_service_principal_name() -> None:
    named = replace(GOOD, spns=("MSSQLSvc/db",))
    found = rules(named)["service-principal"]
    assert (found.severity, found.evidence) == (Severity.ERROR, "MSSQLSvc/db")
    assert rules(named, Standing.SERVICE)["service-principal"].severity is Severity.OK


def test_6_pre_authentication() -> None:
    found = rules(replace(GOOD, preauth_off=True))["pre-authentication"]
    assert (found.severity, found.change) == (Severity.CRITICAL, Change.PREAUTH)


def test_7_passwords() -> None:
    found = rules(replace(GOOD, reversible=True, password_not_needed=True, never_expires=True))
    assert found["reversible-password"].change is Change.NO_REVERSIBLE
    assert found["password-needed"].change is Change.PASSWORD_NEEDED
    assert (found["password-ages"].severity, found["password-ages"].change) == (Severity.WARNING, None)
    glass = rules(replace(GOOD, guarded=False, never_expires=True), Standing.EMERGENCY)
    assert glass["password-ages"].severity is Severity.OK


def test_8_smart_cards_only_where_the_house_says_so() -> None:
    assert rules(GOOD, smart_cards=True)["smart-card"].change is Change.SMART_CARD
    assert rules(replace(GOOD, smart_card=True), smart_cards=True) == {}
    assert "smart-card" not in rules(GOOD, Standing.EMERGENCY, smart_cards=True)


# ------------------------------------------------------------------------------------------------------------- looking


class House:
    """A World, with what is known of the accounts of PRIV."""

    def __init__(self) -> None:
        self.world = World()
        self.facts: dict[Sid, Account] = {}
        self.world.priv.policies[f"CN={POLICY},CN=AuthN Policies"] = timedelta(minutes=15)
        (self.user,) = self.world.prepare("alice")
        self.admins = self.world.priv.add_group("Domain Admins", protected=True)
        self.census = MemoryCensus(self.world.priv, self.facts)
        self.baseline = Baseline(
            store=self.world.store,
            censuses={self.census.domain: self.census},
            own={self.census.domain: ("svc-bastide", "nobody-of-that-name")},
            now=self.world.clock.now,
        )

    def person(self, name: str, *groups: str, **facts: object) -> Sid:
        sid = self.world.priv.add_person(name).ref.sid
        self.facts[sid] = replace(GOOD, sid=sid, name=name, **facts)  # type: ignore[arg-type]
        for group in groups:
            directory = self.world.services.forests[self.world.priv.forest]
            directory.add_members(directory.find_group(group).ref, [sid])
        return sid

    def hardener(self, *, may: bool = True) -> MemoryHardener:
        return MemoryHardener(self.world.priv, self.facts, may=may)

    def look(self) -> Seen:
        return self.baseline.look()

    def found(self, name: str) -> dict[str, Weakness]:
        return {one.rule: one for one in self.look().weaknesses if one.account.name == name}

    def mend(self, *wanted: Weakness, may: bool = True) -> list[Mended]:
        return list(self.baseline.mend(self.hardener(may=may), wanted, policy=POLICY))

    def told(self, kind: str) -> list[dict[str, Any]]:
        with self.world.store.read() as uow:
            return [json.loads(one.data) for one in uow.audit.read(AuditQuery(kind=kind, limit=0))]


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


def test_who_counts_as_privileged(house: House) -> None:
    """(1): PAM users, members (nested too), Bastide's own accounts; not everybody."""
    house.person("admin", "Domain Admins")
    inner = house.world.priv.add_group("Inner")
    house.world.services.forests[house.world.priv.forest].add_members(house.admins.ref, [inner.ref.sid])
    house.person("deep", "Inner")
    house.person("svc-bastide", spns=("HTTP/bastide",))
    house.person("clerk", spns=("HTTP/clerk",))
    assert house.look().accounts == 4
    assert house.found("svc-bastide")["service-principal"].severity is Severity.OK
    assert {"admin", "deep"} <= {one.account.name for one in house.look().weaknesses}
    assert house.found("clerk") == {}


def test_a_member_that_is_not_shown_is_a_problem_and_no_good_news(house: House) -> None:
    """(2)."""
    house.person("admin", "Domain Admins")
    sid = house.person("hidden", "Domain Admins")
    before = house.look().accounts
    hide(house.world.priv, house.world.services.forests[house.world.priv.forest].find_person("hidden").ref)
    seen = house.look()
    assert (seen.accounts, seen.failed) == (before - 1, True)
    assert seen.problems == (
        f"{sid} of priv.bastide.test is a member of Domain Admins and is not shown to us: nobody knows what it lacks",
    )


def test_a_domain_that_does_not_answer_is_a_problem_and_no_good_news(house: House) -> None:
    house.world.priv.cut("privdc")
    seen = house.look()
    assert (seen.weaknesses, seen.failed, len(seen.problems)) == ((), True, 1)


def test_the_worst_comes_first(house: House) -> None:
    house.person("admin", "Domain Admins", preauth_off=True, not_delegated=False)
    weights = [one.severity.weight for one in house.look().weaknesses if one.severity is not Severity.OK]
    assert weights == sorted(weights, reverse=True)
    assert house.look().weaknesses[0].rule == "pre-authentication"


# ------------------------------------------------------------------------------------------------------------- mending


def test_each_change_is_made_read_back_and_recorded(house: House) -> None:
    """(5) to (7)."""
    house.person(
        "admin", "Domain Admins", encryption=None, not_delegated=False, preauth_off=True, reversible=True,
        password_not_needed=True,
    )  # fmt: skip
    wanted = [one for one in house.found("admin").values() if one.change]
    assert {one.change for one in wanted} == set(Change) - {Change.SMART_CARD}
    done = house.mend(*wanted)
    assert done[-1].change is Change.PROTECT, "it covers others, which are to be made all the same"
    assert {(one.problem, one.already) for one in done} == {("", False)}
    assert house.found("admin") == {}
    told = house.told("baseline.fixed")
    assert [one["change"] for one in told] == [one.change.value for one in done]
    (asked,) = house.told("baseline.asked")
    assert len(asked["changes"]) == len(done)
    again = house.mend(*wanted)
    assert {one.already for one in again} == {True}
    assert len(house.told("baseline.fixed")) == len(told), "nothing was changed, so nothing is said to be"


def test_what_is_going_to_be_tried_is_recorded_before_the_directory_is_touched(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(4)."""
    house.person("admin", "Domain Admins", preauth_off=True)

    def gone(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MemoryHardener, "apply", gone)
    with pytest.raises(KeyboardInterrupt):
        house.mend(house.found("admin")["pre-authentication"])
    assert house.told("baseline.asked")
    assert house.told("baseline.fixed") == []


def test_what_the_directory_refuses_failed_and_is_recorded_as_that(house: House) -> None:
    house.person("admin", "Domain Admins", preauth_off=True)
    (done,) = house.mend(house.found("admin")["pre-authentication"], may=False)
    assert "may not change admin" in done.problem
    assert "pre-authentication" in house.found("admin")
    assert (house.told("baseline.fixed"), len(house.told("baseline.failed"))) == ([], 1)


def test_what_the_directory_took_and_does_not_show_is_no_success(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.person("admin", "Domain Admins", preauth_off=True)
    monkeypatch.setattr(MemoryHardener, "apply", lambda *_: None)
    (done,) = house.mend(house.found("admin")["pre-authentication"])
    assert done.problem == "the directory took it, and does not show it"


def test_what_was_not_found_or_is_of_another_domain_is_not_mended(house: House) -> None:
    house.person("admin", "Domain Admins", spns=("a/b",), preauth_off=True)
    found = house.found("admin")
    with pytest.raises(Conflict):
        house.mend(found["service-principal"])
    elsewhere = replace(found["pre-authentication"], account=replace(GOOD, domain="corp.bastide.test"))
    with pytest.raises(Conflict):
        house.mend(elsewhere)


# ------------------------------------------------------------------------------------------------- commands and validate


@pytest.fixture
def node(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    @contextmanager
    def services(_: Path) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(oversight=SimpleNamespace(baseline=house.baseline))

    @contextmanager
    def tools(_domain: str, _controller: str) -> Iterator[MemoryHardener]:
        yield house.hardener()

    monkeypatch.setattr(commands, "_services", services)
    monkeypatch.setattr(mending, "mending_tools", tools)
    settings = SimpleNamespace(policy=SimpleNamespace(ticket_policy=POLICY))
    monkeypatch.setattr(commands, "load", lambda _: settings)
    return house


def run(*words: str, wanted: int = 0) -> Result:
    result = CliRunner().invoke(app, ["baseline", *words], env={"COLUMNS": "200"})
    assert result.exit_code == wanted, (words, result.output, result.exception)
    return result


def test_the_command_says_what_is_lacking_and_changes_nothing_until_it_is_told_to(node: House) -> None:
    node.person("admin", "Domain Admins", preauth_off=True)
    said = run("check", wanted=Exit.REFUSED).output
    domain = node.census.domain
    assert f"{domain}: admin signs in without pre-authentication" in said
    assert "admin is not in Protected Users" in said
    plan = run("fix", "--account", "admin")
    assert f"dry run in {domain}: nothing was changed" in plan.output
    assert f"{domain}: admin: " in plan.output
    assert set(node.found("admin")) == {"pre-authentication", "protected-users", "ticket-cap"}
    run("fix", "--account", "ADMIN", "--rule", "pre-authentication", "--apply", "--yes")
    assert set(node.found("admin")) == {"protected-users", "ticket-cap"}
    assert run("fix", "--account", "admin", "--apply", wanted=Exit.USAGE).output, "nobody confirmed"
    run("fix", "--account", "admin", "--apply", "--yes")
    assert node.found("admin") == {}


def test_a_name_or_a_rule_of_which_nothing_was_found_is_refused(node: House) -> None:
    node.person("admin", "Domain Admins", preauth_off=True)
    assert (
        "nothing of somebody can be mended" in run("fix", "--account", "somebody", wanted=Exit.REFUSED).output
    )
    assert "by rule nonsense" in run("fix", "--rule", "nonsense", wanted=Exit.REFUSED).output


def test_both_answer_in_json(node: House) -> None:
    node.person("admin", "Domain Admins", preauth_off=True)
    seen = json.loads(run("check", "--json", wanted=Exit.REFUSED).stdout)
    assert ("admin", "pre-authentication", "critical") in {
        (one["account"], one["rule"], one["severity"]) for one in seen["findings"]
    }
    plan = json.loads(run("fix", "--json", "--account", "admin").stdout)
    assert plan["dry_run"] is True
    done = json.loads(run("fix", "--json", "--account", "admin", "--apply", "--yes").stdout)
    assert {one["done"] for one in done["changes"]} == {True}
    assert json.loads(run("check", "--as-me", "--json").stdout)["problems"] == []


def test_validate_says_the_same(house: House) -> None:
    sid = house.person("admin", "Domain Admins", preauth_off=True)
    watched = OversightAdapters({house.census.domain: house.census})
    world = looking_at(clock=house.world.clock, store=house.world.store, baseline=watched)
    found = by_key(checks.accounts(world))
    assert found["admin@priv.bastide.test pre-authentication"].severity is Severity.CRITICAL
    for change in (Change.PREAUTH, Change.PROTECT, Change.TICKET_CAP):
        house.hardener().apply(sid, change, POLICY)
    left = by_key(checks.accounts(world))
    assert all(not one.severity.is_error or "priv.alice" in about for about, one in left.items()), left
    house.world.priv.cut("privdc")
    assert by_key(checks.accounts(world))["baseline"].severity is Severity.ERROR
