"""The scripts of document 5 with only their endpoint changed. tests/data/graph/scripts has what the cmdlets send, call by call, and the names
of the golden files of what they read; here are the people, the clock and the directory.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bastide.domain.roles import Role
from tests.support.api import DATA, ApiWorld, Caller, golden, holds_access
from tests.support.graph import DIRECTORY, listed
from tests.support.issuer import IssuedWorld, Issuer, issuing, served_with

SCRIPTS = DATA / "graph" / "scripts"
#: As the SDK of PowerShell sends them with every call.
HEADERS = {
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.26100; en-US) PowerShell/7.5.0",
    "SdkVersion": "graph-powershell/2.25.0",
    "client-request-id": "00000000-0000-4000-8000-00000000c0de",
    "Accept-Encoding": "gzip, deflate",
}


def run(api: ApiWorld, script: str, caller: Caller, known: dict[str, str]) -> list[httpx.Response]:
    """Every call of a script; what it keeps goes into `known`, for the calls that follow."""
    answers = []
    for step in json.loads((SCRIPTS / f"{script}.json").read_text()):
        asked = _filled(step.get("body"), {**known, "NOW": _round_trip(api)})
        options = {} if asked is None else {"json": asked}
        answer = caller.send(step["method"], step["path"], headers=HEADERS, **options)
        assert answer.status_code == step["status"], (step["cmdlet"], answer.text)
        if "answer" in step:
            golden(f"graph/{step['answer']}", answer)
        known |= {name: _found(answer.json(), path) for name, path in step.get("keep", {}).items()}
        answers.append(answer)
    return answers


def _round_trip(api: ApiWorld) -> str:
    """The moment at which the script was there, a second ago, in .NET's format "o": seven decimals, which Python has no place for."""
    return f"{api.clock.now() - timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}.1234567Z"


def _filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, known) for name, one in value.items()}
    return value.format_map(known) if isinstance(value, str) else value


def _found(content: Any, path: str) -> str:
    """`value[displayName~File].id`: of the one whose name holds that."""
    test, _, wanted = path.removeprefix("value[").partition("].")
    name, _, part = test.partition("~")
    (row,) = [one for one in content["value"] if part in one[name]]
    return str(row[wanted])


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    with issuing(tmp_path) as found:
        yield found


@pytest.fixture
def api(issuer: Issuer) -> Iterator[IssuedWorld]:
    """As `Connect-MgGraph` needs it: an issuer of tokens that says when a second factor was shown."""
    with served_with(issuer, second_factor=["amr=mfa"]) as world:
        yield world


def bob(api: IssuedWorld) -> Caller:
    now = int(api.clock.now().timestamp())
    return api.bearer(api.issuer.sign(api.claims("bob", amr=["pwd", "mfa"], auth_time=now)), "bob")


def without_bob(role: Role) -> Role:
    return replace(role, candidates=tuple(one for one in role.candidates if not one.name.endswith("bob")))


def test_an_administrator_makes_somebody_eligible_who_then_activates(api: IssuedWorld) -> None:
    known: dict[str, str] = {}
    api.services.roles.adjust(api.dave, "File administrators", without_bob)
    assert [one["displayName"] for one in listed(bob(api), f"{DIRECTORY}/roleDefinitions")] == ["Approved"]
    run(api, "eligible", api.caller("dave"), known)
    run(api, "activate", bob(api), known)
    api.work()
    shown = listed(bob(api), f"{DIRECTORY}/roleAssignmentScheduleInstances")
    assert [(one["roleDefinitionId"], one["startDateTime"], one["endDateTime"]) for one in shown] == [
        (known["ROLE"], "2026-11-20T09:00:00Z", "2026-11-20T11:00:00Z")
    ]
    assert holds_access(api, "bob")
    api.clock.move(hours=2)
    api.work()
    assert not holds_access(api, "bob"), "it ends by itself, as the script says"


def test_the_second_script_tried_by_somebody_who_is_not_eligible(api: IssuedWorld) -> None:
    """Nothing is granted, and the script prints what Graph would have it print."""
    api.services.roles.adjust(api.dave, "File administrators", without_bob)
    role = api.services.roles.show(api.dave, "File administrators").id
    step = json.loads((SCRIPTS / "activate.json").read_text())[1]
    me = str(bob(api).send("GET", "/v1.0/me").json()["id"])
    asked = _filled(step["body"], {"ROLE": role, "PRINCIPAL": me, "NOW": _round_trip(api)})
    said = bob(api).send("POST", step["path"], json=asked, headers=HEADERS).json()["error"]
    assert said["code"] == "RoleAssignmentRequestPolicyValidationFailed"
    assert said["message"].startswith('The following policy rules failed: ["EligibilityRule"]')
    assert said["innerError"]["client-request-id"] == HEADERS["client-request-id"]
    assert not holds_access(api, "bob")
