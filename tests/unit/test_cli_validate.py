"""`bastide validate` and `bastide diagnose` as people and programs use them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.config import Config
from bastide.domain.health import Category, Finding, Severity
from bastide.health import activation, opened, registry
from bastide.health import diagnose as walks
from bastide.health import report as kept
from bastide.health.check import Check
from bastide.health.diagnose import Step
from bastide.health.world import World
from tests.support.health import ToldDomain, ToldNetwork, looking_at

SETTINGS = """
[keys]
master = "/m"
signing = "/s"
[priv]
domain = "priv.test"
principal = "svc@PRIV.TEST"
keytab = "/k"
users_container = "U"
groups_container = "G"
[rights]
administrators = []
auditors = []
approvers = []
"""


class Doctor:
    """The program with two checks, which find what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.reports = folder / "reports"
        self.settings = folder / "bastide.toml"
        self.settings.write_text(SETTINGS)
        self.found = {"dns.names": Severity.OK, "time.controllers": Severity.OK}
        self.world = looking_at()

    def check(self, name: str, category: Category) -> Check:
        def run(_world: World) -> list[Finding]:
            return [Finding("dc1", self.found[name], f"it is {self.found[name]}", "seen", "mend it")]

        return Check(id=name, category=category, subject="hosts", why="because.", run=run)

    def __call__(self, *words: str) -> Result:
        arguments = ["validate", "--config", str(self.settings), "--reports", str(self.reports), *words]
        return CliRunner().invoke(app, arguments)


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    made = Doctor(tmp_path)
    settings = Check(
        id="configuration.settings", category=Category.CONFIGURATION, subject="settings", why="because.",
        run=lambda _world: [Finding("settings", Severity.OK, "fine")],
    )  # fmt: skip
    checks = (settings, made.check("dns.names", Category.DNS), made.check("time.controllers", Category.TIME))
    monkeypatch.setattr(registry, "CHECKS", checks)

    @contextmanager
    def world(_config: Config, _file: Path, _clock: Any) -> Iterator[World]:
        yield made.world

    monkeypatch.setattr(opened, "opened", world)
    return made


@pytest.mark.parametrize(
    ("severity", "status"),
    [(Severity.OK, 0), (Severity.SKIPPED, 0), (Severity.WARNING, 0), (Severity.ERROR, 1), (Severity.CRITICAL, 1)],
)  # fmt: skip
def test_the_exit_code(doctor: Doctor, severity: Severity, status: int) -> None:
    doctor.found["dns.names"] = severity
    done = doctor()
    assert done.exit_code == status
    assert f"{severity.value.upper():9} dc1: it is {severity.value}" in done.stdout


def test_json_is_the_report_that_is_kept(doctor: Doctor) -> None:
    done = doctor("--json")
    (file,) = doctor.reports.glob("*.json")
    assert kept.from_json(done.stdout) == kept.read(file)
    assert done.stderr == ""


def test_only_some_categories(doctor: Doctor) -> None:
    found = kept.from_json(doctor("--json", "--only", "dns", "--only", "time").stdout)
    assert [one.check for one in found.results] == ["dns.names", "time.controllers"]
    assert kept.from_json(doctor("--json", "--only", "DNS").stdout).only == (Category.DNS,)
    wrong = doctor("--only", "nonsense")
    assert wrong.exit_code == Exit.USAGE
    assert "there is no category" in wrong.stderr
    assert "dns, ports" in wrong.stderr
    assert "Value error" not in wrong.stderr
    assert "one of: inventory" in " ".join(doctor("--help").stdout.replace("│", " ").split()).lower()


def test_the_list_runs_nothing(doctor: Doctor) -> None:
    done = doctor("--list", "--json")
    assert [row["check"] for row in json.loads(done.stdout)] == [one.id for one in registry.CHECKS]
    assert "dns.names" in doctor("--list").stdout
    assert not doctor.reports.exists()


def test_since_the_last_time(doctor: Doctor, tmp_path: Path) -> None:
    assert doctor("--since", "latest").exit_code == Exit.REFUSED  # there is none
    doctor()
    (first,) = doctor.reports.glob("*.json")
    first = first.rename(first.with_name("20200101T000000Z-x.json"))
    doctor.found["dns.names"] = Severity.ERROR
    for since in ("latest", str(first)):
        done = doctor("--since", since, "--html", str(tmp_path / "page.html"))
        assert "WORSE     dc1: it is error" in done.stdout
        page = (tmp_path / "page.html").read_text()
        assert "became worse" in page
        assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
        for file in doctor.reports.iterdir():
            if file != first:
                file.unlink()
    assert "nothing changed" in doctor("--since", str(_with(doctor))).stdout


def _with(doctor: Doctor) -> Path:
    doctor()
    return max(doctor.reports.glob("*.json"))


def test_settings_that_cannot_be_used_are_a_report(doctor: Doctor) -> None:
    doctor.settings.write_text("[priv]\ndomian = 'x'")
    done = doctor("--json")
    assert done.exit_code == Exit.REFUSED
    found = {one.check: one for one in kept.from_json(done.stdout).results}
    assert found["configuration.settings"].severity is Severity.CRITICAL
    assert "did you mean domain?" in found["configuration.settings"].remedy
    assert {one.severity for name, one in found.items() if name != "configuration.settings"} == {
        Severity.SKIPPED
    }


UNFINISHED = SETTINGS.replace('domain = "priv.test"', "")


@pytest.mark.parametrize(
    ("settings", "wrong", "first"),
    [(None, "does not exist", "`bastide init` makes it"), (UNFINISHED, "missing required field `domain`", "set priv.domain")],
)  # fmt: skip
@pytest.mark.parametrize("words", [(), ("--only", "dns"), ("--since", "latest"), ("--recovery",), ("--html", "page.html")])  # fmt: skip
def test_without_settings_the_one_thing_to_do_is_all_that_is_said(
    doctor: Doctor, settings: str | None, wrong: str, first: str, words: tuple[str, ...]
) -> None:
    """A new user got 52 lines, 51 of which said that nothing had been looked at."""
    doctor.settings.unlink()
    if settings is not None:
        doctor.settings.write_text(settings)
    done = doctor(*words)
    said = " ".join(done.stderr.split())
    assert (done.exit_code, done.stdout) == (Exit.REFUSED, "")
    assert all(one in said for one in (wrong, first, "nothing was looked at"))
    assert len(done.stderr.splitlines()) <= 6
    assert not doctor.reports.exists()


def test_without_settings_no_category_is_said_to_be_right(doctor: Doctor) -> None:
    doctor.settings.unlink()
    done = doctor("--json", "--only", "dns")
    assert done.exit_code == Exit.REFUSED
    assert {one.check: one.severity for one in kept.from_json(done.stdout).results} == {
        "configuration.settings": Severity.CRITICAL,
        "dns.names": Severity.SKIPPED,
    }


def test_a_folder_that_cannot_be_written_is_said(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = doctor("--reports", str(tmp_path / "file" / "x"))
    assert done.exit_code == Exit.REFUSED
    assert "--reports" in done.stderr


# ------------------------------------------------------------------------------------------------------------- diagnose


def diagnose(doctor: Doctor, *words: str) -> Result:
    return CliRunner().invoke(app, ["diagnose", *words, "--config", str(doctor.settings)])


@pytest.mark.parametrize("words", [("activation",), ("dc1", "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")])
def test_activation_and_an_id_go_together(doctor: Doctor, words: tuple[str, ...]) -> None:
    done = diagnose(doctor, *words)
    assert done.exit_code == Exit.USAGE
    assert "go together" in done.stderr


def test_a_cause_and_what_to_do(doctor: Doctor) -> None:
    doctor.world = looking_at(
        domains={"priv.test": ToldDomain({"dc1.priv.test": "port 88: refused"})}, network=ToldNetwork()
    )
    done = diagnose(doctor, "DC1")
    assert done.exit_code == Exit.REFUSED
    assert "cause: dc1.priv.test has no address" in done.stdout
    assert "  -> add an A or AAAA record" in done.stdout
    answer = json.loads(diagnose(doctor, "dc1.priv.test.", "--json").stdout)
    assert [step["step"] for step in answer["steps"]] == ["name"]
    assert answer["cause"].startswith("dc1.priv.test has no address")


def test_settings_are_needed_for_it(doctor: Doctor) -> None:
    doctor.settings.unlink()
    assert "`bastide init` makes" in diagnose(doctor, "dc1").stderr


def test_a_request_that_waits_is_said_to_be_normal(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (
        Step("state", lambda: Finding("state", Severity.OK, "it is PendingApproval")),
        Step("whose turn", lambda: Finding("turn", Severity.OK, "it waits for approval", "", "ask them")),
        Step("tickets", lambda: Finding("tickets", Severity.SKIPPED, "it was never active")),
    )
    monkeypatch.setattr(activation, "steps_of", lambda _world, _id: ("request", steps))
    done = diagnose(doctor, "activation", "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11")
    assert done.exit_code == Exit.OK
    assert "this is its normal state: it is PendingApproval; it waits for approval" in done.stdout
    assert "  -> ask them" in done.stdout


def test_a_walk_with_skipped_steps_proves_nothing(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (Step("address", lambda: Finding("n", Severity.SKIPPED, "common", "", "look there")),)
    monkeypatch.setattr(walks, "steps_for", lambda _world, _name: ("node", steps))
    done = diagnose(doctor, "n")
    assert done.exit_code == Exit.OK
    assert "1 of 1 steps were skipped, and prove nothing" in done.stdout
    assert "  -> look there" in done.stdout
    assert "as it should be" not in done.stdout
