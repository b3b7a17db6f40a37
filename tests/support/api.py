"""The APIs over a World: calls as people make them, through the whole application. Fixtures for modules with `pytest_plugins = ["tests.support.api"]`."""

import base64
import json
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from litestar.testing import TestClient

from bastide.domain import totp
from bastide.domain.people import Forest
from bastide.services.roles import StageDraft
from bastide.services.signin import Factor
from bastide.web import BODY_LIMIT, Api, create_app
from bastide.wiring import Services
from tests.support.world import World

API = "/api/v1"
MIM = "/api/pamresources"
DATA = Path(__file__).parent.parent / "data"
#: Who has an account in CORP alone; the help desk is there.
IN_CORP = frozenset({"alice", "bob", "mallory", "hanna", "otto", "wanda"})
#: The id of a thing that is not there.
NOBODYS = "00000000-0000-4000-8000-000000000000"
APPROVAL = (StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi")),)
ASK = {"role": "File administrators", "justification": "patch the server"}


class Caller:
    """One person's calls. `code` puts a fresh second factor on a call."""

    def __init__(self, api: "ApiWorld", headers: dict[str, str], person: str = "") -> None:
        self._api = api
        self.headers = headers
        self.person = person

    def send(self, method: str, address: str, *, code: bool = False, **options: Any) -> httpx.Response:
        """To any of the APIs."""
        headers = {**self.headers, **options.pop("headers", {})}
        if code:
            headers["Bastide-Code"] = self._api.code(self.person)
        return self._api.client.request(method, address, headers=headers, **options)

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """To the native one."""
        if body is not None:
            options["json"] = body
        return self.send(method, API + path, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.call("POST", path, body, **options)

    def put(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.call("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.call("DELETE", path, **options)


class ApiWorld(World):
    """A World with its API in front. Everybody named has an authenticator; `code` reads it, a step later each time."""

    client: TestClient[Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._secrets: dict[str, bytes] = {}

    def serve(self, *, prepared: bool = True) -> None:
        """Alice and Bob are PAM users; one role without approval and one with."""
        if prepared:
            self.prepare("alice", "bob")
            self.prepare_group()
            self.add_role(candidates=("CORP\\alice", "CORP\\bob"))
            self.add_role("Approved", candidates=("CORP\\alice", "CORP\\bob"), stages=APPROVAL)

    def caller(self, name: str, forest: Forest = Forest.PRIV) -> Caller:
        """With a Kerberos ticket."""
        world = self.corp if forest is Forest.CORP else self.priv
        token = base64.b64encode(f"{name}@{world.dns_name.upper()}".encode()).decode()
        return Caller(self, {"Authorization": f"Negotiate {token}"}, name)

    def corp_caller(self, name: str) -> Caller:
        return self.caller(name, Forest.CORP)

    def anonymous(self) -> Caller:
        return Caller(self, {})

    def code(self, name: str) -> str:
        """The next code of a person's authenticator. The clock moves on, because a code works once."""
        if name not in self._secrets:
            self.give_authenticator(name)
        self.clock.move(seconds=totp.STEP)
        generator = pyotp.TOTP(base64.b32encode(self._secrets[name]).decode())
        return str(generator.at(self.clock.now()))

    def wrong_code(self, name: str) -> str:
        good = self.code(name)
        return f"{(int(good) + 1) % 1_000_000:06}"

    def give_authenticator(self, name: str) -> None:
        """As after enrolment."""
        secret = random.Random(name).randbytes(totp.SECRET_BYTES)
        self._secrets[name] = secret
        directory = self.corp if name in IN_CORP else self.priv
        with self.store.write() as uow:
            sid = next(
                a.person.ref.sid
                for a in directory.replica(_first(directory)).accounts()
                if a.person.ref.name == name
            )
            user = uow.users.by_sid(sid)
            uow.factors.add(
                Factor(
                    id=f"factor-{name}",
                    person=user.priv.sid if user is not None else sid,
                    method="totp",
                    secret_encrypted=self.adapters.sealer.seal(secret, f"factor:factor-{name}"),
                    created_at=self.clock.now(),
                    confirmed=True,
                )
            )
            uow.commit()


def _first(directory: Any) -> str:
    return str(directory.controllers()[0].name)


#: Apps that nobody uses at the moment, by their options. To make the routes takes a third of a second, longer than most tests.
_idle: dict[tuple[tuple[str, ...], int], list[Api]] = {}


@contextmanager
def app_over(
    services: Services, *, origins: Collection[str] = (), body_limit: int = BODY_LIMIT
) -> Iterator[Api]:
    """An app that nobody else uses until the end of the block."""
    idle = _idle.setdefault((tuple(origins), body_limit), [])
    if idle:
        app = idle.pop()
        app.hand_over(services, origins=origins)
    else:
        app = create_app(services, origins=origins, body_limit=body_limit)
    yield app
    idle.append(app)


@contextmanager
def served(*, prepared: bool = True, **options: Any) -> Iterator[ApiWorld]:
    """A world that answers HTTP."""
    world = ApiWorld()
    world.serve(prepared=prepared)
    try:
        with (
            app_over(world.services, **options) as app,
            TestClient(app, raise_server_exceptions=False) as client,
        ):
            world.client = client
            yield world
    finally:
        world.close()


@pytest.fixture
def api() -> Iterator[ApiWorld]:
    with served() as world:
        yield world


@pytest.fixture
def alice(api: ApiWorld) -> Caller:
    return api.corp_caller("alice")


@pytest.fixture
def dave(api: ApiWorld) -> Caller:
    return api.caller("dave")


@pytest.fixture
def frank(api: ApiWorld) -> Caller:
    return api.caller("frank")


def values(answer: httpx.Response) -> list[dict[str, Any]]:
    """What is in a list of OData."""
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["value"]
    return found


def golden(name: str, answer: httpx.Response) -> None:
    """It is what the file tests/data/NAME.json says."""
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json() == json.loads((DATA / f"{name}.json").read_text())


def holds_access(api: ApiWorld, name: str = "alice") -> bool:
    return api.opens_share(api.services.accounts.user(api.dave, f"priv.{name}"))


def role_body(**changes: Any) -> dict[str, Any]:
    return {
        "name": "New role",
        "privileges": ["PAM-FileAdmins"],
        "candidates": ["CORP\\alice"],
        **changes,
    }
