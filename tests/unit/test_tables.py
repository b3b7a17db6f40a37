"""Reports as tables: what is in them, what they say they did not see, and how they leave the house."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.cli.exits import Exit
from bastide.cli.report_page import to_csv, to_html
from bastide.directory.memory_census import MemoryCensus
from bastide.domain.census import Seat, Sort, standing
from bastide.domain.errors import InvalidInput, NotAuthorized
from bastide.domain.ids import Sid
from bastide.domain.tables import Cell, Subject, Table
from tests.support.admin import FORMULAS, HOSTILE
from tests.support.api import APPROVAL
from tests.support.world import World
from tests.unit.test_cli_app import Desk, desk  # noqa: F401  # a fixture

TOP, MIDDLE = Sid("S-1-5-21-1-2-3-512"), Sid("S-1-5-21-1-2-3-1200")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.ready()
    yield made
    made.close()


def rows(table: Table) -> list[dict[str, Cell]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def report(world: World, subject: Subject, **options: timedelta) -> list[dict[str, Cell]]:
    ago = options.get("ago")
    since = None if ago is None else world.clock.now() - ago
    return rows(world.services.oversight.tables.table(world.frank, subject, since))


def test_who_may_ask_and_what_they_did_with_it(world: World) -> None:
    before = report(world, Subject.ELIGIBLE)
    assert [(one["person"], one["used"], one["last used"], one["can ask"]) for one in before] == [
        ("priv.alice", 0, None, "yes")
    ]
    world.ask()
    world.work()
    (after,) = report(world, Subject.ELIGIBLE)
    assert (after["asked"], after["used"], after["last used"]) == (1, 1, world.clock.now())
    assert (after["gives"], after["candidate"]) == ("PAM-FileAdmins", "by name")


def test_a_person_in_a_group_is_eligible_through_it_and_counted_once(world: World) -> None:
    bob = world.corp.add_person("bo")
    alice = world.services.forests[world.corp.forest].find_person("alice")
    world.corp.add_group("Operators", members=[bob.ref.sid, alice.ref.sid])
    world.add_role("Both", candidates=("CORP\\Operators", "CORP\\alice"))
    found = {one["person"]: one for one in report(world, Subject.ELIGIBLE) if one["role"] == "Both"}
    assert (found["priv.alice"]["candidate"], found["priv.alice"]["can ask"]) == (
        "by name, CORP\\Operators",
        "yes",
    )
    assert (found["bo"]["candidate"], found["bo"]["can ask"]) == ("CORP\\Operators", "no: not prepared")


def test_what_was_used_before_the_time_is_unused_since(world: World) -> None:
    world.ask()
    world.work()
    assert report(world, Subject.UNUSED) == []
    world.clock.move(days=40)
    assert [one["person"] for one in report(world, Subject.UNUSED, ago=timedelta(days=30))] == ["priv.alice"]
    assert report(world, Subject.UNUSED, ago=timedelta(days=60)) == []


def test_a_candidate_that_is_gone_and_a_directory_that_is_down_are_said(world: World) -> None:
    world.corp.cut("corpdc")
    made = world.services.oversight.tables.table(world.frank, Subject.ELIGIBLE)
    assert made.rows == ()
    assert "CORP\\alice could not be found out" in made.notes[0]


def test_activations_and_approvals_name_who_did_what_and_why(world: World) -> None:
    world.add_role("Approved", stages=APPROVAL)
    asked = world.ask("Approved")
    world.approve(asked)
    world.work()
    (began,) = report(world, Subject.ACTIVATIONS)
    assert (began["person"], began["reason"], began["request"]) == (
        "priv.alice",
        "patch the server",
        asked.id,
    )
    assert began["approved by"] == "PRIV\\grace"
    (vote,) = report(world, Subject.APPROVALS)
    assert (vote["approver"], vote["decision"], vote["stage"]) == (
        "PRIV\\grace",
        "approve",
        "owners",
    )
    assert (vote["second factor"], vote["signed"]) == ("totp", "no")


def test_a_long_history_is_read_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastide.services.history.PAGE", 2)
    for _ in range(5):
        world.ask()
        world.work()
        world.clock.move(hours=2)
        world.work()
    assert len(report(world, Subject.ACTIVATIONS)) == 5
    assert len(report(world, Subject.ACTIVATIONS, ago=timedelta(hours=5))) == 2


# --------------------------------------------------------------------------------------------------- standing privileges


def seat(member: str, sort: Sort = Sort.PERSON, inside: Sid = TOP) -> Seat:
    return Seat(TOP, "Domain Admins", Sid(f"S-1-5-21-1-2-3-{member}"), member, sort, (), inside)


def test_what_a_grant_an_envelope_or_a_link_explains_is_not_standing() -> None:
    """(1) to (3) of domain/census.py."""
    granted, glass, stays = seat("1101", inside=MIDDLE), seat("1102"), seat("1103")
    nested, link = seat("1200", Sort.GROUP), seat("1104", Sort.FOREIGN)
    explained = {MIDDLE: [granted.member], TOP: [link.member]}
    found = standing([granted, glass, stays, nested, link], explained, {glass.member})
    assert found == (stays,)
    assert standing([granted], {TOP: [granted.member]}, ()) == (granted,), "granted in another group"


def test_standing_privileges_are_found_through_groups_and_live_grants_are_not(world: World) -> None:
    bob = world.services.forests[world.corp.forest].find_person("bob")
    inner = world.corp.add_group("Old project", members=[bob.ref.sid])
    world.corp.add_group("Domain Admins", protected=True, members=[inner.ref.sid])
    world.ask()
    world.work()
    (found,) = report(world, Subject.STANDING)
    assert (found["domain"], found["group"], found["member"]) == ("corp.bastide.test", "Domain Admins", "bob")
    assert (found["through"], found["enabled"]) == ("Old project", "yes")


def test_somebody_put_into_the_group_that_pam_carries_is_found(world: World) -> None:
    mallory = world.services.forests[world.corp.forest].find_person("mallory")
    world.services.forests[world.corp.forest].add_members(world.share.ref, [mallory.ref.sid])
    assert [(one["group"], one["member"]) for one in report(world, Subject.STANDING)] == [
        ("FileAdmins", "mallory")
    ]


def test_a_loop_of_groups_ends() -> None:
    world = World()
    one = world.corp.add_group("One", protected=True)
    two = world.corp.add_group("Two", members=[one.ref.sid])
    world.services.forests[world.corp.forest].add_members(one.ref, [two.ref.sid])
    assert [s.member_name for s in MemoryCensus(world.corp).seats([])] == ["Two", "One"]
    world.close()


def test_a_forest_that_does_not_answer_is_a_note_and_no_clean_list(world: World) -> None:
    world.corp.cut("corpdc")
    made = world.services.oversight.tables.table(world.frank, Subject.STANDING)
    assert "corp.bastide.test could not be read" in made.notes[0]


# ------------------------------------------------------------------------------------------------------------ who, since


def test_only_readers_may_have_them_and_only_of_the_past(world: World) -> None:
    with pytest.raises(NotAuthorized):
        world.services.oversight.tables.table(world.alice(), Subject.STANDING)
    for since in (world.clock.now() + timedelta(days=1), world.clock.now() - timedelta(days=4000)):
        with pytest.raises(InvalidInput):
            world.services.oversight.tables.table(world.frank, Subject.ELIGIBLE, since)


def test_there_are_no_more_rows_than_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastide.services.tables.MOST", 1)
    world.add_role("Other")
    made = world.services.oversight.tables.table(world.frank, Subject.ELIGIBLE)
    assert (len(made.rows), made.notes) == (1, ("there are 2 rows; the first 1 are shown",))


# ---------------------------------------------------------------------------------------------------------- what leaves


def test_a_spreadsheet_works_nothing_out() -> None:
    written = to_csv(["reason"], [[formula] for formula in (*FORMULAS, HOSTILE)])
    for row in list(csv.reader(io.StringIO(written, newline="")))[1:]:
        assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r")), row


def test_a_page_quotes_what_others_wrote_and_lets_nothing_in() -> None:
    page = to_html(
        {
            "title": "T", "about": "A", "made_at": "2026-11-20T09:00:00Z", "since": None, "columns": ["reason"],
            "rows": [[HOSTILE]], "notes": [HOSTILE],
        }
    )  # fmt: skip
    assert "<script" not in page
    assert "<img" not in page
    assert "default-src 'none'" in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_command_writes_each_form(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    desk.world.ready()
    frank = "PRIV\\frank"
    shown = desk.run(frank, "report", "eligible")
    assert "alice" in shown.stdout
    as_json = json.loads(desk.run(frank, "report", "eligible", "--json").stdout)
    assert as_json["columns"][1] == "person"
    out = tmp_path / "e.csv"
    desk.run(frank, "report", "eligible", "--format", "csv", "--out", str(out))
    assert out.stat().st_mode & 0o777 == 0o600
    assert out.read_text().startswith("role,person")
    page = desk.run(frank, "report", "unused", "--since", "-30d", "--format", "html").stdout
    assert "<h1>Eligibility that nobody uses</h1>" in page
    desk.run(
        frank, "report", "eligible", "--format", "csv", "--out", str(tmp_path / "no" / "e"), wanted=Exit.USAGE
    )
    assert (
        "alice"
        in desk.run(frank, "report", "eligible", "--format", "text", "--out", str(tmp_path / "t")).stderr
        + (tmp_path / "t").read_text()
    )


def test_a_list_to_eliminate_that_is_not_empty_is_a_no(desk: Desk) -> None:  # noqa: F811
    desk.run("PRIV\\frank", "report", "standing")
    bob = desk.world.services.forests[desk.world.corp.forest].find_person("bob")
    desk.world.corp.add_group("Domain Admins", protected=True, members=[bob.ref.sid])
    assert "bob" in desk.run("PRIV\\frank", "report", "standing", wanted=Exit.REFUSED).stdout
    desk.run("CORP\\alice", "report", "standing", wanted=Exit.REFUSED)
