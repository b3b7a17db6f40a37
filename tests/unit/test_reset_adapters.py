"""What self-service reset touches outside: lists of lost passwords, the program for short messages, the settings."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from bastide.config import ConfigError, Keys, Server
from bastide.directory.memory_password_times import MemoryPasswordTimes
from bastide.directory.memory_policy import MemoryPolicyReader
from bastide.domain.errors import NotConfigured, TargetUnavailable
from bastide.health.checks.targets import judge_lost
from bastide.notify.memory import MemoryNotifier
from bastide.notify.memory_texts import MemoryTexts
from bastide.notify.program import ProgramTexts, problem
from bastide.sections import Notifications, Reset, ResetRule, wrong_reset
from bastide.services.reset.ports import Corpus
from bastide.store import breached
from bastide.store.breached import PREFIX, RangeFiles
from bastide.wiring.reset import reset_adapters
from tests.support.health import MINIMAL
from tests.support.world import START

LOST = {"Password1": 52, "hunter2": 17, "Sommer2026!": 3}
URL = "https://bastide.test"


def digest(password: str) -> str:
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def folder(place: Path, ending: str = "", newline: str = "\r\n") -> Path:
    for password, count in LOST.items():
        head, tail = digest(password)[:5], digest(password)[5:]
        lines = sorted(["0" * 34 + "1:9", f"{tail}:{count}", "F" * 35 + ":1"])
        (place / f"{head}{ending}").write_text(newline.join(lines), newline="")
    return place


def lines_of_all() -> list[str]:
    """Sorted by hash."""
    counts = {digest(str(number)): 1 for number in range(5000)}
    counts |= {digest(password): count for password, count in LOST.items()}
    return [f"{one}:{counts[one]}\n" for one in sorted(counts)]


def one_file(place: Path, lines: Sequence[str] = ()) -> Path:
    file = place / "pwned.txt"
    file.write_text("".join(lines or lines_of_all()))
    return file


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen prefixes: five thousand hashes are a whole corpus then."""
    monkeypatch.setattr(breached, "PREFIX", 1)
    monkeypatch.setattr(breached, "PREFIXES", 16)


@pytest.mark.parametrize("ending", ["", ".txt"])
def test_a_lost_password_is_found_with_its_count(ending: str, tmp_path: Path) -> None:
    found = RangeFiles(folder(tmp_path, ending))
    assert {password: found.times(password) for password in LOST} == LOST


@pytest.mark.parametrize("written", [str.upper, str.lower])
@pytest.mark.usefixtures("few")
def test_a_lost_password_is_found_in_one_file(written: Callable[[str], str], tmp_path: Path) -> None:
    found = RangeFiles(one_file(tmp_path, [written(line) for line in lines_of_all()]))
    assert found.corpus().whole
    assert {password: found.times(password) for password in LOST} == LOST


@pytest.mark.parametrize("ending", ["", ".txt"])
@pytest.mark.parametrize("written", [str.upper, str.lower])
@pytest.mark.usefixtures("few")
def test_3_a_folder_is_read_in_either_case(
    ending: str, written: Callable[[str], str], tmp_path: Path
) -> None:
    """A breaker's: in lower case it was called whole, and every password was an error."""
    for head in "0123456789ABCDEF":
        lines = [line[1:] for line in lines_of_all() if line.startswith(head)]
        (tmp_path / f"{written(head)}{ending}").write_text("".join(lines))
    found = RangeFiles(tmp_path)
    assert (found.corpus().files, found.corpus().whole) == (16, True)
    assert {password: found.times(password) for password in LOST} == LOST


@pytest.mark.usefixtures("few")
def test_3_a_prefix_that_is_there_twice_makes_up_for_no_other(tmp_path: Path) -> None:
    for head in "0123456789ABCDE":
        (tmp_path / head).write_text("0" * 39 + ":1\n")
    (tmp_path / "0.txt").write_text("0" * 39 + ":1\n")
    assert (RangeFiles(tmp_path).corpus().files, RangeFiles(tmp_path).corpus().whole) == (15, False)


@pytest.mark.usefixtures("few")
def test_3_a_file_that_is_sorted_by_count_is_an_error(tmp_path: Path) -> None:
    """A breaker's: it found next to nothing, and was called whole."""
    found = RangeFiles(one_file(tmp_path, sorted(lines_of_all(), key=digest)))
    with pytest.raises(NotConfigured, match="not sorted by hash"):
        found.corpus()
    for password in (*LOST, "not lost 1", "not lost 2"):
        with pytest.raises(NotConfigured, match=r"not sorted by hash|not whole"):
            found.times(password)


@pytest.mark.parametrize("part", [slice(2500), slice(2500, None)])
@pytest.mark.usefixtures("few")
def test_3_a_file_that_was_cut_off_at_the_end_of_a_line_is_an_error(part: slice, tmp_path: Path) -> None:
    lines = lines_of_all()
    found = RangeFiles(one_file(tmp_path, lines[part]))
    with pytest.raises(NotConfigured, match="not whole"):
        found.corpus()
    refused = 0
    for number in range(200):
        there = digest(str(number)) + ":1\n" in lines[part]
        try:
            assert found.times(str(number)) == there
        except NotConfigured:
            refused += 1
    assert 50 < refused < 150


@pytest.mark.usefixtures("few")
def test_3_a_part_that_is_missing_in_the_middle_is_an_error(tmp_path: Path) -> None:
    found = RangeFiles(one_file(tmp_path, [line for line in lines_of_all() if line[0] not in "78"]))
    with pytest.raises(NotConfigured, match="not whole"):
        found.corpus()


@pytest.mark.usefixtures("few")
def test_others_are_not_found_in_a_sorted_file(tmp_path: Path) -> None:
    found = RangeFiles(one_file(tmp_path))
    assert found.times("4999") == 1
    assert not any(found.times(f"not lost {number}") for number in range(200))


def test_a_prefix_that_is_missing_is_an_error_and_never_not_found(tmp_path: Path) -> None:
    found = RangeFiles(folder(tmp_path))
    with pytest.raises(NotConfigured, match="lacks some") as refused:
        found.times("something else")
    assert digest("something else")[:PREFIX] not in f"{refused.value} {refused.value.remedy}"
    with pytest.raises(NotConfigured, match="cannot be read"):
        RangeFiles(tmp_path / "nowhere").times("x")


@pytest.mark.parametrize(
    "content", ["", "nonsense\n", "A" * 500, digest("x") + "\n", digest("x") + ":many\n"]
)
def test_what_is_no_list_is_an_error(content: str, tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text(content)
    with pytest.raises(NotConfigured):
        RangeFiles(file).corpus()


def test_a_range_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breached, "_MOST", 10)
    with pytest.raises(NotConfigured):
        RangeFiles(folder(tmp_path)).times("Password1")


def test_presence_and_age_are_judged(tmp_path: Path) -> None:
    corpus = RangeFiles(folder(tmp_path)).corpus()
    assert (corpus.files, corpus.whole) == (3, False)
    assert "3 of 1,048,576" in judge_lost(corpus, START).text
    fresh = Corpus(1, START - timedelta(days=3), whole=True)
    assert judge_lost(fresh, START).severity.value == "ok"
    assert judge_lost(fresh, START + timedelta(days=400)).severity.value == "warning"


# --------------------------------------------------------------------------------------------------------- short messages


def program(place: Path, body: str) -> Path:
    place.chmod(0o755)
    file = place / "send-text"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def test_number_and_text_go_to_standard_input_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = program(tmp_path, f'cat > {out}; echo "$# $*" >> {out}; env >> {out}')
    ProgramTexts(file).send("+33612345678", "the code is '; rm -rf /\n$(x)")
    said, arguments, *environment = out.read_text().split("\n")
    assert json.loads(said) == {"to": "+33612345678", "text": "the code is '; rm -rf /\n$(x)"}
    assert arguments.strip() == "0"
    assert not any("code" in line for line in environment)


def test_a_program_that_fails_or_hangs_took_nothing(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable, match="ended with 3"):
        ProgramTexts(program(tmp_path, "exit 3")).send("+1", "x")
    with pytest.raises(TargetUnavailable, match="did not end"):
        ProgramTexts(program(tmp_path, "exec sleep 60"), longest=0.2).send("+1", "x")
    twin = MemoryTexts()
    twin.down = "no signal"
    with pytest.raises(TargetUnavailable):
        twin.send("+1", "x")


def test_a_program_that_others_may_write_is_not_started(tmp_path: Path) -> None:
    file = program(tmp_path, "exit 0")
    assert problem(file) == ""
    file.chmod(0o775)
    with pytest.raises(NotConfigured, match="written by others"):
        ProgramTexts(file).send("+1", "x")
    file.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
        assert "somebody else" in problem(file)
    assert "cannot be read" in problem(tmp_path / "nothing")


# --------------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (Reset(mail="chat", rules=[ResetRule(gates=["mail"])]), "reset.mail"),
        (Reset(mail="mail", rules=[]), "is empty"),
        (Reset(mail="mail", rules=[ResetRule(gates=[])]), "at least one"),
        (Reset(mail="mail", rules=[ResetRule(gates=["mail", "mail"])]), "once"),
        (Reset(mail="mail", rules=[ResetRule(gates=["questions"])]), "alone"),
        (Reset(mail="mail", rules=[ResetRule(gates=["key", "key"])]), "once"),
        (Reset(mail="mail", rules=[ResetRule(gates=["mail"]), ResetRule(gates=["totp"])]), "put it last"),
        (Reset(mail="mail", rules=[ResetRule(gates=["sms"])]), "text_program"),
        (Reset(mail="mail", rules=[ResetRule(gates=["mail"], cooling_hours=721)]), "cooling_hours"),
        (Reset(mail="mail", rules=[ResetRule(gates=["mail", "questions"])]), "reset.questions"),
        (Reset(mail="mail", rules=[ResetRule(gates=["mail"])], answer_pattern="("), "regular"),
        (Reset(mail="mail", rules=[ResetRule(gates=["mail"])], breached="pwned"), "working directory"),
        (Reset(mail="mail", rules=[ResetRule(gates=["mail"])], texts_per_day=0), "texts_per_day"),
    ],
)
def test_settings_that_cannot_be(table: Reset, why: str) -> None:
    assert why in wrong_reset(table, URL, ["mail"])


def test_settings_that_can_be() -> None:
    table = Reset(
        mail="mail",
        rules=[
            ResetRule(gates=["mail", "totp"], groups=["A"]),
            ResetRule(gates=["key"], groups=["B"]),
            ResetRule(gates=["mail"]),
        ],
    )
    assert wrong_reset(table, URL, ["mail"]) == ""
    assert wrong_reset(None, "", []) == ""
    assert "https" in wrong_reset(table, "http://x", ["mail"])


def test_the_gate_of_a_key_needs_the_name_of_a_host(tmp_path: Path) -> None:
    """As browsers do."""
    key = tmp_path / "master.key"
    key.write_bytes(hashlib.sha256(b"any").digest())
    key.chmod(0o600)
    for url, gates, fits in (
        ("https://bastide.test:8443", ["key"], True),
        ("https://192.0.2.7:8443", ["mail"], True),
        ("https://192.0.2.7:8443", ["key"], False),
    ):
        config = msgspec.structs.replace(
            MINIMAL,
            server=Server(url=url),
            keys=Keys(master=str(key), signing="/s"),
            notifications=Notifications(channels=[]),
            reset=msgspec.convert({"mail": "mail", "rules": [{"gates": gates}]}, Reset),
        )
        if fits:
            made = reset_adapters(config, MemoryNotifier(), MemoryPolicyReader(None), MemoryPasswordTimes())
            assert made is not None
            assert [gate.value for gate in made.settings.rules[0].gates] == gates
        else:
            with pytest.raises(ConfigError, match="host name"):
                reset_adapters(config, MemoryNotifier(), MemoryPolicyReader(None), MemoryPasswordTimes())
