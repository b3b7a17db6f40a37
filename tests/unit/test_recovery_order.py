"""After an outage: which step is next (domain/recovery_order.py), `bastide validate --recovery`, and the checks that it needs."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from typer.testing import CliRunner

from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.cli.words import who
from bastide.config import Config, Corp, Database
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Category, Result, Severity
from bastide.domain.recovery_order import ORDER, Standing, stages
from bastide.health.checks import recovery
from bastide.health.registry import CHECKS
from bastide.health.world import Unasked
from bastide.services.pace import RECONCILE
from bastide.services.recovery import begin, reconciling
from bastide.store import migrations
from bastide.store.mark import FileMark
from bastide.store.unit_of_work import SqlStore
from tests.support import build
from tests.support.health import MINIMAL, ToldDomain, by_key, looking_at
from tests.unit.test_cli_validate import SETTINGS


def result(check: str, severity: Severity = Severity.OK, subject: str = "x") -> Result:
    return Result(
        check=check,
        category=Category.RECOVERY,
        subject=subject,
        severity=severity,
        text="seen",
        remedy="mend it",
    )


def good(**worse: Severity) -> list[Result]:
    """Everything is well but for these, by title of the step."""
    found = []
    for step in ORDER:
        severity = worse.get(step.title.replace(" ", "_").replace(",", ""), Severity.OK)
        found += [result(check, severity, f"{step.about} x".strip()) for check in sorted(step.checks)]
    return found


def standings(found: list[Result]) -> list[Standing]:
    return [stage.standing for stage in stages(found)]


def test_with_everything_back_no_step_is_next() -> None:
    assert standings(good()) == [Standing.DONE] * len(ORDER)


@pytest.mark.parametrize("number", range(len(ORDER)))
def test_the_first_that_is_not_right_is_next_and_the_rest_waits(number: int) -> None:
    title = ORDER[number].title.replace(" ", "_").replace(",", "")
    found = standings(good(**{title: Severity.ERROR}))
    assert found == [Standing.DONE] * number + [Standing.NEXT] + [Standing.LATER] * (len(ORDER) - number - 1)


def test_what_could_not_be_looked_at_is_no_proof() -> None:
    """A database that cannot be opened: nobody knows whether it agrees with the directory."""
    assert standings(good(the_database=Severity.SKIPPED))[3] is Standing.NEXT


def test_clocks_of_controllers_that_are_down_do_not_hold_up_the_controllers() -> None:
    found = standings(good(network_DNS_and_time=Severity.SKIPPED, one_PRIV_domain_controller=Severity.ERROR))
    assert found[:2] == [Standing.DONE, Standing.NEXT]


def test_a_port_that_does_not_answer_is_only_a_warning_elsewhere_and_is_in_the_way_here() -> None:
    assert standings(good(one_Bastide_node=Severity.WARNING))[4] is Standing.NEXT
    assert standings(good(what_was_missed=Severity.WARNING))[6] is Standing.DONE


def test_in_one_forest_there_is_no_step_for_corp() -> None:
    found = [one for one in good() if not one.subject.startswith("CORP")]
    assert standings(found) == [Standing.DONE] * len(ORDER)


def test_every_step_has_checks_that_exist() -> None:
    there = {check.id for check in (*CHECKS, *recovery.AFTER_AN_OUTAGE)}
    assert frozenset().union(*(step.checks for step in ORDER)) <= there


def test_each_controller_is_one_finding_where_nobody_asks_for_the_order() -> None:
    assert not {check.id for check in CHECKS} & {check.id for check in recovery.AFTER_AN_OUTAGE}


# ---------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "bastide.toml"
    file.write_text(f'{SETTINGS}[database]\nurl = "sqlite:///{tmp_path}/bastide.db"\n')
    return file


def run(settings: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["validate", "--recovery", "--config", str(settings), *words])
    return done.exit_code, done.stdout


def test_the_command_says_which_is_next(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = good(the_database=Severity.ERROR)
    monkeypatch.setattr(
        "bastide.cli.recovery_order.run_all", lambda *_: SimpleNamespace(results=tuple(found))
    )
    code, said = run(settings)
    assert code == Exit.REFUSED
    lines = [line.split(maxsplit=2) for line in said.splitlines() if line[:1].isdigit()]
    assert [line[1] for line in lines] == ["DONE"] * 3 + ["NEXT"] + ["LATER"] * 5
    assert "mend it" in said
    code, said = run(settings, "--json")
    assert [one["standing"] for one in json.loads(said)][3] == "next"
    monkeypatch.setattr(
        "bastide.cli.recovery_order.run_all", lambda *_: SimpleNamespace(results=tuple(good()))
    )
    code, said = run(settings)
    assert (code, "everything is back" in said) == (0, True)


def test_it_stands_alone(settings: Path) -> None:
    assert run(settings, "--only", "dns")[0] == Exit.USAGE
    assert run(settings, "--list")[0] == Exit.USAGE


# ----------------------------------------------------------------------------------------------------------- the checks


def test_one_controller_of_each_forest_is_enough() -> None:
    away = DirectoryUnavailable("it is down")
    config = msgspec.structs.replace(MINIMAL, corp=Corp(domain="corp.test"))
    domains = {
        "priv.test": ToldDomain({"dc1": timedelta(0), "dc2": away}),
        "corp.test": ToldDomain({"cdc": away}),
    }
    found = by_key(recovery.controllers(looking_at(config, domains=domains)))
    assert found["PRIV priv.test"].severity is Severity.OK
    assert "1 of 2" in found["PRIV priv.test"].text
    assert found["CORP corp.test"].severity is Severity.ERROR
    domains["corp.test"] = ToldDomain({"cdc": Unasked("there is no keytab")})
    found = by_key(recovery.controllers(looking_at(config, domains=domains)))
    assert found["CORP corp.test"].severity is Severity.SKIPPED


def test_a_database_that_is_being_compared_is_an_error_with_what_holds_it_up() -> None:
    store = SqlStore("sqlite://")
    world = looking_at(store=store)
    (found,) = recovery.compared(world)
    assert found.severity is Severity.OK
    with store.write() as uow:
        begin(uow, build.NOW, cause="a test")
        uow.commit()
    (work,) = store.claim({RECONCILE}, owner="me", lease=timedelta(minutes=1), limit=1, now=build.NOW)
    with store.write() as uow:
        uow.work.retry(work, build.NOW, "dc2 does not answer")
        uow.commit()
    (found,) = recovery.compared(world)
    assert (found.severity, found.evidence) == (Severity.ERROR, "dc2 does not answer")
    assert "a test" in found.text
    store.close()


def test_the_mark_is_looked_at(tmp_path: Path) -> None:
    store = SqlStore("sqlite://")
    without = looking_at(_with("postgresql://db/bastide"), store=store)
    (found,) = recovery.mark(without)
    assert found.severity is Severity.WARNING
    file = tmp_path / "x.db.mark"
    world = looking_at(_with(f"sqlite:///{tmp_path}/x.db"), store=store)
    (found,) = recovery.mark(world)
    assert found.severity is Severity.SKIPPED
    with store.write() as uow:
        begin(uow, build.NOW, cause="a test")
        head = uow.audit.head()
        uow.commit()
    FileMark(file).write(head)
    (found,) = recovery.mark(world)
    assert found.severity is Severity.OK
    FileMark(file).write((head[0] + 1, "0" * 64))
    (found,) = recovery.mark(world)
    assert (found.severity, "lacks audit record 2" in found.text) == (Severity.ERROR, True)
    store.close()


def test_an_administrator_asks_for_it(settings: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bastide.db"
    migrations.upgrade(url)
    words = ["db", "reconcile", "--reason", "PRIV was restored", "--config", str(settings), "--json"]
    for anew in (False, True):
        assert json.loads(CliRunner().invoke(app, words).stdout) == {"anew": anew}
    store = SqlStore(url)
    with store.read() as uow:
        record = reconciling(uow)
    assert record is not None
    assert record.seq == 2, "what was read for the first may be what is doubted"
    assert json.loads(record.data)["cause"] == f"asked for by {who()}: PRIV was restored"
    store.close()
    words[3] = " "
    assert CliRunner().invoke(app, words).exit_code == Exit.REFUSED


def _with(url: str) -> Config:
    return msgspec.structs.replace(MINIMAL, database=Database(url=url))
