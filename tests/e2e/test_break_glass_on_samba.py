"""An emergency from end to end on real domain controllers: sealed with an administrator's ticket, opened with nothing else there, noticed, reconciled,
sealed anew. By the real commands, at real terminals.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide.directory.emergency import KdcProof
from bastide.domain.errors import NotAuthenticated
from bastide.services.break_glass.ports import Found
from bastide.services.ports import AuditQuery
from tests.support.desk import Desk
from tests.support.directory_lab import DirectoryLab
from tests.support.emergency_world import SambaEmergencyWorld
from tests.support.patience import PATIENCE
from tests.support.samba_node import SambaNode
from tests.support.samba_world import SambaWorld

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab
CUSTODIANS = ("Ann", "Ben", "Cy")
CLEARS = "Enter clears the screen."


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("glass")


@pytest.fixture(scope="module")
def world(directory_lab: DirectoryLab, work: Path) -> Iterator[SambaWorld]:
    made = SambaWorld(directory_lab, work, prefix="glass.")
    yield made
    made.close()


@pytest.fixture(scope="module")
def node(world: SambaWorld, work: Path) -> SambaNode:
    return SambaNode(world, work)


@pytest.fixture(scope="module")
def ticket(world: SambaWorld, work: Path) -> dict[str, str]:
    """The administrator's."""
    cache, admin = f"FILE:{work}/admin.cc", f"Administrator@{world.lab.realm('priv')}"
    keytab = world.forests.identity("Administrator", "priv").keytab
    command = ["kinit", "-k", "-t", str(keytab), admin]
    world.lab.exec("bastide", command, env={"KRB5CCNAME": cache}, check=True)
    return {"KRB5CCNAME": cache}


def seal(node: SambaNode, found: Found, ticket: dict[str, str]) -> list[str]:
    """What each custodian writes down."""
    desk = Desk(
        "break-glass", "seal", found.name, "--custodians", ",".join(CUSTODIANS), "--threshold", "2", "--yes",
        "--controller", node.lab.fqdn("privdc"), "--config", str(node.settings), env=ticket,
    )  # fmt: skip
    cards = []
    for name in CUSTODIANS:
        desk.until(f"Only {name} looks at the screen now. Enter shows the words.")
        desk.type("")
        screen = desk.until(CLEARS)
        words = re.findall(r"(?<=\d )[a-z]{4,8}(?= )", screen.partition("open it")[2])
        cards.append(" ".join(words))
        desk.type("")
    assert desk.end() == 0, desk.shown.decode()
    assert [len(one.split()) for one in cards] == [20, 20, 20], desk.shown.decode()
    return cards


def opened(found: Found, receipt: Path, typed: list[str], *more: str) -> Desk:
    """On a machine without any network, unless it is to buy a ticket."""
    account = f"{found.name}@PRIV.BASTIDE.TEST"
    told = ("break-glass", "open", account, "--receipt", str(receipt), "--reason", "exercise", *more)
    desk = Desk(*told, env={}, before=() if more else ("unshare", "--net"))
    for place, words in enumerate(typed):
        desk.until("custodian 2 of 2: " if place else "first custodian: ")
        desk.type(words)
    return desk


def noticed(world: SambaWorld, found: Found) -> bool:
    with world.store.read() as uow:
        return any(True for _ in uow.audit.read(AuditQuery(kind="break-glass.used", person=found.sid)))


def test_from_the_sealing_to_the_next(
    world: SambaWorld, node: SambaNode, ticket: dict[str, str], work: Path
) -> None:
    people = SambaEmergencyWorld(world.forests)
    found = people.account()
    principal = f"{found.name}@PRIV.BASTIDE.TEST"
    cards = seal(node, found, ticket)
    unused = json.loads(node.run("break-glass", "show", found.name, "--json").stdout)
    assert {one["severity"] for one in unused["findings"]} == {"ok"}, (
        "Bastide's own sign-in at the end is no use"
    )

    alone = opened(found, work / "alone.json", [cards[0], ""])
    assert alone.end() != 0
    mixed = opened(found, work / "mixed.json", [cards[0], cards[0]])
    assert mixed.end() != 0
    assert not (work / "alone.json").exists()
    assert not (work / "mixed.json").exists()

    desk = opened(found, work / "shown.json", [cards[0], cards[2]])
    screen = desk.until(CLEARS)
    desk.type("")
    assert desk.end() == 0
    password = next(iter(re.findall(r"A9\.[a-z0-9.]+", screen)))
    KdcProof().prove(principal, password)
    bought = opened(found, work / "bought.json", [cards[1], cards[2]], "--ticket", f"FILE:{work}/glass.cc")
    assert bought.end() == 0, bought.shown.decode()
    listed = world.lab.exec("bastide", ["klist", "-c", f"FILE:{work}/glass.cc"])
    assert f"krbtgt/{world.lab.realm('priv')}" in listed.stdout

    worker = node.start_worker()
    deadline = time.monotonic() + PATIENCE
    while not noticed(world, found):
        assert time.monotonic() < deadline, node.log.read_text(encoding="utf-8")
        time.sleep(0.2)
    worker.terminate()
    worker.wait()

    unexplained = node.run("break-glass", "reconcile")
    assert unexplained.returncode == 1
    assert "no receipt says why" in unexplained.stdout
    receipts = (str(work / "shown.json"), str(work / "bought.json"))
    done = node.run("break-glass", "reconcile", *receipts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as a receipt says" in done.stdout

    newer = seal(node, found, ticket)
    with pytest.raises(NotAuthenticated):
        KdcProof().prove(principal, password)
    useless = opened(found, work / "useless.json", [cards[0], newer[1]])
    assert useless.end() != 0
    assert b"these words are of envelope" in useless.shown
    kept = b"".join(one.read_bytes() for one in sorted(work.iterdir()) if one.is_file())
    for secret in (password, *cards, *newer):
        assert secret.encode() not in kept
    assert found.name.encode() in kept, "this looks where things are"
