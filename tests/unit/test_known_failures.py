"""What went wrong in other products, and the tests that it does not here: docs/reference/security-tests.md names a test for each, and these are the ones
that stand nowhere else.
"""

import ast
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyotp
import pytest

from bastide.domain.errors import BastideError, MfaRefused, NotAuthorized
from bastide.targets.memory import MemorySystem
from bastide.targets.process import ProcessConnector, ProcessSettings
from tests.support.api import ApiWorld, served
from tests.support.stores import with_schema
from tests.support.target_systems import install_program, opening
from tests.support.world import World
from tests.unit.test_cli_ma import Shell

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "security-tests.md"
#: The rows that password synchronization, and what the product has today, must answer for.
ROWS = {*range(1, 28)}
ROW = re.compile(r"^\| (\d+) \|(.*)\|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


# ------------------------------------------------------------------------------------------------------------ the table


def names_in(path: Path) -> set[str]:
    """What pytest collects of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_row_has_tests_and_each_of_them_exists() -> None:
    rows = {int(number): NAMED.findall(rest) for number, rest in ROW.findall(PAGE.read_text("utf-8"))}
    assert rows.keys() == ROWS
    assert not [number for number, named in rows.items() if not named], "a row without a test"
    missing = [
        f"row {number}: {file}::{name}"
        for number, named in rows.items()
        for file, name in named
        if not (ROOT / file).is_file() or name not in names_in(ROOT / file)
    ]
    assert not missing


# ------------------------------------------------------------------------------------------------- 6: secrets in addresses


def _parameters(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in schema["paths"].items():
        yield path, " ".join(re.findall(r"{(\w+)}", path))
        for method in methods.values():
            for one in method.get("parameters", []):
                if one["in"] in {"query", "path"}:
                    yield path, one["name"]


@pytest.fixture(scope="module")
def api() -> Iterator[ApiWorld]:
    with served(prepared=False) as made:
        yield made


def test_no_address_takes_a_secret(api: ApiWorld) -> None:
    """Row 6: what stands in a path or a query stands in access logs and in Referer."""
    found = list(_parameters(api.client.app.openapi_schema.to_schema()))
    assert len(found) > 20
    secret = re.compile(r"token|secret|password|code$|invitation|key", re.IGNORECASE)
    assert not [one for one in found if secret.search(one[1])]


# ----------------------------------------------------------------------------------------------------- 12: forged hosts


def test_a_forged_host_is_nowhere_in_an_answer(api: ApiWorld) -> None:
    """Row 12: no answer, and so no link in one, is made from what the caller says the server is called."""
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    invitation = ("POST", "/factors/invitations", {"account": "priv.alice"})
    calls = (
        ("GET", "/whoami", None),
        ("GET", "/nowhere", None),
        ("GET", "/management-agents", None),
        invitation,
    )
    for method, path, body in calls:
        plain = api.caller("dave").call(method, path, body)
        answer = api.caller("dave").call(method, path, body, headers=forged)
        assert answer.status_code == plain.status_code
        assert "evil" not in f"{answer.headers}{answer.text}"
        assert {*answer.headers} == {*plain.headers}


# -------------------------------------------------------------------------------------------------- 18: used only once


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """On a file: several calls have several connections, as on a server."""
    url = with_schema(tmp_path / "bastide.db")
    made = World(url=url)
    made.ready()
    yield made
    made.close()


def invited(world: World) -> str:
    return world.services.factors.invite(world.dave, "priv.alice")


def at_once(call: Callable[[], object], times: int = 8) -> list[object]:
    """What came of several calls at the same time: an answer or an error."""

    def tried() -> object:
        try:
            return call()
        except BastideError as error:
            return error

    with ThreadPoolExecutor(times) as pool:
        return [one.result() for one in [pool.submit(tried) for _ in range(times)]]


def test_an_invitation_that_is_redeemed_by_several_at_once_counts_once(world: World) -> None:
    """Row 18. Each enrolment makes a secret: a second one would be an attacker's."""
    alice, invitation = world.alice(), invited(world)
    outcomes = at_once(lambda: world.services.factors.enrol(alice, invitation))
    assert len([one for one in outcomes if not isinstance(one, BastideError)]) == 1
    assert {type(one) for one in outcomes if isinstance(one, BastideError)} == {NotAuthorized}


def test_a_code_that_is_shown_by_several_at_once_counts_once(world: World) -> None:
    """Row 18."""
    alice = world.alice()
    enrolment = world.services.factors.enrol(alice, invited(world))
    authenticator = pyotp.parse_uri(enrolment.uri)
    assert isinstance(authenticator, pyotp.TOTP)
    world.services.factors.confirm(alice, authenticator.at(world.clock.now()))
    world.clock.move(seconds=30)
    code = authenticator.at(world.clock.now())
    outcomes = at_once(lambda: world.services.factors.prove(alice, code))
    assert len([one for one in outcomes if not isinstance(one, BastideError)]) == 1
    assert {type(one) for one in outcomes if isinstance(one, BastideError)} == {MfaRefused}


# ---------------------------------------------------------------------------------------------------- 23: hostile names

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202etxt.exe'; DROP TABLE staff; --"


def test_a_hostile_name_from_a_program_arrives_as_text(tmp_path: Path) -> None:
    """Row 23: the importer of programs; those of files, databases and directories have tests of their own."""
    install_program(tmp_path)
    (tmp_path / "accounts.json").write_text(json.dumps({HOSTILE: {"hash": "$"}}))
    settings = ProcessSettings(
        program=str(tmp_path / "program"), settings={"accounts": str(tmp_path / "accounts.json")}
    )
    pages = list(ProcessConnector(settings, opening("x"), owners={0, os.geteuid()}).read(b""))
    assert [one.attributes["mail"] for page in pages for one in page.objects] == [
        (f"{HOSTILE}@example.test",)
    ]


def test_a_hostile_name_is_shown_as_text(tmp_path: Path) -> None:
    """Row 23: on a terminal it moves nothing, and the API says that it is JSON."""
    with served(prepared=False) as api:
        api.systems.systems["hr"] = MemorySystem()
        api.systems.systems["hr"].put("7", dn="uid=ann", employeeNumber="7", cn=HOSTILE)
        shell = Shell(api, tmp_path)
        shell.did("ma", "add", shell.file("hr.json", {"name": "hr", "connector": "memory", "settings": {"system": "hr"}, "project": "person",
                                                      "flows": ["cn -> displayName"]}))  # fmt: skip
        shell.did("ma", "import", "hr")
        shown = [shell.did("cs", "show", "7", "--agent", "hr"), shell.did("mv", "search", "script")]
        answer = api.caller("dave").get("/connector-space", params={"text": "ann"})
    for text in shown:
        assert "<script>" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert HOSTILE in answer.json()["items"][0]["attributes"]["cn"]
