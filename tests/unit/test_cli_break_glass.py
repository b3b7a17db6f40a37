"""`bastide break-glass`: what is asked, what is shown, what a refusal looks like; and `open` as a program of its own on a terminal of its own."""

import errno
import json
import os
import pwd
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from bastide import durable
from bastide.cli import break_glass as commands
from bastide.cli import break_glass_open
from bastide.cli import words as cards
from bastide.cli.exits import Exit, Stop
from bastide.cli.main import app
from bastide.directory.memory_emergency import MemoryProof
from bastide.domain.break_glass import State, password_of
from bastide.services.break_glass.receipts import from_text
from bastide.wiring import sealing as wiring
from bastide.wiring.break_glass import BreakGlass
from tests.support.break_glass import NAME, EmergencyNode
from tests.support.desk import Desk

SEAL = ("seal", NAME, "--custodians", "Ann,Ben,Cy", "--threshold", "2")
PRINCIPAL = f"{NAME}@PRIV.BASTIDE.TEST"


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmergencyNode]:
    with EmergencyNode() as made:
        made.clock.move(seconds=1)

        @contextmanager
        def services(_: Path) -> Iterator[SimpleNamespace]:
            emergency = BreakGlass(accounts=made.accounts, watch=made.watch, sealing=lambda *_: made.sealing)
            yield SimpleNamespace(break_glass=emergency)

        @contextmanager
        def tools(_domain: str, _controller: str) -> Iterator[tuple[object, object]]:
            yield made.directory, MemoryProof(made.domain)

        monkeypatch.setattr(commands, "_services", services)
        monkeypatch.setattr(wiring, "sealing_tools", tools)
        monkeypatch.setattr(commands, "harden", lambda: None)
        monkeypatch.setattr(commands, "load", lambda _: SimpleNamespace(server=SimpleNamespace(node="n1")))
        monkeypatch.setattr(commands, "DRILLS", tmp_path / "drills")
        yield made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if somebody sat before it."""
    monkeypatch.setattr(cards, "require_terminal", lambda _screen, _what: None)


def run(*words: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["break-glass", *words], input=typed, env={"COLUMNS": "200"})


def shown_words(output: str) -> list[str]:
    """What the three custodians wrote down."""
    found = re.findall(r"^ *\d+ [a-z]+ .*$", output, flags=re.MULTILINE)
    words = [word for line in found for word in re.findall(r"[a-z]+", line)]
    return [" ".join(words[at : at + 20]) for at in range(0, len(words), 20)]


def sealed(node: EmergencyNode) -> list[str]:
    done = run(*SEAL, "--yes", typed="\n" * 6)
    assert done.exit_code == 0, done.output
    node.clock.move(minutes=1)
    return shown_words(done.stdout)


def test_words_are_shown_to_one_custodian_after_the_other(node: EmergencyNode, terminal: None) -> None:
    done = run(*SEAL, "--yes", typed="\n" * 6)
    assert done.exit_code == 0, done.output
    words = shown_words(done.stdout)
    assert [len(one.split()) for one in words] == [20, 20, 20]
    assert password_of(node.sharing.combine(words[1:])) == node.domain.passwords[node.account]
    at = [done.output.index(f"Only {name} looks") for name in ("Ann", "Ben", "Cy")]
    assert at == sorted(at)
    assert "share 2 of 3; any 2 open it" in done.stdout
    assert node.envelope().state is State.SEALED


def test_without_a_terminal_nothing_is_sealed(node: EmergencyNode) -> None:
    done = run(*SEAL, "--yes")
    assert done.exit_code == Exit.USAGE
    assert "only on a terminal" in done.stderr
    assert node.account not in node.domain.passwords
    assert node.events() == []


def test_a_dry_run_changes_nothing_and_needs_no_terminal(node: EmergencyNode) -> None:
    done = run(*SEAL, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    assert {one["severity"] for one in json.loads(done.stdout)} == {"ok"}
    assert node.events() == []


def test_a_refusal_shows_what_was_looked_at(node: EmergencyNode, terminal: None) -> None:
    node.domain.change(node.account, password_expires=True)
    done = run(*SEAL, "--yes")
    assert done.exit_code == Exit.REFUSED
    assert "password of breakglass1 expires" in done.stdout
    assert node.account not in node.domain.passwords


def test_broken_off_it_says_that_nobody_knows_the_password(node: EmergencyNode, terminal: None) -> None:
    done = run(*SEAL, "--yes", typed="\n\n")
    assert done.exit_code == Exit.REFUSED
    assert "no envelope of breakglass1 is recorded" in done.stderr
    assert node.accounts.all() == ()


def test_it_asks_first(node: EmergencyNode, terminal: None) -> None:
    done = run(*SEAL)
    assert done.exit_code == Exit.USAGE
    assert node.account not in node.domain.passwords


def test_list_and_show(node: EmergencyNode, terminal: None) -> None:
    assert "no emergency account is sealed" in run("list").stderr
    sealed(node)
    listed = json.loads(run("list", "--json").stdout)
    assert [(one["account"], one["state"], one["custodians"]) for one in listed] == [
        (PRINCIPAL, "sealed", ["Ann", "Ben", "Cy"])
    ]
    assert "2 of 3" in run("list").stdout
    done = run("show", NAME)
    assert done.exit_code == 0
    assert "nobody used breakglass1" in done.stdout
    assert node.envelope().verifier not in run("show", NAME, "--json").stdout
    node.sign_in(node.domain.passwords[node.account])
    used = run("show", NAME)
    assert used.exit_code == Exit.REFUSED
    assert "no receipt says why" in used.stdout


def test_a_drill_leaves_a_report(node: EmergencyNode, terminal: None, tmp_path: Path) -> None:
    words = sealed(node)
    folder = str(tmp_path / "kept")
    done = run("drill", NAME, "--json", "--reports", folder, typed=f"{words[0]}\n\n{words[2]}\n")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["passed"], said["present"]) == (True, ["Ann", "Cy"])
    pages = [Path(one).read_text(encoding="utf-8") for one in said["report"]]
    assert f"Do the words open {PRINCIPAL}?" in pages[1]
    for page in [*pages, done.output]:
        assert not any(" ".join(one.split()[4:7]) in page for one in words)
        assert node.domain.passwords[node.account] not in page
    late = run("drill", NAME, "--reports", folder, typed=f"{words[0]}\n")
    assert late.exit_code == Exit.REFUSED
    assert "1 of 2 custodians that are needed came" in late.stdout


def test_a_drill_without_a_folder_says_that_the_audit_has_it(
    node: EmergencyNode, terminal: None, tmp_path: Path
) -> None:
    words = sealed(node)
    (tmp_path / "file").touch()
    done = run("drill", NAME, "--reports", str(tmp_path / "file"), typed=f"{words[0]}\n{words[1]}\n")
    assert done.exit_code == Exit.REFUSED
    assert "the drill is in the audit" in done.stderr
    assert len(node.events("break-glass.drilled")) == 1


def test_reconcile_and_remove(node: EmergencyNode, terminal: None, tmp_path: Path) -> None:
    sealed(node)
    assert run("reconcile").exit_code == 0
    node.sign_in(node.domain.passwords[node.account])
    assert run("reconcile").exit_code == Exit.REFUSED
    missing = run("reconcile", str(tmp_path / "nothing.json"))
    assert missing.exit_code == Exit.USAGE
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    assert "no receipt of" in run("reconcile", str(tmp_path / "no.json")).stderr
    assert run("remove", NAME).exit_code == Exit.USAGE
    done = run("remove", NAME, "--yes")
    assert done.exit_code == 0
    assert "the words still open it" in done.stderr
    assert node.accounts.all() == ()


# ----------------------------------------------------------------------------------------------------- open, for itself


@pytest.fixture
def words() -> Iterator[tuple[list[str], str]]:
    with EmergencyNode() as made:
        prepared = made.seal()
        yield list(prepared.words), made.password(prepared)


def bastide(*words: str, **env: str) -> Desk:
    """With no settings and no Kerberos."""
    return Desk("break-glass", *words, env={"KRB5_CONFIG": "/nowhere", **env})


def opening(receipt: Path, *more: str) -> tuple[str, ...]:
    return ("open", PRINCIPAL, "--receipt", str(receipt), "--reason", "PRIV is down", *more)


def is_emptied(shown: bytes, secret: str) -> bool:
    """Whether each line of a terminal with 25 of them was erased after the secret, from the first line on and without scrolling."""
    after = shown[shown.rindex(secret.encode()) :]
    return b"\x1b[H" + b"\r\n".join([b"\x1b[2K"] * 25) in after.replace(b"\r\r\n", b"\r\n")


def test_two_of_three_open_it_with_nothing_else_there(words: tuple[list[str], str], tmp_path: Path) -> None:
    """Open (1) to (4): no settings, no database, no network, no Kerberos."""
    (ann, _, cy), password = words
    receipt = tmp_path / "receipt.json"
    desk = bastide(*opening(receipt))
    desk.until("Words of the first custodian: ")
    desk.type(ann)
    desk.until("Words of custodian 2 of 2: ")
    assert not receipt.exists()
    assert "0" in desk.core_limit().split()
    seen = desk.seen_by_the_system()
    desk.type(cy)
    desk.until("Enter clears the screen.")
    kept = receipt.read_bytes()
    seen += desk.seen_by_the_system() + kept
    desk.type("")
    assert desk.end() == 0
    second_screen = desk.shown[desk.shown.index(b"\x1b[?1049h") : desk.shown.index(b"\x1b[?1049l")]
    assert desk.shown.count(password.encode()) == second_screen.count(password.encode()) == 1
    assert is_emptied(second_screen, password), "the console of Linux has no second screen"
    for secret in (password, ann, cy):
        assert secret.encode() not in seen
        assert secret == password or secret.encode() not in desk.shown, "nothing is echoed"
    assert desk.shown.index(b"was opened by") < desk.shown.index(password.encode()), "loud first"
    told = from_text(kept)
    assert (told.account, told.reason, told.shares, told.how) == (PRINCIPAL, "PRIV is down", (0, 2), "shown")
    assert receipt.stat().st_mode & 0o777 == 0o600


def test_one_custodian_alone_and_wrong_words_open_nothing(
    words: tuple[list[str], str], tmp_path: Path
) -> None:
    """Open (2)"""
    (ann, ben, _), password = words
    receipt = tmp_path / "receipt.json"
    desk = bastide(*opening(receipt))
    desk.until("first custodian: ")
    desk.type(ann.rpartition(" ")[0])
    desk.until("a word is wrong, missing or at the wrong place")
    desk.until("first custodian: ")
    desk.type(ann)
    desk.until("custodian 2 of 2: ")
    desk.type(ann)
    assert desk.end() == Exit.REFUSED
    assert b"were typed already" in desk.shown
    again = bastide(*opening(receipt))
    again.until("first custodian: ")
    again.type(ben)
    again.until("custodian 2 of 2: ")
    again.type("")
    assert again.end() == Exit.REFUSED
    assert b"too few words" in again.shown
    for one in (desk, again):
        assert password.encode() not in one.shown
    assert not receipt.exists(), "nothing was opened"


def test_a_receipt_that_cannot_be_written_opens_nothing(words: tuple[list[str], str], tmp_path: Path) -> None:
    """Open (1), (3)"""
    there = tmp_path / "there.json"
    there.touch()
    for place in (there, tmp_path / "no" / "folder.json"):
        done = run(*opening(place))
        assert done.exit_code == Exit.USAGE
    desk = bastide(*opening(tmp_path / "late.json"))
    desk.until("first custodian: ")
    desk.type(words[0][0])
    desk.until("custodian 2 of 2: ")
    (tmp_path / "late.json").symlink_to(there)
    desk.type(words[0][1])
    assert desk.end() == Exit.REFUSED
    assert b"nothing was shown" in desk.shown
    assert words[1].encode() not in desk.shown
    assert there.read_bytes() == b""


def test_a_receipt_whose_name_is_not_on_the_disk_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open (3): after a power cut there would be none."""

    def broken(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    file = tmp_path / "receipt.json"
    receipt = break_glass_open._receipt(PRINCIPAL, "PRIV is down", 1, (0, 2), "shown")
    monkeypatch.setattr(durable, "sync", broken)
    with pytest.raises(Stop, match="input/output error; nothing was shown"):
        break_glass_open._write(file, receipt)
    assert not file.exists()


def test_a_password_is_not_shown_to_a_file(words: tuple[list[str], str], tmp_path: Path) -> None:
    """Open (1)"""
    done = run(*opening(tmp_path / "receipt.json"), typed="\n".join(words[0]))
    assert done.exit_code == Exit.USAGE
    assert "only on a terminal" in done.stderr
    dumb = bastide(*opening(tmp_path / "receipt.json"), TERM="dumb")
    assert dumb.end() == Exit.USAGE
    assert not (tmp_path / "receipt.json").exists()


def test_a_ticket_needs_a_realm_and_a_reason_is_needed(tmp_path: Path) -> None:
    receipt = str(tmp_path / "receipt.json")
    short = run("open", NAME, "--receipt", receipt, "--reason", "x", "--ticket", "FILE:/nowhere")
    assert (short.exit_code, "needs the account with its realm" in short.stderr) == (Exit.USAGE, True)
    empty = run("open", PRINCIPAL, "--receipt", receipt, "--reason", " ")
    assert (empty.exit_code, "a reason is needed" in empty.stderr) == (Exit.USAGE, True)


def test_signals_do_not_leave_the_second_screen(words: tuple[list[str], str], tmp_path: Path) -> None:
    """Broken off while the password is shown, the terminal goes back to its first screen."""
    desk = bastide(*opening(tmp_path / "receipt.json"))
    for place in (0, 1):
        desk.until("first custodian: " if not place else "custodian 2 of 2: ")
        desk.type(words[0][place])
    desk.until("Enter clears the screen.")
    os.kill(desk.pid, signal.SIGINT)
    assert desk.end() != 0
    assert desk.shown.rindex(b"\x1b[?1049l") > desk.shown.index(words[1].encode())
    assert is_emptied(desk.shown, words[1])


def test_a_machine_that_cannot_look_up_names_opens_it_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names may come from the directory that is down."""

    def nobody(_uid: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(os, "getlogin", lambda: "ann")
    assert cards.who() == f"uid {os.getuid()} (ann)"
