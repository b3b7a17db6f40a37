"""The documents of password synchronization say what the code does: numbered events, the wire, `pcnscfg`, the words."""

import csv
import re
import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from bastide import pcns, wire
from bastide.cli import pcnscfg
from bastide.domain.management_agents import Link, PasswordManagement, PasswordSource
from bastide.domain.passwords import DAY, FINAL, LONGEST, OLDEST, SKEW, Code, Proof, Receipt, State
from bastide.domain.sync_events import EVENTS
from bastide.services.passwords import notification, outcomes, refusals, told
from bastide.store import openpgp
from bastide_agent.events import CATALOG

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
LIST = ROOT / "tests" / "data" / "password-events.csv"
#: Number, level, severity, meaning, fields, and the last cell.
_EVENT = re.compile(r"^\| (\d{4}) \| (\d) \| (\w+) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
_ROW = re.compile(r"^\| (`[^|]+`) \|(.*)\|$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


def _read(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def _rows(page: str) -> dict[str, list[str]]:
    """First cell, without its backticks, and the other cells."""
    return {
        found[1].strip("`"): [cell.strip() for cell in re.split(r"(?<!\\)\|", found[2])]
        for found in _ROW.finditer(_read(page))
    }


# --------------------------------------------------------------------------------------------------------------- events


def _listed() -> list[tuple[int, int, str, str, str]]:
    with LIST.open(encoding="utf-8", newline="") as file:
        return sorted(
            (
                int(row["id"]),
                int(row["log_level"]),
                row["severity"],
                row["meaning"],
                ", ".join(part.strip() for part in row["fields"].split(";") if part.strip()) or "-",
            )
            for row in csv.DictReader(file)
        )


def test_every_number_of_the_original_is_on_the_page_as_it_was() -> None:
    found = sorted(
        (int(number), int(level), severity, meaning, fields)
        for number, level, severity, meaning, fields, _ in _EVENT.findall(_read("password-events.md"))
        if int(number) not in {one.number for one in EVENTS.values() if one.ours}
    )
    assert len(found) == 93
    assert found == _listed()


def test_the_page_of_events_is_as_it_is_written_by_the_program() -> None:
    """`make docs` writes its tables."""
    page = runpy.run_path(str(ROOT / "tools" / "events_page.py"))["page"]
    text = _read("password-events.md")
    assert page(text) == text
    assert page(text.replace("| queue cleared |", "| something else |")) == text


def test_every_number_says_where_it_arises_or_why_it_cannot() -> None:
    said = {int(number): last for number, *_, last in _EVENT.findall(_read("password-events.md"))}
    assert said.keys() == EVENTS.keys() | CATALOG.keys()
    cannot = {number for number, last in said.items() if last.startswith("**cannot**: ")}
    assert cannot == {kind.number for kind in CATALOG.values() if kind.never}
    assert all(last not in {"", "-"} for last in said.values())


def test_the_numbers_in_other_pages_are_numbers_that_there_are() -> None:
    """`event 6916`, `(6022)`: a reader looks them up."""
    wrong: dict[str, set[int]] = {}
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"(?:\bevents? |[(:] ?)(4[0-3]\d\d|6[09]\d\d|70\d\d)(?=[,.:;)\s])", text)
        if unknown := set(map(int, named)) - EVENTS.keys() - CATALOG.keys():
            wrong[path.name] = unknown
    assert not wrong


# --------------------------------------------------------------------------------------------------------------- states


def _numbers(cell: str) -> set[int]:
    return {int(number) for number in re.findall(r"\d{4}", cell)}


def test_receipts_are_described_with_what_the_agent_does() -> None:
    table = _read("states.md").partition("with a **receipt**")[2].partition("A **delivery** is")[0]
    rows = {found[1].strip("`"): found[2].split("|") for found in _ROW.finditer(table)}
    assert rows.keys() == {receipt.value for receipt in Receipt}
    again = {name for name, cells in rows.items() if cells[1].strip() == "tries again"}
    assert again == {receipt.value for receipt in told.NOT_NOW}
    said = {name: _numbers(cells[2]) - {6903, 6907} for name, cells in rows.items()}
    special = {Receipt.OWN_ACCOUNT: 6912, Receipt.ECHO: 6912}
    known = {**told.NUMBERS, **special}
    assert said == {r.value: {known[r]} if r in known else set() for r in Receipt}


def test_codes_are_described_with_their_events() -> None:
    table = _read("states.md").partition("A **delivery** is")[2].partition("*Yes* is")[0]
    rows = {found[1].strip("`"): found[2].split("|") for found in _ROW.finditer(table)}
    assert rows.keys() == {code.value for code in Code}
    assert {name for name, cells in rows.items() if cells[1].strip() == "never"} == {c.value for c in FINAL}
    assert {name: _numbers(cells[2]) for name, cells in rows.items()} == {
        code.value: {outcomes._NUMBERS.get(code, outcomes._FAILED)} for code in Code
    }


def test_times_and_limits_are_those_of_the_code() -> None:
    text = _read("states.md").partition("## Password changes")[2]
    assert f"older than {OLDEST // timedelta(hours=1)} hours" in text
    assert f"more than {SKEW // timedelta(minutes=1)} minutes ahead" in text
    assert (
        f"in {DAY // timedelta(hours=1)} hours than the source allows, {PasswordSource(domain='x').daily_limit} by default"
        in text
    )
    assert f"is {PasswordManagement().retry_limit} times after the first try, one minute apart" in text
    assert PasswordManagement().retry_interval == timedelta(minutes=1)
    for value in (*State, *Proof):
        assert f"`{value.value}`" in text


# ----------------------------------------------------------------------------------------------------------------- wire


def _messages() -> dict[str, type[Any]]:
    kinds = [*get_args(wire.FromAgent), *get_args(wire.FromServer)]
    return {str(kind.__struct_config__.tag): kind for kind in kinds}


def test_the_messages_of_the_wire_are_described() -> None:
    """Each message with its fields, in order; a field is what stands in backticks before anything in parentheses."""
    rows = {name: cells for name, cells in _rows("wire.md").items() if len(cells) == 2}
    said = {name: _CODE.findall(re.sub(r"\([^)]*\)", "", cells[1])) for name, cells in rows.items()}
    assert said == {
        name: [f.name for f in msgspec.structs.fields(kind)] for name, kind in _messages().items()
    }


def test_who_says_what_is_described() -> None:
    rows = {name: cells for name, cells in _rows("wire.md").items() if len(cells) == 2}
    speakers = {name: cells[0].partition(",")[0] for name, cells in rows.items()}
    agent = {str(kind.__struct_config__.tag) for kind in get_args(wire.FromAgent)}
    assert {name for name, who in speakers.items() if who == "agent"} == agent
    assert {name for name, who in speakers.items() if who == "server"} == set(_messages()) - agent


def _verdicts() -> str:
    return _read("wire.md").partition("| verdict |")[2].partition("\n\n")[0]


def test_the_verdicts_are_described() -> None:
    assert set(re.findall(r"^\| `(\w+)`", _verdicts(), re.MULTILINE)) == set(wire.Verdict)


def test_the_limits_of_the_wire_are_those_of_the_code() -> None:
    text = _read("wire.md")
    assert [int(n) for n in re.findall(r"^Version (\d+)\.", text, re.MULTILINE)] == [wire.VERSION]
    assert f"port {wire.PORT} unless" in text
    assert f"`{wire.SERVICE}/host`" in text
    assert _verdicts().count(f"at most {wire.DELAY_LIMIT}") == 2
    numbers = (wire.NAME_LIMIT, wire.SID_LIMIT, wire.SECRET_LIMIT, wire.CHECK_LIMIT)
    assert (
        "at most {} characters, `user_sid` {}; `secret` at most {:,} bytes, `check` {};".format(*numbers)
        in text
    )
    assert wire.LARGEST_REVISION == 2**32 - 1
    assert wire.SECRET_LIMIT == openpgp.MESSAGE_LIMIT
    assert openpgp.PASSWORD_LIMIT == 2 * LONGEST
    assert f"with {openpgp._ROOM >> 20} MiB and\n  {openpgp._TIME:.0f} s for each" in text
    assert f"holds more than {openpgp.PASSWORD_LIMIT} bytes" in text
    assert f"refuses {refusals.ALLOWED:,} notifications an hour" in text
    assert timedelta(hours=1) == refusals.WINDOW
    said = re.search(r"at most ([\d,]+) bytes before it is sealed; a frame at most ([\d,]+)", text)
    assert said is not None
    message, frame = (int(number.replace(",", "")) for number in said.groups())
    assert message == wire.FRAME_LIMIT
    assert wire.length(frame.to_bytes(4, "big")) == frame
    with pytest.raises(wire.WireError):
        wire.length((frame + 1).to_bytes(4, "big"))


# -------------------------------------------------------------------------------------------------------------- pcnscfg


def test_the_commands_of_pcnscfg_are_described() -> None:
    """Commands, and for each the options that it takes."""
    rows = {name: cells for name, cells in _rows("pcnscfg.md").items() if name.isalpha() and name.islower()}
    said = {name: set(re.findall(r"/([A-Z]+):", cells[0])) for name, cells in rows.items()}
    assert said == {name: set(options) for name, (_, options) in pcnscfg._COMMANDS.items()}


def _ranges() -> dict[str, range]:
    return {
        "L": notification._U32,
        "A": notification._U32,
        "R": notification._RETRIES,
        "I": pcns.RETRY_INTERVAL,
    }


def test_ranges_and_defaults_of_the_service_are_those_of_the_code() -> None:
    service = pcns.ServiceSettings()
    defaults = {
        "L": service.max_queue_length,
        "A": service.max_queue_age,
        "R": service.max_notification_retries,
        "I": service.retry_interval,
    }
    table = _read("pcnscfg.md").partition("## For all targets")[2].partition("\n## ")[0]
    said = re.findall(r"^\| `/(\w+):` \| .* \| (\d+) to (\d+) \| (\d+)\b.*\|$", table, re.MULTILINE)
    assert {name: range(int(low), int(high) + 1) for name, low, high, _ in said} == _ranges()
    assert {name: int(default) for name, _, _, default in said} == defaults


def test_ranges_and_defaults_of_a_target_are_those_of_the_code() -> None:
    table = _read("pcnscfg.md").partition("## Of a target")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `/(\w+):` \|", table, re.MULTILINE)) == pcnscfg._TARGET
    said = {
        name: (range(int(low), int(high) + 1), int(default))
        for name, low, high, default in re.findall(
            r"^\| `/(\w+):` \| .* \| (\d+) to (\d+) \| (\d+)\b.*\|$", table, re.MULTILINE
        )
    }
    one = {field.name: field.default for field in pcns.Target.__dataclass_fields__.values()}
    assert said == {
        "F": (notification._FORMATS, one["user_name_format"]),
        "I": (notification._KEEP_ALIVE, one["keep_alive"]),
        "WL": (notification._U32, one["warning_level"]),
        "WI": (notification._U32, one["warning_interval"]),
    }


def test_the_schema_is_described() -> None:
    oids = {name: cells[0] for name, cells in _rows("pcnscfg.md").items() if name.startswith("mS-MIIS-PCNS")}
    assert oids == {**pcns.ATTRIBUTES, **dict((pcns.TARGET_CLASS, pcns.SERVICE_CLASS))}
    assert f"most {pcns.MOST_TARGETS} targets" in _read("pcnscfg.md")


# ------------------------------------------------------------------------------------------------------------- from MIM


def _shown(value: object) -> str:
    """A default as people write it."""
    match value:
        case bool():
            return "on" if value else "off"
        case timedelta():
            return f"{value // timedelta(seconds=1)} s"
        case _:
            return str(value)


def test_defaults_beside_those_of_mim_are_those_of_the_code() -> None:
    table = _read("mim-mapping.md").partition("### Settings of a management agent")[2].partition("###")[0]
    said = {
        name: here.partition(";")[0]
        for name, here in re.findall(
            r"^\|[^|]*\| `passwords\.(\w+)` \|[^|]*\| ([^|]+) \|$", table, re.MULTILINE
        )
    }
    rules = PasswordManagement()
    assert said == {name: _shown(getattr(rules, name)) for name in said}
    assert said.keys() >= {
        "operation",
        "retry_limit",
        "retry_interval",
        "require_secure",
        "unlock",
        "must_change",
    }
    assert f"| `source.daily_limit` | *doubtful* | {PasswordSource(domain='x').daily_limit} |" in table


# ------------------------------------------------------------------------------------------------------------- glossary


def test_the_glossary_has_the_links_of_the_code() -> None:
    """What ties an object to a person."""
    assert {name for name in _rows("glossary.md") if name in set(Link)} == {link.value for link in Link}


def test_the_code_points_to_the_glossary() -> None:
    source = (ROOT / "src" / "bastide" / "domain" / "management_agents.py").read_text(encoding="utf-8")
    assert "docs/reference/glossary.md" in source
