"""A call that arrives again with the same Idempotency-Key has its effect once: after a failure of the database nobody knows whether the last commit counts."""

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from bastide.domain.errors import Conflict, InvalidInput, StoreUnavailable
from bastide.domain.once import KEY_LIMIT, is_done, once
from bastide.domain.people import PamUser
from bastide.domain.policy import Draft
from bastide.domain.requests import State
from bastide.domain.roles import PamGroup
from bastide.store.unit_of_work import SqlUnitOfWork
from tests.support.api import ASK, ApiWorld, Caller, served

KEY = {"Idempotency-Key": "6a0a4b1e-9a0c-4a6f-8f9e-0f3f9c3c4b11"}
OTHER = {"Idempotency-Key": "a-second-key-of-the-client"}


@pytest.fixture
def api() -> Iterator[ApiWorld]:
    with served() as world:
        yield world


@pytest.fixture
def alice(api: ApiWorld) -> Caller:
    return api.corp_caller("alice")


def ask(caller: Caller, headers: dict[str, str], **changes: Any) -> Any:
    return caller.post("/requests", {**ASK, **changes}, code=True, headers=headers)


def all_requests(api: ApiWorld) -> int:
    return len(api.services.requests.all(api.dave))


# ------------------------------------------------------------------------------------------------------------------------ rules


@pytest.mark.parametrize(
    "key", ["short", "x" * (KEY_LIMIT + 1), "with\nbreak-and-more", "schlüssel-mit-umlaut"]
)
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="Idempotency-Key"):
        once("alice", "ask", key)


def test_a_key_is_of_one_person_and_one_kind_of_call() -> None:
    mine = once("alice", "ask", "12345678", "a", "b")
    assert mine is not None
    assert once("alice", "ask", "") is None
    assert mine == once("alice", "ask", "12345678", "a", "b")
    for other in (
        once("bob", "ask", "12345678", "a", "b"),
        once("alice", "vote", "12345678", "a", "b"),
        once("alice", "ask", "12345679", "a", "b"),
    ):
        assert other is not None
        assert other.request_id != mine.request_id
        assert not is_done([mine], other)
    assert is_done([mine], mine)
    assert not is_done([], mine)
    assert not is_done([mine], None)
    with pytest.raises(Conflict, match="came with another call"):
        is_done([mine], once("alice", "ask", "12345678", "ab", ""))
    assert "12345678" not in repr(mine)


# ----------------------------------------------------------------------------------------------------------------------- asking


def test_a_request_is_made_once(api: ApiWorld, alice: Caller) -> None:
    first, again = ask(alice, KEY), ask(alice, KEY)
    assert first.status_code == again.status_code == 201
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == again.headers["Location"]
    assert all_requests(api) == 1
    assert api.events("request.submitted") == ["request.submitted"]
    quoted = ask(alice, {"Idempotency-Key": f'"{KEY["Idempotency-Key"]}"'})
    assert quoted.json()["id"] == first.json()["id"], "as RFC 9651 writes a string"


def test_the_answer_is_the_request_as_it_is_by_then(api: ApiWorld, alice: Caller) -> None:
    """Access has begun meanwhile: without the key this would be a second request that overlaps the first."""
    made = ask(alice, KEY).json()
    api.work()
    again = ask(alice, KEY)
    assert (again.json()["id"], again.json()["state"]) == (made["id"], "Active")
    assert ask(alice, OTHER).json()["id"] != made["id"], "a new key is a new request"
    assert ask(alice, {}).status_code == 201
    assert all_requests(api) == 3


def test_a_key_belongs_to_one_call(api: ApiWorld, alice: Caller) -> None:
    ask(alice, KEY)
    other = ask(alice, KEY, justification="something else")
    assert other.status_code == 409
    assert "Idempotency-Key" in other.json()["detail"]
    assert ask(alice, {"Idempotency-Key": "short"}).status_code == 422
    bob = ask(api.corp_caller("bob"), KEY)
    assert bob.status_code == 201, "keys of other people are none of one's business"
    assert all_requests(api) == 2


def test_a_commit_whose_outcome_nobody_knows_is_repeated(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit counts, and the answer is lost; or it does not count. Either way the same call again leads to one request."""
    draft = Draft(justification="patch the server", key=KEY["Idempotency-Key"])
    commit = SqlUnitOfWork.commit

    def lost(*, after: bool) -> None:
        def broken(self: Any) -> None:
            if after:
                commit(self)
            raise StoreUnavailable("the connection broke")

        with monkeypatch.context() as patched:
            patched.setattr(SqlUnitOfWork, "commit", broken)
            with pytest.raises(StoreUnavailable):
                api.services.requests.submit(api.alice(), ASK["role"], draft)

    lost(after=False)
    assert all_requests(api) == 0
    lost(after=True)
    assert all_requests(api) == 1
    made = api.services.requests.submit(api.alice(), ASK["role"], draft)
    assert all_requests(api) == 1
    assert made.state is State.PROCESSING


def test_two_that_arrive_at_once_make_one_request(api: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one looked before the first one committed."""
    draft = Draft(justification="patch the server", key=KEY["Idempotency-Key"])
    requests, entered = api.services.requests, [False]
    standing = requests._refuse_standing

    def in_between(user: PamUser, groups: Collection[PamGroup]) -> None:
        standing(user, groups)
        if not entered[0]:
            entered[0] = True
            requests.submit(api.alice(), ASK["role"], draft)

    monkeypatch.setattr(requests, "_refuse_standing", in_between)
    requests.submit(api.alice(), ASK["role"], draft)
    assert entered[0]
    assert all_requests(api) == 1


# --------------------------------------------------------------------------------------------------------- deciding, extending


def test_a_vote_is_given_once(api: ApiWorld, alice: Caller) -> None:
    request = ask(alice, {}, role="Approved").json()["id"]
    grace, path = api.caller("grace"), f"/approvals/{request}"
    body = {"decision": "approve", "reason": "agreed"}
    first = grace.post(path, body, code=True, headers=KEY)
    assert first.json()["state"] == "Processing"
    again = grace.post(path, body, headers=KEY)
    assert again.status_code == 200, "no second factor is used up for what was decided"
    assert again.json() == first.json()
    assert len(again.json()["votes"]) == 1
    assert api.events("request.vote.approve") == ["request.vote.approve"]
    changed = grace.post(path, {"decision": "reject", "reason": "no"}, code=True, headers=KEY)
    assert changed.status_code == 409
    assert "Idempotency-Key" in changed.json()["detail"]
    assert grace.post(path, body, code=True).status_code == 409, "without the key it is a second vote"
    assert api.caller("heidi").post(path, body, code=True, headers=KEY).status_code == 409, (
        "and another's too"
    )


def test_a_key_opens_nothing(api: ApiWorld, alice: Caller) -> None:
    request = ask(alice, {}, role="Approved").json()["id"]
    body = {"decision": "approve", "reason": ""}
    assert api.caller("grace").post(f"/approvals/{request}", body, headers=KEY).status_code == 403
    assert api.caller("ivan").post(f"/approvals/{request}", body, code=True, headers=KEY).status_code == 404
    assert alice.post(f"/approvals/{request}", body, code=True, headers=KEY).status_code == 403


def test_access_is_extended_once(api: ApiWorld, alice: Caller) -> None:
    request = ask(alice, {}, ttl_seconds=900).json()["id"]
    api.work()
    ends = [
        alice.post(f"/requests/{request}/extension", {"seconds": 600}, code=True, headers=headers).json()
        for headers in (KEY, KEY, OTHER)
    ]
    assert ends[0]["extend_to"] == ends[1]["extend_to"]
    assert ends[2]["extend_to"] > ends[1]["extend_to"]
    assert len(api.events("request.extension-asked")) == 2
    wrong = alice.post(f"/requests/{request}/extension", {"seconds": 601}, code=True, headers=KEY)
    assert wrong.status_code == 409


def test_the_other_dialects_take_the_key_as_well(api: ApiWorld, alice: Caller) -> None:
    request = ask(alice, {}, role="Approved").json()["id"]
    grace = api.caller("grace")
    address = f"/api/pamresources/pamrequeststoapprove(guid'{request}')/approve"
    for _ in range(2):
        answer = grace.send("POST", address, code=True, headers=KEY)
        assert answer.status_code < 300, answer.text
    assert grace.send("POST", address, code=True).status_code == 409
    assert len(api.events("request.vote.approve")) == 1
