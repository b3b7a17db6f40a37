"""Which controller took what a target wrote, where the directory does not show it. Where it does: tests/integration/test_targets_active_directory.py."""

from uuid import UUID

import ldap
import pytest

from bastide.directory.session import Session
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Result
from bastide.targets.active_directory_origin import Origins

DONE = Result(Code.SUCCESS, "and a word of it")
DATABASE = UUID("7a3c1f58-0d3e-4c55-9a6b-5b0f6c1d2e90")
NAMED = [("", {"dsServiceName": [b"CN=NTDS Settings,CN=DC1"]})]


class Line:
    """What python-ldap's connection object does for a read. Answers come in order; one that is an error is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def search_ext(self, dn: str, *_: object, **__: object) -> int:
        self.asked.append(dn)
        return len(self.asked)

    def result3(self, number: int, **_: object) -> tuple[int, object, int, list[object]]:
        answer = self.answers[number - 1]
        if isinstance(answer, Exception):
            raise answer
        return 0, answer, number, []


def shown(value: bytes) -> list[tuple[str, dict[str, list[bytes]]]]:
    return [("CN=NTDS Settings,CN=DC1", {"invocationId": [value]})]


def test_each_controller_is_asked_once_and_a_failure_asks_nobody() -> None:
    origins, line = Origins(), Line(NAMED, shown(DATABASE.bytes_le))
    refused = Result(Code.POLICY, "too short")
    assert origins.named(refused, Session(line, "dc1", 1.0)) == refused
    assert not line.asked
    for _ in range(2):
        assert origins.named(DONE, Session(line, "dc1", 1.0)) == Result(DONE.code, DONE.detail, str(DATABASE))
    assert line.asked == ["", "CN=NTDS Settings,CN=DC1"]
    assert origins.named(DONE, Session(Line([("", {})]), "dc2", 1.0)) == DONE


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([[("", {})]], id="no settings named"),
        pytest.param([NAMED, ldap.NO_SUCH_OBJECT()], id="not to be seen"),
        pytest.param([NAMED, []], id="nothing found"),
        pytest.param([NAMED, [("CN=NTDS Settings,CN=DC1", {})]], id="not to be read"),
        pytest.param([NAMED, shown(b"half")], id="no guid"),
        pytest.param([ldap.SERVER_DOWN()], id="gone after the write"),
        pytest.param([ldap.TIMEOUT()], id="silent after the write"),
    ],
)
def test_what_is_not_shown_is_not_known_and_fails_nothing(answers: list[object]) -> None:
    assert Origins().named(DONE, Session(Line(*answers), "dc1", 1.0)) == DONE
