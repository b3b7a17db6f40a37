"""docs/operations/outage.md, line by line: what stops, what goes on, what ends by itself. One test for each line of the first table that memory can tell honestly;
PROOFS names the tests of every line of all tables, and a line without one fails.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.domain.audit import Record
from bastide.domain.errors import DirectoryUnavailable, StoreUnavailable
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import Request, State
from bastide.domain.roles import Enforcer
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import assemble
from tests.support.grants import SHORT
from tests.support.world import World
from tests.unit.test_known_failures import names_in

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations" / "outage.md"
PRIV_DCS, CORP_DCS = ("dc1", "dc2"), ("cdc1", "cdc2")


@pytest.fixture
def world() -> Iterator[World]:
    made = World(priv_controllers=PRIV_DCS, corp_controllers=CORP_DCS)
    yield made
    made.close()


@pytest.fixture
def active(world: World) -> tuple[Request, PamUser]:
    """Alice's access, and Alice."""
    role = world.ready(ttl=SHORT)
    request = world.ask(role.name)
    world.work()
    return world.get(request), world.services.accounts.users(world.dave)[0]


def pass_end(world: World, request: Request) -> None:
    """A second past its end, with nobody at work."""
    end = world.get(request).ends_at
    assert end is not None
    world.clock.moment = end + timedelta(seconds=1)


def closed_at(world: World, user: PamUser, *names: str) -> bool:
    return not any(world.priv.can_buy_ticket(user.priv.sid, world.clock.now(), at=name) for name in names)


def test_bastide_down_access_goes_on_and_ends_in_time(world: World, active: tuple[Request, PamUser]) -> None:
    """All nodes: no worker runs from here on."""
    request, alice = active
    assert world.opens_share(alice)
    pass_end(world, request)
    assert closed_at(world, alice, "dc1", "dc2")
    assert not world.opens_share(alice)
    world.work()
    assert world.get(request).state is State.EXPIRED


def test_bastide_down_what_only_a_removal_ends_stays_until_it_is_back(world: World) -> None:
    world.prepare("alice", kept_alive=True)
    world.prepare_group()
    role = world.add_role(floor=Enforcer.REMOVAL, ttl=SHORT)
    request = world.ask(role.name)
    world.work()
    pass_end(world, request)
    world.clock.move(hours=5)
    alice = world.services.accounts.users(world.dave)[0]
    assert world.opens_share(alice), "by hand, says the table"
    world.work()
    assert not world.opens_share(alice)


def test_the_database_down_asking_stops_and_access_ends_in_time(
    world: World, active: tuple[Request, PamUser], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, alice = active

    def away(_store: SqlStore) -> None:
        raise StoreUnavailable("the database does not answer")

    with monkeypatch.context() as down:
        down.setattr(SqlStore, "write", away)
        down.setattr(SqlStore, "read", away)
        with pytest.raises(StoreUnavailable):
            world.services.requests.extend(world.dave, request.id, timedelta(minutes=1))
        with pytest.raises(StoreUnavailable):
            world.services.requests.kill(world.dave, "incident", everything=True)
        with pytest.raises(StoreUnavailable):
            world.services.requests.offers(world.dave)
        with pytest.raises(StoreUnavailable):
            world.services.accounts.users(world.dave)
        assert world.opens_share(alice)
        end = request.ends_at
        assert end is not None
        world.clock.moment = end + timedelta(seconds=1)
        assert closed_at(world, alice, "dc1", "dc2")
    world.work()
    assert world.get(request).state is State.EXPIRED


def test_one_priv_controller_down_all_goes_on_at_the_others(
    world: World, active: tuple[Request, PamUser]
) -> None:
    request, alice = active
    world.priv.cut("dc2")
    world.prepare("bob")
    world.prepare_group("DbAdmins")
    other = world.add_role("Databases", privileges=("PAM-DbAdmins",), candidates=("CORP\\bob",), ttl=SHORT)
    theirs = world.ask(other.name, world.sign_in("bob", Forest.CORP, mfa=True))
    world.work()
    assert world.get(theirs).state is State.ACTIVE
    assert world.opens_share(alice)
    pass_end(world, request)
    assert closed_at(world, alice, "dc1", "dc2"), "dc2 by its own clock"
    world.work()
    assert world.get(request).state is State.CLOSING, "until dc2 answers, or is surely past the end"
    world.clock.move(minutes=6)
    world.work()
    assert world.get(request).state is State.EXPIRED


def test_all_priv_controllers_down_nothing_begins_and_no_early_end_is_claimed(
    world: World, active: tuple[Request, PamUser]
) -> None:
    request, alice = active
    ticket = world.priv.buy_ticket(alice.priv.sid, world.clock.now())
    for name in PRIV_DCS:
        world.priv.cut(name)
    with pytest.raises(DirectoryUnavailable):
        world.sign_in("grace")
    with pytest.raises(DirectoryUnavailable):
        world.prepare("bob")
    with pytest.raises(DirectoryUnavailable):
        world.ask()
    assert world.corp.admits(ticket, world.share.ref.sid, world.clock.now()), "tickets bought before"
    world.services.requests.kill(world.dave, "incident", request=request.id)
    world.work()
    assert world.get(request).state is State.CLOSING
    for name in PRIV_DCS:
        world.priv.heal(name)
    world.work()
    assert world.get(request).state is State.CLOSED


def test_all_corp_controllers_down_the_priv_side_ends_in_time_and_the_link_is_awaited(
    world: World, active: tuple[Request, PamUser]
) -> None:
    request, alice = active
    for name in CORP_DCS:
        world.corp.cut(name)
    with pytest.raises(DirectoryUnavailable):
        world.sign_in("alice", Forest.CORP)
    assert world.sign_in("grace").name
    with pytest.raises(DirectoryUnavailable):
        world.prepare("bob")
    pass_end(world, request)
    world.work()
    assert closed_at(world, alice, "dc1", "dc2")
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    assert alice.priv.sid not in world.services.forests[Forest.PRIV].members_of(group.priv)
    assert world.get(request).state is State.CLOSING
    for name in CORP_DCS:
        world.corp.heal(name)
    world.work()
    assert world.get(request).state is State.EXPIRED


def test_all_corp_controllers_down_the_kill_switch_works_at_once_in_priv(
    world: World, active: tuple[Request, PamUser]
) -> None:
    request, alice = active
    for name in CORP_DCS:
        world.corp.cut(name)
    world.services.requests.kill(world.dave, "incident", request=request.id)
    world.runner.run_due()
    assert closed_at(world, alice, "dc1", "dc2")
    assert world.get(request).state is State.CLOSING


def test_one_corp_controller_down_changes_nothing(world: World, active: tuple[Request, PamUser]) -> None:
    request, alice = active
    world.corp.cut("cdc2")
    world.prepare_group("DbAdmins")
    other = world.add_role("Databases", privileges=("PAM-DbAdmins",), ttl=SHORT)
    second = world.ask(other.name)
    world.work()
    assert world.get(second).state is State.ACTIVE
    pass_end(world, request)
    world.work()
    assert world.get(request).state is State.EXPIRED
    world.corp.heal("cdc2")
    group = world.services.accounts.group(world.dave, "PAM-FileAdmins")
    links = world.services.forests[Forest.CORP].observe_link(group.corp, group.priv.sid)
    assert links == {"cdc1": False, "cdc2": False}, "it learns of the link's end by replication"
    assert alice.enabled


def test_cut_off_from_priv_the_controllers_go_on_and_end_it_in_time(
    world: World, active: tuple[Request, PamUser]
) -> None:
    """The network between Bastide and PRIV: the controllers are up and sell tickets."""
    request, alice = active
    for name in PRIV_DCS:
        world.priv.cut(name)
        assert world.opens_share(alice, at=name)
    world.services.requests.kill(world.dave, "incident", request=request.id)
    world.work()
    assert not closed_at(world, alice, "dc1"), "the PRIV side by hand, says the table"
    assert not world.opens_share(alice, at="dc1"), "CORP is in reach, and its link goes at once"
    assert world.get(request).state is State.CLOSING
    pass_end(world, request)
    assert closed_at(world, alice, "dc1", "dc2")


def test_priv_controllers_apart_get_every_write_from_bastide(world: World) -> None:
    """Replication is down; Bastide reaches both."""
    role = world.ready(ttl=SHORT)
    alice = world.services.accounts.users(world.dave)[0]
    world.priv.isolate("dc2")
    request = world.ask(role.name)
    world.work()
    for name in PRIV_DCS:
        assert world.opens_share(alice, at=name)
    pass_end(world, request)
    assert closed_at(world, alice, "dc1", "dc2")
    world.work()
    assert world.get(request).state is State.EXPIRED


def test_a_controller_that_is_cut_off_does_not_know_of_an_early_end(
    world: World, active: tuple[Request, PamUser]
) -> None:
    request, alice = active
    world.priv.isolate("dc2")
    world.priv.cut("dc2")
    world.services.requests.kill(world.dave, "incident", request=request.id)
    world.work()
    assert closed_at(world, alice, "dc1")
    assert not closed_at(world, alice, "dc2")
    pass_end(world, request)
    assert closed_at(world, alice, "dc2"), "the planned end it knows"


def test_a_sink_of_the_audit_that_is_down_holds_up_nothing_and_loses_nothing(world: World) -> None:
    class Sink:
        name = "syslog"

        def __init__(self) -> None:
            self.up = False
            self.taken: list[Record] = []

        def write(self, records: Sequence[Record]) -> None:
            if not self.up:
                raise OSError("nobody listens")
            self.taken.extend(records)

    sink = Sink()
    world.adapters = replace(world.adapters, sinks=(sink,))
    world.services = assemble(world.adapters, world._preparation(), address="https://bastide.test")
    world.runner = world.new_runner()
    role = world.ready(ttl=SHORT)
    world.services.upkeep.plant()
    request = world.ask(role.name)
    world.work()
    assert world.get(request).state is State.ACTIVE
    pass_end(world, request)
    world.work()
    assert world.get(request).state is State.EXPIRED
    assert not sink.taken
    sink.up = True
    world.clock.move(minutes=2)
    world.services.upkeep.plant()
    world.runner.run_due()
    assert [record.seq for record in sink.taken] == list(range(1, len(sink.taken) + 1))
    assert "request.expired" in {record.kind for record in sink.taken}


# ------------------------------------------------------------------------------------------------------------ the tables


_HERE = "tests/unit/test_outage.py"
_OVERSIGHT = "tests/unit/test_outage_oversight.py"
_TWO_NODES = "tests/contract/test_monitoring_two_nodes.py"
_REACH = "tests/unit/test_grants_out_of_reach.py"
_CLUSTER = "tests/e2e/test_cluster_on_samba.py"
_SAMBA = "tests/e2e/test_grants_on_samba.py"
_FAILURES = "tests/e2e/test_passwords_failures.py"
_AGENT = "tests/integration/test_agent_on_samba_failures.py"

#: What stands first in a line of a table, as far as it tells the line from the others, and the tests of what the line says.
PROOFS: dict[str, tuple[tuple[str, str], ...]] = {
    "**Bastide**, all nodes |": (
        (_HERE, "test_bastide_down_access_goes_on_and_ends_in_time"),
        (_HERE, "test_bastide_down_what_only_a_removal_ends_stays_until_it_is_back"),
        (_SAMBA, "test_a_role_is_activated_used_and_ends_with_bastide_down"),
    ),
    "one of several nodes (PostgreSQL)": (
        (_CLUSTER, "test_the_work_of_a_killed_node_is_taken_over_within_its_lease"),
        (_CLUSTER, "test_what_was_taken_over_ends_in_time_and_once"),
        (_CLUSTER, "test_any_node_serves_any_request_and_every_session"),
    ),
    "**database**": (
        (_HERE, "test_the_database_down_asking_stops_and_access_ends_in_time"),
        (_CLUSTER, "test_a_node_that_cannot_reach_the_database_says_so_and_the_others_serve"),
    ),
    "**one PRIV DC**": (
        (_HERE, "test_one_priv_controller_down_all_goes_on_at_the_others"),
        (_REACH, "test_a_controller_out_of_reach_keeps_an_early_end_open"),
        (_SAMBA, "test_one_of_two_controllers_out_of_reach"),
    ),
    "**all PRIV DCs**": (
        (_HERE, "test_all_priv_controllers_down_nothing_begins_and_no_early_end_is_claimed"),
        (_REACH, "test_an_activation_that_does_not_come_about_in_time_fails"),
        (_SAMBA, "test_the_only_controllers_down_before_and_after_the_write"),
    ),
    "**all CORP DCs**": (
        (_HERE, "test_all_corp_controllers_down_the_priv_side_ends_in_time_and_the_link_is_awaited"),
        (_HERE, "test_all_corp_controllers_down_the_kill_switch_works_at_once_in_priv"),
        (_REACH, "test_a_corp_that_stays_silent_is_given_up"),
    ),
    "one CORP DC": ((_HERE, "test_one_corp_controller_down_changes_nothing"),),
    "**network** Bastide - PRIV": ((_HERE, "test_cut_off_from_priv_the_controllers_go_on_and_end_it_in_time"),),
    "**network** Bastide - CORP": (
        (_HERE, "test_all_corp_controllers_down_the_priv_side_ends_in_time_and_the_link_is_awaited"),
        (_REACH, "test_with_corp_out_of_reach_nothing_begins_and_what_is_over_ends"),
    ),
    "network between PRIV DCs": (
        (_HERE, "test_priv_controllers_apart_get_every_write_from_bastide"),
        (_HERE, "test_a_controller_that_is_cut_off_does_not_know_of_an_early_end"),
    ),
    "**clock** of a DC": (("tests/e2e/test_wrong_clock_on_samba.py", "test_a_worker_with_a_wrong_clock_grants_nothing"),),
    "clock off by less": (
        ("tests/e2e/test_wrong_clock_on_samba.py", "test_two_minutes_are_a_warning"),
        ("tests/unit/test_directory_clock.py", "test_less_than_five_minutes_is_for_the_doctor"),
    ),
    "**the disk of a node**": (
        ("tests/integration/test_full_disk.py", "test_log_files_lose_what_has_no_room_and_go_on_by_themselves"),
        ("tests/integration/test_full_disk.py", "test_the_audit_file_holds_whole_records_only_and_catches_up"),
    ),
    "**a database that came back": (
        ("tests/unit/test_recovery.py", "test_3_nothing_is_granted_meanwhile_and_ends_go_on"),
        ("tests/unit/test_reconcile.py", "test_7_a_silent_controller_holds_it_up"),
        (
            "tests/e2e/test_restored_on_samba.py",
            "test_what_was_granted_after_the_backup_is_taken_away_and_only_then_granted_anew",
        ),
    ),
    "**the share of backups**": (
        ("tests/unit/test_share.py", "test_cut_at_any_moment"),
        ("tests/unit/test_share.py", "test_patience_ends_and_begins_anew_with_each_chunk"),
        ("tests/integration/test_share_on_samba.py", "test_cut_in_the_middle_it_goes_on_where_it_was"),
    ),
    "**mail server**": (
        ("tests/unit/test_notifications_down.py", "test_a_mail_server_that_hangs_delays_neither_access_nor_its_end"),
        ("tests/unit/test_notifications_down.py", "test_what_was_not_sent_within_a_day_is_given_up_and_the_audit_says_so"),
    ),
    "syslog or audit file": ((_HERE, "test_a_sink_of_the_audit_that_is_down_holds_up_nothing_and_loses_nothing"),),
    "**Bastide**, all nodes; the network": (
        ("tests/unit/test_passwords_outage.py", "test_an_hour_without_the_server_loses_nothing_and_sets_each_newest_password_once"),
        (_AGENT, "test_a_server_that_is_down_gets_it_when_it_is_back"),
    ),
    "one of several nodes |": (("tests/e2e/test_passwords_standby.py", "test_a_standby_takes_over_what_waits_and_what_comes"),),
    "a node that **stalls**": (
        ("tests/unit/test_passwords_late.py", "test_an_older_password_that_was_written_too_late_is_overwritten_again"),
        ("tests/unit/test_passwords_late.py", "test_without_its_key_a_person_is_told"),
    ),
    "**an agent**": (("tests/e2e/test_passwords_arrive.py", "test_a_change_on_a_controller_without_an_agent_arrives_by_replication"),),
    "**all agents**": (
        (_AGENT, "test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing"),
        (_AGENT, "test_a_lost_place_is_a_loud_new_baseline"),
    ),
    "**a controller with changes": ((_FAILURES, "test_a_controller_without_network_tells_when_it_has_it_again"),),
    "**a target**": (
        (_FAILURES, "test_targets_without_network_and_targets_that_are_down"),
        ("tests/unit/test_passwords_deliver.py", "test_ten_retries_a_minute_apart_and_then_no_more"),
    ),
    "**the vault, for good**": (
        ("tests/unit/test_passwords_restored.py", "test_a_restored_database_beside_a_new_vault_is_noticed"),
        ("tests/unit/test_passwords_deliver.py", "test_without_its_key_nobody_opens_it"),
    ),
    "**the OpenPGP key on a controller**": (("tests/integration/test_agent_on_samba.py", "test_a_key_that_samba_does_not_find_is_said"),),
    "**a disk that is full**": ((_FAILURES, "test_a_full_disk_under_the_queue_of_the_agent"),),
    "a clock more than 5 minutes ahead": (("tests/unit/test_passwords_accept.py", "test_a_change_of_the_future_is_taken_when_the_time_has_come"),),
    "**monitoring**": (
        (_TWO_NODES, "test_the_other_goes_on_from_the_cookie_of_the_one_that_died"),
        (_TWO_NODES, "test_changes_of_before_and_of_after_the_death_are_all_found"),
        ("tests/unit/test_monitoring.py", "test_a_domain_that_does_not_answer_is_said_and_read_again"),
        ("tests/unit/test_monitoring.py", "test_a_domain_that_hides_nearly_everything_is_not_believed"),
    ),
    "**alerts**": (
        ("tests/unit/test_alerts.py", "test_what_cannot_be_measured_settles_nothing_and_is_tried_again"),
        ("tests/unit/test_alerts.py", "test_a_destination_that_is_down_holds_up_nobody_and_gets_it_later_with_the_same_id"),
        ("tests/unit/test_alerts.py", "test_after_a_day_it_is_given_up_and_said"),
    ),
    "**events**": (
        ("tests/unit/test_intake_door.py", "test_while_the_database_takes_nothing_lines_wait"),
        (_OVERSIGHT, "test_events_are_taken_in_and_judged_when_the_directory_is_back"),
    ),
    "**access reviews**": (
        ("tests/unit/test_reviews.py", "test_no_decision_counts_between_the_end_and_the_worker"),
        ("tests/unit/test_reviews.py", "test_a_directory_that_does_not_answer_makes_it_the_fallback_and_says_so"),
        ("tests/unit/test_reviews.py", "test_what_stopped_half_way_goes_on_there"),
        (_OVERSIGHT, "test_a_review_ends_and_removes_with_every_directory_down"),
    ),
    "**reports**": (
        ("tests/unit/test_tables.py", "test_a_candidate_that_is_gone_and_a_directory_that_is_down_are_said"),
        ("tests/unit/test_baseline.py", "test_a_domain_that_does_not_answer_is_a_problem_and_no_good_news"),
    ),
    "**help desk**": (
        (_OVERSIGHT, "test_the_help_desk_helps_nobody_whom_no_directory_shows"),
        ("tests/unit/test_help_desk.py", "test_a_code_that_could_not_be_sent_proves_nothing"),
    ),
    "**self-service reset**": (
        (_OVERSIGHT, "test_a_reset_that_cannot_be_begun_tells_nobody_apart"),
        (_OVERSIGHT, "test_a_code_that_the_mail_server_does_not_take_is_tried_again_until_it_counts_no_more"),
        (_OVERSIGHT, "test_another_node_goes_on_with_a_reset"),
    ),
}  # fmt: skip


def lines_of_the_tables() -> list[str]:
    """Of the tables of what stops, as they begin: up to the recovery."""
    text = PAGE.read_text(encoding="utf-8").partition("## What to bring back first")[0]
    rows = re.findall(r"^\| (.+)$", text, re.MULTILINE)
    return [row for row in rows if not row.startswith(("is down", "---", "|"))]


def test_every_line_has_its_tests_and_each_of_them_exists() -> None:
    lines = lines_of_the_tables()
    unproved = [line[:60] for line in lines if sum(line.startswith(head) for head in PROOFS) != 1]
    assert not unproved
    gone = [head for head in PROOFS if not any(line.startswith(head) for line in lines)]
    assert not gone
    missing = [
        f"{file}::{name}"
        for tests in PROOFS.values()
        for file, name in tests
        if not (ROOT / file).is_file() or name not in names_in(ROOT / file)
    ]
    assert not missing
