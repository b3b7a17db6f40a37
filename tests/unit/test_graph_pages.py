"""Lists of requests grow without end: an answer reads a bounded part of them, and the next page goes on where it ended."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bastide.api.graph import query, seen
from bastide.domain.requests import Place, Request
from tests.support.api import NOBODYS, ApiWorld, Caller
from tests.support.graph import DIRECTORY, GROUP, activate, call, error, listed, me

pytest_plugins = ["tests.support.api"]
REQUESTS = f"{DIRECTORY}/roleAssignmentScheduleRequests"


@pytest.fixture
def reads(api: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> list[Place | None]:
    """The store gives two requests at a time, and each time is written down."""
    asked: list[Place | None] = []
    real = api.services.requests.all

    def counted(
        actor: Any, *, user: str = "", limit: int, before: Place | None = None
    ) -> tuple[Request, ...]:
        asked.append(before)
        return real(actor, user=user, limit=limit, before=before)

    monkeypatch.setattr(seen, "HISTORY_LIMIT", 2)
    monkeypatch.setattr(api.services.requests, "all", counted)
    return asked


def walk(caller: Caller, path: str) -> list[list[dict[str, Any]]]:
    pages = []
    while path:
        answer = call(caller, "GET", path)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json()["value"])
        path = answer.json().get("@odata.nextLink", "").partition("/v1.0/")[2]
    return pages


def test_an_answer_reads_a_bounded_part_and_the_pages_are_whole(
    api: ApiWorld, alice: Caller, dave: Caller, reads: list[Place | None]
) -> None:
    made = [activate(api, alice)["id"] for _ in range(2 * query.READS + 3)]
    pages = walk(dave, f"{REQUESTS}?$filter=id eq '{made[0]}'")
    assert [len(page) for page in pages] == [0, 1], "what the filter did not take was read, and no more of it"
    assert len(reads) == query.READS + 2
    assert [[one["id"] for one in page] for page in walk(dave, f"{REQUESTS}?$top=4")] == [
        made[:-5:-1],
        made[-5:-9:-1],
        made[-9::-1],
    ]
    assert [
        one["id"] for page in walk(dave, f"{GROUP}/assignmentScheduleRequests?$top=3") for one in page
    ] == made[::-1]


def test_one_persons_requests_are_looked_for_by_the_store(
    api: ApiWorld, alice: Caller, dave: Caller, reads: list[Place | None]
) -> None:
    bob = api.corp_caller("bob")
    first = activate(api, bob)["id"]
    for _ in range(2 * query.READS):
        activate(api, alice)
    wanted = f"status ne 'Failed' and principalId eq '{me(bob)}'"
    assert [[one["id"] for one in page] for page in walk(dave, f"{REQUESTS}?$filter={wanted}")] == [[first]]
    assert len(reads) == 1
    assert walk(dave, f"{REQUESTS}?$filter=principalId eq '{NOBODYS}'") == [[]]
    either = f"principalId eq '{me(bob)}' or principalId eq '{me(alice)}'"
    assert sum(len(page) for page in walk(dave, f"{REQUESTS}?$filter={either}")) == 2 * query.READS + 1


def test_what_is_there_now_is_found_without_the_history(
    api: ApiWorld, alice: Caller, dave: Caller, reads: list[Place | None]
) -> None:
    for _ in range(3):
        activate(api, alice)
    api.work()
    for resource in ("roleAssignmentSchedules", "roleAssignmentScheduleInstances"):
        assert len(listed(dave, f"{DIRECTORY}/{resource}")) == 3
    assert reads == []


@pytest.mark.parametrize("reader", ["alice", "dave"])
@pytest.mark.parametrize(
    "token", ["x", "2026-11-20T09:00:00", "2026-11-20T09:00:00~x", "2026-11-20T09:00:00Z~", "~"]
)
def test_a_token_that_is_none_of_ours_is_refused(api: ApiWorld, reader: str, token: str) -> None:
    caller = api.corp_caller("alice") if reader == "alice" else api.caller("dave")
    answer = call(caller, "GET", f"{REQUESTS}?$skiptoken={token}")
    assert (error(answer)[:2], "$skiptoken" in error(answer)[2]) == ((400, "BadRequest"), True)


def test_approvers_read_what_waits_page_by_page(api: ApiWorld, alice: Caller) -> None:
    waiting = [activate(api, caller, "Approved")["id"] for caller in (alice, api.corp_caller("bob"))]
    pages = walk(api.caller("grace"), f"{REQUESTS}/filterByCurrentUser(on='approver')?$top=1")
    assert [[one["id"] for one in page] for page in pages] == [[waiting[1]], [waiting[0]]]


def test_the_parser_of_filters_is_loaded_with_the_first_filter(tmp_path: Path) -> None:
    """It costs memory and a tenth of the time to start."""
    code = "import sys, bastide.web; sys.exit('odata_query' in sys.modules or 'sly' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, cwd=tmp_path).returncode == 0
