"""A Bastide with self-service reset: everyday accounts of CORP, their systems in memory, mail and short messages that are kept. For modules with
`pytest_plugins = ["tests.support.reset_world"]`. Nina is registered, Olaf is not, Petra is disabled, Quinn is privileged; nobody is called Zoe.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pyotp
import pytest

from bastide.audit.event_log import MemoryEventLog
from bastide.directory.memory_password_times import MemoryPasswordTimes
from bastide.directory.memory_policy import MemoryPolicyReader
from bastide.domain.ids import ObjectRef
from bastide.domain.management_agents import (
    CsId,
    CsObject,
    Link,
    MaId,
    ManagementAgent,
    MvId,
    MvObject,
    PasswordManagement,
    PasswordSource,
)
from bastide.domain.people import Actor, Forest
from bastide.domain.reset.flow import Choice, Reset
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.password_rules import Policy
from bastide.notify.memory import MemoryNotifier
from bastide.notify.memory_texts import MemoryTexts
from bastide.services.notifications.ports import Channel
from bastide.services.notifications.ports import Settings as NotificationSettings
from bastide.services.reset.contents import codes_in
from bastide.services.reset.ports import Corpus, NamedRule, Settings
from bastide.services.security_keys import Answer as KeyAnswer
from bastide.services.security_keys import Asked
from bastide.store.md4 import Md4NtHasher
from bastide.store.vault import AesEnvelope, SqlVault
from bastide.targets.memory import MemorySystem
from bastide.wiring import Adapters
from bastide.wiring.notifications import NotificationAdapters
from bastide.wiring.passwords import PasswordAdapters
from bastide.wiring.reset import ResetAdapters, ResetServices
from tests.support.api import ApiWorld
from tests.support.authenticator import Authenticator
from tests.support.sync_world import ReversedOpener, guid_of
from tests.support.world import ADDRESS

POLICY = Policy("DC=corp", 10, complex=True, history=24, least_age=timedelta(days=1))
QUESTIONS = (
    "First pet?",
    "First school?",
    "Street of your childhood?",
    "Best friend at school?",
    "First concert?",
)
ANSWERS = {0: "Struppi", 1: "Elm Grove", 2: "Rue du Four", 3: "Ingrid M."}
HOME_PLACE, ELSEWHERE = "198.51.100.7", "203.0.113.9"
MAIL, NUMBER = "nina@home.example", "+33612345678"
NEW = "Correct-Horse-7"
SESSION = "a session of nina"


class ResetWorld(ApiWorld):
    """`gates`: of the one rule, unless `rules` says otherwise. `device`: the security key that was registered last."""

    device: Authenticator

    def __init__(
        self,
        gates: Sequence[Gate] = (Gate.MAIL,),
        *,
        rules: Sequence[NamedRule] = (),
        url: str = "sqlite://",
        address: str = ADDRESS,
        **settings: Any,
    ) -> None:
        self.notifier, self.texts = MemoryNotifier(), MemoryTexts()
        self.policies, self.lost = MemoryPolicyReader(POLICY), LostPasswords()
        self.times = MemoryPasswordTimes("dc1", "dc2")
        self._rules = tuple(rules) or (NamedRule(gates=tuple(gates)),)
        self._more = settings
        self._home = address
        super().__init__(url=url, address=address)
        assert self.services.passwords is not None
        self.services.passwords.switchboard.enable(self.dave)
        self._add_systems()
        for name in ("nina", "olaf", "petra", "quinn"):
            self.add_everyday(name, enabled=name != "petra", protected=name == "quinn")

    def _adapters(self) -> Adapters:
        base = super()._adapters()
        channel = Channel(name="mail", people=True, occasions=frozenset())
        told = NotificationSettings(channels=(channel,), home=self._home, lead=timedelta(minutes=15))
        fields: dict[str, Any] = {
            "domain": self.corp.dns_name.lower(),
            "home": self._home,
            "rules": self._rules,
            "mail": "mail",
            "questions": QUESTIONS,
            "secret": b"of nobody",
            "pace": timedelta(0),
        }
        return replace(
            base,
            notifications=NotificationAdapters(self.notifier, told),
            passwords=PasswordAdapters(
                vault=SqlVault("sqlite://", base.sealer),
                envelope=AesEnvelope(base.random),
                opener=ReversedOpener(),
                hasher=Md4NtHasher(),
                events=MemoryEventLog(),
                threads=1,
            ),
            reset=ResetAdapters(
                Settings(**fields | self._more),
                self.notifier,
                self.policies,
                self.times,
                self.texts,
                self.lost,
            ),
        )

    @property
    def reset(self) -> ResetServices:
        assert self.services.reset is not None
        return self.services.reset

    def _add_systems(self) -> None:
        for name in ("corp", "crm"):
            self.systems.systems.setdefault(name, MemorySystem())
            source = PasswordSource(
                domain=self.corp.dns_name.lower(), targets=(MaId("ma-crm"),), enabled=True
            )
            with self.store.write() as uow:
                uow.agents.add(
                    ManagementAgent(
                        id=MaId(f"ma-{name}"),
                        name=name,
                        connector="memory",
                        settings={"system": name},
                        passwords=PasswordManagement(enabled=True),
                        source=source if name == "corp" else None,
                    )
                )
                uow.commit()

    def add_everyday(self, name: str, **options: Any) -> ObjectRef:
        """A person of CORP with an account in the two systems."""
        ref = self.corp.add_person(name, password=f"{name}-corp-pw", mail=f"{name}@corp.bastide.test", display_name=f"{name.title()} Example", **options).ref  # fmt: skip
        mv = MvId(guid_of(f"mv {name}"))
        with self.store.write() as uow:
            uow.metaverse.put([MvObject(id=mv, type="person", attributes={"displayName": (name,)})])
            for space, anchor in (("corp", ref.guid), ("crm", guid_of(f"crm {name}"))):
                uow.space.put(
                    [
                        CsObject(
                            id=CsId(guid_of(f"cs {space} {name}")),
                            ma=MaId(f"ma-{space}"),
                            anchor=anchor,
                            dn=f"CN={name},OU={space}",
                            type="user",
                            attributes={"sAMAccountName": (name,)}
                            | ({"objectSid": (str(ref.sid),)} if space == "corp" else {}),
                            link=Link.JOINED,
                            mv=mv,
                        )
                    ]
                )
                self.systems.systems[space].put(anchor, dn=f"CN={name},OU={space}")
            uow.commit()
        return ref

    # ---------------------------------------------------------------------------------------------------------- register

    def everyday(self, name: str) -> Actor:
        return self.sign_in(name, Forest.CORP)

    def register(self, name: str = "nina", *gates: Gate, address: str = HOME_PLACE) -> str:
        """All that the rule asks for, or these; the authenticator's key URI, if it was asked for."""
        actor, use, password = self.everyday(name), self.reset.registrations, f"{name}-corp-pw"
        uri = ""
        for gate in gates or self._rules[0].gates:
            if gate is Gate.QUESTIONS:
                use.set_answers(actor, ANSWERS, password, address)
                continue
            if gate is Gate.KEY:
                self.device = self.register_key(name, address=address)
                continue
            to = {Gate.MAIL: MAIL.replace("nina", name), Gate.SMS: NUMBER}.get(gate, "")
            made = use.begin(actor, SESSION, gate, to, password, address)
            uri = made or uri
            self.deliver()
            code = app_code(made, self.clock.now()) if made else self.last_code(gate)
            use.confirm(actor, SESSION, gate, code, address)
        self.clock.move(seconds=60)
        self.deliver()
        return uri

    def register_key(
        self, name: str = "nina", called: str = "blue key", address: str = HOME_PLACE
    ) -> Authenticator:
        """One security key more."""
        actor, keys = self.everyday(name), self.reset.keys
        device = Authenticator(origin=self._home, host=urlsplit(self._home).hostname or "")
        asked = Asked("", keys.ask(actor, SESSION, called, f"{name}-corp-pw"))
        keys.register(actor, SESSION, device.make(asked).credential, address)
        return device

    def deliver(self) -> None:
        """Let the worker send what is due, and set what is ordered."""
        for _ in range(4):
            self.runner.run_due()

    def last_code(self, gate: Gate = Gate.MAIL) -> str:
        """The newest: notices hold none."""
        texts = [text for _, text in self.texts.taken]
        bodies = texts if gate is Gate.SMS else [message.body for _, message in self.notifier.taken]
        return next(code for body in reversed(bodies) for code in codes_in(body))

    # ------------------------------------------------------------------------------------------------------------- reset

    def begin(self, account: str = "nina", address: str = ELSEWHERE) -> str:
        return self.reset.journey.begin(account, address)

    def through(self, account: str = "nina", address: str = ELSEWHERE) -> str:
        """A reset in which the one gate of mail is passed."""
        token = self.begin(account, address)
        self.deliver()
        self.reset.journey.answer(token, Gate.MAIL, {"code": self.last_code()}, address)
        return token

    def asked(self, token: str) -> Asked:
        """What a security key is asked on the page."""
        view = self.reset.journey.view(token)
        assert view is not None
        return Asked("", view.asked)

    def show(self, token: str, answer: KeyAnswer, address: str = ELSEWHERE) -> Reset:
        """What the key answered."""
        said = {"credential": answer.credential}
        return self.reset.journey.answer(token, Gate.KEY, said, address)

    def finish(self, token: str, password: str = NEW, address: str = ELSEWHERE) -> None:
        self.reset.journey.choose(token, Choice.SET, password, address)
        self.deliver()

    def row(self, token: str) -> Reset:
        view = self.reset.journey.view(token)
        assert view is not None
        return view.reset

    def password(self, name: str, space: str = "crm") -> str:
        """What the account signs in with there."""
        found = self.services.forests[Forest.CORP].find_person(name).ref
        anchor = found.guid if space == "corp" else guid_of(f"crm {name}")
        return self.systems.systems[space].account(anchor).password


def app_code(uri: str, at: datetime) -> str:
    """What an authenticator app shows."""
    return str(pyotp.TOTP(pyotp.parse_uri(uri).secret).at(at))


class LostPasswords:
    """Twin of the range files."""

    def __init__(self) -> None:
        self.lost = {"Password-2024"}

    def times(self, password: str) -> int:
        return int(password in self.lost)

    def corpus(self) -> Corpus:
        return Corpus(len(self.lost), None, whole=True)


@pytest.fixture
def reset_world() -> Iterator[ResetWorld]:
    made = ResetWorld()
    yield made
    made.close()


def together(number: int, act: Any) -> list[object]:
    """Do `act(0)`, `act(1)`... at the same moment, each in a thread of its own; what each gave or raised."""
    results: list[object] = [None] * number
    gate = threading.Barrier(number)

    def run(place: int) -> None:
        gate.wait()
        try:
            results[place] = act(place)
        except Exception as error:  # noqa: BLE001  # it is what the test looks at
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
