"""Canaries: passwords, codes and tokens are planted in every place that takes one, and looked for in every place that must not have it."""

import base64
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bastide.api.native import inputs, views
from bastide.domain.traces import LONGEST, OPERATIONS, Trace
from bastide.journal.files import open_files
from tests.support.api import ApiWorld, served

PASSWORD = "Canary-Pa55word-7c1d"
WRONG = "Canary-wr0ng-9e2f"
NEW = "Canary-new-PRIV-4b8a"


@pytest.fixture
def api(caplog: pytest.LogCaptureFixture) -> Iterator[ApiWorld]:
    caplog.set_level(logging.WARNING, "httpx")  # the test's own client
    caplog.set_level(logging.DEBUG)
    with served() as world:
        yield world


def forms(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret, raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode(), secret.encode("utf-16-le").hex(),
        base64.b64encode(secret.encode("utf-16-le")).decode(),
    ]  # fmt: skip


def found(secrets: list[str], where: dict[str, str]) -> list[str]:
    return [
        f"{form} in {name}"
        for secret in secrets
        for form in forms(secret)
        for name, text in where.items()
        if form in text
    ]


def database(api: ApiWorld) -> str:
    with api.store.engine.connect() as connection:
        names = [
            row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        return "\n".join(
            repr(tuple(row)) for name in names for row in connection.exec_driver_sql(f"SELECT * FROM {name}")
        )


@pytest.fixture
def kept(api: ApiWorld, tmp_path: Path) -> Iterator[Path]:
    """The log file of a node on which everything is traced."""
    handler = open_files(tmp_path, "n", "serve", 32)
    assert handler is not None
    logging.getLogger().addHandler(handler)
    now = api.clock.now()
    api.services.tracer.turn([Trace(one, now, now + LONGEST, "a test") for one in OPERATIONS])
    yield tmp_path / "n.serve.jsonl"
    logging.getLogger().removeHandler(handler)
    handler.close()


def test_no_secret_is_left_anywhere(api: ApiWorld, caplog: pytest.LogCaptureFixture, kept: Path) -> None:
    answers: list[str] = []

    def seen(answer: Any) -> Any:
        answers.append(f"{answer.headers}{answer.text}")
        return answer

    dave, anonymous = api.caller("dave"), api.anonymous()
    api.corp.set_password(_sid(api, "alice"), PASSWORD)
    seen(anonymous.post("/sessions", {"account": "CORP\\alice", "password": WRONG}))
    seen(anonymous.post("/sessions", {"account": "CORP\\alice", "password": PASSWORD, "state": WRONG}))
    seen(anonymous.post("/sessions", {"account": "CORP\\alice", "password": [WRONG]}))
    seen(anonymous.post("/sessions", {"account": 5, "password": WRONG}))
    seen(anonymous.post("/sessions", {"account": "x" * 300, "password": WRONG}))
    seen(
        anonymous.call(
            "POST",
            "/sessions",
            content=f'{{"password": "{WRONG}'.encode(),
            headers={"Content-Type": "application/json"},
        )
    )
    seen(anonymous.get(f"/audit?token={WRONG}"))
    code = api.code("alice")
    opened = anonymous.post("/sessions", {"account": "CORP\\alice", "password": PASSWORD, "code": code})
    token = opened.json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    seen(api.client.get("/api/v1/whoami", headers=bearer))
    seen(api.client.get("/api/v1/nowhere", headers=bearer))
    seen(api.client.get("/api/v1/whoami", headers={**bearer, "Bastide-Code": code}))
    seen(api.client.get("/api/v1/whoami", headers={"Authorization": f"Negotiate {WRONG}"}))
    seen(dave.post("/pam-users/priv.alice/password", {"password": NEW}))
    seen(dave.post("/pam-users/nobody/password", {"password": NEW}))
    invitation = dave.post("/factors/invitations", {"account": "priv.bob"}).json()["code"]
    enrolled = api.corp_caller("bob").post("/me/factors", {"invitation": invitation}).json()
    seen(api.corp_caller("bob").post("/me/factors", {"invitation": invitation}))
    seen(api.corp_caller("bob").get("/me/factors"))
    seen(dave.delete("/sessions/current", headers=bearer))
    seen(api.caller("frank").get("/audit/export"))
    secret = enrolled["uri"].partition("secret=")[2].partition("&")[0]
    secrets = [PASSWORD, WRONG, NEW, token, code, invitation, secret, *enrolled["recovery_codes"]]
    file = kept.read_text(encoding="utf-8")
    places = {
        "the log": caplog.text,
        "the file": file,
        "an answer": "\n".join(answers),
        "the database": database(api),
    }
    assert "POST '/api/v1/sessions' 401" in caplog.text, "the access log is on"
    assert "accounts.set_password" in file, "and so are the traces"
    assert "token=" not in caplog.text, "without query strings"
    assert found(secrets, places) == []
    assert found([token], {"what is looked through": opened.text}), "the search finds what is there"


def test_a_defect_while_signing_in_does_not_tell_the_password(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object, account: str, password: str) -> None:
        raise RuntimeError(f"cannot check {account} with {password}") from ValueError(password)

    monkeypatch.setattr(api.services.authn.__class__, "password", broken)
    answer = api.anonymous().post("/sessions", {"account": "CORP\\alice", "password": PASSWORD})
    assert answer.status_code == 500
    places = {"the log": caplog.text, "the answer": answer.text, "the database": database(api)}
    assert found([PASSWORD], places) == []
    assert "RuntimeError" in caplog.text
    assert "ValueError" in caplog.text


def test_what_holds_a_secret_does_not_show_it() -> None:
    shown = [
        repr(inputs.SignIn(account="a", password=PASSWORD, code=WRONG)),
        repr(inputs.Enrol(invitation=WRONG)),
        repr(inputs.Confirm(code=WRONG)),
        repr(inputs.NewPassword(password=NEW)),
        repr(views.Invitation(account="a", code=WRONG)),
        repr(views.Enrolled(factor="f", uri=WRONG, recovery_codes=[NEW])),
    ]
    assert found([PASSWORD, WRONG, NEW], {"a repr": "\n".join(shown)}) == []


def test_the_log_is_one_line_per_call_whatever_the_path_says(
    api: ApiWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    api.caller("dave").get("/roles/x%0aINFO%20forged%1b[2J")
    lines = [record.getMessage() for record in caplog.records if record.name == "bastide.http.access"]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert "\x1b" not in lines[0]
    assert "'PRIV\\\\dave'" in lines[0]


def _sid(api: ApiWorld, name: str) -> Any:
    return next(a.person.ref.sid for a in api.corp.replica("corpdc").accounts() if a.person.ref.name == name)
