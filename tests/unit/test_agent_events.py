"""Events carry the numbers, levels and fields that administrators of PCNS know."""

import ast
import csv
import io
import json
import re
from pathlib import Path

import pytest

from bastide_agent import events
from bastide_agent.events import CATALOG, JsonLog, Kind
from tests.support.agent import ManualClock

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "bastide_agent"
LIST = ROOT / "tests" / "data" / "password-events.csv"


def listed() -> list[Kind]:
    with LIST.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["component"] == "pcns"]
    return [
        Kind(
            int(row["id"]),
            int(row["log_level"]),
            events.Severity(row["severity"]),
            row["meaning"],
            tuple(part.strip() for part in row["fields"].split(";") if part.strip()),
        )
        for row in rows
    ]


def test_the_catalogue_is_the_list() -> None:
    assert len(listed()) == 66
    bare = [Kind(k.number, k.level, k.severity, k.meaning, k.fields) for k in CATALOG.values()]
    assert sorted(bare, key=lambda k: k.number) == sorted(listed(), key=lambda k: k.number)


def numbers_in(path: Path) -> set[int]:
    """Every number that stands in a file."""
    return {
        n.value
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Constant) and type(n.value) is int
    }


@pytest.mark.parametrize("kind", CATALOG.values(), ids=lambda kind: str(kind.number))
def test_each_number_says_where_it_arises_or_why_it_cannot(kind: Kind) -> None:
    holding = {
        path.name
        for path in SOURCE.glob("*.py")
        if path.name != "events.py" and kind.number in numbers_in(path)
    }
    assert bool(kind.where) is not bool(kind.never)
    named = set(re.findall(r"[a-z_]+\.py", kind.where))
    assert bool(named) is bool(kind.where)
    assert named <= holding
    assert not (kind.never and holding)


def test_keys_of_one_event_are_told_apart() -> None:
    for kind in CATALOG.values():
        keys = [events.key(field) for field in kind.fields]
        assert len(set(keys)) == len(keys)
        assert all(key.isidentifier() for key in keys)


def lines(level: int, *numbers: int) -> list[dict[str, object]]:
    stream = io.StringIO()
    log = JsonLog(ManualClock(), level, stream)
    for number in numbers:
        log.write(number)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_level_lets_through_what_is_below() -> None:
    assert [line["event"] for line in lines(0, 2001, 2104, 2202, 2300)] == [2001]
    assert [line["event"] for line in lines(1, 2001, 2104, 2202, 2300)] == [2001, 2104]
    assert [line["event"] for line in lines(3, 2001, 2104, 2202, 2300)] == [2001, 2104, 2202, 2300]


def test_a_line_says_number_level_severity_and_words() -> None:
    (line,) = lines(1, 4004)
    assert line["component"] == "pcns"
    assert (line["event"], line["level"], line["severity"]) == (4004, 0, "warning")
    assert line["message"] == "target does not answer a status query"
    assert isinstance(line["thread_id"], int)
    assert line["time"] == "2026-11-21T12:00:00+00:00"


def test_a_field_that_a_number_does_not_have_is_a_defect() -> None:
    log = JsonLog(ManualClock(), 3, io.StringIO())
    with pytest.raises(ValueError, match="2001 has no"):
        log.write(2001, password="x")
    with pytest.raises(ValueError, match="6009"):
        log.write(6009)


def test_hostile_names_stay_on_their_line() -> None:
    stream = io.StringIO()
    JsonLog(ManualClock(), 3, stream).write(2202, target='x"\n{"event": 2001}\r\x1b[31m')
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()
