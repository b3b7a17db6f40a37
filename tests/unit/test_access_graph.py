"""Who can reach which group by which role, as ways and as a picture."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bastide.cli.access_svg import MOST, draw
from bastide.cli.exits import Exit, Stop
from bastide.domain.access_graph import Way, chosen
from bastide.domain.errors import Conflict, NotAuthorized
from bastide.domain.roles import Scope
from tests.support.admin import HOSTILE
from tests.support.world import World
from tests.unit.test_cli_app import Desk, desk  # noqa: F401  # a fixture


def way(person: str = "alice", role: str = "Files", group: str = "FileAdmins", **more: Any) -> dict[str, Any]:
    return {
        "person": person, "role": role, "group": group, "protected": False, "nested": False, "why_not": "", **more,
    }  # fmt: skip


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_names_choose_whatever_their_case() -> None:
    ways = [Way("alice", "Files", "A"), Way("bob", "Files", "A"), Way("bob", "Mail", "B")]
    assert chosen(ways, person="BOB", role="files") == (ways[1],)
    assert chosen(ways, group="b") == (ways[2],)
    assert chosen(ways) == tuple(sorted(ways))


def test_each_name_and_each_line_is_drawn_once() -> None:
    svg = draw(
        [way(), way("bob"), way(group="Other", protected=True), way("bob", group="Other", protected=True)]
    )
    assert texts(svg) == [
        "People (2)",
        "alice",
        "bob",
        "Roles (1)",
        "Files",
        "Groups (2)",
        "FileAdmins",
        "Other",
    ]
    assert "2 people, 1 role, 2 groups" in svg
    assert svg.count("<path") == 4
    assert svg.count('class="box protected"') == 1


def test_what_nobody_could_ask_for_is_dashed_and_no_other_line() -> None:
    svg = draw([way(why_not="not prepared"), way("bob")])
    assert svg.count("line off") == 1, "alice's; the role's line to the group is bob's too"


def test_names_of_others_are_text_and_nothing_else() -> None:
    svg = draw([way(HOSTILE, HOSTILE, HOSTILE)])
    assert "<script" not in svg
    assert "<img" not in svg
    ET.fromstring(svg)


def test_too_many_are_no_picture() -> None:
    draw([way(f"p{number}") for number in range(MOST)])
    with pytest.raises(Stop, match="no picture"):
        draw([way(f"p{number}") for number in range(MOST + 1)])


@pytest.fixture
def world() -> Any:
    made = World()
    made.ready()
    yield made
    made.close()


def ways(world: World, **wanted: str) -> tuple[Way, ...]:
    return world.services.oversight.access_graphs.graph(world.frank, **wanted).ways


def test_ways_lead_through_nested_groups_and_say_what_is_protected(world: World) -> None:
    world.corp.add_group(
        "Backup Operators", scope=Scope.BUILTIN, protected=True, members=[world.share.ref.sid]
    )
    found = {one.group: one for one in ways(world)}
    assert (found["FileAdmins"].person, found["FileAdmins"].nested) == ("priv.alice", False)
    assert (found["Backup Operators"].protected, found["Backup Operators"].nested) == (True, True)
    assert ways(world, group="nothing") == ()


def test_who_could_not_ask_now_is_there_with_the_reason(world: World) -> None:
    world.add_role("For Bob", candidates=("CORP\\bob",))
    assert [one.why_not for one in ways(world, person="bob")] == ["not prepared"]


def test_a_directory_that_is_down_is_a_note(world: World) -> None:
    world.corp.cut("corpdc")
    assert world.services.oversight.access_graphs.graph(world.frank).notes


def test_only_readers_see_it_and_it_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAuthorized):
        world.services.oversight.access_graphs.graph(world.alice())
    monkeypatch.setattr("bastide.services.access_graph.MOST", 0)
    with pytest.raises(Conflict, match="ways"):
        ways(world)


def test_the_command_draws_and_hands_on(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    desk.world.ready()
    out = tmp_path / "a.svg"
    desk.run("PRIV\\frank", "access", "graph", "--out", str(out))
    assert (out.stat().st_mode & 0o777, "priv.alice" in texts(out.read_text())) == (0o600, True)
    found = json.loads(desk.run("PRIV\\frank", "access", "graph", "--format", "json").stdout)
    assert found["ways"][0]["role"] == "File administrators"
    assert "nobody can reach" in desk.run("PRIV\\frank", "access", "graph", "--person", "x").stderr
    desk.run("CORP\\alice", "access", "graph", wanted=Exit.REFUSED)
