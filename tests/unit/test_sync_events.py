"""The numbered events of the component `sync`: the same numbers, levels, severities and fields as operators know, and where each arises."""

import ast
import csv
import io
import json
import logging
from pathlib import Path

import pytest

from bastide.audit.event_log import LOGGER, MemoryEventLog, ProcessEventLog
from bastide.domain.sync_events import COMPONENT, EVENTS
from bastide.journal.lines import JsonLines

SOURCE = Path(__file__).resolve().parents[2] / "src" / "bastide"
#: The table of the original, as it was written down: number, level, severity, fields.
ORIGINAL = """\
6908,0,error,Tracking ID; Reference ID; Target management agent name; Target DN; Target ID; RetryCount
6910,0,information,
6911,0,information,
6912,0,error,AccountName; Reference ID; Password Last Change Time; Source Object GUID; Delivery Attempt; Source User Name
6914,0,error,Domain; Server
6915,0,error,
6916,0,warning,
6917,0,error,Reference ID; Source Object GUID; Source DN; Source management agent name; Maximum changes; Current Change
6921,0,error,Tracking ID; Reference ID; Target management agent name; Target DN; Target ID; RetryCount
6922,0,error,Tracking ID; Reference ID; Target management agent name; Target DN; Target ID; RetryCount
6924,0,information,Count; User
6925,0,information,Count; User
6926,0,error,Reference ID; Source Object GUID; Source DN; Source management agent name
6927,0,error,Tracking ID; Reference ID; Target Object GUID; Target DN; Target management agent name; RetryCount
6928,0,error,Count; User
6901,1,warning,Tracking ID; Reference ID; Target management agent name; Target DN; Target ID; RetryCount
6923,1,warning,Tracking ID; Reference ID; Target management agent name; Target DN; Target ID; RetryCount
6902,2,information,Tracking ID; Reference ID; Target management agent name; Target DN; Target ID; RetryCount
6903,2,information,Reference ID; Password Last Change Time; Source Object GUID; Delivery Attempt; Source User Name
6904,2,information,Reference ID; Source Object GUID
6905,2,information,Reference ID; Source Object GUID; Source DN; Source management agent name
6906,2,information,Reference ID; Source Object GUID; Source DN; Source management agent name
6907,2,information,Reference ID; Target Object GUID; Target management agent name
6913,2,information,Domain; Server
6918,2,information,Last password timestamp; Current password timestamp; Reference ID; Source Object GUID; Source DN; Source management agent name
6919,2,information,Tracking ID; Reference ID; Target management agent name; Target DN; Target ID; RetryCount
6909,3,information,ServerName
"""


def _rows() -> list[tuple[int, int, str, set[str]]]:
    return [
        (int(number), int(level), severity, {field for field in fields.split("; ") if field})
        for number, level, severity, fields in csv.reader(io.StringIO(ORIGINAL))
    ]


def test_the_table_is_the_originals() -> None:
    assert {number for number, *_ in _rows()} == {one.number for one in EVENTS.values() if not one.ours}
    for number, level, severity, fields in _rows():
        event = EVENTS[number]
        assert (event.level, event.severity.value, set(event.fields)) == (level, severity, fields), number
        assert event.arises
        assert event.meaning


def test_the_table_is_the_one_that_was_handed_down() -> None:
    handed = Path(__file__).resolve().parents[3] / "shared" / "reference" / "password-events.csv"
    if not handed.exists():
        pytest.skip("the project's reference folder is not beside this clone; the copy above is compared")
    with handed.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["component"] == COMPONENT]
    assert [
        (int(r["id"]), int(r["log_level"]), r["severity"], {f for f in r["fields"].split("; ") if f})
        for r in rows
    ] == _rows()


def test_every_number_is_written_somewhere() -> None:
    """Each stands in the source beside this table; where, the table says."""
    found: dict[int, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).with_suffix("").as_posix()
        if name == "domain/sync_events":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value in EVENTS:
                found.setdefault(node.value, set()).add(name)
    assert set(found) == set(EVENTS)
    for number, event in EVENTS.items():
        said = event.arises.partition(":")[0]
        places = found[number] | (
            {"services/passwords/deliver"} if "services/passwords/outcomes" in found[number] else set()
        )
        assert said in places, number


def test_the_page_says_the_same() -> None:
    page = (SOURCE.parents[1] / "docs" / "reference" / "password-events.md").read_text(encoding="utf-8")
    rows = [
        line.strip("| ").split(" | ")
        for line in page.splitlines()
        if line[2:6].isdigit() and int(line[2:6]) in EVENTS
    ]
    assert sorted(rows) == [
        [str(e.number), str(e.level), e.severity.value, e.meaning, ", ".join(e.fields) or "-", e.arises]
        for e in sorted(EVENTS.values(), key=lambda one: one.number)
    ]


def test_only_events_up_to_the_level_are_written(caplog: pytest.LogCaptureFixture) -> None:
    for level in range(4):
        caplog.clear()
        log = ProcessEventLog(level)
        with caplog.at_level(logging.INFO, logger=LOGGER):
            for event in EVENTS.values():
                log.write(event.number, **dict.fromkeys(event.fields, "x"))
        assert len(caplog.records) == sum(event.level <= level for event in EVENTS.values())


def test_an_event_is_one_line_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=LOGGER):
        ProcessEventLog(1).write(6925, Count=3, User="CORP\\al\nice")
    (record,) = caplog.records
    line = JsonLines().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["event"] == {
        "component": "sync",
        "id": 6925,
        "severity": "information",
        "Count": 3,
        "User": "CORP\\al\nice",
    }
    assert entry["message"].startswith("sync 6925 queue cleared: Count=3")


@pytest.mark.parametrize("log", [ProcessEventLog(3), MemoryEventLog()], ids=["process", "memory"])
def test_a_wrong_call_is_a_defect(log: ProcessEventLog | MemoryEventLog) -> None:
    with pytest.raises(ValueError, match="no event"):
        log.write(1)
    with pytest.raises(ValueError, match="User"):
        log.write(6925, Count=1)
