"""`bastide cluster log` over two nodes on one database, from the command to the files and back; and what is said when one does not answer."""

import json
import logging
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.domain.journal import Span
from bastide.journal.files import open_files
from bastide.services.ports import AuditQuery
from tests.support.log_stand import DAVE, Stand

pytest_plugins = ["tests.support.log_stand"]
FRANK = "PRIV\\frank"


def words(text: str) -> str:
    return " ".join(text.split())


MINUTE = timedelta(minutes=1)


def test_the_records_of_all_nodes_are_one_text_in_the_order_of_time(stand: Stand) -> None:
    stand.write("a", logging.INFO, "first", ago=9 * MINUTE)
    stand.write("b", logging.ERROR, "second", ago=8 * MINUTE)
    stand.write("a", logging.WARNING, "third\nforged", ago=7 * MINUTE)
    stand.write("b", logging.DEBUG, "too fine", ago=6 * MINUTE)
    stand.write("b", logging.INFO, "too old", ago=61 * MINUTE)
    done = stand.run("cluster", "log", wanted=Exit.REFUSED)
    lines = done.stdout.splitlines()
    assert [(line.split()[1], line.split(": ")[1]) for line in lines] == [
        ("a", "first"),
        ("b", "second"),
        ("a", "third forged"),
    ]
    assert lines[0].split()[0].endswith("Z")
    assert "lost did not answer: it is lost, heard last" in words(done.stderr)
    with stand.world.store.read() as uow:
        assert uow.wishes.all() == (), "what was read is gone"
        (asked,) = uow.audit.read(AuditQuery(kind="log.asked"))
    assert asked.actor_name == DAVE


def test_a_record_is_one_line_whatever_a_line_may_end_with_elsewhere(stand: Stand) -> None:
    strange = "a\u2028b\u2029c\x85d\x1ce"
    stand.write("a", logging.INFO, strange, ago=MINUTE)
    done = stand.run("cluster", "log", "--node", "a", "--json")
    (line,) = done.stdout.split("\n")[:-1]
    assert json.loads(line)["record"]["message"] == strange
    assert len(stand.run("cluster", "log", "--node", "a").stdout.splitlines()) == 1


def test_what_was_read_counts_although_somebody_else_removed_the_question(
    stand: Stand, tmp_path: Path
) -> None:
    stand.write("a", logging.INFO, "here", ago=MINUTE)
    out = tmp_path / "cluster.log"

    def removed(*_: object) -> None:
        with stand.world.store.write() as uow:
            uow.wishes.remove([wish.id for wish in uow.wishes.all()])
            uow.commit()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bastide.cli.gathering.say_what_is_missing", removed)
        stand.run("cluster", "log", "--node", "a", "--out", str(out))
    assert "here" in out.read_text()


def test_a_file_of_which_nothing_came_is_not_in_the_way(stand: Stand, tmp_path: Path) -> None:
    out = tmp_path / "cluster.log"
    stand.run("cluster", "log", "--node", "nobody", "--out", str(out), wanted=Exit.REFUSED)
    stand.run("cluster", "log", "--node", "b", "--out", str(out), wanted=Exit.REFUSED)


def test_levels_are_those_of_get_cluster_log(stand: Stand) -> None:
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, 15, logging.DEBUG):
        stand.write("a", level, f"level {level}", ago=MINUTE)
    for level, number in ((0, 0), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)):
        done = stand.run("cluster", "log", "--level", str(level), "--node", "a")
        assert len(done.stdout.splitlines()) == number, level
    assert "no records of that span" in stand.run("cluster", "log", "--level", "0", "--node", "a").stderr
    stand.run("cluster", "log", "--level", "6", wanted=Exit.USAGE)


def test_a_living_node_that_does_not_answer_is_named(stand: Stand) -> None:
    stand.answering = {"a"}
    stand.write("a", logging.INFO, "here", ago=MINUTE)
    done = stand.run("cluster", "log", "--wait", "2", "--json", wanted=Exit.REFUSED)
    assert "b did not answer: it is alive, and may be busy" in words(done.stderr)
    (line,) = map(json.loads, done.stdout.splitlines())
    assert (line["node"], line["record"]["message"]) == ("a", "here")


def test_a_node_without_files_says_so(stand: Stand) -> None:
    done = stand.run("cluster", "log", "--node", "b", wanted=Exit.REFUSED)
    assert "b has no records here: its log files cannot be read: No such file" in words(done.stderr)
    stand.nodes["b"] = stand.cluster.node("c")
    done = stand.run("cluster", "log", "--node", "c", wanted=Exit.REFUSED)
    assert "c has no records here: it keeps no log files" in words(done.stderr)


def test_an_answer_that_is_cut_off_says_from_when_it_is_whole(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bastide.services.journal.MOST", 400)
    for number in range(9):
        stand.write("a", logging.INFO, f"number {number}", ago=(9 - number) * MINUTE)
    done = stand.run("cluster", "log", "--node", "a")
    assert "number 8" in done.stdout
    assert "number 0" not in done.stdout
    assert "a was cut off: its records before" in words(done.stderr)


def test_a_file_is_new_and_for_its_owner_alone(stand: Stand, tmp_path: Path) -> None:
    stand.write("a", logging.INFO, "kept", ago=MINUTE)
    out = tmp_path / "cluster.log"
    stand.run("cluster", "log", "--node", "a", "--out", str(out), "--local-time")
    assert "kept" in out.read_text()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with stand.world.store.read() as uow:
        before = uow.audit.head()
    stand.run("cluster", "log", "--node", "a", "--out", str(out), wanted=Exit.USAGE)
    with stand.world.store.read() as uow:
        assert uow.audit.head() == before, "nothing is asked for a file that cannot be written"


def test_it_is_for_administrators_and_for_a_span_that_can_be(stand: Stand) -> None:
    stand.run("cluster", "log", who=FRANK, wanted=Exit.REFUSED)
    assert (
        "is not before the end" in stand.run("cluster", "log", "--since", "+1h", wanted=Exit.REFUSED).stderr
    )
    assert "more than 31 days" in stand.run("cluster", "log", "--since", "-40d", wanted=Exit.REFUSED).stderr
    done = stand.run("cluster", "log", "--node", "nobody", wanted=Exit.REFUSED)
    assert "there is no node 'nobody'" in words(done.stderr)


def test_what_nobody_reads_is_forgotten(stand: Stand) -> None:
    dave = stand.world.sign_in("dave")
    logs = stand.nodes["a"].services.logs
    now = stand.world.clock.now()
    for _ in range(8):
        logs.ask(dave, Span(now - MINUTE, now))
    with pytest.raises(Exception, match="being gathered 8 times already"):
        logs.ask(dave, Span(now - MINUTE, now))
    assert logs.answer() == 8
    assert logs.answer() == 0, "each is answered once"
    stand.world.clock.move(minutes=11)
    assert stand.nodes["b"].services.logs.answer() == 0
    with stand.world.store.read() as uow:
        assert uow.wishes.all() == ()


def test_what_everybody_answered_and_nobody_reads_is_forgotten_too(stand: Stand) -> None:
    """Whoever asked was cut off: nobody has an answer to give any more, and what was said lies in the database."""
    now = stand.world.clock.now()
    stand.nodes["a"].services.logs.ask(stand.world.sign_in("dave"), Span(now - MINUTE, now), ["a"])
    assert stand.nodes["a"].services.logs.answer() == 1
    stand.world.clock.move(minutes=11)
    assert stand.nodes["a"].services.logs.answer() == 0
    with stand.world.store.read() as uow:
        assert uow.wishes.all() == ()


def test_this_machine_is_read_with_service_and_database_down(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    config = tmp_path / "bastide.toml"
    config.write_text(
        f'[server]\nnode = "here"\n[database]\nurl = "sqlite:////nowhere/at/all.db"\n[logs]\nfolder = "{folder}"\n'
        '[keys]\nmaster = "/m"\nsigning = "/s"\n[priv]\ndomain = "p.test"\nprincipal = "s@P.TEST"\nkeytab = "/k"\n'
        'users_container = "OU=U"\ngroups_container = "OU=G"\n[rights]\nadministrators = []\nauditors = []\napprovers = []\n'
    )
    arguments = ["cluster", "log", "--local", "--config", str(config)]
    missing = CliRunner().invoke(app, arguments)
    assert missing.exit_code == Exit.UNAVAILABLE
    assert "logs.folder names where the files are" in words(missing.stderr)
    for role in ("serve", "worker"):
        handler = open_files(folder, "here", role, 8)
        assert handler is not None
        handler.handle(logging.LogRecord("bastide.x", logging.INFO, "f", 1, f"of {role}", (), None))
        handler.close()
    until = (datetime.now(UTC) + MINUTE).isoformat()
    done = CliRunner().invoke(app, [*arguments, "--until", until])
    assert done.exit_code == 0, done.output
    assert [line.rpartition(": ")[2] for line in done.stdout.splitlines()] == ["of serve", "of worker"]
    refused = CliRunner().invoke(app, [*arguments, "--node", "other"])
    assert refused.exit_code == Exit.USAGE
