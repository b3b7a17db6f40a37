"""Three nodes of Bastide over the lab's Patroni cluster, in front of the two forests; people who call whichever node they like.

What is not the subject of a test is arranged in this process, with the use cases of the first node's own settings: accounts, roles, second factors.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp

from bastide.config import load
from bastide.domain.audit import Record
from bastide.domain.errors import StoreError
from bastide.domain.ids import RequestId, RoleId, UserId
from bastide.domain.people import Actor, Forest, MfaProof, Right
from bastide.domain.requests import Request
from bastide.domain.roles import Carrier, Role, Ttl
from bastide.services.pace import ACCOUNT
from bastide.services.ports import AuditQuery
from bastide.services.roles import RoleDraft, StageDraft
from bastide.store import keys, migrations
from bastide.wiring import Services
from bastide.wiring.database import database_url
from bastide.wiring.production import build
from bastide_lab import plan
from tests.support.directory_lab import DirectoryLab
from tests.support.failover_node import FailoverNode, Seat
from tests.support.patience import PATIENCE

R = TypeVar("R")
SEATS = tuple(Seat(f"node-{number}", host.name) for number, host in enumerate(plan.SERVERS, 1))
SHORT = Ttl(timedelta(seconds=60), timedelta(seconds=60), timedelta(hours=1))
#: Seconds after which a session is opened anew: its second factor counts for five minutes.
SESSION = 200.0
STEP = 30
OPENED = 201
PAUSE = 0.05


class Caller:
    """A person who signs in with account, password and code, at whichever node."""

    def __init__(self, world: "FailoverWorld", account: str) -> None:
        self._world = world
        self.account = account
        self._password = world.forests.lab.password(account)
        self._secret = ""
        self._last = 0
        self._token, self._since = "", 0.0

    def enrol(self, actor: Actor, invitation: str) -> None:
        """Set up an authenticator."""
        factors = self._world.services.factors
        enrolment = factors.enrol(actor, invitation)
        self._secret = parse_qs(urlsplit(enrolment.uri).query)["secret"][0]
        factors.confirm(actor, self.code())

    def code(self) -> str:
        """One that was not used yet. The next one is good as well (RFC 6238 5.2)."""
        while self._last > int(time.time()) // STEP:
            time.sleep(0.2)
        self._last = max(self._last + 1, int(time.time()) // STEP)
        return pyotp.HOTP(self._secret).at(self._last)

    def token(self, node: FailoverNode) -> str:
        """Of the session; a new one is opened at that node if there is none, or it is old. Raises httpx.HTTPError."""
        if not self._token or time.monotonic() - self._since > SESSION:
            body = {"account": self.account, "password": self._password, "code": self.code()}
            answer = node.http.post("/sessions", json=body)
            answer.raise_for_status()
            self._token, self._since = answer.json()["token"], time.monotonic()
        return self._token

    def forget(self) -> None:
        """The next call opens a session."""
        self._token = ""

    def call(
        self, node: FailoverNode, method: str, path: str, body: object = None, *, key: str = ""
    ) -> httpx.Response:
        """One call at one node. Raises httpx.HTTPError."""
        headers = {"Authorization": f"Bearer {self.token(node)}", **({"Idempotency-Key": key} if key else {})}
        return node.http.request(method, path, json=body, headers=headers)

    def ask(self, node: FailoverNode, role: str, **body: Any) -> str:
        """A request for a role that must be acknowledged; its id."""
        answer = self.call(node, "POST", "/requests", {"role": role, "justification": "failover", **body})
        assert answer.status_code == OPENED, answer.text
        return str(answer.json()["id"])


class FailoverWorld:
    """Made once; the thread that uses it is in the namespace of the first server."""

    def __init__(self, forests: DirectoryLab, work: Path) -> None:
        self.forests = forests
        self.lab = forests.lab
        self.work = work
        keys.generate_key_files(work)
        names = zip(*map(plan.server_names, plan.SERVERS), strict=True)
        for forest, hosts in zip(("priv", "corp"), names, strict=True):
            self.lab.keytab(forest, [f"HTTP/{host}" for host in hosts], work / "http.keytab")
        self.nodes = [FailoverNode(forests, work, seat) for seat in SEATS]
        config = load(self.nodes[0].settings)
        migrations.upgrade(database_url(config))
        self.services: Services = build(config)
        self.dave = self._actor("adm.dave", Forest.PRIV, frozenset(Right))

    def start(self) -> None:
        """All nodes at once."""
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.until_ready()

    def close(self) -> None:
        for node in self.nodes:
            node.ask_to_stop()
        for node in self.nodes:
            node.close()
        close: Callable[[], None] = getattr(self.services.store, "close")  # noqa: B009  # no part of the port
        close()

    def island(self) -> FailoverNode:
        """A node of another partition, not started yet, beside the second one."""
        return FailoverNode(self.forests, self.work, Seat("island", plan.BASTIDE2.name, 9443, "elsewhere"))

    # ---------------------------------------------------------------------------------------------------------- people

    def _actor(self, name: str, forest: Forest, rights: frozenset[Right]) -> Actor:
        directory = self.forests.priv if forest is Forest.PRIV else self.forests.corp
        proof = MfaProof("totp", "test", self.services.clock.now())
        return Actor(directory.find_person(name).ref.sid, name, forest, frozenset(), rights, "test", proof)

    def caller(self, account: str) -> Caller:
        """With an authenticator."""
        forest, _, name = account.partition("\\")
        made = Caller(self, account)
        invitation = self.services.factors.invite(self.dave, account)
        made.enrol(self._actor(name, Forest(forest), frozenset({Right.USE})), invitation)
        return made

    def prepare(self, name: str) -> UserId:
        """A person with a PRIV account."""
        return self.services.accounts.add_user(self.dave, name).id

    def prepare_role(
        self, name: str, corp_group: str, people: Sequence[str], *, approvers: Sequence[str] = ()
    ) -> Role:
        with self.services.store.read() as uow:
            known = {group.name for group in uow.groups.all()}
        if f"HA-{corp_group}" not in known:
            self.services.accounts.add_group(self.dave, corp_group, Carrier.FOREIGN_PRINCIPAL)
        now = self.services.clock.now()
        blank = Role(id=RoleId(""), name=name, privileges=(), candidates=(), created_at=now, ttl=SHORT)
        stages = (StageDraft("owners", tuple(approvers)),) if approvers else ()
        candidates = tuple(f"CORP\\{person}" for person in people)
        draft = RoleDraft(blank, (f"HA-{corp_group}",), candidates, stages)
        return self.services.roles.add(self.dave, draft).role

    # ------------------------------------------------------------------------------------------------------- the truth

    def patiently(self, look: Callable[[], R], good: Callable[[R], bool]) -> R:
        """Look until it is good. A database that is failing over is looked at again."""
        deadline = time.monotonic() + PATIENCE
        found: R | None = None
        while time.monotonic() < deadline:
            with suppress(StoreError):
                found = look()
                if good(found):
                    return found
            time.sleep(PAUSE)
        logs = "\n".join(node.tail()[-1500:] for node in self.nodes)
        raise AssertionError(f"still {found} after {PATIENCE} s\n{logs}")

    def request(self, id_: str) -> Request:
        with self.services.store.read() as uow:
            return uow.requests.get(RequestId(id_))

    def holder(self, user: UserId) -> str:
        """Who has the lease of a person's account; empty: nobody."""
        with self.services.store.read() as uow:
            rows = [row for row in uow.work.listing() if (row["kind"], row["key"]) == (ACCOUNT, user)]
        return str(rows[0]["owner"] or "") if rows else ""

    def records(self, request: str) -> list[Record]:
        with self.services.store.read() as uow:
            return list(uow.audit.read(AuditQuery(request=request, limit=0)))

    def requests_of(self, user: UserId) -> set[str]:
        with self.services.store.read() as uow:
            return {str(one.id) for one in uow.requests.history(user=user, limit=10_000, before=None)}
