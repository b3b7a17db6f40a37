"""A whole Bastide on the real forests: real use cases, real runner, SQLite on disk; people with real tickets on the client."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from bastide.authn import Realm, RightsTable
from bastide.clock import SystemClock
from bastide.directory.entries import by_sid
from bastide.domain.ids import RoleId
from bastide.domain.people import Actor, Forest, MfaProof, PamUser, Right
from bastide.domain.policy import Draft
from bastide.domain.requests import Request, State
from bastide.domain.roles import Carrier, Role, Ttl
from bastide.services.accounts import Preparation
from bastide.services.roles import RoleDraft
from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import Adapters, Services, assemble
from bastide.workers import jobs
from bastide.workers.runner import Runner
from tests.support import directory_lab
from tests.support.directory_lab import DirectoryLab
from tests.support.patience import PATIENCE
from tests.support.world import BoundSealer, HashSigner, QuickHasher, SeededRandom

SHORT = Ttl(timedelta(seconds=60), timedelta(seconds=60), timedelta(hours=1))
READ_SHARE = "get report.txt -"


class NoPasswords:
    """Nobody signs in by password here."""

    def check(self, name: str, password: str) -> int:
        raise AssertionError(name, len(password))


class SambaWorld:
    """Alice, a CORP share, and the role that opens it."""

    def __init__(self, forests: DirectoryLab, work: Path, *, prefix: str = "e2e.") -> None:
        self.prefix = prefix
        self.group_prefix = prefix.upper().replace(".", "-")
        self.forests = forests
        self.lab = forests.lab
        self.clock = SystemClock()
        url = f"sqlite:///{work}/bastide.db"
        migrations.upgrade(url)
        self.store = SqlStore(url)
        self.services: Services = assemble(self._adapters(), self._preparation())
        self.runner: Runner | None = None
        self.dave = self._actor("adm.dave", Forest.PRIV, frozenset(Right))
        self.cache = work / "ccache"

    def _adapters(self) -> Adapters:
        directories = {Forest.PRIV: self.forests.priv, Forest.CORP: self.forests.corp}
        return Adapters(
            store=self.store,
            realms={f: Realm(f, self.lab.realm(f.value), d, NoPasswords()) for f, d in directories.items()},
            preparer=self.forests.preparer,
            acceptor=None,
            rights=RightsTable(frozenset(), frozenset(), frozenset()),
            sealer=BoundSealer(),
            signer=HashSigner(),
            hasher=QuickHasher(),
            random=SeededRandom(),
            sinks=(),
            clock=self.clock,
        )

    def _preparation(self) -> Preparation:
        return Preparation(
            prefix=self.prefix,
            users_container=directory_lab.USERS,
            groups_container=directory_lab.GROUPS,
            group_prefix=self.group_prefix,
            upn_suffix=directory_lab.PRIV,
            ticket_cap=directory_lab.CAP,
            policy_name=directory_lab.POLICY,
        )

    def _actor(self, name: str, forest: Forest, rights: frozenset[Right]) -> Actor:
        person = (self.forests.priv if forest is Forest.PRIV else self.forests.corp).find_person(name)
        proof = MfaProof("totp", "test", self.clock.now())
        return Actor(person.ref.sid, name, forest, frozenset(), rights, "test", proof)

    # ----------------------------------------------------------------------------------------------------------- the worker

    def start(self) -> None:
        """As a node that starts."""
        self.runner = Runner(
            store=self.store,
            jobs=jobs.table(self.services),
            owner=f"node-{time.monotonic_ns()}",
            clock=self.clock,
        )
        self.runner.start()

    def stop(self) -> None:
        """Bastide is down."""
        if self.runner is not None:
            self.runner.stop()
        self.runner = None

    def close(self) -> None:
        self.stop()
        self.store.close()

    # -------------------------------------------------------------------------------------------------------------- people

    def prepare(self, name: str, password: str) -> PamUser:
        """A person with a PRIV account and a password of their own, which all controllers have heard of: an activation waits for none that has not."""
        user = self.services.accounts.add_user(self.dave, name)
        self.services.accounts.set_password(self.dave, user.name, password)
        self.forests.settle(Forest.PRIV, by_sid(user.priv.sid))
        return user

    def prepare_role(self, name: str, corp_group: str, people: tuple[str, ...], **settings: Any) -> Role:
        with self.store.read() as uow:
            known = {group.name for group in uow.groups.all()}
        if f"{self.group_prefix}{corp_group}" not in known:
            self.services.accounts.add_group(self.dave, corp_group, Carrier.FOREIGN_PRINCIPAL)
        blank = Role(
            id=RoleId(""),
            name=name,
            privileges=(),
            candidates=(),
            created_at=self.clock.now(),
            ttl=SHORT,
            **settings,
        )
        candidates = tuple(f"CORP\\{person}" for person in people)
        return self.services.roles.add(
            self.dave, RoleDraft(blank, (f"{self.group_prefix}{corp_group}",), candidates)
        ).role

    def ask(self, name: str, role: str, **draft: Any) -> Request:
        actor = self._actor(name, Forest.CORP, frozenset({Right.USE}))
        return self.services.requests.submit(actor, role, Draft(justification="patch the server", **draft))

    def get(self, request: Request) -> Request:
        with self.store.read() as uow:
            return uow.requests.get(request.id)

    def wait_for(self, request: Request, state: State, seconds: float = PATIENCE) -> Request:
        return self.until(lambda: self.get(request), lambda r: r.state is state, seconds)

    def until(
        self, look: Callable[[], Request], good: Callable[[Request], bool], seconds: float = PATIENCE
    ) -> Request:
        deadline = time.monotonic() + seconds
        while not good(found := look()):
            if time.monotonic() > deadline:
                raise AssertionError(f"still {found} after {seconds} s")
            time.sleep(0.05)
        return found

    # ---------------------------------------------------------------------------------------------------------- the truth

    def fresh_ticket(self, user: PamUser, password: str) -> str:
        """Buy one on the client; what kinit said (empty: it worked)."""
        self.cache.unlink(missing_ok=True)
        command = ["kinit", "-c", f"FILE:{self.cache}", f"{user.priv.name}@{self.lab.realm('priv')}"]
        done = self.lab.exec("client", command, input=f"{password}\n")
        return "" if done.returncode == 0 else done.stderr.strip()

    def opens_share(self, user: PamUser, password: str, share: str = "files") -> str:
        """With a fresh ticket: `open`, or what refused."""
        if said := self.fresh_ticket(user, password):
            return said
        return self.share_with_ticket(share)

    def share_with_ticket(self, share: str = "files") -> str:
        """With the ticket that is there."""
        command = [
            "smbclient", f"//corpdc.corp.bastide.test/{share}", "--use-kerberos=required",
            f"--use-krb5-ccache=FILE:{self.cache}", "-c", READ_SHARE,
        ]  # fmt: skip
        done = self.lab.exec("client", command)
        return "open" if done.returncode == 0 else (done.stdout + done.stderr).strip()

    def ticket_seconds(self) -> int:
        """The life of the TGT in the cache."""
        listing = self.lab.exec("client", ["klist", "-c", f"FILE:{self.cache}"]).stdout
        line = next(row for row in listing.splitlines() if "krbtgt/" in row)
        day, begin, day2, end = line.split()[:4]
        spans = [
            time.mktime(time.strptime(f"{d} {t}", "%m/%d/%y %H:%M:%S"))
            for d, t in ((day, begin), (day2, end))
        ]
        return int(spans[1] - spans[0])
