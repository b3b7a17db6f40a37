"""Self-service reset on the real forests: people of CORP with an account in OpenLDAP too, mail over TLS, the runner as in production."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import ldap

from bastide.audit.event_log import MemoryEventLog
from bastide.authn import Realm
from bastide.directory.password_policy import AdPolicyReader
from bastide.directory.password_times import AdPasswordTimes
from bastide.directory.signin import RealmPasswords
from bastide.domain.ids import ObjectRef
from bastide.domain.joins import CONNECTED
from bastide.domain.management_agents import (
    Flow,
    ImportRules,
    JoinRule,
    MaId,
    ManagementAgent,
    PasswordSource,
)
from bastide.domain.people import Actor, Forest, Right
from bastide.domain.reset.gates import Gate
from bastide.notify.notifier import AppriseNotifier
from bastide.services.notifications.ports import Channel
from bastide.services.notifications.ports import Settings as NotificationSettings
from bastide.services.passwords.management_agents import AgentDraft
from bastide.services.reset.contents import codes_in
from bastide.services.reset.ports import NamedRule, Settings, SystemState
from bastide.store.md4 import Md4NtHasher
from bastide.store.vault import AesEnvelope, SqlVault
from bastide.targets.registry import Registry
from bastide.wiring import Adapters
from bastide.wiring.notifications import NotificationAdapters
from bastide.wiring.passwords import PasswordAdapters
from bastide.wiring.reset import ResetAdapters, ResetServices
from tests.support.directory_lab import CORP
from tests.support.notification_servers import PASSWORD as MAIL_PASSWORD
from tests.support.notification_servers import MailServer
from tests.support.patience import PATIENCE
from tests.support.reset_lab import ResetLab
from tests.support.reset_world import app_code
from tests.support.samba_world import SambaWorld
from tests.support.sync_world import ReversedOpener
from tests.support.target_systems import Slapd
from tests.support.world import ADDRESS

OLD, HOME_PLACE, ELSEWHERE = "Old-Horse-Battery-1", "198.51.100.7", "203.0.113.9"
SESSION = "a session"
GATES = (Gate.MAIL, Gate.TOTP)
_STEP = timedelta(seconds=30)


@dataclass
class Someone:
    """A person: the account of CORP, the one in OpenLDAP, the registered mail, and what the authenticator holds."""

    corp: ObjectRef
    people_dn: str
    mail: str
    uri: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        return self.corp.name


class ResetNode(SambaWorld):
    """With what production wires for [passwords], [notifications] and [reset]."""

    def __init__(self, corp: ResetLab, people: Slapd, mail: MailServer, ca: Path, work: Path) -> None:
        self.corp, self.people, self.mail = corp, people, mail
        self._ca = ca
        self._keytab = work / "http.keytab"
        corp.forests.lab.keytab("corp", [f"HTTP/bastide.{CORP}"], self._keytab)
        super().__init__(corp.forests, work, prefix="rs.")
        assert self.services.passwords is not None
        self._add_agents()
        self.services.passwords.switchboard.enable(self.dave)

    def _adapters(self) -> Adapters:
        base = super()._adapters()
        realm = self.lab.realm("corp")
        checker = RealmPasswords(realm, f"HTTP/bastide.{CORP}@{realm}", self._keytab)
        address = f"mailtos://bastide:{MAIL_PASSWORD}@localhost:{self.mail.port}?mode=ssl&from=bastide@{CORP}"
        notifier = AppriseNotifier({"mail": lambda: address}, ca=str(self._ca))
        channel = Channel(name="mail", people=True, occasions=frozenset())
        return replace(
            base,
            realms=dict(base.realms) | {Forest.CORP: Realm(Forest.CORP, realm, self.forests.corp, checker)},
            systems=Registry(self.clock.now, self.clock.monotonic),
            notifications=NotificationAdapters(
                notifier, NotificationSettings(channels=(channel,), home=ADDRESS, lead=timedelta(minutes=15))
            ),
            passwords=PasswordAdapters(
                vault=SqlVault("sqlite://", base.sealer),
                envelope=AesEnvelope(base.random),
                opener=ReversedOpener(),
                hasher=Md4NtHasher(),
                events=MemoryEventLog(),
            ),
            reset=ResetAdapters(
                Settings(
                    domain=CORP,
                    home=ADDRESS,
                    rules=(NamedRule(gates=GATES),),
                    mail="mail",
                    secret=b"of nobody",
                    pace=timedelta(0),
                ),
                notifier,
                AdPolicyReader(self.forests.corp.connections),
                AdPasswordTimes(self.forests.corp.connections),
            ),
        )

    @property
    def reset(self) -> ResetServices:
        assert self.services.reset is not None
        return self.services.reset

    # ----------------------------------------------------------------------------------------------------------- systems

    def _add_agents(self) -> None:
        """OpenLDAP, and CORP with the account that the delegation script gave its rights to."""
        agents = self.services.management_agents
        people = ManagementAgent(
            id=MaId(""),
            name="people",
            connector="ldap",
            settings={
                "host": self.people.endpoint.host, "port": self.people.endpoint.tls_port, "base": self.people.people,
                "bind_name": self.people.service, "ca": str(self.lab.ca),
            },
            rules=ImportRules(joins=(JoinRule((("employeeNumber", "employeeNumber"),)),)),
        )  # fmt: skip
        corp = ManagementAgent(
            id=MaId(""),
            name="corp",
            connector="active-directory",
            settings={
                "domain": CORP, "principal": self.corp.identity.principal, "keytab": str(self.corp.identity.keytab),
                "base": self.corp.staff,
            },
            rules=ImportRules(project="person", flows=(Flow("employeeID", "employeeNumber"),)),
            source=PasswordSource(domain=CORP),
        )  # fmt: skip
        agents.add(self.dave, AgentDraft(people))
        agents.set_secret(self.dave, "people", self.people.endpoint.password)
        agents.add(self.dave, AgentDraft(corp, ("people",)))
        self.bring_in()
        for name in ("people", "corp"):
            agents.switch(self.dave, name, target=True)

    def bring_in(self) -> None:
        """Import both, the domain first: it makes the people."""
        for name in ("corp", "people"):
            self.services.imports.run_now(self.dave, name)

    # ------------------------------------------------------------------------------------------------------------ people

    def newcomer(self, *gates: Gate, container: str = "") -> Someone:
        """Somebody with an account in both, who registers these gates."""
        number = self.forests.new_name("n")
        made = self.corp.person(password=OLD, mail=f"{number}@{CORP}", employeeID=number, container=container)
        found = self.people.add_person(employeeNumber=number)
        self.bring_in()
        someone = Someone(made, found.dn, f"{number}@home.example")
        for gate in gates:
            self.register(someone, gate)
        return someone

    def everyday(self, someone: Someone) -> Actor:
        return self._actor(someone.name, Forest.CORP, frozenset({Right.USE}))

    def register(self, someone: Someone, gate: Gate) -> None:
        """With the person's password, and a code that arrived; the authenticator shows the one before, so that the next is not spent."""
        use, actor = self.reset.registrations, self.everyday(someone)
        to = someone.mail if gate is Gate.MAIL else ""
        had = len(self.letters(someone.mail))
        made = use.begin(actor, SESSION, gate, to, OLD, HOME_PLACE)
        if made:
            someone.uri = made
        code = app_code(made, self.clock.now() - _STEP) if made else self.code(someone.mail, had)
        use.confirm(actor, SESSION, gate, code, HOME_PLACE)

    def letters(self, to: str) -> list[str]:
        """The texts that arrived there."""
        return [str(one.get_content()) for address, one in self.mail.letters if address == to]

    def code(self, to: str, had: int) -> str:
        """Of the letters that come after so many, the first that has one: notices have none."""
        self.soon(lambda: self._codes(to, had), f"no code came to {to}")
        return self._codes(to, had)[0]

    def _codes(self, to: str, had: int) -> list[str]:
        return [code for text in self.letters(to)[had:] for code in codes_in(text)]

    def through(self, someone: Someone) -> str:
        """A reset with all gates passed, as the person goes through it."""
        had = len(self.letters(someone.mail))
        token = self.reset.journey.begin(someone.name, ELSEWHERE)
        self.reset.journey.answer(token, Gate.MAIL, {"code": self.code(someone.mail, had)}, ELSEWHERE)
        shown = {"code": app_code(someone.uri, self.clock.now())}
        self.reset.journey.answer(token, Gate.TOTP, shown, ELSEWHERE)
        return token

    def states(self, token: str) -> dict[str, SystemState]:
        view = self.reset.journey.view(token)
        assert view is not None
        return {one.system: one for one in view.states}

    # -------------------------------------------------------------------------------------------------------- the truth

    def signs_in(self, someone: Someone, password: str) -> str:
        """At the controller of CORP, over LDAPS: empty, or what it said."""
        raw = ldap.initialize(f"ldaps://{self.lab.fqdn('corpdc')}")
        raw.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self.lab.ca))
        raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        try:
            raw.simple_bind_s(f"{someone.name}@{CORP}", password)
        except ldap.INVALID_CREDENTIALS as error:
            return str(error.args[0].get("info", "refused"))
        finally:
            raw.unbind_s()
        return ""

    def buys_ticket(self, someone: Someone, password: str) -> bool:
        """By Kerberos, which takes one password only: an LDAP bind takes the one before for another hour ("old password allowed period" of smb.conf)."""
        command = ["kinit", "-c", f"FILE:{self.cache}", f"{someone.name}@{self.lab.realm('corp')}"]
        done = self.lab.exec("client", command, input=f"{password}\n")
        assert done.returncode == 0 or "assword" in done.stderr or "reauth" in done.stderr, done.stderr
        return done.returncode == 0

    def joined(self, someone: Someone) -> int:
        """How many systems have an account of the person."""
        with self.store.read() as uow:
            found = uow.space.by_anchor(uow.agents.by_domain(CORP).id, [someone.corp.guid])  # type: ignore[union-attr]
            mv = next(iter(found.values())).mv
            return 0 if mv is None else len([one for one in uow.space.of_mv(mv) if one.link in CONNECTED])

    def soon(self, fact: Callable[[], object], what: str) -> float:
        """Seconds until it came true."""
        began = time.monotonic()
        while not fact():
            assert time.monotonic() - began < PATIENCE, what
            time.sleep(0.05)
        return time.monotonic() - began
